"""``python -m tests.family_table``: the table of families and what is tested of each.

It is written into ``docs/zoo.md``; ``tests/zoo/test_family_table.py`` compares, and looks whether
every test that it names exists for that family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from harness.zoo.lock import read_lock
from tests.export.test_families import EXPORTED
from tests.families import ALL, Family

PAGE = Path(__file__).resolve().parents[1] / "docs" / "zoo.md"
BEGINNING, END = "<!-- begin: tests of each family -->\n", "<!-- end: tests of each family -->\n"

RUNS = "tests/end_to_end/test_families.py::"
NARROW = "tests/engines/test_families.py::"

#: Id of a test, or a sentence why there is none; sentences end with a full stop.
Cell = Callable[[Family], str]


def runs(name: str) -> Cell:
    """A test of the command line at full width."""
    return lambda family: f"{RUNS}{name}[{family.title}]"


def theirs(cell: Cell) -> Cell:
    """Of families that Detectron2 has."""
    return lambda family: "Detectron2 has no such network." if family.torchvision else cell(family)


def narrow(name: str, others: dict[str, str], of_torchvision: str) -> Cell:
    """A test of narrow networks; of those that have tests of their own, theirs."""

    def cell(family: Family) -> str:
        if family.torchvision:
            return of_torchvision.format(family.network)
        return others.get(family.network, f"{name}[{family.network}]")

    return cell


BITS = narrow(
    f"{NARROW}test_it_has_the_bits_of_detectron2",
    {
        "mask_rcnn_R_50_FPN": "tests/engines/test_exact.py::test_exact_has_the_bits_of_detectron2"
        "[seeded_checkpoint-mask_rcnn_R_50_FPN]",
        "retinanet": "tests/engines/test_dense.py::test_exact_has_the_bits_of_detectron2"
        "[seeded_checkpoint]",
        "keypoint_rcnn": "tests/nn/test_keypoints.py::test_exact_has_the_bits_of_detectron2"
        "[seeded_checkpoint]",
    },
    "tests/engines/test_torchvision.py::test_detections_equal_torchvision_called_by_hand[{}]",
)
ROUNDING = narrow(
    f"{NARROW}test_the_fast_arithmetic_differs_by_rounding_only",
    {
        "mask_rcnn_R_50_FPN": "tests/engines/test_rounding.py::"
        "test_the_fast_path_is_as_near_to_float64_as_the_reference",
        "retinanet": "tests/engines/test_dense.py::test_the_fast_path_differs_by_rounding_only",
        "keypoint_rcnn": "tests/nn/test_keypoints.py::test_the_fast_path_differs_by_rounding_only",
    },
    "The arithmetic is torchvision's own.",
)
RECORDED = "tests/engines/test_native.py::test_detections_and_masks_equal_detectron2"
GOLDENS = narrow(
    f"{NARROW}test_it_gives_what_was_recorded_from_detectron2",
    {
        "mask_rcnn_R_50_FPN": f"{RECORDED}[mask_rcnn_R_50_FPN]",
        "retinanet": f"{RECORDED}[retinanet_R_50_FPN]",
        "keypoint_rcnn": f"{RECORDED}[keypoint_rcnn_R_50_FPN]",
    },
    "torchvision is installed wherever a network is: it is compared live.",
)


def goldens(family: Family) -> str:
    """Recorded detections of an arithmetic are told apart by the end of the id."""
    found = GOLDENS(family)
    return f"{found.removesuffix(']')}-exact]" if found.startswith(NARROW) else found


LOSSES = narrow(
    "tests/nn/test_family_losses.py::test_losses_and_statistics_equal_the_recorded_ones",
    {
        "mask_rcnn_R_50_FPN": "tests/nn/test_losses.py::test_losses_equal_the_recorded_ones",
        "retinanet": "tests/nn/test_dense.py::test_losses_and_gradients_equal_the_recorded_ones",
        "keypoint_rcnn": "tests/nn/test_keypoint_losses.py::"
        "test_losses_and_gradients_are_those_recorded_from_detectron2",
        **{
            name: "tests/nn/test_semantic_losses.py::"
            f"test_losses_and_gradients_are_those_recorded_from_detectron2[{name}]"
            for name in ("panoptic_fpn_R_50", "panoptic_fpn_R_101_dconv_cascade_gn")
        },
        **dict.fromkeys(("rpn_R_50_FPN", "rpn_R_50_C4"), "An RPN alone is not trained."),
    },
    "The losses are torchvision's own.",
)
TUNED = "tests/end_to_end/test_own_training.py::test_a_fine_tuning_speaks_to_its_user"
THEIR_TUNED = "tests/end_to_end/test_models.py::test_a_network_of_torchvision_is_fine_tuned"
FINE_TUNING = narrow(
    "tests/training/test_families.py::test_a_family_is_fine_tuned_on_other_classes",
    {
        "mask_rcnn_R_50_FPN": TUNED,
        **dict.fromkeys(("rpn_R_50_FPN", "rpn_R_50_C4"), "An RPN alone is not trained."),
    },
    f"{THEIR_TUNED}_stopped_and_continued",
)


def exported(family: Family) -> str:
    """The ONNX file."""
    if family.network == "mask_rcnn_R_50_FPN":
        return "tests/workflows/test_export.py::test_an_unchanged_file_is_in_parity"
    if family.torchvision:
        return (
            f"tests/export/test_torchvision_network.py::test_it_finds_what_torchvision_finds"
            f"[{family.network}]"
        )
    if family.network not in EXPORTED:
        return "ONNX Runtime has no operator for deformable convolutions: `.pt2` only."
    name = "tests/export/test_families.py::test_the_file_of_it_agrees_in_every_stage"
    return f"{name}[{family.network}]"


def on_gpu(family: Family) -> str:
    """Whether slots compute it on a GPU; of the others the record has a line."""
    return (
        "torchvision computes it step by step."
        if family.torchvision
        else "tests/engines/test_slots.py::test_a_gpu_computes_each_family_in_slots_or_says_why"
    )


COLUMNS: dict[str, Cell] = {
    "seeded weights, `eval --limit`, `--workers 2`": runs(
        "test_two_workers_leave_the_bytes_of_one_process"
    ),
    "`--exact` and `--engine detectron2`, full width": theirs(
        runs("test_exact_leaves_the_bytes_of_detectron2")
    ),
    "`bench`": runs("test_it_is_timed"),
    "bits": BITS,
    "fast: rounding only": ROUNDING,
    "goldens": goldens,
    "training losses": LOSSES,
    "own classes": FINE_TUNING,
    "ONNX": exported,
    "GPU: slots, or a line": on_gpu,
}


def rows_of(family: Family) -> list[str]:
    """The entries of the lock that belong to a family, those of MODEL_ZOO.md only."""
    return [
        entry.name
        for entry in read_lock().models
        if entry.architecture in family.members and entry.model_id is not None
    ]


def cells() -> Iterator[tuple[Family, list[str]]]:
    """Each family, and what stands in its columns."""
    for family in ALL:
        yield family, [cell(family) for cell in COLUMNS.values()]


def table() -> str:
    """The table, and below it the tests and sentences by the numbers in it."""
    numbers: dict[str, int] = {}
    lines = [
        f"| family | rows of the zoo | {' | '.join(COLUMNS)} |",
        f"| {' | '.join(['---'] * (len(COLUMNS) + 2))} |",
    ]
    for family, found in cells():
        named = [one.partition("[")[0] for one in found]
        marks = [str(numbers.setdefault(one, len(numbers) + 1)) for one in named]
        count = "" if family.torchvision else str(len(rows_of(family)))
        lines.append(f"| {family.title} | {count} | {' | '.join(marks)} |")
    below = [
        f"{number}. {one if one.endswith('.') else f'`{one}`'}" for one, number in numbers.items()
    ]
    return "\n".join([*lines, "", *below, ""])


def written(page: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = page.partition(BEGINNING)
    _, _, after = rest.partition(END)
    return f"{before}{BEGINNING}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
