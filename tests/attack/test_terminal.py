"""Names and messages of others on the terminal, in tables, pages, XML, CSV and folder names."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import pytest

from harness.cli import console
from harness.cli.main import run
from harness.core.nightly import Cell, CellResult, Night
from harness.core.printable import (
    UNPRINTABLE,
    markdown_block,
    printable,
    printable_json,
    spreadsheet_cell,
)
from harness.core.record import CategoryScore
from harness.files.json import dumps
from harness.report import progress_views
from harness.report.night import night_junit, night_markdown
from harness.report.page import template
from harness.report.tables import render
from harness.workflows.runs.folder import category_table
from tests.attack.trials import Trials, seeds

EVIL: dict[str, str] = {
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "eight bits": "\x9b2J\x90q\x9c",
    "carriage return": "safe\rerror",
    "backspace": "abc\b\b\bxyz",
    "right to left": "gpj\u202eexe",
    "isolate": "\u2066a\u2069",
    "half a character": "\udcff\ud800",
    "line separator": "a\u2028b\x85c\x0bd\x0ce",
    "delete": "\x7f",
    "null": "a\0b",
    "invisible": "\U000e0041\ufeff\u200b",
}


def require_clean(text: str) -> None:
    assert not UNPRINTABLE.search(text), ascii(text)
    text.encode("utf-8")


def annotations(path: Path, name: str) -> Path:
    content = {
        "images": [{"id": 1, "file_name": f"{name}.jpg", "width": 9, "height": 9}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "area": 25}
        ],
        "categories": [{"id": 1, "name": name}, {"id": 2, "name": "=1+1"}],
    }
    path.write_text(json.dumps(content), encoding="utf-8")  # escapes of JSON, as an attacker would
    return path


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("style", ["rich", "plain", "markdown", "json"])
def test_names_in_an_annotation_file(
    name: str, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = annotations(tmp_path / "a.json", EVIL[name])
    chosen = ["--json"] if style == "json" else ["--format", style]
    run(["data", "check", str(path), *chosen])
    output = capsys.readouterr()
    require_clean(output.out)
    require_clean(output.err)


@pytest.mark.parametrize("name", EVIL)
def test_names_of_files_in_messages(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", f"no {EVIL[name]}.json".replace("\0", "0")]) in (2, 4)
    assert run([EVIL[name]]) == 2
    require_clean(capsys.readouterr().err)


@pytest.mark.parametrize("name", EVIL)
def test_everything_the_console_shows(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_views, "LOG_PERIOD_S", 0.0)
    evil = EVIL[name]
    progress = console.TerminalProgress()
    progress.notice(evil)
    with progress.task(evil, total=2, unit="img") as advance:
        advance(1, evil)
    console.print_parts(evil, render(("title", evil), [(evil, evil)], "rich"))
    console.print_json({evil: [evil]})
    output = capsys.readouterr()
    require_clean(output.out)
    require_clean(output.err)


def test_json_says_the_same(trials: Trials) -> None:
    alphabet = "".join(EVIL.values()) + 'ab"\\\n\t/üΩ😀'
    for chance in seeds(500, 3):
        with trials.one():
            text = "".join(chance.choices(alphabet, k=chance.randrange(30)))
            text = text.encode("utf-8", "ignore").decode()
            shown = printable_json(dumps({text: text}))
            require_clean(shown)
            assert json.loads(shown) == {text: text}


def test_fuzzed_text_is_clean_and_plain_text_stays(trials: Trials) -> None:
    for chance in seeds(500, 3):
        with trials.one():
            text = "".join(
                chr(chance.choice((chance.randrange(256), chance.randrange(0x110000))))
                for _ in range(50)
            )
            require_clean(printable(text))
            plain = "".join(letter for letter in text if not UNPRINTABLE.match(letter))
            assert printable(plain) == plain


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "=cmd|' /C calc'!A0", "%0"]
FORMULAS += ["\uff1d1", "\uff0b1", "\uff0d1", "\uff20SUM(1)", "\xa0=1", "\u3000=1"]


@pytest.mark.parametrize("name", FORMULAS)
def test_spreadsheets_run_no_formula(name: str) -> None:
    score = CategoryScore(task="bbox", category_id=1, name=name, ap=50.0, reason="")
    (_, row) = csv.reader(io.StringIO(category_table((score,))))
    assert row[2].startswith("'")
    assert spreadsheet_cell("person") == "person"


def night(name: str, error: str) -> Night:
    cell = Cell(
        model=name,
        engine="native",
        precision="fp32",
        device="cpu",
        dataset=name,
        batch_size=1,
        limit=None,
        bench=False,
    )
    result = CellResult(
        cell=cell,
        status="failed",
        error=error,
        device_class=name,
        dataset_digest="",
        metrics={},
        checks=(),
        runs=(),
        seconds=1.0,
    )
    return Night(
        night_id="20260101-000000",
        created_utc="2026-01-01T00:00:00+00:00",
        harness_version="0",
        environment={},
        cells=(result,),
    )


MARKUP = ["<script>alert(1)</script>", "a | b", "[x](http://y)", "`code`", "*bold*", "a\n# title"]


@pytest.mark.parametrize("name", [*EVIL.values(), *MARKUP], ids=[*EVIL, *MARKUP])
def test_reports_of_a_night(name: str) -> None:
    found = night(name, f"first\n{name}\n```\n# out of the block\n````\n{name}")
    text = night_markdown(found)
    require_clean(text)
    table = text.split("\n\n")[1].splitlines()
    assert len(table) == 3
    assert table[2].replace("\\|", "").count("|") == table[0].count("|")
    assert "<script>" not in table[2]
    assert "[x](" not in table[2]
    xml = night_junit(found)
    require_clean(xml)
    assert len(ElementTree.fromstring(xml.encode()).findall("testcase")) == 1


@pytest.mark.parametrize("text", ["```", "a\n````\n# x", "`" * 50, ""])
def test_a_code_block_has_one_end(text: str) -> None:
    first, *_, last = markdown_block(text).splitlines()
    assert first == last
    assert set(first) == {"`"}
    assert first not in text


@pytest.mark.parametrize("name", EVIL)
def test_pages(name: str) -> None:
    page = template("night.html.j2").environment.from_string("<b>{{ x }}</b>{{ y }}")
    shown = page.render(x=f"{EVIL[name]}<i>", y=[EVIL[name]])
    require_clean(shown)
    assert "&lt;i&gt;" in shown


FOLDERS = [
    "../../x",
    "/etc/x",
    "..",
    ".",
    "a/b",
    "a\\b",
    "a\nb",
    "~x",
    "a" * 400,
    "CON:x",
    "ü/ü",
    "",
]


def test_a_cell_has_its_folder_in_that_of_the_night(trials: Trials) -> None:
    names = set()
    evil = [*FOLDERS, *EVIL.values()]
    for model in evil:
        with trials.one(model):
            name = night(model, "").cells[0].cell.name
            assert len(PurePosixPath(name).parts) == 1
            assert name not in (".", "..")
            assert len(name.encode()) < 250
            require_clean(name)
            names.add(name)
    assert len(names) == len(set(evil))


@pytest.mark.parametrize("name", ["\x1b[2J", "a\u202eb", "\x9b31m", "two\x0b\x85"])
def test_the_name_of_a_run_in_its_log(
    name: str, small_coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--annotations", small_coco / "annotations.json", "--images", small_coco / "images"]
    words = ["eval", "--engine", "fake", *given, "--resamples", "0", "--output", small_coco / name]
    assert run([str(word) for word in words]) == 0
    said = (small_coco / name / "log.txt").read_text("utf-8")
    assert "run folder" in said
    assert said == printable(said)
    shown = capsys.readouterr()
    assert shown.err + shown.out == printable(shown.err + shown.out)
