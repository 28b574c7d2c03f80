"""``harness diagnose`` on runs and files, and beside a reference."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.cli.diagnose import _head, _stage_sentence
from harness.core.errors import IntegrityError, UsageError
from harness.core.progress import Silent
from harness.core.requests.inference import DiagnoseRequest
from harness.core.requests.reports import SavedPredictions
from harness.data.predictions import loose_predictions
from harness.measure.masks import encode_region
from harness.workflows.diagnose import StageOf, diagnose_predictions

Row = dict[str, Any]

#: Ids of images.
ID = range(11, 31)


def evaluated(root: Path, folder: Path, **settings: Any) -> Path:
    """A run of the embedded model on one image."""
    given = {"limit": 1, "report": False, "resamples": 0, "short_edge_px": 144, **settings}
    return harness.evaluate(model="tiny", root=root, output=folder, **given).folder


@pytest.fixture(scope="module")
def run(embedded_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(embedded_root, tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.parametrize(
    ("settings", "stage", "differs"),
    [
        pytest.param({"short_edge_px": 112}, "resized input", "shape", id="another size"),
        pytest.param({"channel_order": "RGB"}, "resized input", "values", id="another order"),
        pytest.param({"precision": "bf16"}, "backbone p2", "values", id="another precision"),
        pytest.param(
            {"score_threshold": 0.9}, "final boxes, scores, classes", "rows", id="another cut"
        ),
    ],
)
def test_the_first_stage_that_differs_is_named(
    run: Path,
    embedded_root: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    stage: str,
    differs: str,
) -> None:
    other = evaluated(embedded_root, tmp_path / "other", **settings)
    found = harness.diagnose(run=run, reference=other).reference
    assert found is not None
    assert found.differing_images == 1
    assert found.stage is not None
    assert (found.stage.stage, found.stage.differs) == (stage, differs)
    assert (found.stage.max_absolute is None) is (differs != "values")
    assert found.notes == ()


def test_what_a_batch_changes_is_no_stage_and_its_setting_is_named(
    embedded_root: Path, tmp_path: Path
) -> None:
    runs = [
        evaluated(embedded_root, tmp_path / str(size), limit=4, batch_size=size) for size in (1, 4)
    ]
    found = harness.diagnose(run=runs[0], reference=runs[1]).reference
    assert found is not None
    assert found.first_differing is not None
    assert found.stage is None
    (note,) = found.notes
    assert note.endswith("in every stage; the runs differ in batch_size (1, of the reference 4)")


def test_values_that_are_not_finite_differ_by_no_number() -> None:
    said = _stage_sentence(StageOf(stage="backbone p2", differs="values", max_absolute=None))
    assert said.endswith("backbone p2, in values that are not finite")


def test_masks_differ_in_their_pixels_and_detections_in_their_rows() -> None:
    said = [
        _stage_sentence(StageOf(stage=name, differs="rows", max_absolute=None))
        for name in ("proposals", "pasted masks", "maps of segments")
    ]
    assert said[0].endswith("proposals, in some of its rows, or in how many there are")
    assert said[1].endswith("pasted masks, in pixels of some of them")
    assert said[2].endswith("maps of segments, in the segments of some pixels")


def test_a_run_is_its_own_reference(run: Path) -> None:
    found = harness.diagnose(run=run, reference=run).reference
    assert found is not None
    assert found.differing_images == 0
    assert found.stage is None
    assert all(one.difference == 0 for one in found.metrics.values())


def test_runs_of_other_numbers_of_images_are_compared_on_those_of_both(
    run: Path, embedded_root: Path, tmp_path: Path
) -> None:
    more = evaluated(embedded_root, tmp_path / "more", limit=2)
    for one, other in ((run, more), (more, run)):
        found = harness.diagnose(run=one, reference=other).reference
        assert found is not None
        assert found.differing_images == 0
        assert set(found.metrics) >= {"bbox/AP", "segm/AP"}
        assert all(each.difference == 0 for each in found.metrics.values())
    assert found.notes == ("compared on the 1 image that both runs evaluated",)


def as_file(folder: Path, name: str, rows: list[Row]) -> Path:
    path = folder / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def mask_row(image: dict[str, Any], left: int) -> Row:
    size = {"height_px": image["height"], "width_px": image["width"]}
    rle = encode_region(np.ones((5, 6), dtype=bool), top_px=3, left_px=left, **size)
    mask = {"size": [rle.height_px, rle.width_px], "counts": rle.counts}
    return {"image_id": image["id"], "category_id": 3, "score": 0.5, "segmentation": mask}


def test_masks_alone_that_differ_are_seen(small_coco: Path, tmp_path: Path) -> None:
    annotations = small_coco / "annotations.json"
    images = json.loads(annotations.read_text(encoding="utf-8"))["images"]
    sides = [
        as_file(tmp_path, name, [mask_row(one, 4 + (moved and one == images[2])) for one in images])
        for name, moved in (("one.json", False), ("other.json", True))
    ]
    found = harness.diagnose(predictions=sides[1], annotations=annotations, reference=sides[0])
    assert found.reference is not None
    assert found.reference.first_differing == images[2]["id"]
    assert found.reference.differing_images == 1


def test_keypoints_alone_are_refused_and_beside_boxes_left_out(
    small_coco: Path, tmp_path: Path
) -> None:
    annotations = small_coco / "annotations.json"
    row = {"image_id": 42, "category_id": 3, "score": 0.5, "keypoints": [5, 5, 1] * 17}
    with pytest.raises(IntegrityError, match="holds keypoints alone") as caught:
        harness.diagnose(predictions=as_file(tmp_path, "k.json", [row]), annotations=annotations)
    assert "harness score" in str(caught.value.hint)
    both = as_file(tmp_path, "b.json", [{**row, "bbox": [10, 10, 30, 20]}])
    found = harness.diagnose(predictions=both, annotations=annotations)
    assert any("keypoints are left out" in one for one in found.assumed)


@pytest.mark.parametrize(
    ("limit_s", "said"),
    [
        (1.0, "none of the known faults was found"),
        (0.2, "none of the known faults that there was time to look for was found"),
    ],
)
def test_faults_that_were_not_looked_for_are_not_said_to_be_absent(
    small_coco: Path, tmp_path: Path, limit_s: float, said: str
) -> None:
    annotations = small_coco / "annotations.json"
    row = {"image_id": 42, "category_id": 3, "score": 0.5, "bbox": [10, 10, 30, 20]}
    looks = itertools.count()
    request = DiagnoseRequest(
        saved=SavedPredictions(
            predictions=as_file(tmp_path, "one.json", [row]), annotations=annotations
        ),
        limit_s=limit_s,
    )
    found = diagnose_predictions(request, progress=Silent(), clock=lambda: next(looks) * 1e-3)
    assert bool(found.diagnosed.not_reached) is (limit_s < 1)
    assert any(sentence.endswith(said) for sentence in _head(found))


def test_a_time_limit_of_a_second_ends_the_reading_of_many_rows(
    small_coco: Path, tmp_path: Path
) -> None:
    annotations = small_coco / "annotations.json"
    row = {"image_id": 42, "category_id": 3, "score": 0.5, "bbox": [10, 10, 30, 20]}
    many = as_file(tmp_path, "many.json", [row] * 30_000)
    looks = itertools.count()
    # A clock on which a look at it takes 0.1 ms: 60,000 looks would take 6 s.
    request = DiagnoseRequest(
        saved=SavedPredictions(predictions=many, annotations=annotations), limit_s=1.0
    )
    with pytest.raises(UsageError, match=r"limit of 1 s ended before .*many.json was read"):
        diagnose_predictions(request, progress=Silent(), clock=lambda: next(looks) * 1e-4)
    assert next(looks) < 10_100
    found = diagnose_predictions(request, progress=Silent(), clock=lambda: 0.0)
    assert found.row_count == 30_000


def test_the_time_limit_counts_from_where_the_program_began_and_in_every_part(
    small_coco: Path, tmp_path: Path
) -> None:
    row = {"image_id": 42, "category_id": 3, "score": 0.5, "bbox": [10, 10, 30, 20]}
    request = DiagnoseRequest(
        saved=SavedPredictions(
            predictions=as_file(tmp_path, "one.json", [row]),
            annotations=small_coco / "annotations.json",
        ),
        limit_s=10.0,
    )
    ends = set()
    for begun in range(-76, 0, 2):  # on a clock on which each look takes 0.1 s
        looks = itertools.count()

        def clock(looks: Iterator[int] = looks) -> float:
            return next(looks) * 0.1

        try:
            diagnose_predictions(request, progress=Silent(), clock=clock, begun=begun * 0.1)
        except UsageError as error:
            ends.add(str(error).partition(" ended before ")[2].partition(";")[0].split("/")[-1])
        # 0.3 of the start is kept for leaving the program; a few looks follow the last one.
        assert (next(looks) - begun) * 0.1 <= 10.5 + 0.03 * begun
    expected = {"annotations.json was read", "one.json was read", "the search began"}
    assert ends == {*expected, "the predictions were scored"}


def test_in_python_the_time_limit_counts_from_the_call_or_from_a_time_of_day(
    small_coco: Path, tmp_path: Path
) -> None:
    row = {"image_id": 42, "category_id": 3, "score": 0.5, "bbox": [10, 10, 30, 20]}
    asked: dict[str, Any] = {
        "predictions": as_file(tmp_path, "one.json", [row]),
        "annotations": small_coco / "annotations.json",
        "limit_s": 60,
    }
    now = datetime.now(timezone.utc)
    here = now.astimezone().replace(tzinfo=None)  # of the machine's zone, which it does not say
    for begun in (None, now, here, now + timedelta(hours=1)):
        assert harness.diagnose(**asked, begun=begun).seconds < 60
    for begun in (now - timedelta(hours=1), here - timedelta(hours=1)):
        with pytest.raises(UsageError, match="the time limit of 60 s ended before"):
            harness.diagnose(**asked, begun=begun)


def test_score_names_what_a_cheap_look_shows_also_in_a_run(
    embedded_root: Path, tmp_path: Path
) -> None:
    folder = evaluated(embedded_root, tmp_path / "run", limit=6)
    assert harness.score(run=folder).notes == ()
    rows = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    facts = json.loads((folder / "record.json").read_text(encoding="utf-8"))["dataset"]
    for row in rows:
        del row["segmentation"]
        x, y, width, height = row["bbox"]
        row["bbox"] = [x, y, x + width, y + height]
    broken = as_file(tmp_path, "corners.json", rows)
    notes = harness.score(predictions=broken, annotations=facts["annotations_path"]).notes
    assert any("corners" in one for one in notes)
    assert len(notes) <= 3


def test_a_file_with_one_foreign_row_among_many_names_its_position(tmp_path: Path) -> None:
    content = {
        "images": [{"id": one, "file_name": f"{one}.jpg", "height": 80, "width": 90} for one in ID],
        "annotations": [
            {
                "id": 7 * one,
                "image_id": one,
                "category_id": 3,
                "bbox": [8, 9, 30, 20],
                "area": 600,
                "iscrowd": 0,
            }
            for one in ID
        ],
        "categories": [{"id": 3, "name": "three"}],
    }
    annotations = tmp_path / "instances.json"
    annotations.write_text(json.dumps(content), encoding="utf-8")
    rows = [
        {
            "image_id": one,
            "category_id": 3,
            "bbox": [8.0, 9.0, 30.0, 20.0],
            "score": 0.25 + one / 99,
        }
        for one in ID
    ]
    fine = as_file(tmp_path, "fine.json", rows)
    assert harness.diagnose(predictions=fine, annotations=annotations).refused is None
    rows[5]["category_id"] = 4
    file = as_file(tmp_path, "foreign.json", rows)
    refused = harness.diagnose(predictions=file, annotations=annotations).refused
    assert refused is not None
    assert refused.startswith("the file: prediction 5 names category 4")


@pytest.mark.parametrize("change", [{}, {"note": None}, {"score": 1}, {"image_id": 12.0}])
def test_rows_as_nearly_all_are_and_others_are_read_alike(change: dict[str, Any]) -> None:
    row = {"image_id": 12, "category_id": 5, "bbox": [1, 2.5, 3, 4], "score": 0.5}
    (found,) = loose_predictions([{**row, **change}], where="a file")
    assert found == {**row, "score": change.get("score", 0.5)}
    for broken in ({"score": float("nan")}, {"bbox": [1, 2, 3]}, {"image_id": 2**62}):
        with pytest.raises(IntegrityError, match="prediction 1"):
            loose_predictions([row, {**row, **change, **broken}], where="a file")
