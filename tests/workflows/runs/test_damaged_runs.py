"""Files of a run that were damaged or replaced since: found, named, and made good by --resume."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage
from PIL import ImageOps

from harness.core.detections import Detections
from harness.core.engine import Engine
from harness.core.errors import AnotherRunError, HarnessError, IntegrityError, UsageError
from harness.core.progress import Silent
from harness.core.record import RunRecord
from harness.core.requests.inference import InferenceRequest, ScoreRequest
from harness.core.requests.pictures import ShowRequest
from harness.core.run_files import PER_CATEGORY, PREDICTIONS, RECORD, RUN
from harness.core.settings import compose, replaced
from harness.engines.fake import open_fake
from harness.measure.timing import PhaseTimer
from harness.workflows.comparison.runs import compare_runs
from harness.workflows.evaluation.resolve import Job
from harness.workflows.evaluation.score import score_saved
from harness.workflows.pictures.show import show
from harness.workflows.runs.checksums import SUMS
from harness.workflows.runs.folder import read_record, utc_now
from harness.workflows.runs.shards import IDENTITY, shard_path

Evaluate = Callable[..., tuple[RunRecord, Path]]

SHARD = "shards/0000.jsonl"


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def counting(inferred: list[int]) -> Callable[[Job], Engine]:
    """Opens the fake engine, which then adds the image of each inference to ``inferred``."""

    def opened(job: Job) -> Engine:
        engine = open_fake(job.dataset, job.architecture)
        infer = engine.infer

        def watched(prepared: Sequence[Any], stopwatch: Any) -> list[Detections]:
            found: list[Detections] = infer(prepared, stopwatch)
            inferred.extend(one.image_id for one in found)
            return found

        engine.infer = watched  # type: ignore[method-assign]
        return engine

    return opened


def flip(path: Path, place: int | None = None) -> None:
    """Flip a bit in the middle of a file, or at an offset."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


def scored(run: Path, **fields: Any) -> RunRecord:
    return score_saved(
        compose(ScoreRequest, {"run": run, **fields}),
        command=("harness", "score"),
        now=utc_now(),
        stopwatch=PhaseTimer(lambda: 0.0, lambda: None),
    )


@pytest.mark.parametrize("name", [PREDICTIONS, SHARD, RUN, RECORD, PER_CATEGORY, SUMS])
def test_resume_makes_good_what_was_damaged(name: str, evaluated: Evaluate, tmp_path: Path) -> None:
    record, run = evaluated(tmp_path / "run")
    with pytest.raises(UsageError, match="is finished"):
        evaluated(run, resume=True)
    before = {path: (run / path).read_bytes() for path in (PREDICTIONS, SHARD, PER_CATEGORY)}
    # A bit of a checksum, not of the name behind it, which would make one of a file that is not;
    # of a shard one of its last line, not of the identity it begins with.
    flip(run / name, {SUMS: 5, SHARD: -100}.get(name))
    inferred: list[int] = []
    told = Told()
    again, _ = evaluated(run, resume=True, open_engine=counting(inferred), progress=told)
    assert len(inferred) == (1 if name == SHARD else 0)
    named = PER_CATEGORY if name == SUMS else name  # the first that its checksums are of
    assert any("damaged" in notice and named in notice for notice in told.notices)
    assert {key: value for key, value in again.metrics.items() if "/A" in key} == {
        key: value for key, value in record.metrics.items() if "/A" in key
    }
    after = {path: (run / path).read_bytes() for path in before}
    assert after[PREDICTIONS] == before[PREDICTIONS]
    assert sorted(after[SHARD].splitlines()) == sorted(before[SHARD].splitlines())
    assert read_record(run) == again
    with pytest.raises(UsageError, match="is finished"):
        evaluated(run, resume=True)


@pytest.mark.parametrize("name", [PREDICTIONS, RUN, RECORD])
def test_nothing_is_scored_shown_or_compared_from_a_damaged_run(
    name: str, evaluated: Evaluate, tmp_path: Path
) -> None:
    _, whole = evaluated(tmp_path / "whole")
    _, run = evaluated(tmp_path / "run")
    flip(run / name)
    with pytest.raises(IntegrityError, match="is not the file that was written") as caught:
        scored(run)
    assert name in caught.value.message
    assert "--resume" in (caught.value.hint or "")
    if name != RECORD:
        with pytest.raises(IntegrityError, match="is not the file that was written"):
            show(ShowRequest(run=run), progress=Silent())
    if name != RUN:
        with pytest.raises(IntegrityError, match="is not the file that was written"):
            compare_runs(whole, run, resamples=0, progress=Silent())


def test_a_run_without_checksums_is_scored_with_a_note(evaluated: Evaluate, tmp_path: Path) -> None:
    _, run = evaluated(tmp_path / "run")
    as_older_versions_left_it(run)
    record = scored(run)
    assert record.metrics["segm/AP"] == pytest.approx(100)
    assert any("has no checksum" in warning for warning in record.dataset.warnings)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [80, 60], "counts": ""},
        pytest.param({"size": [80, 60], "counts": "zzzz"}, marks=pytest.mark.slow),
        pytest.param({"size": [80, 60], "counts": "nhR35"}, marks=pytest.mark.slow),
        pytest.param({"size": [0, 0], "counts": "d`S1l11O"}, marks=pytest.mark.slow),
        {"size": [60, 80], "counts": "PPPPPP4PXZXPPL"},
    ],
)
def test_masks_of_a_run_are_proven_even_without_checksums(
    segmentation: dict[str, Any], evaluated: Evaluate, tmp_path: Path
) -> None:
    _, run = evaluated(tmp_path / "run")
    _, whole = evaluated(tmp_path / "whole")
    as_older_versions_left_it(run)
    rows = json.loads((run / PREDICTIONS).read_text("utf-8"))
    rows[0]["segmentation"] = segmentation
    (run / PREDICTIONS).write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(IntegrityError, match="prediction 0"):
        scored(run)
    with pytest.raises(IntegrityError, match="prediction 0"):
        show(ShowRequest(run=run, task="segm"), progress=Silent())
    with pytest.raises(IntegrityError, match="prediction 0"):
        compare_runs(run, whole, resamples=1, progress=Silent())


def as_older_versions_left_it(run: Path) -> None:
    (run / SUMS).unlink()
    (run / "shards" / IDENTITY).unlink()
    plain = json.loads((run / RECORD).read_text("utf-8"))
    plain["sha256"] = {}
    (run / RECORD).write_text(json.dumps(plain), encoding="utf-8")


def test_a_shard_of_another_run_is_replaced(evaluated: Evaluate, tmp_path: Path) -> None:
    _, other = evaluated(
        tmp_path / "other",
        open_engine=lambda job: open_fake(job.dataset, job.architecture, behaviour="noisy"),
    )
    _, run = evaluated(tmp_path / "run")
    whole = (run / PREDICTIONS).read_bytes()
    shard_path(run, 0).write_bytes(shard_path(other, 0).read_bytes())
    (run / PREDICTIONS).write_bytes((other / PREDICTIONS).read_bytes())
    told = Told()
    evaluated(run, resume=True, progress=told)
    assert any("belongs to another run" in notice for notice in told.notices)
    assert (run / PREDICTIONS).read_bytes() == whole


def test_images_that_were_replaced_are_not_mixed(
    evaluated: Evaluate, small_coco: Path, tmp_path: Path
) -> None:
    def failing(job: Job) -> Engine:
        return open_fake(job.dataset, job.architecture, behaviour="failing", fail_at_image=12)

    with pytest.raises(HarnessError):
        evaluated(tmp_path / "run", open_engine=failing)
    path = small_coco / "images" / "000000000007.png"
    with PillowImage.open(path) as image:
        inverted = ImageOps.invert(image.convert("RGB"))
    inverted.save(path)
    for workers in (None, 2):
        with pytest.raises(AnotherRunError, match="replaced since, the first is image 7") as caught:
            evaluated(tmp_path / "run", resume=True, workers=workers)
        assert "--verify-images" in (caught.value.hint or "")


def test_verify_images_compares_contents(
    evaluated: Evaluate, asked: InferenceRequest, small_coco: Path, tmp_path: Path
) -> None:
    """A touched image is the same; one changed in place, with its size and time, is another."""

    def failing(job: Job) -> Engine:
        return open_fake(job.dataset, job.architecture, behaviour="failing", fail_at_image=12)

    verifying = replaced(asked, verify_images=True)

    def run(**changes: Any) -> tuple[RunRecord, Path]:
        return evaluated(tmp_path / "run", inference=verifying, **changes)

    with pytest.raises(HarnessError):
        run(open_engine=failing)
    path = small_coco / "images" / "000000000007.png"
    times = path.stat()
    os.utime(path, ns=(1, 1))
    with pytest.raises(HarnessError, match="image 12"):
        run(resume=True, open_engine=failing)
    flip(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(AnotherRunError, match="replaced since, the first is image 7"):
        run(resume=True)


def test_annotations_that_changed_are_refused(
    evaluated: Evaluate, small_coco: Path, tmp_path: Path
) -> None:
    _, run = evaluated(tmp_path / "run")
    annotations = small_coco / "annotations.json"
    content = json.loads(annotations.read_text("utf-8"))
    content["annotations"] = content["annotations"][::2]
    annotations.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(IntegrityError, match="changed since the run") as caught:
        scored(run)
    assert "--annotations" in (caught.value.hint or "")
    with pytest.raises(IntegrityError, match="changed since the run"):
        show(ShowRequest(run=run), progress=Silent())
    with pytest.raises(IntegrityError, match="changed since the run"):
        compare_runs(run, run, resamples=1, progress=Silent())
    assert compare_runs(run, run, resamples=0, progress=Silent()).differing_images == 0
    record = scored(run, annotations=annotations)
    assert record.metrics["bbox/AP"] != pytest.approx(100)
    assert record.dataset.annotations_path == str(annotations)
    assert any("other annotations" in one for one in record.protocol_deviations)
