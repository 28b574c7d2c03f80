"""What errors cost: equal to the authors' program, in words that hold without objects too."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.measure.evaluators import Task
from harness.measure.matching import match_images
from harness.measure.tide import MAIN_ERRORS, SPECIAL_ERRORS, ErrorAnalysis, analyze_errors
from tests.measure.detected import generated

GOLDEN = Path(__file__).parents[1] / "golden" / "tide.json"

#: Packages that tidecv draws with; nothing that is computed needs them.
DRAWING = ("cv2", "seaborn", "pandas", "appdirs", "matplotlib", "matplotlib.pyplot")

TASKS: tuple[Task, ...] = ("bbox", "segm")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_tidecv_computes(tidecv: ModuleType, task: Task, seed: int) -> None:
    content, predictions = generated(40, seed)
    assert flat(analyzed(content, predictions, task)) == pytest.approx(
        numbers_of_tidecv(tidecv, content, predictions, task), abs=1e-6
    )


def test_real_boxes_have_the_errors_that_tidecv_finds(
    tidecv: ModuleType, shared_data: Path
) -> None:
    content = json.loads(
        (shared_data / "coco" / "annotations" / "instances_val2017.json").read_text("utf-8")
    )
    [path] = (shared_data / "evaluators" / "d2go").glob("*.json")
    predictions = json.loads(path.read_text("utf-8"))
    assert flat(analyzed(content, predictions, "bbox")) == pytest.approx(
        numbers_of_tidecv(tidecv, content, predictions, "bbox"), abs=1e-6
    )


@pytest.mark.parametrize("task", TASKS)
def test_it_is_what_tidecv_computed_once(task: Task) -> None:
    """Numbers of tidecv 1.0.1 for the generated data, where it is not installed."""
    content, predictions = generated(40, 0)
    expected = json.loads(GOLDEN.read_text("utf-8"))[task]
    assert flat(analyzed(content, predictions, task)) == pytest.approx(expected, abs=1e-6)


def test_the_costs_of_a_category_are_what_correcting_everything_brings_it() -> None:
    content, predictions = generated(40, 1)
    found = analyzed(content, predictions, "bbox")
    assert [one.category_id for one in found.by_category] == [3, 7, 8, 20]
    assert sum(one.ap50 or 0.0 for one in found.by_category) / 4 == pytest.approx(found.ap50)
    gains = [one.dap["localization"] or 0.0 for one in found.by_category]
    [cost] = [one.dap for one in found.main if one.name == "localization"]
    assert sum(gains) / 4 == pytest.approx(cost)


def test_perfect_detections_cost_nothing() -> None:
    content, _ = generated(10, 0)
    rows = [
        {**row, "score": 0.9, "segmentation": row["segmentation"]}
        for row in content["annotations"]
        if not row["iscrowd"]
    ]
    found = analyzed(content, rows, "bbox")
    assert found.ap50 == pytest.approx(100)
    assert all(one.dap == 0 and one.count == 0 for one in (*found.main, *found.special))


def test_without_detections_everything_is_missed_and_no_ap_is_left() -> None:
    content, _ = generated(10, 0)
    found = analyzed(content, [], "bbox")
    costs = {one.name: one for one in found.main}
    objects = sum(not row["iscrowd"] for row in content["annotations"])
    assert (found.ap50, costs["missed"].count, costs["missed"].dap) == (0.0, objects, None)
    assert costs["background"].dap == 0.0


def test_without_objects_and_detections_nothing_is_known() -> None:
    content = {**generated(2, 0)[0], "annotations": []}
    found = analyzed(content, [], "segm")
    assert found.ap50 is None
    assert found.by_category == ()
    assert {one.dap for one in (*found.main, *found.special)} == {None}


@pytest.fixture(scope="module")
def tidecv() -> Any:
    """The authors' program; what it draws with may be missing."""
    with pytest.MonkeyPatch.context() as patch:
        for name in DRAWING:
            stand_in = ModuleType(name)
            stand_in.FONT_HERSHEY_SIMPLEX = stand_in.LINE_AA = 0  # type: ignore[attr-defined]
            stand_in.user_data_dir = stand_in.Line2D = None  # type: ignore[attr-defined]
            patch.setitem(sys.modules, name, stand_in)
        patch.setitem(sys.modules, "matplotlib.lines", sys.modules["appdirs"])
        yield pytest.importorskip(
            "tidecv", reason="needs tidecv: pip install --no-deps tidecv==1.0.1"
        )


def analyzed(content: Any, predictions: list[dict[str, Any]], task: Task) -> ErrorAnalysis:
    ids = [image["id"] for image in content["images"]]
    return analyze_errors(match_images(content, predictions, task, ids))


def flat(found: ErrorAnalysis) -> dict[str, float | None]:
    """AP, the cost of each type, and of each type and size."""
    numbers = {"AP50": found.ap50}
    numbers |= {one.name: one.dap for one in (*found.main, *found.special)}
    for size, costs in found.by_size.items():
        numbers |= {f"{size} {name}": cost for name, cost in costs.items()}
    return numbers


def numbers_of_tidecv(
    tidecv: ModuleType, content: Any, predictions: list[dict[str, Any]], task: Task
) -> dict[str, float]:
    sizes = {one["id"]: (one["width"], one["height"]) for one in content["images"]}
    truth, found = tidecv.Data("truth", 100), tidecv.Data("found", 100)
    for image in sizes:
        truth.add_image(image, str(image))
    for one in content["categories"]:
        truth.add_class(one["id"], one["name"])
    for row in content["annotations"]:
        add = truth.add_ignore_region if row["iscrowd"] else truth.add_ground_truth
        mask = None
        if task == "segm":
            mask = tidecv.functions.toRLE(row["segmentation"], *sizes[row["image_id"]])
        add(row["image_id"], row["category_id"], row["bbox"], mask)
    for row in predictions:
        place = row["image_id"], row["category_id"], row["score"], row["bbox"]
        found.add_detection(*place, row.get("segmentation"))
    mode = tidecv.TIDE.MASK if task == "segm" else tidecv.TIDE.BOX
    run = tidecv.TIDERun(truth, found, 0.5, 0.1, mode, 100, True)
    numbers = {"AP50": run.ap}
    numbers |= dict(zip(MAIN_ERRORS, run.fix_main_errors().values(), strict=True))
    numbers |= dict(zip(SPECIAL_ERRORS, run.fix_special_errors().values(), strict=True))
    for size in tidecv.AREA:
        costs = dict(zip(MAIN_ERRORS, run.fix_main_errors(qual=size).values(), strict=True))
        numbers |= {f"{size.name.lower()} {name}": cost for name, cost in costs.items()}
    return numbers
