"""The search for what is wrong with predictions: the catalogue tried on some images.

Where boxes are is looked for first, with all categories taken for one: a wrong category does not
hide it. Then the categories, then what else can be undone, each on top of what was found before;
what cannot be undone is read from the rows. A fault is claimed only where AP rises by more than
chance lets it, or where the rows show it by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.core.printable import counted
from harness.core.tasks import Task
from harness.diagnosis import attributes, coverage, outlines, overlaps, places, shifts, turns
from harness.diagnosis.case import Case
from harness.diagnosis.catalogue import CATALOGUE
from harness.diagnosis.places import Undo, applied
from harness.diagnosis.samples import best_of_each, limited, of_images, sample_of
from harness.diagnosis.scoring import (
    LEAST_GAIN,
    average_precision,
    better,
    margin,
    matched_growth,
    number,
    size_precisions,
)
from harness.diagnosis.time_limit import OutOfTimeError, Pace
from harness.measure.columns import Booleans

#: AP points of a size class that are worth a note.
LEAST_SIZE_GAIN = 0.3

#: Images that hypotheses are tried on, and rows: fewer images where they have many.
SAMPLE = 400
SAMPLE_ROWS = 20_000

#: Boxes at objects without regard to categories: a detector's are above, misplaced ones below.
CLEAR = 12.0

#: Rows of an image that say where boxes are.
MOST_PLACED = 12

#: Images on which masks are tried in other frames: a few milliseconds for every mask and frame.
MOST_MASKED = 60

#: Part of the time that the masks of the images may take to be changed once.
MASKS_PART = 0.25

#: How much larger or smaller, as a logarithm, boxes in the right frame may be than objects.
MOST_GROWTH = 0.04

#: Frames that boxes are resized to, and masks drawn in.
FRAMES = ("resized-frame", "letterboxed-frame")

#: Faults of image ids, and those of masks, whose AP is that of masks.
OF_IDS = ("image-positions", "image-file-numbers")
OF_MASKS = ("masks-resized", "masks-transposed", "masks-turned", "masks-shifted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A fault that the rows show and that cannot be undone."""

    name: str
    """Of the hypothesis."""
    details: str
    """What shows it."""


@dataclass(slots=True)
class Search:
    """What was found so far, and what was tried."""

    case: Case
    """The predictions as they are in the file."""
    task: Task
    """What is compared."""
    images: Booleans
    """(M,) those that hypotheses are tried on."""
    seconds_left: Callable[[], float]
    """What is left of the time for the search."""
    pace: Pace
    """The time that there is for the search and what follows it."""
    scoring_s: float
    """How long it takes to score the images once; that follows for each fault."""
    steps: list[Undo] = field(default_factory=list)
    """What is to be undone, in its order."""
    signs: list[Sign] = field(default_factory=list)
    """What cannot be undone."""
    tried: set[str] = field(default_factory=set)
    """Names of the hypotheses that were looked at."""
    notes: list[str] = field(default_factory=list)
    """What is no fault and worth a sentence."""
    best: dict[str, Case] = field(default_factory=dict)
    """The best predictions of the sampled images, by what image ids are taken for."""
    watch: Callable[[], None] = lambda: None
    """Called before each mask that is changed; what it raises ends that."""

    def run(self) -> None:
        """Try the catalogue until it is through, or the time is over."""
        self.watch = self._require_time
        try:
            for stage in (
                self._scores_of_rows,
                self._places,
                self._some_turned,
                self._listed,
                self._frames_of_masks,
                self._categories,
                self._half_turned,
                self._rows,
                self._coverage,
                self._cuts,
                self._masks,
                self._crowds,
            ):
                stage()
        except OutOfTimeError:
            return

    @property
    def not_reached(self) -> tuple[str, ...]:
        """Names of the hypotheses that there was no time for."""
        return tuple(one.name for one in CATALOGUE if one.name not in self.tried)

    def undone(
        self,
        *,
        without: Undo | None = None,
        images: Booleans | None = None,
        masks: bool = True,
    ) -> Case:
        """The case with everything undone that was found.

        Args:
            without: What to leave as it is.
            images: (M,) those whose rows are wanted; None for all. Masks of millions of rows take
                minutes.
            masks: Whether masks are undone as well.
        """
        steps = [one for one in self.steps if one is not without]
        numbers = [one for one in steps if one.name in OF_IDS]
        self.watch()
        result = applied(self.case, *numbers)
        if images is not None:
            result = limited(result, images)
        others = [one for one in steps if one not in numbers]
        return applied(result, *(one for one in others if masks or one.name not in OF_MASKS))

    def _scores_of_rows(self) -> None:
        self._reached("scores-equal", "scores-in-percent")
        if (text := attributes.equal(self.case)) is not None:
            self.signs.append(Sign(name="scores-equal", details=text))
        self._keep(attributes.in_percent(self.case))

    def _places(self) -> None:
        """The image ids, format and frame in which most boxes are at objects."""
        best: tuple[float, tuple[Undo, ...]] = (0.0, ())
        tried = []
        for undos in self._numbers_and_formats():
            value = self._agnostic(undos)
            tried.append((value, undos))
            best = better(best, (value, undos))
        # Where boxes are at objects already, other frames are only tried on top of that.
        clear = best[0] >= CLEAR
        for undos in [best[1]] if clear else [one for _, one in tried]:
            for frame in self._frames(undos):
                best = better(best, (self._agnostic((*undos, frame)), (*undos, frame)))
        self._reached("image-positions", "image-file-numbers")
        self._reached(*places.FORMATS, "normalised", "resized-frame", "letterboxed-frame")
        self._reached("mirrored-frame")
        self.steps += best[1] if self._fits(best[1]) else ()

    def _fits(self, undos: Sequence[Undo]) -> bool:
        """Whether boxes that meet objects are as large as they are, where a frame was resized.

        What is wrong in another way is nearer to objects in some other frame, too.
        """
        if not any(one.name in FRAMES for one in undos):
            return True
        growth = matched_growth(self._placed(undos), self.images)
        return bool((np.abs(growth) <= MOST_GROWTH).all())

    def _numbers_and_formats(self) -> Iterator[tuple[Undo, ...]]:
        """Image ids and formats together; those that cannot be are left out."""
        for numbers in (None, *coverage.image_numbers(self.case)):
            sample = self._best_with(numbers)
            for form in places.formats() if self.case.rows.has_boxes else (None,):
                chosen = tuple(one for one in (numbers, form) if one is not None)
                # Frames may be what makes them possible.
                if form is None or places.has_sizes(applied(sample, form)):
                    yield chosen

    def _frames(self, undos: Sequence[Undo]) -> Iterator[Undo]:
        formed = self._placed(undos)
        for frame in places.frames(formed):
            if places.is_possible(frame.change(formed)):
                yield frame

    def _placed(self, undos: Sequence[Undo]) -> Case:
        """The best predictions of the sampled images, with some faults undone."""
        numbers = next((one for one in undos if one.name.startswith("image-")), None)
        return applied(self._best_with(numbers), *(one for one in undos if one is not numbers))

    def _best_with(self, numbers: Undo | None) -> Case:
        """The best predictions of the sampled images by one meaning of image ids.

        All rows are looked through once for each: there may be millions.
        """
        key = "" if numbers is None else f"{numbers.name} {numbers.details}"
        if key not in self.best:
            whole = of_images(applied(self.case, numbers), self.images)
            self.best[key] = best_of_each(whole, MOST_PLACED)
        return self.best[key]

    def _agnostic(self, undos: Sequence[Undo]) -> float:
        self._require_time()
        case = self._placed(undos)
        return number(average_precision(case, "bbox", self.images, agnostic=True))

    def _some_turned(self) -> None:
        self._require_time()
        case = self.undone(masks=False)
        images = places.leaving(case)
        if not self.case.rows.has_boxes or images.sum() < max(2, 0.005 * len(images)):
            return
        now = number(average_precision(case, "bbox", images, agnostic=True))
        turns = [places.some_turned(case, quarters) for quarters in (1, 3)]
        values = [
            number(average_precision(one.change(case), "bbox", images, agnostic=True))
            for one in turns
        ]
        best = int(np.argmax(values))
        if values[best] - now > margin(values[best]):
            self._keep(turns[best])

    def _listed(self) -> None:
        self._reached("other-annotations", "unknown-images")
        case = self.undone(masks=False)
        known = coverage.seen(case).known
        undo = coverage.without_unknown(case)
        if undo is None:
            return
        position = case.position
        covered = len(np.unique(position[position >= 0])) / max(1, len(case.truth.image_ids))
        if known < 0.5 and covered < 0.9:
            text = f"{100 * (1 - known):.0f} % of the rows are for images that are not listed"
            self.signs.append(Sign(name="other-annotations", details=text))
        else:
            self._keep(undo)

    def _categories(self) -> None:
        """The order of categories with which most boxes are right."""
        case = self._sampled()
        best, value = None, self._value(case)
        for undo in attributes.orders(case):
            self._require_time()
            found = self._value(undo.change(case))
            if found - value > margin(found):
                best, value = undo, found
        self._reached("index-from-0", "index-from-1", "id-plus-1", "id-minus-1", "coco-ids")
        self._reached("alphabetical")
        learned = attributes.learned_order(case, self.images)
        if learned is not None:
            self._require_time()
            found = self._value(learned.change(case))
            if found - value > margin(found):
                best = learned
        self._reached("other-order")
        self._keep(best)

    def _half_turned(self) -> None:
        """Images of a part of the set by 180°: only where boxes meet their category shows it."""
        self._require_time()
        self._reached("turned-frame", "masks-turned")
        if self.case.rows.has_boxes:
            upside = self._upside(lambda case: case)
            self._keep(None if upside is None else turns.half_turn_of(upside))
        if self._has_masks and not any(step.name in OF_MASKS for step in self.steps):
            self._require_time()
            upside = self._upside(outlines.by_outlines)
            self._keep(None if upside is None else outlines.half_turned(upside, self._watch))

    def _upside(self, change: Callable[[Case], Case]) -> Booleans | None:
        """(M,) the images that a half turn sets right, by the boxes that are made of a case."""
        sample = change(best_of_each(self._sampled(), MOST_PLACED))
        if turns.upside_down(sample, self.images) is None:
            return None
        self._require_time()
        everything = np.ones(len(self.images), dtype=bool)
        best = best_of_each(self.undone(masks=False), MOST_PLACED)
        return turns.upside_down(change(best), everything)

    def _rows(self) -> None:
        """The order of scores, repeats and duplicates."""
        self._require_time()
        self._inverted(self._sampled())
        case = self.undone(masks=False)
        self._reached("same-image-twice")
        self._keep(coverage.without_repeats(case))
        self._require_time()
        sample = self._sampled()
        self._reached("nms-missing")
        if (undo := overlaps.nms_missing(sample, self.images)) is not None:
            gain = self._value(undo.change(sample)) - self._value(sample)
            self._keep(undo if gain > LEAST_GAIN else None)
        self._require_time()
        self._reached("more-than-100")
        self._keep(attributes.best_hundred(self.undone(masks=False)))

    def _inverted(self, case: Case) -> None:
        self._reached("scores-inverted")
        if len(case.rows):
            undo = attributes.inverted(case)
            before, after = self._value(case), self._value(undo.change(case))
            # Of scores that say nothing, either order may be the better one by chance.
            self._keep(undo if after - before > max(margin(after), after / 2) else None)

    def _coverage(self) -> None:
        self._require_time()
        self._reached("one-share", "images-without-rows")
        case = self.undone(masks=False)
        if coverage.seen(case).known < 0.5 and any(
            sign.name == "other-annotations" for sign in self.signs
        ):
            return
        if (text := coverage.without_categories(case)) is not None:
            self.notes.append(text)
        found = attributes.cut(case)
        cut = found is not None and found[0] > attributes.USUAL_CUT + 1e-9
        self._keep(coverage.share(case) or coverage.with_rows_only(case, cut=cut))

    def _cuts(self) -> None:
        """Rows that are not there, and cannot be found again."""
        self._require_time()
        case = self.undone(masks=False)
        self._reached("scores-cut")
        if (found := attributes.cut(case)) is not None:
            at, near = found
            rows = counted(near, "row is", "rows are")
            text = f"no score is below {at:g}, and {rows} within 0.05 above it"
            if at > attributes.USUAL_CUT + 1e-9:
                self.signs.append(Sign(name="scores-cut", details=text))
            else:
                self.notes.append(f"{text}: the recipe of Detectron2's zoo cuts there, too")
        self._require_time()
        sample = self._sampled()
        self._reached("nms-too-hard", "nms-across-classes")
        if any(step.name == "nms-missing" for step in self.steps):
            return
        # How boxes overlap that are not at objects says nothing.
        if number(average_precision(sample, "bbox", self.images, agnostic=True)) < CLEAR:
            return
        for name, look in (
            ("nms-too-hard", overlaps.nms_too_hard),
            ("nms-across-classes", overlaps.nms_across_classes),
        ):
            if (text_found := look(sample, self.images)) is not None:
                self.signs.append(Sign(name=name, details=text_found))

    def _frames_of_masks(self) -> None:
        """The frame in which most masks are at objects, whatever their category."""
        if not self._has_masks:
            self._reached(*OF_MASKS, "box-beside-mask")
            return
        self._require_time()
        whole = self.undone(masks=False)
        wrong = outlines.of_another_size(whole)
        affected = np.bincount(whole.position[wrong], minlength=len(self.images)) > 0
        few = sample_of(whole, most=MOST_MASKED, among=affected if wrong.any() else self.images)
        sample = best_of_each(limited(whole, few), MOST_PLACED)
        now = self._agnostic_of_masks(sample, few)
        if wrong.any():
            undos, least = outlines.other_sizes(whole, wrong, self._watch), 0.0
        else:
            undos, least = self._in_place(sample, few, now), 2 * now
        best: Undo | None = None
        took = 0.0
        for undo in undos:
            self._require_time()
            before = self.seconds_left()
            changed = undo.change(sample)
            took = max(took, before - self.seconds_left())
            value = self._agnostic_of_masks(changed, few)
            if value - now > margin(value) and value > least:
                best, least = undo, value + LEAST_GAIN
        self._reached("masks-resized", "masks-transposed")
        self._keep(best)
        if best is not None:
            self._fewer_images(took / max(1, len(sample.rows)))
        elif wrong.any():
            self.notes.append(
                f"{counted(int(wrong.sum()), 'mask is', 'masks are')} not of the size of their "
                "image: neither resizing nor turning nor transposing them brings them to objects"
            )

    def _in_place(self, sample: Case, few: Booleans, now: float) -> Iterator[Undo]:
        """What masks of the size of their images may be that are at no objects."""
        if now >= CLEAR:
            return
        yield from outlines.other_orders(self._watch)
        outlined = outlines.by_outlines(sample)
        # What is drawn outside of its mask is not there.
        outlined = outlined.taking(outlined.rows.boxes[:, 2:].min(axis=1) > 0)
        value = number(average_precision(outlined, "bbox", few, agnostic=True))
        best: Undo | None = None
        for frame in places.frames(outlined):
            self._require_time()
            changed = frame.change(outlined)
            if frame.name not in FRAMES or not places.is_possible(changed):
                continue
            found = number(average_precision(changed, "bbox", few, agnostic=True))
            if found - value > margin(found):
                best, value = frame, found
        if best is not None:
            yield outlines.drawn_elsewhere(best, self._watch)

    def _fewer_images(self, seconds: float) -> None:
        """Try hypotheses on no more images than there is time for.

        Args:
            seconds: That the mask of a row takes to be changed.
        """
        rows = len(of_images(self.undone(masks=False), self.images).rows)
        part = MASKS_PART * self.seconds_left() / max(1e-9, seconds * rows)
        if part < 1:
            most = max(1, int(part * self.images.sum()))
            self.images = sample_of(self.case, most=most, among=self.images)

    def _watch(self) -> None:
        """As who searches or measures says at that time."""
        self.watch()

    def _agnostic_of_masks(self, case: Case, images: Booleans) -> float:
        precision = average_precision(case, "segm", images, agnostic=True, watch=self._require_time)
        return number(precision)

    @property
    def _has_masks(self) -> bool:
        return self.case.rows.masks is not None and "segm" in self.case.truth.objects

    def _masks(self) -> None:
        if not self._has_masks:
            return
        self._require_time()
        sample = self._sampled()
        self._require_time()
        self._reached("masks-shifted")
        # Masks that were resized here are not where they were to a pixel.
        if not any(step.name == "masks-resized" for step in self.steps):
            self._keep(shifts.shift_of(sample, self.images, self._require_time))
        self._require_time()
        self._reached("box-beside-mask")
        self._size_classes(self._sampled())

    def _size_classes(self, case: Case) -> None:
        """Report what the size classes of masks are where a box beside them decides."""
        if not case.rows.has_boxes:
            return
        own, boxes = (
            size_precisions(case, self.images, area_of_boxes=one) for one in (False, True)
        )
        known = [size for size in own if not np.isnan(own[size]) and not np.isnan(boxes[size])]
        if any(abs(own[size] - boxes[size]) >= LEAST_SIZE_GAIN for size in known):
            parts = [f"{size} {boxes[size]:.1f} instead of {own[size]:.1f}" for size in known]
            self.notes.append(
                "an evaluator that takes the area of the box beside each mask, as pycocotools "
                f"does, has another mask AP by size: {', '.join(parts)}, on "
                + counted(int(self.images.sum()), "image")
            )

    def _crowds(self) -> None:
        self._require_time()
        self._reached("crowd-as-object")
        few = sample_of(self.case, most=SAMPLE, among=attributes.with_run_lengths(self.case))
        self._keep(attributes.marked(of_images(self.undone(masks=False), few), few))

    def _sampled(self) -> Case:
        """The rows of the images that hypotheses are tried on, with everything undone."""
        return of_images(self.undone(images=self.images), self.images)

    def _value(self, case: Case, task: Task | None = None) -> float:
        return number(average_precision(case, task or self.task, self.images))

    def _keep(self, undo: Undo | None) -> None:
        if undo is not None:
            self.steps.append(undo)

    def _reached(self, *names: str) -> None:
        self.tried.update(names)

    def _require_time(self) -> None:
        if self.seconds_left() <= 0:
            raise OutOfTimeError("the time for the search is over")
        self.pace.look(after_s=self.scoring_s * (1 + len(self.steps)))
