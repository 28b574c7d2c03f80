"""Names of files, categories and folders that are HTML: on every page they are text.

The skeleton of a page, its tags with their attributes and the kinds of its links, is the same
whatever things are called.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.cli.main import run
from tests.attack.trials import Trials

EVIL = {
    "element": "<img src=x onerror=alert(1)>",
    "script": "</script><script>alert(1)</script>",
    "attribute": "\" onmouseover=alert(1) x=\"' onfocus=alert(1) '",
    "comment": "--><!--<script>",
    "link": "javascript:alert(1)",
    "template": "{{ 7 * 7 }}{% raw %}${alert(1)}`",
    "entity": "&lt;script&gt;&#x3c;b&#62;",
    "style": "</style><style>*{display:none}",
    "json": '"],"x":["</a><a href=//evil.example>',
}

#: Where links of a page may lead: nowhere outside.
SCHEMES = ("http:", "https:", "//", "javascript:", "vbscript:", "file:")

#: Numbers of elements may differ by what is measured; kinds may not.
Skeleton = Counter[tuple[str, tuple[str, ...]]]


class Page(HTMLParser):
    """Tags with the names of their attributes, links, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.skeleton: Skeleton = Counter()
        self.links: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skeleton[tag, tuple(sorted(name for name, _ in attrs))] += 1
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        self._in_script = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.skeleton[f"/{tag}", ()] += 1
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)


def data_called(name: str, folder: Path, small: Path) -> Path:
    """The small data set with a name for its first category and its first image, in a folder."""
    shutil.copytree(small, folder)
    content = json.loads((folder / "annotations.json").read_text("utf-8"))
    content["categories"][0]["name"] = name
    first = content["images"][0]
    plain = name.replace("/", "∕")  # what a file can be called
    (folder / "images" / first["file_name"]).rename(folder / "images" / f"{plain}.png")
    first["file_name"] = f"{plain}.png"
    (folder / "annotations.json").write_text(json.dumps(content), "utf-8")
    return folder


Pages = Callable[[str, str], list[Page]]


@pytest.fixture
def pages(small_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pages:
    """All pages that are made of data with a name, in a folder that is called so as well."""

    def made(label: str, name: str) -> list[Page]:
        data = data_called(name, tmp_path / f"data {label}", small_coco)
        place = tmp_path / label / name.replace("/", "∕")
        place.mkdir(parents=True)
        monkeypatch.chdir(place)
        called = f"./{place.name}"  # what begins with a hyphen would be an option
        given = ["--annotations", str(data / "annotations.json"), "--images", str(data / "images")]
        for words in (
            ["eval", "--engine", "fake", *given, "--output", "run"],
            ["eval", "--engine", "fake", *given, "--output", called],
            ["show", *given, "--output", "shown"],
            ["compare", "run", called, "--html", "compared.html"],
            ["predict", str(data / "images"), "--threads", "1", "--output", "found"],
        ):
            assert run(words) in (0, 1), words
        found = sorted(place.rglob("*.html"))
        assert len(found) >= 5
        return [Page(path.read_text("utf-8")) for path in found]

    return made


def test_names_are_text_on_every_page(trials: Trials, pages: Pages) -> None:
    plain = pages("plain", "cat")
    scripts = {text for page in plain for text in page.scripts}
    known: Skeleton = sum((page.skeleton for page in plain), Counter())
    for label, name in EVIL.items():
        with trials.one(label):
            for page in pages(label, name):
                new = page.skeleton.keys() - known.keys()
                assert not new, f"other elements: {new}"
                assert set(page.scripts) <= scripts, "another script or style"
                assert not list(outside(page.links))


def outside(links: list[str]) -> Iterator[str]:
    """Links that lead out of the folder, or run something."""
    for link in links:
        if link.strip().lower().startswith(SCHEMES):
            yield link
