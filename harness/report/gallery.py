"""Pages of drawn pictures: small ones to look over, sort and filter, large ones behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from harness.core.predicted import PredictReport
from harness.report.page import template


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One picture of a page.

    picture, small: paths relative to the page. title: as it is searched for. facts: short texts
    under it. tags: what it can be filtered by. keys: what it can be sorted by.
    """

    picture: str
    small: str
    title: str
    facts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    keys: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """A page.

    lead: sentences at its top. legend: (CSS colour, what it means). orders: (key of the cards, what
    that order is called), largest first; the first one is the page's own, and cards come in it.
    tables: (title, columns, rows).
    """

    title: str
    lead: tuple[str, ...]
    cards: tuple[Card, ...]
    orders: tuple[tuple[str, str], ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    tables: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]], ...] = ()
    wide: bool = False


def gallery_page(gallery: Gallery) -> str:
    """The page as HTML that needs its pictures and nothing else."""
    tags = sorted({tag for card in gallery.cards for tag in card.tags})
    return template("gallery.html.j2").render(gallery=gallery, tags=tags, link=quote)


def prediction_page(report: PredictReport, images: Sequence[Mapping[str, Any]]) -> str:
    """The page of ``harness predict``. images: rows of ``predictions.json`` with ``small``."""
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


def counted(number: int, noun: str) -> str:
    """``3 objects``, ``1 object``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
