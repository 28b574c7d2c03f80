"""Operators of torchvision's library compute what the package's functions do, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torchvision.ops import boxes as package_boxes
from torchvision.ops import deform_conv2d, roi_align

from harness.nn import operators

IOU = 0.5


def candidates(
    count: int, seed: int, *, groups: int = 80, ties: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes that overlap often, in an image of 1333 px, with scores and groups."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 1200
    corner = (corner / 100).round() * 100 + torch.rand(count, 2, generator=generator) * 40
    boxes = torch.cat((corner, corner + 60 + torch.rand(count, 2, generator=generator) * 60), dim=1)
    scores = torch.rand(count, generator=generator)
    scores = (scores * 20).round() / 20 if ties else scores
    return boxes, scores, torch.randint(0, groups, (count,), generator=generator)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [0, 1, 17, 1000, 1001, 3000])
def test_suppression_equals_torchvisions(count: int, ties: bool) -> None:
    for seed, groups in enumerate((1, 5, 80)):
        boxes, scores, group = candidates(count, seed, groups=groups, ties=ties)
        expected = package_boxes.batched_nms(boxes, scores, group, IOU)
        assert torch.equal(operators.batched_nms(boxes, scores, group, IOU), expected)
        one = operators.nms(boxes, scores, IOU)
        assert torch.equal(one, package_boxes.nms(boxes, scores, IOU))
        double = operators.batched_nms(boxes.double(), scores.double(), group, IOU)
        wanted = package_boxes.batched_nms(boxes.double(), scores.double(), group, IOU)
        assert torch.equal(double, wanted)


@pytest.mark.parametrize("count", [1000, 1001])
def test_the_way_of_suppression_is_torchvisions(count: int) -> None:
    """The two ways round differently, so the sizes that part them have to be the same."""
    apart = 0
    for seed in range(12):
        boxes, scores, group = candidates(count, seed)
        expected = package_boxes.batched_nms(boxes, scores, group, IOU)
        assert torch.equal(operators.batched_nms(boxes, scores, group, IOU), expected)
        shifted = package_boxes._batched_nms_coordinate_trick(boxes, scores, group, IOU)
        apart += not torch.equal(
            shifted, package_boxes._batched_nms_vanilla(boxes, scores, group, IOU)
        )
    assert apart, "no example tells the two ways apart"


def test_identical_boxes_of_one_score() -> None:
    boxes = torch.tensor([[10.0, 10.0, 50.0, 50.0]]).repeat(1200, 1)
    scores, group = torch.full((1200,), 0.5), torch.arange(1200) % 3
    expected = package_boxes.batched_nms(boxes, scores, group, IOU)
    found = operators.batched_nms(boxes, scores, group, IOU)
    assert torch.equal(found, expected)
    assert len(found) == 3


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pooling_and_its_gradient_are_torchvisions(dtype: torch.dtype, grad: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 3, 20, 30, dtype=dtype, generator=generator)
    corner = torch.rand(9, 2, dtype=dtype, generator=generator) * 60
    size = torch.rand(9, 2, dtype=dtype, generator=generator) * 60
    image = torch.arange(9, dtype=dtype)[:, None] % 2
    rois = torch.cat((image, corner, corner + size), dim=1)
    ours, theirs = (features.clone().requires_grad_(grad) for _ in range(2))
    found = operators.roi_align(ours, rois, 7, 0.25)
    expected = roi_align(theirs, rois, 7, 0.25, aligned=True)
    assert torch.equal(found, expected)
    if grad:
        for one in (found, expected):
            one.square().sum().backward()
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.equal(ours.grad, theirs.grad)
        assert float(ours.grad.abs().sum()) > 0


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("with_bias", [False, True])
def test_deformed_convolutions_and_their_gradients_are_torchvisions(
    with_bias: bool, groups: int
) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 4, 11, 9, generator=generator)
    offset = torch.randn(2, 18 * groups, 6, 5, generator=generator)
    weight = torch.randn(8, 4 // groups, 3, 3, generator=generator)
    bias = torch.randn(8, generator=generator) if with_bias else None
    sizes = ((2, 2), (1, 1), (1, 1))
    with torch.inference_mode():
        found = operators.deform_conv2d(x, offset, weight, bias, *sizes)
    assert torch.equal(found, deform_conv2d(x, offset, weight, bias, *sizes))
    gradients = []
    for function in (operators.deform_conv2d, deform_conv2d):
        given = [one.clone().requires_grad_() for one in (x, offset, weight)]
        function(*given, bias, *sizes).square().sum().backward()
        gradients.append([one.grad for one in given])
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.equal(ours, theirs)
        assert float(ours.abs().sum()) > 0


#: In a process that has not imported torchvision: what inference loads, and what the first call
#: that needs gradients or shapes without data does then.
FRESH = """
import json, sys
import torch
from harness.nn import operators

def loaded():
    return [name for name in ("torchvision", "torch._dynamo") if name in sys.modules]

features = torch.randn(1, 2, 12, 12, dtype=torch.float64)
rois = torch.tensor([[0.0, 1.0, 2.0, 9.0, 10.0], [0.0, 0.0, 0.0, 3.0, 5.0]], dtype=torch.float64)
offset, weight = torch.randn(1, 18, 12, 12).double(), torch.randn(3, 2, 3, 3).double()
ones = (1, 1), (1, 1), (1, 1)
before = operators.roi_align(features, rois, 3, 0.5)
bent = operators.deform_conv2d(features, offset, weight, None, *ones)
boxes = torch.rand(1100, 4).cumsum(dim=1)
kept = operators.batched_nms(boxes, torch.rand(1100), torch.arange(1100) % 7, 0.5)
plain = loaded()
{step}
after = loaded()
pooled = lambda one: operators.roi_align(one, rois, 3, 0.5)
moved = lambda a, b, c: operators.deform_conv2d(a, b, c, None, *ones)
wanted = [one.clone().requires_grad_() for one in (features, offset, weight)]
checked = torch.autograd.gradcheck(pooled, wanted[:1]) and torch.autograd.gradcheck(moved, wanted)
same = torch.equal(pooled(features), before) and torch.equal(moved(features, offset, weight), bent)
import torchvision
same = same and torch.equal(torchvision.ops.roi_align(features, rois, 3, 0.5, aligned=True), before)
print(json.dumps([plain, after, checked, same]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "step",
    [
        "operators.roi_align(features.clone().requires_grad_(), rois, 3, 0.5)",
        "assert operators.roi_align(features.to('meta'), rois.to('meta'), 3).shape == (2, 2, 3, 3)",
    ],
    ids=["gradient", "meta"],
)
def test_gradients_and_shapes_bring_the_package(step: str) -> None:
    """Gradients are there, and right, though the operators came from the library alone."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FRESH.replace("{step}", step)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    plain, after, checked, same = json.loads(done.stdout)
    assert plain == []
    assert "torchvision" in after
    assert checked
    assert same


@pytest.fixture
def _unregistered() -> Iterator[None]:
    both = (operators.register_operators, operators.register_everything)
    for one in both:
        one.cache_clear()
    yield
    for one in both:
        one.cache_clear()


@pytest.mark.usefixtures("_unregistered")
@pytest.mark.parametrize("library", [None, b"no library"], ids=["absent", "damaged"])
def test_without_the_library_the_package_is_imported(
    library: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("")
    if library is not None:
        (package / "_C.so").write_bytes(library)
    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("torch.version.cuda", None)
    operators.register_operators()
    assert sys.modules["torchvision"].__file__ == str(package / "__init__.py")
