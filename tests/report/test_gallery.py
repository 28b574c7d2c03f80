"""Pages of pictures: what they link, what they can be sorted by."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from urllib.parse import unquote

from harness.report.gallery import Card, Gallery, counted, gallery_page

ODD = 'pictures/it\'s "odd" <b> & 100%? #1.jpg'


class Cards(HTMLParser):
    """The attributes of every card."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cards: list[dict[str, str | None]] = []
        self.options: list[str | None] = []
        self.inside: list[str] = []
        self.ticks = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("class") == "card":
            self.cards.append(found)
        elif tag == "a" and self.cards:
            self.cards[-1].setdefault("href", found.get("href"))
        if tag in ("a", "button", "label"):
            self.inside.append(tag)
        if tag == "input" and found.get("type") == "checkbox":
            assert not self.inside, "a control inside another one"
            self.ticks += 1
        if tag == "option":
            self.options.append(found.get("value"))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("a", "button", "label"):
            self.inside.remove(tag)


def test_boxes_to_tick_are_beside_the_links() -> None:
    cards = (Card(picture="a.jpg", small="b.jpg", title="a"),) * 3
    page = gallery_page(Gallery(title="pictures", lead=(), cards=cards, selectable=True))
    assert Cards(page).ticks == 3


def test_links_survive_odd_names() -> None:
    [card] = Cards(page_of(Card(picture=ODD, small="small/1.jpg", title=ODD))).cards
    assert unquote(card["href"] or "") == ODD
    assert card["data-title"] == ODD


def test_what_cards_are_sorted_and_filtered_by() -> None:
    page = page_of(
        Card(
            picture="a.jpg",
            small="b.jpg",
            title="a",
            tags=('a "quoted" tag', "person"),
            keys={"errors": 3},
        )
    )
    [card] = Cards(page).cards
    assert json.loads(card["data-tags"] or "") == ['a "quoted" tag', "person"]
    assert json.loads(card["data-keys"] or "") == {"errors": 3}
    assert {"errors", "order"} <= set(Cards(page).options)


def test_a_page_without_pictures_is_a_page() -> None:
    assert Cards(page_of()).cards == []


def test_nothing_comes_from_elsewhere() -> None:
    assert "http" not in page_of(Card(picture="a.jpg", small="b.jpg", title="a"))


def test_counting() -> None:
    assert [counted(number, "object") for number in (0, 1, 1200)] == [
        "0 objects",
        "1 object",
        "1,200 objects",
    ]


def page_of(*cards: Card) -> str:
    return gallery_page(
        Gallery(
            title="pictures",
            lead=("A sentence.",),
            cards=cards,
            orders=(("errors", "worst first"), ("order", "by id")),
        )
    )
