"""A request is answered or refused before any inference."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.architecture import TorchvisionBuilder
from harness.core.errors import HarnessError, IntegrityError, PrerequisiteError, UsageError
from harness.core.requests.inference import InferenceRequest
from harness.core.settings import replaced
from harness.files.digest import file_digest
from harness.files.layout import LOCK_NAME, find_lock
from harness.workflows.evaluation.resolve import FAKED, open_job_engine, resolve
from harness.zoo.architectures import of_torchvision
from harness.zoo.checkpoints import find_checkpoint
from harness.zoo.lock import find_model, read_lock
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.composing import composed


@pytest.mark.parametrize(
    ("change", "kind", "complaint"),
    [
        ({"batch_size": 0}, UsageError, "--batch-size must be at least 1, got 0"),
        ({"loaders": -1}, UsageError, "--loaders must be from 1 to 512, got -1"),
        ({"threads": 0}, UsageError, "--threads must be from 1 to 512, got 0"),
        ({"limit": 0}, UsageError, "--limit must be at least 1, got 0"),
        ({"max_detections": 0}, UsageError, "--max-detections must be"),
        ({"short_edge_px": 8}, UsageError, "--short-edge must be from 32 to 20000, got 8"),
        ({"long_edge_max_px": 8}, UsageError, "--long-edge-max must be from 32 to 20000"),
        ({"score_threshold": 1.0}, UsageError, "--score-threshold must be"),
        ({"score_threshold": float("nan")}, UsageError, "--score-threshold must be"),
        ({"weights": Path("nowhere.pkl")}, UsageError, "no such checkpoint file: nowhere.pkl"),
        ({"weights": Path(__file__), "engine": "native"}, UsageError, "unknown ending"),
        ({"model": "tinny"}, UsageError, "did you mean tiny?"),
        ({"images": None}, UsageError, "go together, and --images is missing"),
        ({"annotations": None}, UsageError, "go together, and --annotations is missing"),
        ({"dataset": "synthetic_val"}, UsageError, "not both"),
        ({"annotations": Path("nowhere.json")}, UsageError, "no such file: nowhere.json"),
        ({"images": Path("nowhere")}, UsageError, "no such folder of images: nowhere"),
        ({"model": "R_50_FPN_3x"}, IntegrityError, "knows 80 classes.* lists 8 categories"),
    ],
)
def test_refusals(
    asked: InferenceRequest, change: dict[str, Any], kind: type[HarnessError], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint):
        resolve(replaced(asked, **change))


def test_missing_images_are_found_before_the_run(asked: InferenceRequest, small_coco: Path) -> None:
    (small_coco / "images" / "000000000042.png").unlink()
    (small_coco / "images" / "000000001001.png").unlink()
    with pytest.raises(IntegrityError, match=r"2 of 6 images are missing .* 000000000042\.png"):
        resolve(asked)
    assert len(resolve(replaced(asked, limit=3)).dataset.images) == 3


def test_a_data_set_without_images_is_refused(asked: InferenceRequest, small_coco: Path) -> None:
    content = json.loads((small_coco / "annotations.json").read_text(encoding="utf-8"))
    bare = small_coco / "bare.json"
    bare.write_text(json.dumps({**content, "images": [], "annotations": []}), encoding="utf-8")
    with pytest.raises(IntegrityError, match="lists no image"):
        resolve(replaced(asked, annotations=bare))


LIGHT_BUILDER: TorchvisionBuilder = "fasterrcnn_mobilenet_v3_large_fpn"
LIGHT = "torchvision_fasterrcnn_mobilenet_v3_large_fpn"


def test_a_model_brings_its_engine(asked: InferenceRequest, tmp_path: Path) -> None:
    weights = tmp_path / "own.safetensors"
    architecture = replace(of_torchvision(LIGHT_BUILDER, has_masks=False), class_count=8)
    write_checkpoint(weights, seeded_checkpoint(architecture))
    request = replaced(asked, model=LIGHT, engine=None, weights=weights, limit=2)
    job = resolve(request)
    assert job.engine == job.resolved["engine"] == "torchvision"
    assert job.resolved["memory_format"] == "contiguous"
    assert [one.partition(":")[0] for one in job.deviations] == [
        "only 2 of 6 images were evaluated",
        "the checkpoint is not the pinned one",
    ]
    engine = open_job_engine(job)
    assert (engine.info.name, engine.info.architecture.class_count) == ("torchvision", 8)
    assert resolve(replaced(asked, engine=None)).engine == "native"
    swapped = resolve(replaced(request, channel_order="BGR"))
    assert any("channel_order is BGR, the protocol says RGB" in one for one in swapped.deviations)
    for name in ("native", "detectron2"):
        with pytest.raises(UsageError, match="choose --engine torchvision"):
            resolve(replaced(request, engine=name))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="choose --engine native"):
        resolve(replaced(asked, engine="torchvision"))


def test_a_model_without_weights_says_how_to_get_some(asked: InferenceRequest) -> None:
    lock = read_lock()
    entry = find_model(lock, "MobileNetV2_FPNLite_3x")
    with pytest.raises(PrerequisiteError, match="harness train --model MobileNetV2_FPNLite_3x"):
        find_checkpoint(lock, entry, None, asked.network.root)


def test_known_data_that_is_not_there_names_the_download(asked: InferenceRequest) -> None:
    with pytest.raises(PrerequisiteError, match="harness download --only val,annotations"):
        resolve(
            replaced(
                asked,
                model="R_50_FPN_3x",
                dataset="coco_2017_val",
                annotations=None,
                images=None,
            )
        )


def test_defaults_are_filled_in_and_paths_made_absolute(
    small_coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_coco)
    request = composed(
        InferenceRequest,
        annotations=Path("annotations.json"),
        images=Path("images"),
        engine="fake",
        limit=2,
    )
    job = resolve(request)
    assert job.dataset_facts.annotations_path == str(small_coco / "annotations.json")
    assert job.dataset_facts.images_dir == str(small_coco / "images")
    assert (job.dataset_facts.evaluated_images, job.dataset_facts.image_count) == (2, 6)
    assert job.resolved["dataset"] == "annotations"
    assert job.resolved["architecture"]["score_threshold"] == 0.05


def test_overrides_reach_the_network_and_are_named(asked: InferenceRequest) -> None:
    plain = resolve(asked)
    changed = resolve(
        replaced(
            asked,
            score_threshold=0.5,
            max_detections=10,
            short_edge_px=320,
            long_edge_max_px=640,
            channel_order="RGB",
            batch_size=2,
            precision="bf16",
            limit=2,
        )
    )
    assert plain.deviations == (FAKED,)
    assert changed.architecture.score_threshold == 0.5
    assert changed.architecture.max_detections == 10
    assert changed.architecture.short_edge_px == 320
    assert changed.architecture.long_edge_max_px == 640
    assert changed.architecture.channel_order == "RGB"
    words = " ".join(changed.deviations)
    for named in ("score_threshold", "max_detections", "short_edge", "long_edge", "channel_order"):
        assert named in words
    for named in ("batch size is 2", "bf16", "only 2 of 6 images"):
        assert named in words
    assert "only 2 of 6" not in " ".join(changed.deviations_on(changed.image_count))


def test_embedded_weights_are_the_pinned_ones_and_others_are_not(
    asked: InferenceRequest, tmp_path: Path
) -> None:
    pinned = resolve(replaced(asked, engine="native"))
    assert pinned.weights is not None
    assert pinned.checkpoint is not None
    assert pinned.checkpoint.sha256 == file_digest(pinned.weights)
    assert pinned.deviations == ()
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(pinned.weights.read_bytes())
    assert resolve(replaced(asked, engine="native", weights=copy)).deviations == ()
    write_checkpoint(copy, seeded_checkpoint(pinned.architecture))
    other = resolve(replaced(asked, engine="native", weights=copy))
    assert any("checkpoint" in sentence for sentence in other.deviations)


@pytest.fixture
def pinned_root(small_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose lock pins the small data set as coco_2017_val, laid out as the real one."""
    root = tmp_path / "project" / "datasets"
    (root / "coco" / "annotations").mkdir(parents=True)
    annotations = root / "coco" / "annotations" / "instances_val2017.json"
    annotations.write_bytes((small_coco / "annotations.json").read_bytes())
    (small_coco / "images").rename(root / "coco" / "val2017")
    lock = json.loads(find_lock().read_text(encoding="utf-8"))
    for artefact in lock["artefacts"]:
        files = (artefact["unpacked"] or {}).get("files", {})
        if "coco/annotations/instances_val2017.json" in files:
            files["coco/annotations/instances_val2017.json"]["sha256"] = file_digest(annotations)
    (tmp_path / "project" / LOCK_NAME).write_text(json.dumps(lock), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "project")
    return root


def test_the_pinned_annotations_are_known_wherever_they_lie(pinned_root: Path) -> None:
    images = pinned_root / "coco" / "val2017"
    named = resolve(
        composed(InferenceRequest, engine="fake", dataset="coco_2017_val", root=pinned_root)
    )
    copy = pinned_root / "renamed.json"
    copy.write_bytes(named.dataset.annotations_path.read_bytes())
    pointed = resolve(composed(InferenceRequest, engine="fake", annotations=copy, images=images))
    assert (named.dataset.name, pointed.dataset.name) == ("coco_2017_val", "coco_2017_val")


def test_other_annotations_under_a_pinned_name_are_refused(pinned_root: Path) -> None:
    annotations = pinned_root / "coco" / "annotations" / "instances_val2017.json"
    annotations.write_bytes(annotations.read_bytes() + b"\n")
    with pytest.raises(IntegrityError, match="is not the annotation file of coco_2017_val"):
        resolve(
            composed(InferenceRequest, engine="fake", dataset="coco_2017_val", root=pinned_root)
        )
    own = resolve(
        composed(
            InferenceRequest,
            engine="fake",
            annotations=annotations,
            images=pinned_root / "coco" / "val2017",
        )
    )
    assert own.dataset.name == "instances_val2017"
