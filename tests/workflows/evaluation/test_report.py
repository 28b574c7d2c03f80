"""The report of a run, and what it says where there is nothing to say."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import IntegrityError, UsageError
from harness.core.progress import Silent
from harness.core.requests.inference import InferenceRequest
from harness.core.requests.reports import AnalyzeRequest, ReportRequest, SavedPredictions
from harness.core.settings import replaced
from harness.report.record_rows import certainty_line
from harness.workflows.evaluation.analyze import Analysis, analyze
from harness.workflows.evaluation.report import ReportResult, report
from harness.workflows.runs.checksums import write_checked
from tests.measure.detected import CATEGORIES, generated
from tests.workflows.conftest import Evaluate


def reported(folder: Path) -> ReportResult:
    return report(ReportRequest(run=folder), progress=Silent())


def without(folder: Path, image: int) -> None:
    """Take the predictions of an image away."""
    path = folder / "predictions.json"
    rows = [row for row in json.loads(path.read_text("utf-8")) if row["image_id"] != image]
    write_checked(folder, path.name, json.dumps(rows))


def test_an_evaluation_leaves_its_page(evaluated: Evaluate, tmp_path: Path) -> None:
    record, folder = evaluated(tmp_path / "run")
    page = (folder / "report.html").read_text("utf-8")
    assert record.verdict.line in page
    assert "No image has an error" in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)


def test_too_few_images_for_an_interval_are_named(
    evaluated: Evaluate, asked: InferenceRequest, tmp_path: Path
) -> None:
    record, folder = evaluated(tmp_path / "run", inference=replaced(asked, limit=3))
    assert certainty_line(record) == "3 images: too few for a 95 % interval"
    assert "3 images: too few for a 95 % interval" in (folder / "report.html").read_text("utf-8")
    unknown = replace(record, metrics=dict.fromkeys(record.metrics))
    assert certainty_line(unknown) is None


def test_the_page_can_be_left_out(evaluated: Evaluate, tmp_path: Path) -> None:
    _, folder = evaluated(tmp_path / "run", report=False)
    assert not (folder / "report.html").exists()
    assert not (folder / "show").exists()


def test_the_worst_images_are_on_it_and_link_to_their_drawings(
    evaluated: Evaluate, tmp_path: Path
) -> None:
    _, folder = evaluated(tmp_path / "run", report=False)
    without(folder, 12)
    result = reported(folder)
    assert (result.analyzed, result.images, result.page) == (True, 1, str(folder / "report.html"))
    page = (folder / "report.html").read_text("utf-8")
    assert 'href="show/pictures/12.jpg"' in page
    assert (folder / "show" / "pictures" / "12.jpg").is_file()
    assert "data:image/jpeg;base64," in page
    assert "3 false negatives" in page


def test_without_a_row_the_page_has_the_tasks_of_the_record(
    evaluated: Evaluate, tmp_path: Path
) -> None:
    _, folder = evaluated(tmp_path / "run", report=False)
    write_checked(folder, "predictions.json", "[]")
    reported(folder)
    page = (folder / "report.html").read_text("utf-8")
    for word in ("boxes", "masks"):
        assert f"What errors cost, {word}" in page
        assert f"{word}: 9 errors in 6 images among detections that score at least 0.5." in page
    assert page.count("no threshold is best: no detection") == 6  # a sentence, a plot and its name
    assert "best F1" not in page


def test_a_page_elsewhere_links_back(evaluated: Evaluate, tmp_path: Path) -> None:
    _, folder = evaluated(tmp_path / "run", report=False)
    without(folder, 12)
    page = tmp_path / "pages" / "one.html"
    report(ReportRequest(run=folder, output=page), progress=Silent())
    assert 'href="../run/show/pictures/12.jpg"' in page.read_text("utf-8")


def test_images_that_are_gone_do_not_break_it(
    evaluated: Evaluate, small_coco: Path, tmp_path: Path
) -> None:
    _, folder = evaluated(tmp_path / "run")
    without(folder, 12)
    shutil.rmtree(small_coco / "images")
    result = reported(folder)
    assert (result.analyzed, result.images) == (True, 0)
    assert "1 of the worst images could not be drawn" in result.notes[0]
    assert result.notes[0] in (folder / "report.html").read_text("utf-8").replace("&#39;", "'")


def test_images_with_other_times_are_drawn_and_said_to_be_in_doubt(
    evaluated: Evaluate, small_coco: Path, tmp_path: Path
) -> None:
    _, folder = evaluated(tmp_path / "run", report=False)
    without(folder, 12)
    assert not any("times of" in one for one in reported(folder).notes)
    os.utime(small_coco / "images" / "000000000012.png", ns=(0, 0))
    result = reported(folder)
    assert result.images == 1
    [doubt] = [one for one in result.notes if "other times of modification" in one]
    assert doubt.startswith("1 of 1 images in ")
    assert doubt in (folder / "report.html").read_text("utf-8").replace("&#39;", "'")


def test_annotations_that_are_gone_leave_the_record(
    evaluated: Evaluate, small_coco: Path, tmp_path: Path
) -> None:
    record, folder = evaluated(tmp_path / "run")
    (small_coco / "annotations.json").unlink()
    result = reported(folder)
    assert not result.analyzed
    page = (folder / "report.html").read_text("utf-8")
    assert record.verdict.line in page
    assert "annotations.json" in result.notes[0]


def test_damaged_predictions_are_refused(evaluated: Evaluate, tmp_path: Path) -> None:
    _, folder = evaluated(tmp_path / "run")
    (folder / "predictions.json").write_text("[]", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"predictions\.json"):
        reported(folder)


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        reported(tmp_path)


def test_names_of_others_are_text(evaluated: Evaluate, small_coco: Path, tmp_path: Path) -> None:
    """Names of categories and files come from a file of anyone."""
    path = small_coco / "annotations.json"
    content = json.loads(path.read_text("utf-8"))
    content["categories"][0]["name"] = "<script>alert(1)</script>"
    path.write_text(json.dumps(content), encoding="utf-8")
    _, folder = evaluated(tmp_path / "run")
    page = (folder / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def analyzed(folder: Path, content: Any, predictions: Any, **given: Any) -> Analysis:
    folder.mkdir(exist_ok=True)
    (folder / "truth.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "found.json").write_text(json.dumps(predictions), encoding="utf-8")
    request = AnalyzeRequest(
        saved=SavedPredictions(
            predictions=folder / "found.json", annotations=folder / "truth.json"
        ),
        **given,
    )
    return analyze(request, progress=Silent())


def test_both_tasks_are_analyzed(tmp_path: Path) -> None:
    found = analyzed(tmp_path, *generated(20))
    assert [one.task for one in found.tasks] == ["bbox", "segm"]
    for one in found.tasks:
        aps = [ap for ap in one.precision.ap_by_iou.values() if ap is not None]
        assert sum(aps) / 10 == pytest.approx(found.metrics[f"{one.task}/AP"])
        assert one.precision.ap_by_iou["0.50"] == pytest.approx(found.metrics[f"{one.task}/AP50"])
        assert aps == sorted(aps, reverse=True)


def test_without_predictions_every_object_is_missed(tmp_path: Path) -> None:
    content, _ = generated(5)
    [one] = analyzed(tmp_path, content, []).tasks
    assert one.thresholds[0].reason == "no detection"
    assert one.calibration.expected_error is None
    assert {pair.predicted for pair in one.confusions} == {None}


def test_one_category_and_one_image_are_enough(tmp_path: Path) -> None:
    content, predictions = generated(1, seed=4)
    content["categories"] = content["categories"][:1]
    content["annotations"] = [row for row in content["annotations"] if row["category_id"] == 3]
    kept = [row for row in predictions if row["category_id"] == 3]
    assert content["annotations"]
    assert kept
    found = analyzed(tmp_path, content, kept)
    assert [one.category_id for one in found.tasks[0].thresholds] == [None, 3]


def test_categories_without_objects_say_so(tmp_path: Path) -> None:
    [one, _] = analyzed(tmp_path, *generated(20)).tasks
    reasons = {row.category_id: row.reason for row in one.thresholds}
    assert reasons[CATEGORIES[3]] == "no object"
    assert reasons[CATEGORIES[4]] == "no object and no detection"
    assert reasons[CATEGORIES[0]] == ""


def test_boundaries_are_computed_when_asked(tmp_path: Path) -> None:
    content, predictions = generated(5)
    found = analyzed(tmp_path, content, predictions, boundary=True)
    assert found.metrics["boundary/AP"] is not None
    boxes = [{k: v for k, v in row.items() if k != "segmentation"} for row in predictions]
    with pytest.raises(UsageError, match="no masks"):
        analyzed(tmp_path, content, boxes, boundary=True)
