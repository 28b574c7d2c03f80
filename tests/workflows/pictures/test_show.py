"""``harness show``: ground truth, and predictions beside it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from harness.core.drawing import DrawingStyle
from harness.core.errors import UsageError
from harness.core.progress import Silent
from harness.core.requests.pictures import ShowRequest
from harness.core.requests.reports import ReportRequest
from harness.core.settings import flat_settings
from harness.core.tasks import PANOPTIC, TASKS
from harness.workflows.comparison.images import draw_changed
from harness.workflows.comparison.runs import compare_runs
from harness.workflows.evaluation.report import report as write_again
from harness.workflows.pictures.show import show
from harness.workflows.pictures.show_subject import ShowReport
from harness.workflows.runs.checksums import write_checked
from tests.workflows.conftest import Evaluate

IMAGES = 6


@pytest.fixture
def run(evaluated: Evaluate, tmp_path: Path) -> Path:
    """An evaluation that found all of five images and nothing of image 12."""
    _, folder = evaluated(tmp_path / "run")
    path = folder / "predictions.json"
    rows = [row for row in json.loads(path.read_text("utf-8")) if row["image_id"] != 12]
    write_checked(folder, path.name, json.dumps(rows))
    return folder


def shown(**given: object) -> ShowReport:
    return show(ShowRequest(**given), progress=Silent())  # type: ignore[arg-type]


def test_ground_truth_is_drawn(small_coco: Path, tmp_path: Path) -> None:
    report = shown(
        annotations=small_coco / "annotations.json",
        images=small_coco / "images",
        output=tmp_path / "truth",
    )
    assert (report.images, report.drawn, report.objects) == (IMAGES, IMAGES, 10)
    page = Path(report.page).read_text("utf-8")
    assert "1 crowd" in page
    with (
        PillowImage.open(tmp_path / "truth" / "pictures" / "42.jpg") as drawn,
        PillowImage.open(small_coco / "images" / "000000000042.png") as plain,
    ):
        assert drawn.size == plain.size
        assert drawn.convert("RGB").tobytes() != plain.convert("RGB").tobytes()


def test_a_sample_is_the_same_by_its_seed(small_coco: Path, tmp_path: Path) -> None:
    def drawn(seed: int) -> list[str]:
        folder = tmp_path / f"{seed}"
        report = shown(
            annotations=small_coco / "annotations.json",
            images=small_coco / "images",
            sample=3,
            seed=seed,
            output=folder,
        )
        assert report.drawn == 3
        return sorted(path.name for path in (folder / "pictures").iterdir())

    assert drawn(1) == drawn(1)
    assert any(drawn(1) != drawn(seed) for seed in range(2, 6))


class Noted(Silent):
    """Keeps every notice."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def test_what_is_assumed_of_foreign_predictions_is_said(small_coco: Path, tmp_path: Path) -> None:
    content = json.loads((small_coco / "annotations.json").read_text(encoding="utf-8"))
    labels = [content["categories"][0]["id"]]
    found = {"42": {"boxes": [[1, 2, 4, 6]], "labels": labels, "scores": [0.5]}}  # torchvision's
    (tmp_path / "foreign.json").write_text(json.dumps(found), encoding="utf-8")
    noted = Noted()
    request = ShowRequest(
        annotations=small_coco / "annotations.json",
        images=small_coco / "images",
        predictions=tmp_path / "foreign.json",
        output=tmp_path / "shown",
    )
    show(request, progress=noted)
    assert any("torchvision" in one for one in noted.notices), noted.notices


def test_every_task_that_can_be_asked_for_is_one_of_objects_or_of_maps() -> None:
    (asked,) = (one for one in flat_settings(ShowRequest) if one.name == "task")
    assert set(asked.choices) == {*TASKS, PANOPTIC}


def test_the_worst_comes_first(run: Path) -> None:
    report = shown(run=run)
    assert (report.worst[0].image_id, report.worst[0].false_negatives) == (12, 3)
    assert (report.true_positives, report.false_negatives, report.false_positives) == (
        6,
        3,
        dict.fromkeys(FALSE, 0),
    )
    page = (run / "show" / "index.html").read_text("utf-8")
    assert page.index("000000000012") < page.index("000000000042")
    assert "3 false negatives" in page
    with PillowImage.open(run / "show" / "pictures" / "12.jpg") as picture:
        assert picture.width > 2 * 96


def test_only_the_worst_are_drawn_but_all_are_counted(run: Path) -> None:
    report = shown(run=run, most=2)
    assert (report.images, report.drawn, report.false_negatives) == (IMAGES, 2, 3)


def test_single_images_are_chosen_by_id(run: Path) -> None:
    report = shown(run=run, image_ids=(42, 7))
    assert {one.image_id for one in report.worst} == {7, 42}
    with pytest.raises(UsageError, match="no image 5"):
        shown(run=run, image_ids=(5,))


def test_the_threshold_decides_what_counts(run: Path) -> None:
    report = shown(run=run, style=DrawingStyle(threshold=0.99))
    assert (report.true_positives or 0) < 6
    assert (report.true_positives or 0) + (report.false_negatives or 0) == 9


def test_an_unfinished_run_shows_what_it_has(run: Path) -> None:
    (run / "predictions.json").unlink()
    report = shown(run=run)
    assert (report.images, report.true_positives) == (IMAGES, 9)


def test_predictions_of_a_file_are_shown(run: Path, small_coco: Path, tmp_path: Path) -> None:
    report = shown(
        annotations=small_coco / "annotations.json",
        images=small_coco / "images",
        predictions=run / "predictions.json",
        task="segm",
        output=tmp_path / "shown",
    )
    assert (report.true_positives, report.false_negatives) == (6, 3)


def test_a_broken_image_does_not_end_it(run: Path, small_coco: Path) -> None:
    (small_coco / "images" / "000000000007.png").write_bytes(b"no picture")
    report = shown(run=run)
    assert [one.file for one in report.unreadable] == ["000000000007.png"]
    assert report.drawn == IMAGES - 1


def test_an_image_that_was_replaced_since_is_not_drawn_as_the_run_s(
    run: Path, small_coco: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    write_checked(other, "predictions.json", "[]")
    path = small_coco / "images" / "000000000012.png"
    with PillowImage.open(path) as picture:
        inverted = picture.convert("RGB").transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT)
    inverted.save(path, compress_level=0)
    os.utime(path.with_name("000000000042.png"), ns=(0, 0))
    replaced = f"image 12: {path} was replaced since the run was evaluated on it"
    noted = Noted()
    report = show(ShowRequest(run=run), progress=noted)
    assert (report.images, report.drawn) == (IMAGES, IMAGES - 1)
    assert [one.reason for one in report.unreadable] == [replaced]
    assert any("1 of 6 images in" in one for one in noted.notices), noted.notices
    written = write_again(ReportRequest(run=run), progress=noted)
    assert written.images == 0
    assert any(replaced in one for one in written.notes), written.notes
    compared = compare_runs(run, other, resamples=0, progress=Silent())
    drawn = draw_changed(compared, run, other, tmp_path / "drawn", threshold=0.5, progress=noted)
    assert sorted(drawn) == [7, 9, 42, 1001]
    inverted.save(path.with_name("000000000042.png"), compress_level=0)
    again = draw_changed(compared, run, other, tmp_path / "drawn", threshold=0.5, progress=noted)
    assert sorted(again) == [7, 9, 1001]
    assert any("no picture: image 42: " in one for one in noted.notices)


def test_what_cannot_be_meant_is_refused(run: Path, small_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not both"):
        shown(run=run, images=small_coco / "images")
    with pytest.raises(UsageError, match="nothing to show"):
        shown(images=small_coco / "images")
    with pytest.raises(UsageError, match="--sample must be at least 1"):
        shown(run=run, sample=0)
    with pytest.raises(UsageError, match="holds no run"):
        shown(run=tmp_path)


def test_without_the_annotations_of_a_run_it_says_what_to_do(run: Path, small_coco: Path) -> None:
    path = small_coco / "annotations.json"
    path.unlink()
    with pytest.raises(UsageError, match="no such file") as caught:
        shown(run=run)
    hint = caught.value.hint or ""
    assert hint.startswith("put the file of the run back, or show it against another: --annot")
    assert str(run / "predictions.json") in hint


FALSE = ("localization", "classification", "duplicate", "background", "both")


def test_a_run_without_maps_says_which_models_make_them(run: Path) -> None:
    with pytest.raises(UsageError, match="holds no maps of segments") as caught:
        shown(run=run, task=PANOPTIC)
    assert "harness models panoptic" in str(caught.value.hint)
