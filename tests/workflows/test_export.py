"""An export is refused before it starts where it cannot be meant, and proven when it is done."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import HarnessError, IntegrityError, PrerequisiteError, UsageError
from harness.core.progress import Silent
from harness.core.requests.inference import InferenceRequest
from harness.core.requests.loading import LoadRequest, ServeRequest
from harness.core.requests.pictures import PredictRequest
from harness.core.requests.zoo import ExportRequest, ParityRequest
from harness.core.settings import replaced
from harness.data.catalog import find_dataset
from harness.engines.parity.comparison import ParityReport
from harness.files.extras import install_command
from harness.serve.server import find_served
from harness.workflows.evaluation.resolve import resolve
from harness.workflows.export import Export, export
from harness.workflows.model import load
from harness.workflows.parity import check_exported, check_parity
from harness.workflows.pictures.predict_images import find_predict_job
from harness.zoo.architectures import tiny
from harness.zoo.checkpoints import EMBEDDED, facts_of_file
from harness.zoo.model_file import CHANGED
from harness.zoo.seeded import seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.composing import composed
from tests.export.programs import rewritten
from tests.workflows.conftest import write_training

onnx = pytest.importorskip("onnx", reason="needs the packages of the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the packages of the extra onnx")

CHECKPOINT = EMBEDDED / "tiny.safetensors"


@pytest.fixture(scope="module")
def scenes(embedded_root: Path) -> Path:
    """A root with the embedded scenes."""
    return embedded_root


def scene_files(root: Path) -> list[Path]:
    dataset = find_dataset(dataset="synthetic_val", annotations=None, images=None, root=root)
    return [dataset.images_dir / image.file_name for image in dataset.images[:2]]


@pytest.mark.parametrize(
    ("asked", "option"),
    [({"score_threshold": 0.5}, "--score-threshold"), ({"max_detections": 9}, "--max-detections")],
)
def test_what_has_no_meaning_for_proposals_is_refused(
    asked: dict[str, Any], option: str, tmp_path: Path
) -> None:
    request = composed(ExportRequest, model="rpn_R_50_FPN_1x", root=tmp_path, **asked)
    with pytest.raises(UsageError, match=f"only proposes regions.*{option}") as refused:
        export(request, progress=Silent())
    assert refused.value.hint == f"leave out {option}"


def checked(file: Path, root: Path) -> ParityReport:
    paths = scene_files(root)
    checkpoint = facts_of_file(CHECKPOINT)
    return check_exported(file, checkpoint=checkpoint, paths=paths, threads=1, progress=Silent())


def changed(file: Path, output: Path, ending: str, by: float) -> Path:
    """The file with all numbers of a tensor moved; its metadata stays."""
    model = onnx.load(file)
    (tensor,) = (one for one in model.graph.initializer if one.name.endswith(ending))
    tensor.raw_data = (onnx.numpy_helper.to_array(tensor) + np.float32(by)).tobytes()
    output.write_bytes(model.SerializeToString())
    return output


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"output": Path("model.pt")}, r"--output must end in \.onnx or \.pt2, got model\.pt"),
        ({"output": Path("a.onnx"), "format": "pt2"}, r"must end in \.pt2 with --format pt2"),
        ({"opset": 17}, "--opset must be from 18 to 21, got 17"),
        ({"limit": 0}, "--limit must be at least 1"),
        ({"max_detections": 0}, "--max-detections must be at least 1"),
        ({"score_threshold": 1.0}, "--score-threshold must be"),
        ({"weights": Path("nowhere.pkl")}, "no such checkpoint file: nowhere.pkl"),
        ({"model": "tinny"}, "did you mean tiny?"),
        ({"images": Path("nowhere")}, "no such folder of images: nowhere"),
        ({"annotations": Path("nowhere.json")}, "no such file: nowhere.json"),
    ],
)
def test_refusals(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        export(composed(ExportRequest, root=tmp_path, **change), progress=Silent())
    assert not list(tmp_path.rglob("*.onnx"))


def test_weights_with_other_classes_need_their_names(tmp_path: Path, small_coco: Path) -> None:
    weights = tmp_path / "own.safetensors"
    write_checkpoint(weights, seeded_checkpoint(replace(tiny(), class_count=3)))
    with pytest.raises(HarnessError, match="cls_score"):
        export(composed(ExportRequest, weights=weights, root=tmp_path), progress=Silent())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_packages_that_are_missing_are_asked_for_first(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PrerequisiteError, match=re.escape(install_command("onnx"))):
        export(composed(ExportRequest, root=tmp_path), progress=Silent())


def test_an_unchanged_file_is_in_parity(exported_tiny: Path, scenes: Path) -> None:
    report = checked(exported_tiny, scenes)
    assert report.first_failing is None
    assert report.agreement.detections > 20
    assert [row.stage for row in report.stages][:2] == ["resized input", "backbone p2"]


@pytest.mark.parametrize(
    ("ending", "stage"),
    [
        ("fpn_output4.bias", "backbone p4"),
        ("rpn_head.objectness_logits.bias", "rpn logits"),
        ("box_predictor.cls_score.bias", "box logits"),
        ("mask_head.mask_fcn1.bias", "pasted masks"),
    ],
)
def test_the_stage_that_a_file_computes_differently_is_named(
    exported_tiny: Path, scenes: Path, tmp_path: Path, ending: str, stage: str
) -> None:
    by = 5.0 if stage == "pasted masks" else 0.05
    file = changed(exported_tiny, tmp_path / "changed.onnx", ending, by)
    assert checked(file, scenes).first_failing == stage


def test_another_checkpoint_is_refused(exported_tiny: Path, scenes: Path, tmp_path: Path) -> None:
    weights = tmp_path / "seeded.safetensors"
    write_checkpoint(weights, seeded_checkpoint(tiny()))
    with pytest.raises(IntegrityError, match="was exported from another checkpoint"):
        check_parity(
            composed(
                ParityRequest,
                model="tiny",
                images=scene_files(scenes)[0].parent,
                weights=weights,
                root=scenes,
                limit=1,
                threads=1,
                against="onnx",
                exported=exported_tiny,
            ),
            progress=Silent(),
        )


def test_a_file_counts_as_pinned_until_its_graph_changes(
    exported_tiny: Path, scenes: Path, tmp_path: Path
) -> None:
    asked = composed(
        InferenceRequest, engine="onnx", weights=exported_tiny, root=scenes, device="cpu"
    )
    job = resolve(asked)
    assert job.checkpoint is not None
    assert job.checkpoint.pinned
    assert job.deviations == ()
    assert job.resolved["exported"]["model"] == "tiny"
    file = changed(exported_tiny, tmp_path / "changed.onnx", "fpn_output4.bias", 0.05)
    changed_job = resolve(replaced(asked, weights=file))
    assert changed_job.checkpoint is not None
    assert not changed_job.checkpoint.pinned
    assert changed_job.deviations == (CHANGED,)


def test_a_file_of_which_a_byte_changed_is_refused(
    exported_tiny: Path, scenes: Path, tmp_path: Path
) -> None:
    content = bytearray(exported_tiny.read_bytes())
    content[len(content) // 2] ^= 4
    file = tmp_path / "damaged.onnx"
    file.write_bytes(content)
    asked = composed(InferenceRequest, engine="onnx", weights=file, root=scenes, device="cpu")
    with pytest.raises(IntegrityError, match=r"damaged\.onnx is damaged: its graph"):
        resolve(asked)


def test_a_file_of_torch_is_in_parity_and_counts_as_pinned(
    exported_pt2: Path, scenes: Path, tmp_path: Path
) -> None:
    report = checked(exported_pt2, scenes)
    assert report.first_failing is None
    assert report.agreement.detections > 20
    asked = composed(
        InferenceRequest, engine="pt2", weights=exported_pt2, root=scenes, device="cpu"
    )
    job = resolve(asked)
    assert job.checkpoint is not None
    assert job.checkpoint.pinned
    assert job.deviations == ()
    file = rewritten(exported_pt2, tmp_path / "changed.pt2", _other_bias)
    changed_job = resolve(replaced(asked, weights=file))
    assert changed_job.deviations == (CHANGED,)
    assert checked(file, scenes).first_failing is not None


def _other_bias(name: str, content: bytes) -> bytes:
    """Zero every tensor of 48 numbers, such as the bias of a level of the pyramid."""
    return bytes(len(content)) if "weight_" in name and len(content) == 192 else content


def test_a_file_is_run_by_the_engine_of_its_format(exported_pt2: Path, scenes: Path) -> None:
    asked = composed(InferenceRequest, engine="onnx", weights=exported_pt2, root=scenes)
    with pytest.raises(UsageError, match="not a file for the onnx engine") as refused:
        resolve(asked)
    assert "--engine pt2" in str(refused.value.hint)


def test_one_image_at_a_time(exported_tiny: Path, scenes: Path) -> None:
    asked = composed(
        InferenceRequest, engine="onnx", weights=exported_tiny, root=scenes, batch_size=2
    )
    with pytest.raises(UsageError, match="one image at a time, not 2"):
        resolve(asked)


def test_no_file_is_written_that_states_sizes_it_would_be_refused_for(
    scenes: Path, tmp_path: Path
) -> None:
    asked = {"root": scenes, "output": tmp_path / "large.pt2", "long_edge_max_px": 20_001}
    with pytest.raises(UsageError, match="--long-edge-max must be from 32 to 20000, got 20001 px"):
        export(composed(ExportRequest, **asked), progress=Silent())
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def smaller(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A file of weights in the folder of a training on 64 px, exported for 96 px."""
    run = tmp_path_factory.mktemp("run")
    weights = write_training(run, short_edge_px=64)
    weights.write_bytes(CHECKPOINT.read_bytes())
    asked = {"weights": weights, "root": scenes, "output": run / "small.pt2", "short_edge_px": 96}
    return export(composed(ExportRequest, limit=1, threads=1, **asked), progress=Silent())


@pytest.mark.slow
def test_a_file_states_the_sizes_that_were_asked_for_and_else_those_of_the_training(
    smaller: Export,
) -> None:
    numbers = smaller.facts.architecture
    assert (numbers.short_edge_px, numbers.long_edge_max_px) == (96, 112)
    assert smaller.parity.first_failing is None
    assert repr(smaller).startswith(f"<Export of tiny: {smaller.path}, ")
    assert repr(smaller).endswith(" MB, as the network in every stage>")
    (resized,) = [one for one in smaller.parity.stages if one.stage == "resized input"]
    assert resized.ok


@pytest.mark.slow
def test_a_file_is_computed_with_its_own_sizes(smaller: Export, scenes: Path) -> None:
    named: dict[str, Any] = {"model": "tiny", "root": scenes, "engine": "pt2", "device": "cpu"}
    file = {**named, "weights": smaller.path}
    asked = composed(InferenceRequest, **file)
    job = resolve(asked)
    assert job.resolved["architecture"]["short_edge_px"] == 96
    assert [one.partition(",")[0] for one in job.deviations] == [
        "short_edge_px is 96",
        "long_edge_max_px is 112",
    ]
    other = resolve(replaced(asked, short_edge_px=128, long_edge_max_px=213))
    assert other.architecture.short_edge_px == 128
    predicted = find_predict_job(
        composed(PredictRequest, paths=(str(scene_files(scenes)[0]),), **file)
    )
    served = find_served(composed(ServeRequest, **file))
    # The file says what it is for, and the folder that it is in says something else.
    with load(composed(LoadRequest, source=str(smaller.path), **named)) as model:
        engine = model.info.engine
    for numbers in (predicted.job.architecture, served.architecture, engine.architecture):
        assert (numbers.short_edge_px, numbers.long_edge_max_px) == (96, 112)
