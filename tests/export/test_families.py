"""Every family of the zoo that standard operators allow: as it is traced, and as a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from _pytest.mark.structures import ParameterSet

from harness.core.architecture import Architecture
from harness.core.detections import Detections, Image
from harness.core.engine import Engine
from harness.core.errors import UsageError
from harness.data.proposals import generated_proposals, moved_proposals
from harness.engines.exported import inputs_of, results_of
from harness.engines.native import open_native
from harness.engines.network_outputs import labels_of
from harness.engines.parity.comparison import compare_engines
from harness.export.network import require_exportable, stage_names, traceable
from harness.measure.agreement import EXPORTED_MASK_SLACK_PX, compare
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.heads import located
from harness.nn.roi_heads import RawDetections
from harness.zoo.architectures import architecture_of
from tests.conftest import Seeded
from tests.export.test_network import detections, network_of, picture
from tests.export.truth import accuracy
from tests.golden import dense_losses, keypoint_losses
from tests.golden.cases import pictures
from tests.golden.families import FAMILIES, narrow

#: Allowed between a file and the network it was made from, in AP, recall or PQ.
EQUAL = 0.05

EXPORTED = {
    **{name: narrow(name) for name in FAMILIES if not any(narrow(name).deformable_stages)},
    "retinanet": replace(dense_losses.architecture(), dense_candidates_per_level=60),
    "keypoint_rcnn": keypoint_losses.architecture(),
}


#: Families whose files ``make test-slow`` proves; those of the others take minutes each, and are
#: proven by ``make test-long``. Between them these have every part that is traced in a way of its
#: own: regions of one map, heads on every level, keypoints, groups, deformable convolutions, a
#: semantic head, regions alone, regions that are given.
OFTEN = {
    *("mask_rcnn_R_50_C4", "retinanet", "keypoint_rcnn", "mask_rcnn_R_50_FPN_dconv_c3-c5"),
    *("panoptic_fpn_R_50", "rpn_R_50_FPN", "fast_rcnn_R_50_FPN"),
}


def files(names: Iterable[str]) -> list[ParameterSet]:
    """Names as parameters of a test that writes a file of each."""
    marks = {True: pytest.mark.slow, False: pytest.mark.long}
    return [pytest.param(name, marks=marks[name in OFTEN]) for name in names]


#: As traced these have nothing that another one has not, and take longest.
AS_OTHERS = ("faster_rcnn_R_50_C4", "panoptic_fpn_R_101_dconv_cascade_gn")


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name in AS_OTHERS else ()) for name in EXPORTED
    ]
)
def family(request: pytest.FixtureRequest) -> Architecture:
    return EXPORTED[request.param]


def regions(image: torch.Tensor, family: Architecture) -> list[torch.Tensor]:
    """Boxes all over an image that is as it was resized, for a network that is given some."""
    height, width, _ = image.shape
    whole = Image(image_id=7, pixels_bgr=image.numpy())
    if not family.given_proposals:
        return []
    boxes = generated_proposals(whole)
    most = family.rpn_post_nms
    moved = moved_proposals(boxes, (height, width), (height, width), most=most)
    return [torch.from_numpy(moved)]


def by_class(found: RawDetections) -> torch.Tensor:
    """Boxes, those of each class far from the others': a cascade's classes share their boxes."""
    return found.boxes + found.classes[:, None] * 1e4


@torch.inference_mode()
def test_as_it_is_traced_it_gives_what_the_network_gives(
    family: Architecture, seeded: Seeded
) -> None:
    network = network_of(family, seeded)
    image = picture(160, 227)
    names = (*results_of(network.architecture), *stage_names(family))
    given = regions(image, family)
    values = traceable(network)(image, *given)
    assert len(values) == len(names)
    assert len(inputs_of(network.architecture)) == 1 + len(given)
    found = dict(zip(names, values, strict=True))
    answered = network(network.batch([image.permute(2, 0, 1)]), given)
    (expected,), soft, points = answered.detections, answered.masks, answered.keypoints
    assert len(expected.scores) > 5, "too few detections to prove anything"
    assert found["finite"]
    answer = RawDetections(found["boxes"], found["scores"], found["classes"])
    assert compare(detections(answer), detections(expected)).share_within_bars == 1.0
    same = torch.cdist(by_class(expected), by_class(answer)).argmin(dim=1)  # scores may tie
    assert ("masks" in found) == (soft is not None)
    if soft is not None:
        torch.testing.assert_close(found["masks"][same], soft[0], rtol=0, atol=1e-4)
    assert ("keypoint_heat" in found) == (points is not None)
    assert ("semantic_logits" in found) == (answered.semantics is not None)
    if answered.semantics is not None:
        torch.testing.assert_close(found["semantic_logits"], answered.semantics[0])
    if points is not None:
        own = located(found["keypoint_heat"], found["boxes"])
        torch.testing.assert_close(own[same], points[0], rtol=1e-3, atol=1e-3)


def given(images: Sequence[Image], architecture: Architecture) -> list[Image]:
    """The images, with generated regions for a network that makes none."""
    if not architecture.given_proposals:
        return list(images)
    return [replace(one, proposals_xyxy_px=generated_proposals(one)) for one in images]


def agrees_in_every_stage(
    open_file: Callable[..., Engine], file: Path, architecture: Architecture, weights: Path
) -> None:
    """Every stage on one image; and AP, recall or PQ on two, if the network's answers are true."""
    from harness.export.stages import exported_stages, open_stages

    native = open_native(architecture=architecture, weights=weights, device="cpu", threads=1)
    exported = open_file(architecture=architecture, weights=file, device="cpu", threads=1)
    tapped = open_stages(file, threads=1)
    images = given(pictures(), architecture)
    report = compare_engines(
        native,
        exported,
        images[:1],
        reference_stages=lambda image: exported_stages(tapped, image),
        mask_slack_px=EXPORTED_MASK_SLACK_PX,
    )
    assert report.first_failing is None, report.stages
    assert report.agreement.detections >= 5
    truth, found = (answers(engine, images) for engine in (native, exported))
    numbers = accuracy(truth, found, images, architecture)
    assert numbers
    assert numbers == pytest.approx(dict.fromkeys(numbers, 100.0), abs=EQUAL)


def answers(engine: Engine, images: Sequence[Image]) -> list[Detections]:
    """What an engine finds, image by image."""
    return [
        engine.infer([engine.prepare(one, NULL_STOPWATCH)], NULL_STOPWATCH)[0] for one in images
    ]


@pytest.mark.parametrize("name", files(EXPORTED))
def test_the_file_of_it_agrees_in_every_stage(name: str, seeded: Seeded, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the packages of the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")
    from harness.engines.onnx import open_onnx
    from harness.export.onnx_file import write_onnx
    from harness.export.program import trace
    from tests.zoo.test_exported import facts

    family = EXPORTED[name]
    weights, file = seeded(family), tmp_path / "network.onnx"
    network = network_of(family, seeded)
    write_onnx(
        trace(network),
        results_of(network.architecture),
        file,
        inputs=inputs_of(network.architecture),
        stages=stage_names(family),
        opset=18,
        facts=lambda *_: replace(facts(), architecture=family),
    )
    agrees_in_every_stage(open_onnx, file, family, weights)


def test_what_cannot_be_exported_says_why() -> None:
    with pytest.raises(UsageError, match="ONNX Runtime has no operator"):
        require_exportable(architecture_of("mask_rcnn_R_50_FPN_dconv_c3-c5"))


#: Families of ``.pt2`` files: also those whose convolutions ONNX Runtime does not have.
AS_PT2 = {
    **EXPORTED,
    **{name: narrow(name) for name in FAMILIES if any(narrow(name).deformable_stages)},
}


@pytest.mark.parametrize("name", files(AS_PT2))
def test_the_file_of_torch_agrees_in_every_stage(name: str, seeded: Seeded, tmp_path: Path) -> None:
    from harness.engines.pt2 import open_pt2
    from harness.export.program import trace
    from harness.export.torch_file import write_program
    from tests.zoo.test_exported import facts

    architecture = AS_PT2[name]
    weights, file = seeded(architecture), tmp_path / "network.pt2"
    write_program(
        trace(network_of(architecture, seeded)),
        file,
        facts=lambda *_: replace(facts(), architecture=architecture),
    )
    agrees_in_every_stage(open_pt2, file, architecture, weights)


def test_the_documented_classes_of_pixels_are_the_engines(repository: Path) -> None:
    text = (repository / "docs" / "export.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (code,) = [block for block in blocks if "def classes_of_pixels" in block]
    found: dict[str, Any] = {}
    exec(compile(code, "docs/export.md", "exec"), found)
    logits = torch.randn((5, 24, 40), generator=torch.Generator().manual_seed(1))
    size, original = (90, 151), (61, 103)  # of the resized image, and of the original
    expected = labels_of(logits, size, original).numpy()
    answer = found["classes_of_pixels"](logits.numpy(), *size, original)
    assert answer.shape == original
    np.testing.assert_array_equal(answer, expected)
