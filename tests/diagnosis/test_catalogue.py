"""Every known fault, put into real predictions, is the first that is named."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.broken_predictions import (
    FAULTS,
    MASK_FAULTS,
    SHIFTS,
    of_images,
    of_masks,
    suppressed,
)
from benchmarks.diagnosed_faults import (
    box_case,
    diagnosed,
    half_of,
    mask_case,
    seeded,
    seeded_masks,
)
from harness.diagnosis import attributes, outlines, search
from harness.diagnosis.case import Case, enclosing, rows_of, truth_of
from harness.diagnosis.catalogue import CATALOGUE
from harness.diagnosis.findings import diagnose, suspicions
from harness.diagnosis.overlaps import nms_across_classes
from harness.diagnosis.shifts import shift_of
from harness.measure.masks import rle_of

Broken = tuple[dict[str, Any], list[dict[str, Any]]]

#: What is a note and no fault, and has a test of its own.
NOTED = {"box-beside-mask"}


@pytest.fixture(scope="session")
def boxes(shared_data: Path) -> Broken:
    """A part of the real boxes: enough for every fault."""
    content, rows = box_case(shared_data)
    kept = sorted(image["id"] for image in content["images"])[:80]
    return of_images(content, kept), [row for row in rows if row["image_id"] in kept]


@pytest.fixture(scope="session")
def masks(shared_data: Path) -> Broken:
    return mask_case(shared_data)


def test_every_hypothesis_has_a_fault() -> None:
    known = {name.partition("#")[0] for name in (*FAULTS, *MASK_FAULTS)} | NOTED
    # "coco-ids" needs annotations that number without gaps: a test of its own below.
    assert known | {"coco-ids"} == {one.name for one in CATALOGUE}


#: One of each kind, but for those of ``test_seeded``; the others take longer than the rest of the
#: tests together.
QUICK = (
    *("image-positions", "unknown-images", "letterboxed-frame#1", "turned-frame"),
    *("mirrored-frame", "scores-inverted"),
    "turned-frame#2",
    *("index-from-0", "other-order", "same-image-twice", "one-share#1", "images-without-rows"),
    *("nms-across-classes", "crowd-as-object", "masks-shifted#3"),
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in FAULTS],
)
def test_a_fault_is_named_first(boxes: Broken, name: str) -> None:
    found = diagnosed(*FAULTS[name](*boxes, np.random.default_rng(3)))
    assert [one.name for one in found.findings][:1] == [name.partition("#")[0]]
    assert found.not_reached == ()
    first = found.findings[0]
    assert (first.before is None) == (first.after is None)
    assert first.gain > -0.5


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=[] if one in QUICK else pytest.mark.slow) for one in MASK_FAULTS],
)
def test_a_fault_of_masks_is_named_first(masks: Broken, name: str) -> None:
    found = diagnosed(*MASK_FAULTS[name](*masks, np.random.default_rng(3)))
    assert [one.name for one in found.findings][:1] == [name.partition("#")[0]]
    assert found.findings[0].gain > 0


def test_masks_of_another_size_that_nothing_brings_to_objects_are_noted(masks: Broken) -> None:
    kept = sorted(image["id"] for image in masks[0]["images"])[:40]
    content, rows = of_images(masks[0], kept), [r for r in masks[1] if r["image_id"] in kept]
    # Sizes are (width, height), and nothing is where an object is.
    _, rows = of_masks(lambda pixels: corner(pixels.T))(content, rows, np.random.default_rng(3))
    found = diagnosed(content, rows)
    assert found.findings == ()
    (note,) = found.notes
    assert "not of the size of their image" in note


def corner(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result = np.zeros_like(pixels)
    result[:3, :3] = True
    return result


@pytest.fixture
def resized(masks: Broken) -> Case:
    """Masks drawn at another size, each of which takes a while to be undone."""
    content, rows = MASK_FAULTS["masks-resized"](*masks, np.random.default_rng(3))
    return Case(rows=rows_of(rows), truth=truth_of(content, ("bbox", "segm")))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As many numbers as masks have been undone."""
    found: list[int] = []
    encode = outlines.encode_region

    def counted(*args: Any, **kwargs: Any) -> Any:
        found.append(1)
        return encode(*args, **kwargs)

    monkeypatch.setattr(outlines, "encode_region", counted)
    return found


def test_masks_that_take_long_to_undo_are_measured_on_fewer_images(
    resized: Case, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_MASKED", 5)
    # Half a second for each mask: all of them, 734, would take 367.
    found = diagnose(resized, limit_s=200, clock=lambda: 0.5 * len(encoded), most_images=10)
    assert [one.name for one in found.findings] == ["masks-resized"]
    assert 0.5 * len(encoded) <= 200
    assert 10 < found.measured_images < 100


@pytest.mark.parametrize("mask_s", [2.0, 20.0])
def test_the_time_limit_is_kept_where_each_mask_takes_long(
    resized: Case, encoded: list[int], mask_s: float
) -> None:
    # Resizing the masks of the few images that say where masks are takes longer than the limit.
    found = diagnose(resized, limit_s=100, clock=lambda: mask_s * len(encoded))
    assert mask_s * len(encoded) <= 100 + mask_s
    assert "masks-shifted" in found.not_reached


def test_masks_are_scored_on_fewer_images_where_each_takes_long(
    resized: Case, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_MASKED", 5)
    found = diagnose(resized, limit_s=400, clock=lambda: 1.0 * len(encoded))
    assert [one.name for one in found.findings] == ["masks-resized"]
    assert found.findings[0].gain > 0
    assert found.not_reached == ()
    assert len(encoded) <= 400
    assert found.tried_images < 50


@pytest.mark.parametrize(
    "fault",
    [
        "masks-turned#2",
        *(pytest.param(f"masks-resized#{one}", marks=pytest.mark.slow) for one in (1, 2)),
    ],
)
def test_what_moves_masks_says_how(masks: Broken, fault: str) -> None:
    found = diagnosed(*MASK_FAULTS[fault](*masks, np.random.default_rng(7)))
    wanted = {
        "masks-resized#1": "0.5 times as large",
        "masks-resized#2": "short edge 800 px, at most 1333 px",
        "masks-turned#2": "13 images, by 180°",
    }
    assert [one.name for one in found.findings] == [fault.partition("#")[0]]
    assert wanted[fault] in found.findings[0].details


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(one, marks=[] if SHIFTS[one] in ((0, -1), (1, 1)) else pytest.mark.slow)
        for one in range(len(SHIFTS))
    ],
)
def test_masks_off_by_pixels_are_found_in_every_direction(masks: Broken, number: int) -> None:
    content, rows = MASK_FAULTS[f"masks-shifted#{number}"](*masks, np.random.default_rng(7))
    case = Case(rows=rows_of(rows), truth=truth_of(content, ("segm", "bbox")))
    found = shift_of(case, np.ones(len(case.truth.image_ids), bool), lambda: None)
    assert found is not None
    down, right = SHIFTS[number]
    words = [f"{abs(down)} px {'down' if down > 0 else 'up'}"] if down else []
    words += [f"{abs(right)} px to the {'right' if right > 0 else 'left'}"] if right else []
    assert found.details.startswith(", ".join(words) + ";")


def test_masks_that_are_not_off_are_not_said_to_be(masks: Broken, boxes: Broken) -> None:
    files = [masks, *(half_of(masks, seed) for seed in range(2))]
    files += [(boxes[0], seeded_masks(boxes[0], seed)) for seed in range(2)]
    for content, rows in files:
        case = Case(rows=rows_of(rows), truth=truth_of(content, ("segm", "bbox")))
        assert shift_of(case, np.ones(len(case.truth.image_ids), bool), lambda: None) is None


def test_a_box_beside_each_mask_is_noted_with_what_it_changes(masks: Broken) -> None:
    kept = sorted(image["id"] for image in masks[0]["images"])[:40]
    content = of_images(masks[0], kept)
    rows = [row for row in masks[1] if row["image_id"] in kept]
    boxes = enclosing([row["segmentation"] for row in rows]).tolist()
    both = [{**row, "bbox": box} for row, box in zip(rows, boxes, strict=True)]
    found = diagnosed(content, both)
    assert found.findings == ()
    # pycocotools' own numbers of these rows, with the boxes and without.
    (note,) = (one for one in found.notes if "beside each mask" in one)
    numbers = pycocotools_sizes(content, both), pycocotools_sizes(content, rows)
    for size, with_boxes, without in zip(("small", "medium", "large"), *numbers, strict=True):
        assert f"{size} {with_boxes:.1f} instead of {without:.1f}" in note


def pycocotools_sizes(content: dict[str, Any], rows: list[dict[str, Any]]) -> list[float]:
    """APs, APm and APl in 0…100 of rows as they are."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(content))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(json.loads(json.dumps(rows))), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [100 * float(value) for value in evaluation.stats[3:6]]


def test_ids_of_coco_for_annotations_without_gaps(boxes: Broken) -> None:
    content, rows = boxes
    ids = sorted(one["id"] for one in content["categories"])
    new = {one: number for number, one in enumerate(ids, start=1)}
    renumbered = {
        **content,
        "categories": [{**one, "id": new[one["id"]]} for one in content["categories"]],
        "annotations": [
            {**one, "category_id": new[one["category_id"]]} for one in content["annotations"]
        ],
    }
    assert [one.name for one in diagnosed(renumbered, rows).findings][:1] == ["coco-ids"]


@pytest.mark.slow
def test_undoing_a_fault_gives_the_ap_of_the_untouched_predictions(boxes: Broken) -> None:
    whole = diagnosed(*boxes).ap
    for name in ("xyxy", "index-from-0", "letterboxed-frame", "image-positions", "yxyx"):
        found = diagnosed(*FAULTS[name](*boxes, np.random.default_rng(3)))
        assert found.ap_undone == pytest.approx(whole, abs=0.05)


def test_two_faults_are_both_named(boxes: Broken) -> None:
    content, rows = FAULTS["index-from-0"](*boxes, np.random.default_rng(3))
    content, rows = FAULTS["xyxy"](content, rows, np.random.default_rng(3))
    found = diagnosed(content, rows)
    assert {one.name for one in found.findings} == {"index-from-0", "xyxy"}
    assert found.ap_undone == pytest.approx(diagnosed(*boxes).ap, abs=0.05)


def test_a_cut_that_leaves_images_without_rows_is_named_first(boxes: Broken) -> None:
    content, rows = FAULTS["scores-cut#2"](*half_of(boxes, 77), np.random.default_rng(3))
    assert [one.name for one in diagnosed(content, rows).findings] == ["scores-cut"]
    kept = {row["image_id"] for row in rows}
    silent = set(sorted(kept)[::4])
    rows = [row for row in rows if row["image_id"] not in silent]
    names = {one.name for one in diagnosed(content, rows).findings}
    assert names == {"scores-cut", "images-without-rows"}


def test_one_row_near_a_round_number_is_no_cut(boxes: Broken) -> None:
    content, rows = boxes
    scores = np.random.default_rng(0).uniform(0.25, 1, 90)
    few = [{**row, "score": score} for row, score in zip(rows, [0.155, *scores], strict=False)]
    assert attributes.cut(case_of(content, few)) is None
    scores = np.random.default_rng(0).uniform(0.15, 1, 150)
    many = [{**row, "score": score} for row, score in zip(rows, [0.15, *scores], strict=False)]
    found = attributes.cut(case_of(content, many))
    assert found is not None
    assert found[0] == 0.15


def test_nothing_is_claimed_of_untouched_predictions(boxes: Broken, masks: Broken) -> None:
    assert diagnosed(*boxes).findings == ()
    assert diagnosed(*masks).findings == ()
    for seed in (0, 5):
        assert diagnosed(boxes[0], seeded(boxes[0], seed)).findings == ()


def test_images_of_what_a_model_seldom_finds_have_no_row(boxes: Broken) -> None:
    """A detector of persons that finds one other object in seven leaves images without a row."""
    content = boxes[0]
    random = np.random.default_rng(0)
    rows = [
        row
        for row in seeded(content, 3, spread=0.06, recall=0.85)
        if row["category_id"] == 1 or random.random() < 0.15
    ]
    silent = {image["id"] for image in content["images"]} - {row["image_id"] for row in rows}
    assert len(silent) > 5
    assert diagnosed(content, rows).findings == ()
    images = set(sorted({row["image_id"] for row in rows})[::2])
    rows = [row for row in rows if row["image_id"] in images]
    assert "images-without-rows" in {one.name for one in diagnosed(content, rows).findings}


Row = dict[str, Any]


def moved_in(row: Row, by: float) -> Row:
    """A box as in an image that was cut at the left and above."""
    x, y, width, height = row["bbox"]
    return {**row, "bbox": [x - by, y - by, width, height]}


#: Faults that the catalogue does not have, and that are near some that it has.
UNLISTED = {
    "a crop": lambda row: moved_in(row, 30.0),
    "twice as wide": lambda row: {**row, "bbox": [s * (2, 1)[n % 2] for n, s in boxed(row)]},
    "scores in tenths": lambda row: {**row, "score": round(row["score"], 1)},
    "one category": lambda row: {**row, "category_id": 1},
    "width and height exchanged": lambda row: {
        **row,
        "bbox": [row["bbox"][n] for n in (0, 1, 3, 2)],
    },
    "half of the size": lambda row: {**row, "bbox": [s / (1, 2)[n // 2] for n, s in boxed(row)]},
}


def boxed(row: Row) -> list[tuple[int, float]]:
    return list(enumerate(row["bbox"]))


@pytest.mark.parametrize("name", UNLISTED)
def test_nothing_is_claimed_of_what_the_catalogue_does_not_have(boxes: Broken, name: str) -> None:
    content, rows = boxes
    assert diagnosed(content, [UNLISTED[name](row) for row in rows]).findings == ()


def test_objects_with_run_lengths_that_boxes_meet_are_no_crowds(boxes: Broken) -> None:
    content, rows = FAULTS["crowd-as-object"](*boxes, np.random.default_rng(3))
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    changed = []
    for number, one in enumerate(content["annotations"]):
        height, width = sizes[one["image_id"]]
        polygons = not isinstance(one["segmentation"], dict)
        if polygons and number % 8 == 0:  # some polygons as run lengths
            mask = rle_of(one["segmentation"], height, width)
            one = {**one, "segmentation": {"size": [height, width], "counts": mask.counts}}
        if polygons:
            changed.append(one)
    plain = {**content, "annotations": changed}
    case = Case(rows=rows_of(rows), truth=truth_of(plain, ("bbox",)))
    assert 0 < case.truth.run_lengths["bbox"].mean() < 0.2
    assert diagnosed(plain, rows).findings == ()


def test_rows_of_one_category_are_noted_and_leave_no_image_out(boxes: Broken) -> None:
    content, rows = boxes
    found = diagnosed(content, [row for row in rows if row["category_id"] == 1])
    assert found.findings == ()
    assert any("rows are of 1 of the 71 categories" in one for one in found.notes), found.notes


def test_scores_that_say_nothing_are_not_said_to_be_turned_round(boxes: Broken) -> None:
    content, rows = boxes
    for seed in range(3):
        random = np.random.default_rng(seed)
        noise = [{**row, "score": float(random.random())} for row in rows]
        assert diagnosed(content, noise).findings == ()


def test_the_time_limit_is_kept_and_what_was_not_reached_is_named(boxes: Broken) -> None:
    content, rows = boxes
    case = Case(rows=rows_of(rows), truth=truth_of(content, ("bbox",)))
    seconds = itertools.count()
    found = diagnose(case, limit_s=20, clock=lambda: next(seconds))
    assert "xyxy" in found.not_reached
    assert "scores-equal" not in found.not_reached
    # A few dozen looks at the clock, of which the search may use twelve.
    assert next(seconds) < 40


def test_a_cheap_look_names_what_is_wrong_in_a_line(boxes: Broken) -> None:
    # The clock stands still: a busy machine finds no less.
    assert suspicions(case_of(*boxes), clock=lambda: 0.0) == ()
    content, rows = FAULTS["scores-cut#1"](*boxes, np.random.default_rng(3))
    (line,) = suspicions(case_of(content, rows), clock=lambda: 0.0)
    assert "0.3" in line
    assert "\n" not in line


def test_a_few_boxes_that_overlap_no_more_are_no_suppression(
    masks: Broken, shared_data: Path
) -> None:
    file = shared_data / "evaluators" / "cocoapi_fake100"
    fixture = json.loads((file / "instances_val2014_fakebbox100_results.json").read_text())
    for seed in (950, 951, 952):
        assert diagnosed(*half_of((masks[0], fixture), seed)).findings == ()


@pytest.mark.parametrize("seed", [1003, 1039, 1053, 1087])
def test_where_overlaps_of_few_images_end_is_no_limit(shared_data: Path, seed: int) -> None:
    content, _ = box_case(shared_data)
    ids = [image["id"] for image in content["images"]]
    part = of_images(content, np.random.default_rng(seed).choice(ids, 30, replace=False).tolist())
    assert diagnosed(part, seeded(part, seed, spread=0.12, recall=0.45)).findings == ()


@pytest.mark.parametrize(("size", "seed"), [(20, 20026), (40, 40009)])
def test_one_limit_within_and_across_categories_shows_in_few_images(
    masks: Broken, shared_data: Path, size: int, seed: int
) -> None:
    folder = shared_data / "evaluators" / "cocoapi_fake100"
    rows = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text("utf-8"))
    ids = sorted({row["image_id"] for row in rows})
    kept = np.random.default_rng(seed).choice(ids, size, replace=False).tolist()
    part = of_images(masks[0], kept), [row for row in rows if row["image_id"] in kept]
    everything = np.ones(size, dtype=bool)
    assert nms_across_classes(case_of(*part), everything) is None
    cut = suppressed(0.4, across=True)(*part, np.random.default_rng(0))
    assert nms_across_classes(case_of(*cut), everything) is not None
    within = suppressed(0.4, across=False)(*part, np.random.default_rng(0))
    assert nms_across_classes(case_of(*within), everything) is None


def case_of(content: dict[str, Any], rows: list[dict[str, Any]]) -> Case:
    return Case(rows=rows_of(rows), truth=truth_of(content, ("bbox",)))


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(lambda content, _: (content, []), id="no predictions"),
        pytest.param(lambda content, rows: ({**content, "annotations": []}, rows), id="no objects"),
        pytest.param(
            lambda content, rows: (
                of_images(content, [content["images"][0]["id"]]),
                [row for row in rows if row["image_id"] == content["images"][0]["id"]],
            ),
            id="one image",
        ),
        pytest.param(
            lambda content, rows: (
                {
                    **content,
                    "categories": [one for one in content["categories"] if one["id"] == 1],
                    "annotations": [a for a in content["annotations"] if a["category_id"] == 1],
                },
                [row for row in rows if row["category_id"] == 1],
            ),
            id="one class",
        ),
        pytest.param(
            lambda content, rows: ({**content, "images": [], "annotations": []}, rows),
            id="no images",
        ),
    ],
)
def test_odd_cases_are_answered(boxes: Broken, kept: Any) -> None:
    found = diagnosed(*kept(*boxes))
    assert found.not_reached == ()
    assert found.ap is None or 0 <= found.ap <= 100


def of_one(case: Broken, image_id: int) -> Broken:
    content, rows = case
    return of_images(content, [image_id]), [row for row in rows if row["image_id"] == image_id]


def test_nothing_is_claimed_of_one_image_with_nothing_wrong(boxes: Broken) -> None:
    seen = 0
    for image in boxes[0]["images"]:
        content, rows = of_one(boxes, image["id"])
        if content["annotations"] and rows:
            found = diagnosed(content, rows)
            assert found.findings == ()
            seen += any("may show this by chance" in one for one in found.notes)
    assert seen > 0  # some hypothesis fits some of them


@pytest.mark.parametrize(("most", "claimed"), [(5, False), (10**6, True)])
def test_a_fault_of_one_image_is_claimed_where_many_objects_show_it(
    boxes: Broken, most: int, claimed: bool
) -> None:
    counts = Counter(row["image_id"] for row in boxes[0]["annotations"] if not row["iscrowd"])
    image = max((one for one in counts if counts[one] < most), key=lambda one: counts[one])
    content, rows = of_one(boxes, image)
    for name in ("scores-in-percent", "index-from-0", "xyxy"):
        content, rows = FAULTS[name](content, rows, np.random.default_rng(3))
    found = diagnosed(content, rows)
    names = [one.name for one in found.findings]
    assert "scores-in-percent" in names  # the rows themselves show it
    assert ("xyxy" in names, "index-from-0" in names) == (claimed, claimed)
    assert any("may show this by chance" in one for one in found.notes) is not claimed


def test_the_document_has_the_catalogue(repository: Path) -> None:
    text = (repository / "docs" / "diagnose.md").read_text(encoding="utf-8")
    for one in CATALOGUE:
        assert f"| `{one.name}` | {one.fault} | {one.shows} | {one.fix} |" in text
