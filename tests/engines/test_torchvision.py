"""The torchvision engine against torchvision called by hand, and its lock entries against it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torchvision.models import get_model, get_model_weights

from harness.core.architecture import Architecture
from harness.core.detections import Image
from harness.core.errors import IntegrityError, RunFailedError, UsageError
from harness.core.requests.inference import EngineOptions
from harness.core.requests.zoo import CheckWeightsRequest
from harness.core.run_lengths import decode
from harness.engines.native import open_native
from harness.engines.observed import observed, parameters_by_stage
from harness.engines.opening import own_engine, require_network, require_settings
from harness.engines.torchvision import TorchvisionEngine, open_torchvision
from harness.measure.profile import StageMeter
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.torchvision_networks import (
    build_torchvision,
    coco_labels,
    preprocessing_of,
    torchvision_shapes,
)
from harness.training.initial import load_torchvision
from harness.workflows.weights import check_weights
from harness.zoo.architectures import architecture_of, mask_rcnn_r50_fpn
from harness.zoo.lock import find_artefact, find_model, read_lock
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import read_checkpoint, write_checkpoint
from tests.conftest import Seeded
from tests.golden.cases import pictures

#: Small, so that the tests are fast; by hand and by the engine alike.
SHORT_EDGE_PX = 224

BUILDERS = (
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
)

#: One of four is enough at every step; the large ones take a minute.
SLOW = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2", "fasterrcnn_resnet50_fpn")


def small(builder: str, **changes: Any) -> Architecture:
    return replace(architecture_of(builder), short_edge_px=SHORT_EDGE_PX, **changes)


class Case(NamedTuple):
    """A checkpoint of seeded weights under the name torchvision gives its published one."""

    builder: str
    weights: Path
    hub: Path


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(builder, marks=pytest.mark.slow if builder in SLOW else ())
        for builder in BUILDERS
    ],
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    hub = tmp_path_factory.mktemp("hub")
    published = get_model_weights(request.param).DEFAULT
    weights = hub / "checkpoints" / published.url.rpartition("/")[2]
    weights.parent.mkdir()
    tensors = seeded_checkpoint(architecture_of(request.param))
    torch.save({key: torch.from_numpy(value) for key, value in tensors.items()}, weights)
    return Case(request.param, weights, hub)


@pytest.fixture
def by_hand(case: Case, monkeypatch: pytest.MonkeyPatch) -> Callable[[Image], dict[str, Any]]:
    """torchvision's own call for its published weights, with nothing of ours but the file."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(case.hub))
    weights = get_model_weights(case.builder).DEFAULT
    model = get_model(case.builder, weights=weights, min_size=SHORT_EDGE_PX).eval()

    def detect(picture: Image) -> dict[str, Any]:
        pixels = torch.from_numpy(picture.pixels_bgr[:, :, ::-1].copy()).permute(2, 0, 1)
        with torch.inference_mode():
            found = model([weights.transforms()(pixels)])[0]
        return {name: value.numpy() for name, value in found.items()}

    return detect


def opened(case: Case, **changes: Any) -> TorchvisionEngine:
    architecture = small(case.builder, **changes)
    return open_torchvision(architecture=architecture, weights=case.weights, device="cpu")


def test_detections_equal_torchvision_called_by_hand(
    case: Case, by_hand: Callable[[Image], dict[str, Any]]
) -> None:
    engine = opened(case)
    ids = coco_labels(engine.info.architecture.torchvision or "maskrcnn_resnet50_fpn")
    for picture in pictures()[:1]:
        expected = by_hand(picture)
        known = np.isin(expected["labels"], ids)
        assert known.sum() >= 20, "too few detections to prove anything"
        found = engine.infer([engine.prepare(picture, NULL_STOPWATCH)], NULL_STOPWATCH)[0]
        assert np.array_equal(found.boxes_xyxy_px, expected["boxes"][known])
        assert np.array_equal(found.scores, expected["scores"][known])
        assert [ids[one] for one in found.class_index] == expected["labels"][known].tolist()
        if "masks" not in expected:
            assert found.masks is None
            continue
        assert found.masks is not None
        for mask, soft in zip(found.masks, expected["masks"][known, 0], strict=True):
            assert np.array_equal(decode(mask), soft > 0.5)


def test_the_lock_says_what_torchvision_says(case: Case) -> None:
    lock = read_lock()
    entry = find_model(lock, f"torchvision_{case.builder}")
    artefact = find_artefact(lock, entry.checkpoint or "")
    published = get_model_weights(case.builder).DEFAULT
    assert artefact.url == published.url
    numbers = published.meta["_metrics"]["COCO-val2017"]
    names = {"bbox/AP": "box_map", "segm/AP": "mask_map"}
    assert {names[one.metric]: one.value for one in entry.references} == numbers
    model = get_model(case.builder, weights=None, weights_backbone=None)
    numbers = architecture_of(entry.architecture)
    assert model.transform.min_size == (numbers.short_edge_px,)
    assert model.transform.max_size == numbers.long_edge_max_px
    heads = model.roi_heads
    assert heads.score_thresh == numbers.score_threshold
    assert heads.nms_thresh == numbers.box_nms_iou
    assert heads.detections_per_img == numbers.max_detections
    assert heads.has_mask() == numbers.has_masks
    engine = opened(case)
    assert sum(one.numel() for one in engine.network.parameters()) == published.meta["num_params"]


def test_coco_has_eighty_classes_with_their_ids() -> None:
    left_out = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    expected = tuple(one for one in range(1, 91) if one not in left_out)
    for builder in BUILDERS:
        assert coco_labels(architecture_of(builder).torchvision or "") == expected  # type: ignore[arg-type]


def test_every_stage_is_seen(case: Case) -> None:
    engine = opened(case)
    meter = StageMeter(lambda: 0.0, lambda: None)
    with observed(engine, meter):
        engine.infer([engine.prepare(pictures()[0], NULL_STOPWATCH)], meter)
    masks = {"mask pooling", "mask head"} if engine.info.architecture.has_masks else set()
    assert set(meter.amounts) >= masks | {
        *("normalise", "backbone", "fpn", "rpn head", "proposals", "paste"),
        *("box pooling", "box head", "box selection"),
    }
    assert "rest" not in parameters_by_stage(engine)


# -- weights of other classes, and weights that are none -------------------------------------------

LIGHT = "fasterrcnn_mobilenet_v3_large_fpn"


def light(**changes: Any) -> Architecture:
    """The lightest network for eight classes, on images that give it few regions."""
    return replace(architecture_of(LIGHT), **{"class_count": 8, "short_edge_px": 64, **changes})


@pytest.fixture(scope="module")
def eight_classes(seeded: Seeded) -> Path:
    return seeded(light())


def test_a_mask_layer_of_more_labels_than_the_classifier_is_read(tmp_path: Path) -> None:
    # Who replaces the box head alone keeps COCO's mask layer, and a table beside the optimiser's.
    architecture = small("maskrcnn_resnet50_fpn", class_count=10)
    tensors = seeded_checkpoint(architecture)
    layer = "roi_heads.mask_predictor.mask_fcn_logits"
    whole = {**tensors}
    for key, filler in ((f"{layer}.weight", 7.0), (f"{layer}.bias", -7.0)):
        value = tensors[key]
        more = np.full((91 - len(value), *value.shape[1:]), filler, dtype=np.float32)
        whole[key] = np.concatenate([value, more])
    table = {key: torch.from_numpy(value) for key, value in whole.items()}
    torch.save({"state_dict": table, "optimizer": {"state": {}}}, tmp_path / "Best.pth.tar")
    engine = open_torchvision(
        architecture=architecture, weights=tmp_path / "Best.pth.tar", device="cpu"
    )
    loaded = engine.network.state_dict()[f"{layer}.weight"].numpy()
    assert np.array_equal(loaded, tensors[f"{layer}.weight"])
    # A training that begins with it keeps every layer.
    network = build_torchvision(architecture, 11)
    begun = load_torchvision(
        network, architecture, read_checkpoint(tmp_path / "Best.pth.tar"), where="Best.pth.tar"
    )
    assert begun.fresh == ()
    assert np.array_equal(network.state_dict()[f"{layer}.weight"].numpy(), loaded)


def test_such_weights_are_accounted_for(tmp_path: Path) -> None:
    published = architecture_of("maskrcnn_resnet50_fpn")
    tensors = {
        key: np.zeros(shape, np.float32)
        for key, shape in torchvision_shapes(replace(published, class_count=3), 4).items()
    }
    layer = "roi_heads.mask_predictor.mask_fcn_logits"
    tensors |= {f"{layer}.weight": np.zeros((91, 256, 1, 1)), f"{layer}.bias": np.zeros(91)}
    table = {f"module.{key}": torch.from_numpy(value) for key, value in tensors.items()}
    path = tmp_path / "Best.pth.tar"  # of a DataParallel
    torch.save({"state_dict": table, "optimizer": {"state": {}}}, path)
    names = tmp_path / "own.json"
    rows = [{"id": number, "name": str(number)} for number in range(1, 4)]
    names.write_text(json.dumps({"images": [], "annotations": [], "categories": rows}))
    request = CheckWeightsRequest(file=path, annotations=names)
    assert "torchvision_maskrcnn_resnet50_fpn" in check_weights(request).models


def test_recipe_fields_reach_torchvision(eight_classes: Path) -> None:
    def found(**changes: Any) -> tuple[Any, Any]:
        architecture = light(**changes)
        engine = open_torchvision(architecture=architecture, weights=eight_classes, device="cpu")
        prepared = engine.prepare(pictures()[0], NULL_STOPWATCH)
        return prepared.pixels, engine.infer([prepared], NULL_STOPWATCH)[0]

    pixels, plain = found(score_threshold=0.0)
    assert len(plain) > 7
    assert len(found(score_threshold=0.0, max_detections=7)[1]) == 7
    middle = float(np.median(plain.scores))
    assert 0 < len(found(score_threshold=middle)[1]) < len(plain)
    assert torch.equal(found(channel_order="BGR")[0], pixels.flip(0))
    assert not np.array_equal(found(long_edge_max_px=50)[1].boxes_xyxy_px, plain.boxes_xyxy_px)


def test_weights_for_other_classes_count_them_from_one(eight_classes: Path) -> None:
    architecture = light(score_threshold=0.0)
    engine = open_torchvision(architecture=architecture, weights=eight_classes, device="cpu")
    prepared = engine.prepare(pictures()[0], NULL_STOPWATCH)
    expected = engine.network([preprocessing_of(LIGHT)(prepared.pixels)])[0]
    found = engine.infer([prepared], NULL_STOPWATCH)[0]
    assert len(found) == len(expected["labels"]) > 0
    assert found.class_index.tolist() == (expected["labels"] - 1).tolist()


def test_a_classifier_of_other_size_is_refused(eight_classes: Path) -> None:
    for count in (7, 80):
        said = f"has 9 labels.*{count} categories need {count + 1}"
        with pytest.raises(IntegrityError, match=said):
            open_torchvision(
                architecture=light(class_count=count), weights=eight_classes, device="cpu"
            )


def test_weights_of_another_network_are_refused(eight_classes: Path) -> None:
    with pytest.raises(IntegrityError, match="does not fit the model"):
        open_torchvision(
            architecture=small("fasterrcnn_resnet50_fpn", class_count=8),
            weights=eight_classes,
            device="cpu",
        )


def test_an_overflow_is_not_an_image_without_detections(tmp_path: Path) -> None:
    tensors = seeded_checkpoint(light())
    tensors["roi_heads.box_predictor.cls_score.weight"][:] = 1e38
    path = tmp_path / "overflow.safetensors"
    write_checkpoint(path, tensors)
    engine = open_torchvision(architecture=light(), weights=path, device="cpu")
    with pytest.raises(RunFailedError, match="image 1: the network's output is not finite"):
        engine.infer([engine.prepare(pictures()[0], NULL_STOPWATCH)], NULL_STOPWATCH)


def test_an_image_of_which_a_resize_leaves_nothing_is_named(eight_classes: Path) -> None:
    engine = open_torchvision(architecture=light(), weights=eight_classes, device="cpu")
    numbers = engine.info.architecture
    longest = numbers.long_edge_max_px
    for shape, is_lost in (((1, longest), False), ((longest + 2, 1), True), ((1, 3000), True)):
        image = Image(image_id=1, pixels_bgr=np.zeros((*shape, 3), np.uint8))
        if not is_lost:
            assert len(engine.infer([engine.prepare(image, NULL_STOPWATCH)], NULL_STOPWATCH)) == 1
            continue
        with pytest.raises(IntegrityError, match=f"{shape[1]} × {shape[0]} px is too narrow"):
            engine.prepare(image, NULL_STOPWATCH)


# -- which engine for which network ----------------------------------------------------------------


def test_each_network_has_its_engines() -> None:
    ours, theirs = mask_rcnn_r50_fpn(), architecture_of(LIGHT)
    light = architecture_of("mask_rcnn_mobilenet_v2_fpn_lite")
    assert (own_engine(ours), own_engine(theirs)) == ("native", "torchvision")
    for name, architecture in (
        ("native", ours),
        ("detectron2", ours),
        ("fake", ours),
        ("native", light),
        ("detectron2", architecture_of("mask_rcnn_regnetx_4gf_LSJ")),
        ("torchvision", theirs),
        ("fake", theirs),
    ):
        require_network(name, architecture)  # type: ignore[arg-type]
    for name, architecture in (
        ("torchvision", ours),
        ("native", theirs),
        ("detectron2", theirs),
        ("detectron2", light),
    ):
        with pytest.raises(UsageError, match=f"the {name} engine does not know this network"):
            require_network(name, architecture)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"compile": True}, "torchvision engine is not compiled"),
        ({"memory_format": "channels_last"}, "contiguous feature maps"),
        ({"precision": "bf16"}, "computes in fp32 or tf32, not bf16"),
    ],
)
def test_settings_it_does_not_have(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        require_settings("torchvision", EngineOptions(device="cpu", **given))


def test_the_native_engine_does_not_take_its_checkpoint(eight_classes: Path) -> None:
    with pytest.raises(IntegrityError, match="does not fit the model") as caught:
        open_native(architecture=mask_rcnn_r50_fpn(), weights=eight_classes, device="cpu")
    both = "torchvision's Faster R-CNN MobileNetV3-FPN, and the model is Mask R-CNN R50-FPN"
    assert f"this is a checkpoint of {both}" in str(caught.value.hint)
