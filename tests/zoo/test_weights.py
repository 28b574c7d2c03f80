"""Checkpoints: every kind of file, every tensor accounted for, every fault named."""

from __future__ import annotations

import itertools
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.architecture import Architecture
from harness.core.errors import IntegrityError, UsageError
from harness.nn.rcnn import tensor_shapes
from harness.zoo.architectures import (
    BY_NAME,
    faster_rcnn_r50_fpn,
    mask_rcnn_r50_fpn,
    mask_rcnn_r101_fpn,
    retinanet_r50_fpn,
)
from harness.zoo.families import family_of
from harness.zoo.weights import account_for, read_checkpoint, write_checkpoint

TENSORS = {
    "backbone.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "backbone.bias": np.array([-1.5, 1e-30], dtype=np.float32),
    "scale": np.array(3.0, dtype=np.float32),
}
SHAPES = {key: value.shape for key, value in TENSORS.items()}


def assert_same(found: Any, expected: Any) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert found[key].shape == value.shape
        np.testing.assert_array_equal(found[key], value)


# -- kinds of files --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".pkl", ".safetensors"])
def test_what_is_written_comes_back(odd_tmp_path: Path, ending: str) -> None:
    path = odd_tmp_path / "new folder" / f"model{ending}"
    write_checkpoint(path, TENSORS)
    assert_same(
        read_checkpoint(path), dict(sorted(TENSORS.items())) if ending != ".pkl" else TENSORS
    )
    assert [found.name for found in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".pkl", ".safetensors"])
def test_any_layout_in_memory_is_written_by_value(tmp_path: Path, ending: str) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    layouts = {
        "big": values.astype(">f4"),
        "columns": np.asfortranarray(values),
        "part": values[::2],
    }
    write_checkpoint(tmp_path / f"model{ending}", layouts)
    found = read_checkpoint(tmp_path / f"model{ending}")
    for key, layout in layouts.items():
        assert found[key].dtype == np.float32
        np.testing.assert_array_equal(found[key], layout)


def test_what_is_written_is_a_file_of_the_zoo(tmp_path: Path) -> None:
    """Detectron2 tells its own files by these two keys."""
    write_checkpoint(tmp_path / "model.pkl", TENSORS)
    content = pickle.loads((tmp_path / "model.pkl").read_bytes(), encoding="latin1")
    assert {"model", "__author__"} <= content.keys()
    assert_same(content["model"], TENSORS)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda table: table,
        lambda table: {"model": table, "__author__": "nobody", "matching_heuristics": True},
        lambda table: {"model": OrderedDict(table), "iteration": 89_999, "optimizer": {"lr": [1]}},
        lambda table: {"blobs": table},
        lambda table: {"state_dict": table, "optimizer": {"lr": 0.1}},
    ],
)
def test_a_table_is_found_in_what_it_is_wrapped_in(
    tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(wrap(TENSORS)))
    assert_same(read_checkpoint(tmp_path / "model.pkl"), TENSORS)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_is_read(tmp_path: Path, zipped: bool) -> None:
    import torch

    table = {key: torch.from_numpy(value) for key, value in TENSORS.items()}
    table["backbone.weight"] = torch.nn.Parameter(table["backbone.weight"])
    path = tmp_path / "model.pth"
    torch.save(
        {"model": table, "optimizer": {}, "iteration": 3},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    assert_same(read_checkpoint(path), TENSORS)


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_floats_of_torch_that_numpy_may_lack(tmp_path: Path, kind: str) -> None:
    import torch

    torch.save({"weight": torch.tensor([1.5, -2.0], dtype=getattr(torch, kind))}, tmp_path / "m.pt")
    found = account_for(read_checkpoint(tmp_path / "m.pt"), {"weight": (2,)}, where="m.pt")
    assert_same(found, {"weight": np.array([1.5, -2.0], dtype=np.float32)})


def test_a_hostile_file_of_torch_is_refused_and_never_runs(tmp_path: Path) -> None:
    import torch

    class Running:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "it ran",)

    path = tmp_path / "model.pth"
    torch.save({"model": {"weight": Running()}}, path)
    with pytest.raises(IntegrityError, match=r"cannot read .*model\.pth"):
        read_checkpoint(path)
    assert not (tmp_path / "it ran").exists()
    torch.load(path, weights_only=False)  # the control
    assert (tmp_path / "it ran").exists()


# -- files that cannot be read ---------------------------------------------------------------------

DAMAGED = {
    "empty": (b"", "it is empty"),
    "a web page": (b"\n<!DOCTYPE html><html>403</html>", "a web page"),
    "a zip": (b"PK\x03\x04" + bytes(60), "wrong ending|damaged"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
    "noise": (bytes(range(256)), "cut off or damaged"),
}


@pytest.mark.parametrize("ending", [".pkl", ".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_checkpoint_is_called_what_it_looks_like(
    tmp_path: Path, name: str, ending: str
) -> None:
    data, looks = DAMAGED[name]
    path = tmp_path / f"model{ending}"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=looks) as caught:
        read_checkpoint(path)
    assert str(path) in caught.value.message
    assert len(caught.value.message.splitlines()) == 1
    assert "harness download" in str(caught.value.hint)


@pytest.mark.parametrize("ending", [".pkl", ".pth", ".safetensors"])
def test_a_file_that_is_cut_off_is_refused_at_every_length(tmp_path: Path, ending: str) -> None:
    import torch

    path = tmp_path / f"model{ending}"
    if ending == ".pth":
        torch.save({key: torch.from_numpy(value) for key, value in TENSORS.items()}, path)
    else:
        write_checkpoint(path, TENSORS)
    whole = path.read_bytes()
    for length in {0, 1, 7, 8, len(whole) // 3, len(whole) // 2, len(whole) - 4, len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(IntegrityError):
            read_checkpoint(path)


@given(data=st.binary(max_size=300))
def test_any_bytes_are_no_safetensors_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds no table of tensors but list"),
        ({}, "holds no table"),
        ({"model": {}}, "holds no table"),
        ({"weight": "text"}, "'weight' is str, not a tensor"),
        ({"model": {"weight": [1.0, 2.0]}}, "'weight' is list, not a tensor"),
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(IntegrityError, match=said):
        read_checkpoint(tmp_path / "model.pkl")


def test_files_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot open the checkpoint .*nowhere\.pkl"):
        read_checkpoint(tmp_path / "nowhere.pkl")
    (tmp_path / "folder.pkl").mkdir()
    with pytest.raises(UsageError, match="cannot open the checkpoint"):
        read_checkpoint(tmp_path / "folder.pkl")
    (tmp_path / "model.h5").write_bytes(b"")
    with pytest.raises(UsageError, match="unknown ending") as caught:
        read_checkpoint(tmp_path / "model.h5")
    assert ".safetensors" in str(caught.value.hint)


def test_writing_where_one_cannot(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must be \.pkl or \.safetensors"):
        write_checkpoint(tmp_path / "model.pth", TENSORS)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot write"):
        write_checkpoint(tmp_path / "file" / "model.pkl", TENSORS)
    with pytest.raises(UsageError, match="cannot write"):
        write_checkpoint(Path("/proc/nowhere/model.safetensors"), TENSORS)


# -- accounting ------------------------------------------------------------------------------------


def zeros(architecture: Architecture) -> dict[str, Any]:
    """Every tensor of a network; all of them views of one number, so that they cost nothing."""
    return {
        key: np.broadcast_to(np.float32(0), shape)
        for key, shape in tensor_shapes(architecture).items()
    }


def test_what_fits_comes_back_as_float32_in_the_order_of_the_model() -> None:
    found = {key: TENSORS[key].astype(np.float64) for key in reversed(TENSORS)}
    assert_same(account_for(found, SHAPES, where="here"), TENSORS)


def test_constants_of_the_architecture_may_be_there_and_are_left_out() -> None:
    constants = {
        "pixel_mean": np.ones((3, 1, 1), np.float32),
        "pixel_std": np.ones((3, 1, 1), np.float32),
        "proposal_generator.anchor_generator.cell_anchors.4": np.ones((3, 4), np.float32),
        "backbone.norm.num_batches_tracked": np.array(7, np.int64),
    }
    assert_same(account_for({**TENSORS, **constants}, SHAPES, where="here"), TENSORS)


@pytest.mark.parametrize("key", ["pixel_mean.weight", "my_pixel_std", "cell_anchors.0"])
def test_what_only_looks_like_a_constant_is_unexpected(key: str) -> None:
    with pytest.raises(IntegrityError, match=f"1 unexpected: {key}"):
        account_for({**TENSORS, key: np.ones(3, np.float32)}, SHAPES, where="here")


def test_every_fault_is_in_one_error() -> None:
    found = {
        "scale": np.array([3.0], np.float32),
        "backbone.weight": np.full((2, 3, 2, 2), np.nan, np.float32),
        "head.weight": np.ones(1, np.int64),
    }
    with pytest.raises(IntegrityError) as caught:
        account_for(found, SHAPES, where="model.pkl")
    assert caught.value.message.splitlines() == [
        "model.pkl does not fit the model:",
        "  1 missing: backbone.bias",
        "  1 unexpected: head.weight",
        "  1 of another shape: scale: expected (), found (1,)",
        "  1 not floating-point: head.weight",
        "  1 not finite: backbone.weight",
    ]


def test_long_lists_are_shortened_and_counted() -> None:
    expected = {f"layer.{number}": (1,) for number in range(100)}
    with pytest.raises(IntegrityError) as caught:
        account_for({}, expected, where="here")
    assert "100 missing: layer.0, " in caught.value.message
    assert "and 95 more" in caught.value.message
    assert len(caught.value.message) < 300


@given(found=st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([(), (1,), (2,), (1, 2)])))
def test_only_the_very_set_of_names_and_shapes_is_accepted(
    found: dict[str, tuple[int, ...]],
) -> None:
    expected = {"a": (), "b": (1,), "c": (2,)}
    tensors = {key: np.ones(shape, np.float32) for key, shape in found.items()}
    if found == expected:
        assert account_for(tensors, expected, where="here").keys() == expected.keys()
        return
    with pytest.raises(IntegrityError) as caught:
        account_for(tensors, expected, where="here")
    for key in found.keys() ^ expected.keys():
        assert key in caught.value.message


def two_classes() -> Architecture:
    return Architecture(class_count=2)


@pytest.mark.parametrize(
    ("checkpoint", "model", "hint"),
    [
        (
            faster_rcnn_r50_fpn,
            mask_rcnn_r50_fpn,
            "a checkpoint of Faster R-CNN R50-FPN, and the model is Mask R-CNN R50-FPN",
        ),
        (
            mask_rcnn_r101_fpn,
            faster_rcnn_r50_fpn,
            "a checkpoint of Mask R-CNN R101-FPN, and the model is Faster R-CNN R50-FPN",
        ),
        (
            retinanet_r50_fpn,
            mask_rcnn_r101_fpn,
            "a checkpoint of RetinaNet R50-FPN, and the model is Mask R-CNN R101-FPN",
        ),
        (two_classes, mask_rcnn_r50_fpn, "another number of classes"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_with_the_reason(
    checkpoint: Callable[[], Architecture], model: Callable[[], Architecture], hint: str
) -> None:
    with pytest.raises(IntegrityError) as caught:
        account_for(zeros(checkpoint()), tensor_shapes(model()), where="model.pkl")
    assert hint in str(caught.value.hint)


def test_a_backbone_of_caffe2_is_called_one() -> None:
    backbone = {"conv1_w": np.ones((64, 3, 7, 7), np.float32), "res2_0_branch2a_w": np.ones(1)}
    with pytest.raises(IntegrityError) as caught:
        account_for(backbone, tensor_shapes(mask_rcnn_r50_fpn()), where="R-50.pkl")
    assert "Caffe2's names: a backbone" in str(caught.value.hint)


@pytest.mark.parametrize(
    "layer", ["cls_score_w", "rpn_cls_logits_fpn2_w", "retnet_cls_pred_fpn3_w"]
)
def test_a_detector_of_caffe2_is_not_called_a_backbone(layer: str) -> None:
    detector = {"conv1_w": np.ones((64, 3, 7, 7), np.float32), layer: np.ones(1, np.float32)}
    with pytest.raises(IntegrityError) as caught:
        account_for(detector, tensor_shapes(mask_rcnn_r50_fpn()), where="model_final.pkl")
    assert "a detector of Detectron" in str(caught.value.hint)
    assert "backbone" not in str(caught.value.hint)


def test_every_two_networks_of_the_zoo_are_called_differently() -> None:
    called: dict[str | None, dict[str, tuple[int, ...]]] = {}
    for name, make in BY_NAME.items():
        shapes = tensor_shapes(make())
        family = family_of(shapes)
        assert family is not None, name
        assert called.setdefault(family, shapes) == shapes, (name, family)
    assert len(called) > 25


@pytest.mark.slow
def test_a_checkpoint_of_each_network_under_each_other_names_both() -> None:
    """What the quick test of a few pairs shows, of all that are not called the same."""
    kinds = {family_of(shapes): shapes for shapes in (tensor_shapes(f()) for f in BY_NAME.values())}
    # Zeros that take no memory, whatever the shape.
    files = {
        kind: {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
        for kind, shapes in kinds.items()
    }
    pairs = list(itertools.permutations(kinds, 2))
    assert len(pairs) > 1000
    for theirs, ours in pairs:
        with pytest.raises(IntegrityError, match="does not fit the model") as caught:
            account_for(files[theirs], kinds[ours], where="model.pkl")
        expected = f"this is a checkpoint of {theirs}, and the model is {ours}: "
        assert str(caught.value.hint).startswith(expected)


def test_each_network_of_torchvision_is_called_differently() -> None:
    def called(*keys: str) -> str | None:
        heads = "roi_heads.box_predictor.cls_score.weight"
        return family_of(dict.fromkeys((heads, *keys), (1,)))

    resnet, mask = "backbone.body.layer4.0.conv1.weight", "roi_heads.mask_predictor.conv5_mask.bias"
    assert called(resnet) == "torchvision's Faster R-CNN R50-FPN"
    assert called(resnet, mask) == "torchvision's Mask R-CNN R50-FPN"
    second = called(resnet, mask, "rpn.head.conv.1.0.weight")
    assert second == "torchvision's Mask R-CNN R50-FPN v2"
    assert called("backbone.body.0.0.weight") == "torchvision's Faster R-CNN MobileNetV3-FPN"


@pytest.mark.parametrize("shapes", [{}, {"conv1_w": (1,)}, {"backbone.body.conv1.weight": (1,)}])
def test_what_is_no_whole_network_has_no_such_name(shapes: dict[str, tuple[int, ...]]) -> None:
    assert family_of(shapes) is None
