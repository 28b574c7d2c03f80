"""Pages of drawn pictures: small ones to look over, sort and filter, large ones behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.core.dataset import Dataset, ImageRecord
from harness.core.printable import counted
from harness.core.requests.pictures import ShowRequest
from harness.core.results import PredictReport
from harness.core.tasks import TASKS
from harness.measure.matching import FALSE_POSITIVE_KINDS, MATCH_IOU, JudgedImage
from harness.report.page import link_to, template
from harness.visualization.truth import LEGEND


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One image of a page."""

    picture: str
    """Path of the drawing, relative to the page."""

    small: str
    """Path of the thumbnail, relative to the page."""

    title: str
    """Title; the search of the page looks in it."""

    facts: tuple[str, ...] = ()
    """Short texts under the image."""

    tags: tuple[str, ...] = ()
    """What the page can be filtered by."""

    keys: Mapping[str, float] = field(default_factory=dict)
    """Numbers the page can be sorted by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """A page of images."""

    title: str
    """Title of the page."""

    lead: tuple[str, ...]
    """Sentences at the top."""

    cards: tuple[Card, ...]
    """The images, in the first of the orders."""

    orders: tuple[tuple[str, str], ...] = ()
    """(key of the cards, name of that order), largest first; the first is the default."""

    legend: tuple[tuple[str, str], ...] = ()
    """(CSS colour, meaning)."""

    tables: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]], ...] = ()
    """(title, columns, rows)."""

    wide: bool = False
    """Two images side by side on each card."""

    selectable: bool = False
    """Images can be ticked, and the names of those that are ticked saved as a file."""


def gallery_page(gallery: Gallery) -> str:
    """The page as HTML that needs its pictures and nothing else."""
    tags = sorted({tag for card in gallery.cards for tag in card.tags})
    return template("gallery.html.j2").render(gallery=gallery, tags=tags, link=link_to)


def prediction_page(report: PredictReport, images: Sequence[Mapping[str, Any]]) -> str:
    """The page of ``harness predict``.

    Args:
        images: Rows of ``predictions.json`` with ``small``.
    """
    names = {one.category_id: one.name for one in report.by_category}
    lead = [
        f"{report.model} found {counted(report.detections, 'object')} in "
        f"{counted(report.images, 'picture')}; scores of at least {report.threshold:g} are drawn."
    ]
    if report.mean_masked_share is not None:
        lead.append(f"On average {report.mean_masked_share:.1%} of a picture's pixels are masked.")
    tables = []
    if report.unreadable:
        rows = tuple((one.file, one.reason) for one in report.unreadable)
        tables.append(("Not read", ("file", "reason"), rows))
    return gallery_page(
        Gallery(
            title=f"{report.model}: {counted(report.images, 'picture')}",
            lead=tuple(lead),
            cards=tuple(_prediction_card(image, names) for image in images),
            orders=(
                ("order", "as they came"),
                ("objects", "most objects first"),
                ("masked", "most masked pixels first"),
            ),
            tables=tuple(tables),
        )
    )


def _prediction_card(image: Mapping[str, Any], names: Mapping[int, str]) -> Card:
    found = image["categories"]
    facts = [counted(len(found), "object")]
    if image["masked_share"] is not None:
        facts.append(f"{image['masked_share']:.1%} masked")
    return Card(
        picture=image["picture"],
        small=image["small"],
        title=image["file_name"],
        facts=tuple(facts),
        tags=tuple(sorted({names[category] for category in found})),
        keys={
            "order": -image["id"],
            "objects": len(found),
            "masked": image["masked_share"] or 0.0,
        },
    )


#: What false positives are, in words.
FALSE_POSITIVE_WORDS = {
    "localization": "localization: near an object of the category, but too far off",
    "classification": "classification: of an object of another category",
    "duplicate": "duplicate: of an object that a better detection has",
    "background": "background: of nothing",
    "both": "both: near an object of another category, and too far off",
}

Rows = Mapping[int, Sequence[tuple[int, Mapping[str, Any]]]]


def data_gallery(
    dataset: Dataset, rows: Rows, cards: Sequence[tuple[ImageRecord, Card]]
) -> Gallery:
    """Ground truth, in the order of the images.

    Args:
        rows: Annotations by image id.
    """
    names = {one.category_id: one.name for one in dataset.categories}
    filled = []
    for record, card in cards:
        own = [row for _, row in rows[record.image_id]]
        crowds = sum(bool(row.get("iscrowd", 0)) for row in own)
        facts = [counted(len(own) - crowds, "object")]
        facts += [counted(crowds, "crowd")] if crowds else []
        filled.append(
            replace(
                card,
                facts=(*facts, f"image {record.image_id}"),
                tags=tuple(sorted({names[row["category_id"]] for row in own})),
                keys={"order": -record.image_id, "objects": len(own), "bare": -len(own)},
            )
        )
    ids = [row["category_id"] for record, _ in cards for _, row in rows[record.image_id]]
    counts = Counter(names[category] for category in ids)
    most = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(12))
    return Gallery(
        title=f"{dataset.name}: ground truth",
        lead=(
            f"{counted(len(ids), 'annotation')} in {counted(len(cards), 'image')}"
            + (f" of {len(dataset.images):,}." if len(cards) < len(dataset.images) else "."),
            *((f"Most frequent: {most}.",) if most else ()),
            *(f"{sentence}." for sentence in dataset.warnings),
        ),
        cards=tuple(filled),
        orders=(("order", "by id"), ("objects", "most objects first"), ("bare", "fewest first")),
    )


def judged_gallery(
    dataset: Dataset,
    judged: Sequence[JudgedImage],
    names: Mapping[int, set[str]],
    cards: Sequence[tuple[ImageRecord, Card]],
    request: ShowRequest,
) -> Gallery:
    """Predictions beside ground truth.

    Args:
        judged: Matches of all images that were looked at.
        names: Names of the categories on each image, by image id.
    """
    kinds = Counter(one.kind for image in judged for one in image.detections)
    by_image = {one.image_id: one for one in judged}
    what = TASKS[request.task].plural
    return Gallery(
        title=f"{dataset.name}: predictions beside the ground truth",
        lead=(
            f"Detections that score at least {request.style.threshold:g}, and {what} that overlap "
            f"by an IoU of {MATCH_IOU:g} or more, within a category.",
            f"{_totals(judged)}; {counted(len(cards), 'image')} drawn, the worst first.",
        ),
        cards=tuple(
            _judged_card(record, card, by_image[record.image_id], names[record.image_id])
            for record, card in cards
        ),
        orders=(
            ("errors", "most errors first"),
            ("false_negatives", "most false negatives first"),
            ("false_positives", "most false positives first"),
            ("true_positives", "most true positives first"),
            ("clean", "fewest errors first"),
            ("order", "by id"),
        ),
        legend=LEGEND,
        tables=(
            (
                "False positives",
                ("count", "what they are"),
                tuple(
                    (f"{kinds[kind]:,}", FALSE_POSITIVE_WORDS[kind])
                    for kind in FALSE_POSITIVE_KINDS
                ),
            ),
        ),
        wide=True,
    )


def _totals(judged: Sequence[JudgedImage]) -> str:
    """Counts over all images, without the last full stop."""
    right = sum(one.true_positives for one in judged)
    wrong = sum(one.false_positives for one in judged)
    lacking = sum(len(one.false_negatives) for one in judged)
    clean = sum(one.errors == 0 for one in judged)
    return (
        f"{counted(right, 'true positive')} of {counted(right + lacking, 'object')} "
        f"({_share(right, right + lacking)}), {counted(lacking, 'false negative')}; "
        f"{counted(wrong, 'false positive')} of {counted(right + wrong, 'detection')} "
        f"({_share(wrong, right + wrong)}). {clean:,} of {len(judged):,} images have no error"
    )


def _judged_card(record: ImageRecord, card: Card, judged: JudgedImage, names: set[str]) -> Card:
    """Return the card of an image.

    Args:
        names: Names of the categories that are annotated or detected on it.
    """
    faults = {one.kind for one in judged.detections if one.kind in FALSE_POSITIVE_KINDS}
    lacking = ("false negative",) if judged.false_negatives else ()
    tags = {f"error: {fault}" for fault in (*faults, *lacking)}
    return replace(
        card,
        facts=(
            counted(len(judged.false_negatives), "false negative"),
            counted(judged.false_positives, "false positive"),
            counted(judged.true_positives, "true positive"),
            f"image {record.image_id}",
        ),
        tags=tuple(sorted({*(tags or {"no error"}), *names})),
        keys={
            "errors": judged.errors,
            "false_negatives": len(judged.false_negatives),
            "false_positives": judged.false_positives,
            "true_positives": judged.true_positives,
            "clean": -judged.errors,
            "order": -record.image_id,
        },
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"
