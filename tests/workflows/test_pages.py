"""The pages of runs in a real browser: they fit a phone, and need no mouse and no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from harness.core.nightly import Night
from harness.core.progress import Silent
from harness.core.requests.pictures import ShowRequest
from harness.core.requests.reports import ReportRequest
from harness.report.page import night_page, sweep_page
from harness.workflows.comparison.images import write_page
from harness.workflows.comparison.runs import compare_runs
from harness.workflows.evaluation.report import report
from harness.workflows.pictures.show import show
from harness.workflows.runs.checksums import write_checked
from tests.browsing import FAINT, OUTSIDE, WINDOWS, chromium, window
from tests.measure.test_sweep import cell
from tests.report.test_sweep import swept
from tests.workflows.conftest import Evaluate

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def pages(evaluated: Evaluate, tmp_path: Path) -> dict[str, Path]:
    """A page of each kind."""
    _, first = evaluated(tmp_path / "first")
    _, second = evaluated(tmp_path / "second", report=False)
    path = second / "predictions.json"
    rows = json.loads(path.read_text("utf-8"))
    rows[0]["score"] *= 0.6
    write_checked(second, path.name, json.dumps([row for row in rows if row["image_id"] != 12]))
    report(ReportRequest(run=second), progress=Silent())
    show(ShowRequest(run=second), progress=Silent())
    compared = compare_runs(first, second, resamples=20, progress=Silent())
    write_page(compared, first, second, tmp_path / "compare.html", threshold=0.5, progress=Silent())
    sweep = swept(
        *(cell("fp32", batch, batch, batch) for batch in (1, 2, 4)), cell("bf16", 1, 3, 0)
    )
    (tmp_path / "sweep.html").write_text(sweep_page(sweep), encoding="utf-8")
    night = Night(
        night_id="20260101-010000",
        created_utc=datetime(2026, 1, 1, 1, tzinfo=timezone.utc).isoformat(),
        harness_version="0",
        environment={"hostname": "here"},
        cells=(),
    )
    (tmp_path / "night.html").write_text(night_page(night, None), encoding="utf-8")
    return {
        "report": second / "report.html",
        "show": second / "show" / "index.html",
        **{name: tmp_path / f"{name}.html" for name in ("compare", "sweep", "night")},
    }


@pytest.mark.parametrize(("size", "colours"), WINDOWS, ids=["wide", "phone"])
def test_every_page_fits_its_window(
    browser: Any, pages: dict[str, Path], size: tuple[int, int], colours: str
) -> None:
    for name, path in pages.items():
        with window(browser, size, colours) as page:
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            assert page.evaluate(OUTSIDE) == [], name
            assert page.evaluate(FAINT) == [], name
            assert page.locator("h1").count() == 1, name
            if name == "sweep" and size[0] > 1000:
                cut = "(one) => one.scrollWidth > one.clientWidth"
                assert not page.locator(".settings").evaluate(cut)


def test_the_report_is_read_and_used_without_a_mouse(browser: Any, pages: dict[str, Path]) -> None:
    with window(browser, *WINDOWS[0]) as page:
        page.goto(pages["report"].as_uri())
        assert page.locator("img:not([alt]), svg[role=img]:not([aria-label])").count() == 0
        names = "#by-category tbody tr:not([hidden]) td:nth-child(2)"
        before = page.locator(names).all_inner_texts()
        button = page.locator("#by-category th button").nth(1)
        button.focus()
        page.keyboard.press("Enter")
        assert page.locator(names).all_inner_texts() == sorted(before)
        assert page.locator("#by-category th").nth(1).get_attribute("aria-sort") == "ascending"
        page.keyboard.press("Enter")
        assert page.locator(names).all_inner_texts() == sorted(before, reverse=True)
        page.fill("#filter", "kind 1")
        assert {*page.locator(names).all_inner_texts()} == {
            name for name in before if "kind 1" in name
        }
        for link in page.locator("nav a").all():
            assert page.locator(str(link.get_attribute("href"))).count() == 1


def test_the_report_without_scripts_has_everything(browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["report"].as_uri())
    assert page.locator("#by-category tbody tr").count() == 8
    assert page.locator(".thumbs img").count() >= 1
    context.close()


def test_ticked_images_of_a_gallery_are_saved(
    browser: Any, small_coco: Path, tmp_path: Path
) -> None:
    file, images = small_coco / "annotations.json", small_coco / "images"
    asked = ShowRequest(annotations=file, images=images, select=True, output=tmp_path / "page")
    show(asked, progress=Silent())
    content = json.loads(file.read_text("utf-8"))
    names = [one["file_name"] for one in content["images"]]
    for size, colours in WINDOWS:
        with window(browser, size, colours) as page:
            page.goto((tmp_path / "page" / "index.html").as_uri())
            assert page.evaluate(OUTSIDE) == []
            assert page.locator("#save").is_disabled()
            for name in names[1:3]:
                page.get_by_label(f"tick {name}").click()
            # Neither is the page left, nor a picture opened.
            assert page.url.endswith("page/index.html")
            assert not page.locator("dialog").is_visible()
            assert page.locator(".card input:checked").count() == 2
            assert page.inner_text("#ticked") == "2 ticked"
            # The keyboard ticks as well.
            page.get_by_label(f"tick {names[0]}").focus()
            page.keyboard.press("Space")
            assert saved(page) == sorted(names[:3])
            page.click("#none")
            page.fill("#name", names[3])
            page.click("#all")
            assert saved(page) == [names[3]]
            page.locator(".card:not([hidden]) img").click()
            assert page.locator("dialog b").inner_text() == names[3]


def saved(page: Any) -> list[str]:
    """The lines of the file that the page saves."""
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "names.txt"
    return sorted(Path(download.value.path()).read_text("utf-8").splitlines())
