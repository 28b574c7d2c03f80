"""What a search found, with AP before and after each fault is undone: the answer of a diagnosis.

Some of the many hypotheses always fits a few objects. A fault is claimed of few images where its
rows show it by themselves, or where undoing it brings predictions to many more objects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace

import numpy as np

from harness.core.printable import counted
from harness.core.tasks import Task
from harness.diagnosis.case import Case
from harness.diagnosis.catalogue import BY_NAME
from harness.diagnosis.places import Undo
from harness.diagnosis.samples import limited, masks_as_boxes, sample_of
from harness.diagnosis.scoring import average_precision, met_objects
from harness.diagnosis.search import OF_MASKS, SAMPLE, SAMPLE_ROWS, Search
from harness.diagnosis.time_limit import OutOfTimeError, Pace
from harness.measure.columns import Booleans

#: Faults that cannot be undone, what costs most first; and where those belong whose AP is known.
SEVERITY = ("other-annotations", "scores-equal", "scores-cut", "nms-too-hard", "nms-across-classes")

#: An AP difference that is shown as one.
SEEN_GAIN = 0.05

#: What a cheap look may take (seconds of its clock) and see, and how many faults it names.
CHEAP_S, CHEAP_IMAGES, MOST_SUSPICIONS = 3.0, 100, 3

#: Images whose masks are undone to see how long that takes.
TIMED_IMAGES = 8

#: Part of the time that the search may take; the rest is for scoring all images.
SEARCH_PART = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault that was found."""

    name: str
    """Of the hypothesis, as in ``docs/diagnose.md``."""
    fault: str
    """What is wrong."""
    details: str
    """What was assumed, or what shows it."""
    fix: str
    """What to do about it."""
    task: Task
    """What the APs are of."""
    before: float | None
    """AP with this fault and all others undone, 0-100; None where it cannot be undone, or where
    there was no time."""
    after: float | None
    """AP with this one undone as well; None as before."""

    @property
    def gain(self) -> float:
        """What undoing it brings, in AP points; 0 where that is not known."""
        return 0.0 if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosed:
    """The faults of some predictions."""

    task: Task
    """What the APs are of: boxes where there are any."""
    ap: float | None
    """AP as the rows are, 0-100; those of unknown images and categories are left out."""
    ap_undone: float | None
    """AP with everything undone that was found."""
    findings: tuple[Finding, ...]
    """The strongest first; empty where nothing is claimed."""
    notes: tuple[str, ...]
    """What is no fault and worth a sentence."""
    not_reached: tuple[str, ...]
    """Hypotheses that there was no time for."""
    tried_images: int
    """Images that hypotheses were tried on."""
    measured_images: int
    """Images that the APs are of."""


def diagnose(
    case: Case,
    *,
    limit_s: float,
    clock: Callable[[], float],
    most_images: int = SAMPLE,
    measured: bool = True,
) -> Diagnosed:
    """Find out why the AP of some predictions is what it is.

    Args:
        case: Predictions beside the ground truth.
        limit_s: Seconds that this may take; what is not reached is named.
        clock: Seconds that rise.
        most_images: How many images hypotheses are tried on.
        measured: Whether APs are measured at last on all images; without it on the same ones.

    Raises:
        OutOfTimeError: Not even the AP of these images was measured in time.
    """
    case = masks_as_boxes(case)
    search, scored = _prepared(case, limit_s, clock, most_images)
    images = search.images
    if len(case.truth.image_ids) and len(case.rows) and len(case.truth.objects["bbox"].image):
        search.run()
        with suppress(OutOfTimeError):
            keep_evident(search)
    else:  # nothing that any hypothesis could be tried on
        search.tried.update(BY_NAME)
    fewer = images is not search.images
    images = search.images
    found = _costs(search, images, search.pace, ap=None if fewer else scored.ap)
    if measured and search.pace.seconds_left > found.seconds:  # more images take longer
        with suppress(OutOfTimeError):
            wanted = _measured_images(search, found)
            if wanted.sum() > images.sum():
                found = _costs(search, wanted, _pace_on(wanted, search, scored), strict=True)
                images = wanted
    return Diagnosed(
        task=search.task,
        ap=scored.ap if found.ap is None else found.ap,
        ap_undone=found.ap_undone,
        findings=found.findings,
        notes=tuple(search.notes),
        not_reached=search.not_reached,
        tried_images=int(search.images.sum()),
        measured_images=int(images.sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """The first scoring of the images that hypotheses are tried on."""

    ap: float | None
    """As the rows are."""
    longest_s: float
    """How long the longest step of it took."""


def _prepared(
    case: Case, limit_s: float, clock: Callable[[], float], most_images: int
) -> tuple[Search, _Scored]:
    """The search that begins, which knows how long it takes to score its images, and their AP."""
    begun = clock()
    task: Task = "bbox" if case.rows.has_boxes or case.rows.masks is None else "segm"
    images = sample_of(case, most=_affordable(case, most_images))
    pace = Pace(deadline=begun + limit_s, clock=clock)
    before = clock()
    ap = _scored(limited(case, images), task, images, pace)
    search = Search(
        case=case,
        task=task,
        images=images,
        seconds_left=lambda: begun + SEARCH_PART * limit_s - clock(),
        pace=Pace(deadline=pace.deadline, clock=clock),
        scoring_s=clock() - before,
    )
    return search, _Scored(ap=ap, longest_s=pace.longest_s)


def _pace_on(images: Booleans, search: Search, scored: _Scored) -> Pace:
    """What is left of the time, where a step of scoring takes as much longer as there are images.

    Args:
        images: (M,) what is scored.
        search: That was made.
        scored: Its first scoring.
    """
    larger = scored.longest_s * images.sum() / max(1, search.images.sum())
    return replace(search.pace, longest_s=max(search.pace.longest_s, larger))


def suspicions(case: Case, *, clock: Callable[[], float]) -> tuple[str, ...]:
    """The likeliest faults that a cheap look shows, one sentence each, three at most.

    Args:
        case: Predictions beside the ground truth.
        clock: Seconds that rise.
    """
    found = diagnose(case, limit_s=CHEAP_S, clock=clock, most_images=CHEAP_IMAGES, measured=False)
    return tuple(
        one.fault + (f" ({one.details})" if one.details else "")
        for one in found.findings[:MOST_SUSPICIONS]
    )


def _affordable(case: Case, most: int) -> int:
    """How many images are tried, for not many more rows than ``SAMPLE_ROWS``."""
    images = max(1, len(np.unique(case.rows.image_id)))
    rows = max(1.0, len(case.rows) / images)
    return max(1, min(most, int(SAMPLE_ROWS / rows)))


def _measured_images(search: Search, found: _Costs) -> Booleans:
    """All images where there is time for them; else as many as there is time for."""
    count = len(search.images)
    took = max(found.undone_s, 1e-3) / max(1, int(search.images.sum()))
    scorings = 2 + len(search.steps)
    each = scorings * took + _undoing_masks_s(search, search.pace.clock)
    affordable = 0.7 * search.pace.seconds_left / each
    if affordable >= count:
        return np.ones(count, dtype=bool)
    wanted = max(int(affordable), int(search.images.sum()))
    return sample_of(search.case, most=wanted) | search.images


def _undoing_masks_s(search: Search, clock: Callable[[], float]) -> float:
    """Seconds that the masks of an image take to undo once: longer than to score it.

    Those of the images that were tried are known by now, so others are timed.
    """
    others = sample_of(search.case, most=TIMED_IMAGES, among=~search.images)
    if not others.any() or not any(step.name in OF_MASKS for step in search.steps):
        return 0.0
    begun = clock()
    search.undone(images=others)
    return (clock() - begun) / float(others.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Costs:
    """APs on some images."""

    ap: float | None
    """As the rows are."""
    ap_undone: float | None
    """With everything undone."""
    findings: tuple[Finding, ...]
    """The strongest first."""
    seconds: float
    """How long measuring took."""
    undone_s: float
    """How long it took with everything undone."""


def _costs(
    search: Search, images: Booleans, pace: Pace, *, ap: float | None = None, strict: bool = False
) -> _Costs:
    """The findings and what they cost.

    Args:
        search: What was found.
        images: What APs are measured on.
        pace: The time for it.
        ap: As the rows are; None to measure it.
        strict: Whether to end where there is no time; otherwise what there is no time for is None.

    Raises:
        OutOfTimeError: The time is over, and that matters.
    """

    def values(without: Undo | None, tasks: Sequence[Task]) -> dict[Task, float | None]:
        try:
            pace.look()
            undone = search.undone(without=without, images=images)
            pace.look()
            return {task: _scored(undone, task, images, pace) for task in tasks}
        except OutOfTimeError:
            if strict:
                raise
            return dict.fromkeys(tasks)

    search.watch = pace.look
    begun = pace.clock()
    if ap is None:
        with nullcontext() if strict else suppress(OutOfTimeError):
            ap = _scored(limited(search.case, images), search.task, images, pace)
    undoing = pace.clock()
    whole = values(None, _tasks(search)) if search.steps else {search.task: ap}
    undone_s = pace.clock() - undoing if search.steps else search.scoring_s
    found = []
    for step in search.steps:
        task: Task = "segm" if step.name in OF_MASKS else search.task
        before = values(step, (task,))[task]
        found.append(_finding(step.name, step.details, task, before, whole[task]))
    return _Costs(
        ap=ap,
        ap_undone=whole[search.task],
        findings=_ordered(search, found),
        seconds=pace.clock() - begun,
        undone_s=undone_s,
    )


def _ordered(search: Search, found: Sequence[Finding]) -> tuple[Finding, ...]:
    """What was found, what costs most first; faults that cannot be undone are among it."""
    signs = [_finding(one.name, one.details, search.task, None, None) for one in search.signs]
    signs.sort(key=lambda one: SEVERITY.index(one.name))
    strong = [one for one in found if one.gain >= SEEN_GAIN or one.before is None]
    weak = [one for one in found if one not in strong]
    strong.sort(key=lambda one: -one.gain)
    return (*strong, *signs, *weak)


def _finding(
    name: str, details: str, task: Task, before: float | None, after: float | None
) -> Finding:
    known = BY_NAME[name]
    return Finding(
        name=name,
        fault=known.fault,
        details=details,
        fix=known.fix,
        task=task,
        before=before,
        after=after,
    )


def _tasks(search: Search) -> tuple[Task, ...]:
    if any(step.name in OF_MASKS for step in search.steps):
        return tuple(dict.fromkeys((search.task, "segm")))
    return (search.task,)


def _scored(case: Case, task: Task, images: Booleans, pace: Pace) -> float | None:
    return _known(average_precision(case, task, images, watch=pace.look))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


#: Of fewer images claims need more than a higher AP.
FEW_IMAGES = 10

#: Objects that must be met more when a fault is undone. What 204 single real images with nothing
#: wrong, and 560 samples of two to eight, seem to show brings predictions to 2 more at most.
LEAST_MET = 5

#: What rows show by themselves, however few they are.
SHOWN = frozenset(
    {
        "other-annotations",
        "unknown-images",
        "normalised",
        "same-image-twice",
        "more-than-100",
        "scores-equal",
        "scores-in-percent",
    }
)


def keep_evident(search: Search) -> None:
    """Take back what few images do not show, with a note that names it.

    Args:
        search: That was made.
    """
    if len(search.images) >= FEW_IMAGES:
        return
    dropped = [one.name for one in search.signs if one.name not in SHOWN]
    search.signs = [one for one in search.signs if one.name in SHOWN]
    while weak := next((one for one in search.steps if not _is_evident(one, search)), None):
        search.steps.remove(weak)
        dropped.append(weak.name)
    if dropped:
        faults = ", ".join(BY_NAME[name].fault for name in dropped)
        images = counted(len(search.images), "image")
        search.notes.append(f"{images} may show this by chance, and it is not claimed: {faults}")


def _is_evident(step: Undo, search: Search) -> bool:
    if step.name in SHOWN:
        return True
    task = "segm" if step.name in OF_MASKS else search.task
    met, before = (
        met_objects(search.undone(without=without), search.images, task).sum()
        for without in (None, step)
    )
    return bool(met - before >= LEAST_MET)
