"""``harness score``: saved predictions of any origin, refused where a number would lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import run
from harness.core.checks import Check, Reference, Status, Tolerance
from harness.core.clock import utc_now
from harness.core.errors import IntegrityError, UsageError
from harness.core.record import RunRecord
from harness.core.requests.inference import ScoreRequest
from harness.core.requests.reports import SavedPredictions
from harness.data.coco import read_annotations
from harness.measure.masks import rle_of
from harness.measure.timing import PhaseTimer
from harness.workflows.evaluation.score import score_saved
from harness.workflows.runs.folder import write_record

GOOD = {"image_id": 42, "category_id": 3, "bbox": [10, 10, 30, 20], "score": 0.9}


@pytest.fixture
def scored(small_coco: Path, tmp_path: Path) -> Callable[..., RunRecord]:
    """The record of scoring the given predictions of the small data set."""

    def answer(*rows: dict[str, Any], text: str | None = None) -> RunRecord:
        path = tmp_path / "predictions.json"
        path.write_text(json.dumps(rows) if text is None else text, encoding="utf-8")
        return score_saved(
            ScoreRequest(
                saved=SavedPredictions(
                    predictions=path, annotations=small_coco / "annotations.json"
                )
            ),
            command=("harness", "score"),
            now=utc_now(),
            stopwatch=PhaseTimer(lambda: 0.0, lambda: None),
        )

    return answer


def test_boxes_alone_are_scored_as_boxes(scored: Callable[..., RunRecord]) -> None:
    record = scored(GOOD)
    assert record.metrics["bbox/AP"] is not None
    assert "segm/AP" not in record.metrics
    assert record.verdict.outcome == "nothing-to-compare"


def test_images_without_a_prediction_are_counted(scored: Callable[..., RunRecord]) -> None:
    assert any("5 of 6 images without a prediction" in one for one in scored(GOOD).dataset.warnings)


@pytest.mark.parametrize("box", [[10, 10, 0, 20], [40, 30, -30, -20]])
def test_boxes_of_no_size_are_counted(scored: Callable[..., RunRecord], box: list[float]) -> None:
    warnings = scored(GOOD, GOOD | {"bbox": box}).dataset.warnings
    assert "1 prediction has a box of zero or negative size: it matches nothing" in warnings
    assert not any("negative size" in one for one in scored(GOOD).dataset.warnings)


@pytest.mark.parametrize(
    ("change", "diagnosable"),
    [
        ({"category_id": 99}, True),
        ({"image_id": 99}, True),
        ({"score": "0.9"}, False),
        ({"score": float("nan")}, False),
        ({"category_id": "cat"}, False),
        ({"bbox": [1, 2, 3]}, False),
    ],
)
def test_diagnose_is_advised_where_it_reads_the_file(
    scored: Callable[..., RunRecord],
    change: dict[str, Any],
    diagnosable: bool,
    small_coco: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(IntegrityError) as caught:
        scored(GOOD | change)
    assert ("harness diagnose" in (caught.value.hint or "")) == diagnosable
    words = ["diagnose", "--predictions", str(tmp_path / "predictions.json")]
    words += ["--annotations", str(small_coco / "annotations.json")]
    assert run(words) == (0 if diagnosable else 4)


def test_a_run_is_judged_as_it_was(evaluated: Callable[..., Any], tmp_path: Path) -> None:
    record, folder = evaluated(tmp_path / "run")
    reference = Reference(
        metric="bbox/AP",
        value=99.0,
        tolerance=Tolerance(below=0.5, above=0.5, source="a test"),
        dataset=record.dataset.name,
        role="accepted",
        source="a test",
    )
    check = Check(
        metric="bbox/AP",
        measured=99.0,
        reference=reference,
        delta=0.0,
        status=Status.PASS,
        reason="",
    )

    def again(deviations: tuple[str, ...]) -> RunRecord:
        write_record(folder, replace(record, checks=(check,), protocol_deviations=deviations))
        return score_saved(
            ScoreRequest(saved=SavedPredictions(run=folder)),
            command=("harness", "score"),
            now=utc_now(),
            stopwatch=PhaseTimer(lambda: 0.0, lambda: None),
        )

    judged = again(())
    assert judged.metrics["bbox/AP"] == pytest.approx(100)
    assert judged.verdict.line.startswith("NOT REPRODUCED: box AP 100.00 is 1.00 above 99.00")
    bent = again(("only 4 of 6 images were evaluated",))
    assert bent.verdict.line == "NOT COMPARABLE: only 4 of 6 images were evaluated"


def test_masks_are_scored_as_masks(scored: Callable[..., RunRecord], small_coco: Path) -> None:
    content = read_annotations(small_coco / "annotations.json")
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    rows = []
    for row in content["annotations"]:
        if not row["iscrowd"]:
            mask = rle_of(row["segmentation"], *sizes[row["image_id"]])
            size = [mask.height_px, mask.width_px]
            segmentation = {"size": size, "counts": mask.counts}
            kept = {key: row[key] for key in ("image_id", "category_id", "bbox")}
            rows.append({**kept, "score": 0.9, "segmentation": segmentation})
    record = scored(*rows)
    assert record.metrics["segm/AP"] == pytest.approx(100)
    assert record.metrics["bbox/AP"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_id": 999}, "names image 999"),
        ({"image_id": "999"}, "names image '999'"),
        ({"category_id": "3"}, "has the category_id as text, '3'; write it as a number: 3"),
        ({"image_id": True}, "has the image_id True; expected an integer"),
        ({"category_id": 1}, "not class indices"),
        ({"category_id": 20}, "not class indices"),
        ({"score": None}, "has the score None"),
        ({"score": float("nan")}, "has the score nan"),
        ({"bbox": [1, 2, 3]}, "expected four finite numbers"),
        ({"bbox": [1, 2, 3, "4"]}, "expected four finite numbers"),
        ({"segmentation": [[1, 1, 5, 1, 5, 5]]}, "compressed run lengths"),
        ({"segmentation": {"size": [60, 80], "counts": [4800]}}, "compressed run lengths"),
        ({"segmentation": {"size": [80, 60], "counts": "PX1"}}, "has a mask of size"),
        ({"segmentation": {"size": [60, 80], "counts": "5"}}, "run lengths of 5 px"),
        ({"segmentation": {"size": [60, 80], "counts": "\u00e4"}}, "no run lengths"),
    ],
)
def test_a_prediction_that_would_lie_is_refused(
    scored: Callable[..., RunRecord], change: dict[str, Any], told: str
) -> None:
    with pytest.raises(IntegrityError) as caught:
        scored(GOOD, {**GOOD, **change})
    assert told in caught.value.message
    assert "predictions.json" in caught.value.message


@pytest.mark.parametrize("lacking", ["image_id", "category_id", "score", "bbox"])
def test_what_is_lacking_is_named(scored: Callable[..., RunRecord], lacking: str) -> None:
    row = {key: value for key, value in GOOD.items() if key != lacking}
    with pytest.raises(IntegrityError, match=f"prediction 0 lacks {lacking}"):
        scored(row)


def test_what_is_no_list_of_predictions_is_refused(scored: Callable[..., RunRecord]) -> None:
    with pytest.raises(IntegrityError, match="COCO results are a list"):
        scored(text='{"images": []}')
    with pytest.raises(IntegrityError, match=r"predictions\.json"):
        scored(text="[{")
    mask = rle_of([[1, 1, 9, 1, 9, 9]], 60, 80)
    row: dict[str, Any] = {key: value for key, value in GOOD.items() if key != "bbox"}
    row["segmentation"] = {"size": [60, 80], "counts": mask.counts}
    with pytest.raises(IntegrityError, match="only a box and others only a mask"):
        scored(GOOD, row)


def test_files_that_are_not_there_are_named(small_coco: Path) -> None:
    request = ScoreRequest(
        saved=SavedPredictions(
            predictions=Path("absent.json"), annotations=small_coco / "annotations.json"
        )
    )
    timer = PhaseTimer(lambda: 0.0, lambda: None)
    with pytest.raises(UsageError, match=r"absent\.json"):
        score_saved(request, command=(), now=utc_now(), stopwatch=timer)
    with pytest.raises(UsageError, match="nothing to score"):
        score_saved(ScoreRequest(), command=(), now=utc_now(), stopwatch=timer)


def test_a_run_and_predictions_together_cannot_be_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", str(tmp_path), "--predictions", "p.json"]) == 2
    assert "not both" in capsys.readouterr().err
