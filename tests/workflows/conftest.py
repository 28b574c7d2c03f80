"""Jobs and runs on the small data set, without a command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.progress import Silent
from harness.core.record import DatasetFacts, RunRecord
from harness.core.requests.inference import EvalRequest, InferenceRequest
from harness.core.requests.training import TrainRequest
from harness.core.run_files import RUN
from harness.core.settings import recorded
from harness.files.json import dumps, to_plain
from harness.measure.timing import PhaseTimer
from harness.training.weight_files import WEIGHTS_BEST
from harness.workflows.evaluation.evaluate import evaluate
from harness.workflows.evaluation.resolve import Job, resolve
from harness.workflows.runs.files import RunFile
from harness.workflows.runs.folder import utc_now
from tests.composing import composed

Evaluate = Callable[..., tuple[RunRecord, Path]]


def write_training(folder: Path, **asked: Any) -> Path:
    """Write ``run.json`` of a training to a folder; the path of the weights that it would leave."""
    facts = DatasetFacts(
        name="own",
        annotations_path="own.json",
        images_dir="images",
        digest="ab" * 32,
        image_count=1,
        evaluated_images=1,
        warnings=(),
    )
    request = to_plain(recorded(composed(TrainRequest, **asked)))
    run = RunFile(run_id="a training", kind="train", request=request, dataset=facts)
    (folder / RUN).write_text(dumps(to_plain(run)), encoding="utf-8")
    return folder / WEIGHTS_BEST


@pytest.fixture
def asked(small_coco: Path, tmp_path: Path) -> InferenceRequest:
    """The fake engine on the small data set."""
    return composed(
        InferenceRequest,
        annotations=small_coco / "annotations.json",
        images=small_coco / "images",
        root=tmp_path / "datasets",
        engine="fake",
    )


@pytest.fixture
def job(asked: InferenceRequest) -> Job:
    return resolve(asked)


@pytest.fixture
def evaluated(asked: InferenceRequest) -> Evaluate:
    """Run ``evaluate`` on the small data set, fields of the request and arguments as keywords."""

    def run(output: Path, **given: Any) -> tuple[RunRecord, Path]:
        arguments = {name: given.pop(name) for name in ("open_engine", "progress") if name in given}
        return evaluate(
            EvalRequest(inference=given.pop("inference", asked), output=output, **given),
            **{
                "progress": Silent(),
                "command": ("harness", "eval"),
                "now": utc_now(),
                "stopwatch": PhaseTimer(time.perf_counter, lambda: None),
                **arguments,
            },
        )

    return run
