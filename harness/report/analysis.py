"""An analysis as tables: what errors cost, AP by IoU, thresholds, confusions, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.core.tasks import TASKS
from harness.measure.analysis import TaskAnalysis
from harness.measure.operating import BestThreshold, Calibration, Confusion
from harness.measure.tide import MAIN_ERRORS, SPECIAL_ERRORS, ErrorAnalysis

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]

TASK_WORDS: Mapping[str, str] = {task: facts.plural for task, facts in TASKS.items()}

#: What each type of error means, and how it is corrected.
ERROR_WORDS: Mapping[str, str] = {
    "classification": "right place, wrong category",
    "localization": "right category, IoU of 0.1 to 0.5",
    "both": "wrong category, and not well placed",
    "duplicate": "a better detection has the object",
    "background": "no object there",
    "missed": "an object that no detection is about",
    "false positive": "every false detection below every true one",
    "false negative": "every object without a match left out",
}

#: Rows of a table of confusions in the terminal.
SHOWN_CONFUSIONS = 10

UNDEFINED = "–"


def task_word(task: str) -> str:
    """What a task finds; its own name where there is no word for it."""
    return TASK_WORDS.get(task, task)


def decimal(value: float | None, digits: int = 2, *, sign: str = "") -> str:
    """A number, or a dash for one that is undefined."""
    return UNDEFINED if value is None else f"{value:{sign}.{digits}f}"


def error_rows(errors: ErrorAnalysis) -> Table:
    """A row a type of error: its name, TIDE's, how many, what it costs, by size, what it means."""
    sizes = list(errors.by_size)
    rows: list[tuple[str, ...]] = []
    for one in (*errors.main, *errors.special):
        by_size = [decimal(errors.by_size[size].get(one.name)) for size in sizes]
        short = {**MAIN_ERRORS, **SPECIAL_ERRORS}[one.name]
        rows.append(
            (
                one.name,
                short,
                f"{one.count:,}",
                decimal(one.dap),
                *(by_size if one.name in MAIN_ERRORS else [""] * len(sizes)),
                ERROR_WORDS[one.name],
            )
        )
    return ("error", "TIDE", "count", "dAP", *sizes, "meaning"), rows


def iou_rows(tasks: Sequence[TaskAnalysis]) -> Table:
    """A row an IoU threshold, a column a task."""
    names = list(tasks[0].precision.ap_by_iou) if tasks else []
    rows = [(name, *(decimal(one.precision.ap_by_iou[name]) for one in tasks)) for name in names]
    return ("IoU", *(f"{one.task} AP" for one in tasks)), rows


def threshold_rows(thresholds: Sequence[BestThreshold], names: Mapping[int, str]) -> Table:
    """A row for all categories together, then one for each."""
    rows: list[tuple[str, ...]] = [
        (
            "" if one.category_id is None else str(one.category_id),
            "all categories" if one.category_id is None else names[one.category_id],
            f"{one.objects:,}",
            f"{one.detections:,}",
            decimal(one.threshold, 3),
            decimal(one.precision, 3),
            decimal(one.recall, 3),
            decimal(one.f1, 3),
            one.reason,
        )
        for one in thresholds
    ]
    columns = ("id", "category", "objects", "detections", "threshold", "precision", "recall", "F1")
    return (*columns, "why none"), rows


def confusion_rows(
    confusions: Sequence[Confusion], names: Mapping[int, str], most: int = SHOWN_CONFUSIONS
) -> Table:
    """The most frequent pairs of two categories."""
    rows: list[tuple[str, ...]] = [
        (names[one.truth], names[one.predicted], f"{one.count:,}")
        for one in confusions
        if one.truth is not None and one.predicted is not None and one.truth != one.predicted
    ]
    return ("object", "detected as", "count"), rows[:most]


def calibration_rows(found: Calibration) -> Table:
    """A row a range of scores."""
    rows: list[tuple[str, ...]] = [
        (
            f"{one.low:.1f} – {one.high:.1f}",
            f"{one.detections:,}",
            decimal(one.mean_score, 3),
            decimal(one.precision, 3),
        )
        for one in found.bins
    ]
    return ("score", "detections", "mean score", "precision"), rows


def sentences_of(one: TaskAnalysis, threshold: float) -> list[str]:
    """What a task's analysis says in a few sentences; also what it cannot say, and why."""
    word = task_word(one.task)
    if one.errors.ap50 is None:
        return [f"{word}: there are neither objects nor detections; nothing can be analyzed."]
    known = [error for error in one.errors.main if error.dap is not None]
    undefined = " and ".join(error.name for error in one.errors.main if error.dap is None)
    sentences = []
    if undefined:
        sentences.append(
            f"{word}: what {undefined} errors cost is not defined: without them no AP is left."
        )
    if known and (worst := max(known, key=lambda error: error.dap or 0.0)).dap:
        sentences.append(
            f"{word}: {worst.name} errors cost most, {worst.dap:.2f} of the AP at an IoU of 0.5."
        )
    elif not undefined:
        sentences.append(f"{word}: no type of error costs any AP at an IoU of 0.5.")
    best = one.thresholds[0]
    if best.threshold is None:
        sentences.append(f"{word}: no threshold is best: {best.reason}.")
    else:
        sentences.append(
            f"{word}: F1 is highest, {best.f1:.3f}, for scores of at least {best.threshold:.3f} "
            f"(precision {best.precision:.3f}, recall {best.recall:.3f})."
        )
    if one.calibration.expected_error is not None:
        sentences.append(
            f"{word}: a score and the share of true positives differ by "
            f"{one.calibration.expected_error:.3f} on average."
        )
    wrong = sum(image.errors for image in one.images)
    sentences.append(
        f"{word}: {wrong:,} errors in {len(one.images):,} images "
        f"among detections that score at least {threshold:g}."
    )
    return sentences
