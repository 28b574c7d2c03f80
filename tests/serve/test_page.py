"""The web page in a real browser: Chromium without a window."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image as PillowImage

from harness.zoo.checkpoints import EMBEDDED
from tests.browsing import chromium, window
from tests.serve.conftest import LEFT, RIGHT, Scripted, picture_bytes, sent

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

WIDE, PHONE = (1280, 900), (360, 700)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(params=[(WIDE, "light"), (PHONE, "dark")], ids=["wide", "phone"])
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that fails its test with any error of its scripts, and any request elsewhere."""
    places = ("http://127.0.0.1:", "data:", "blob:")
    with window(browser, *request.param, asked_for=places, accept_downloads=True) as opened:
        yield opened


def chosen(page: Any, url: str, content: bytes, name: str = "two halves.png") -> None:
    page.goto(url)
    page.wait_for_selector("#model:not(:empty)")
    page.set_input_files("#file", [{"name": name, "mimeType": "image/png", "buffer": content}])
    page.wait_for_selector("#status:has-text('object'), #error:not([hidden])")


def colour_at(page: Any, x: int, y: int) -> tuple[int, ...]:
    script = f"[...$('view').getContext('2d').getImageData({x}, {y}, 1, 1).data]"
    return tuple(page.evaluate(script)[:3])


def rows(page: Any) -> list[str]:
    return [" ".join(text.split()) for text in page.locator("#objects tr").all_inner_texts()]


def test_it_shows_what_was_found(page: Any, scripted: Scripted) -> None:
    url, _ = scripted()
    chosen(page, url, picture_bytes())
    assert page.inner_text("#status") == (
        "two halves.png, 40 × 30 px: 1 object, 50.0 % of the picture masked."
    )
    assert rows(page) == ["circle 90 % 600 50.0 %"]
    assert page.get_attribute("#view", "aria-label") == "Picture with 1 × circle"
    assert "threshold=0.50" in page.inner_text("#curl")
    assert colour_at(page, 30, 15) == RIGHT
    assert colour_at(page, 10, 15) != LEFT
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"


def test_the_slider_and_the_switches_ask_nobody(page: Any, scripted: Scripted) -> None:
    url, engine = scripted()
    chosen(page, url, picture_bytes())
    assert engine.calls == 1
    page.focus("#threshold")
    for _ in range(25):
        page.keyboard.press("ArrowLeft")
    assert rows(page) == ["circle 90 % 600 50.0 %", "square 30 % 300 25.0 %"]
    assert page.inner_text("#shares tr:first-child td:last-child") == "50.0 %"
    page.fill("#threshold", "95")
    assert rows(page) == []
    assert colour_at(page, 10, 15) == LEFT
    page.check("input[value=grey]")
    assert len(set(colour_at(page, 30, 15))) == 1
    assert engine.calls == 1


def test_an_object_under_the_pointer_tells_its_name(page: Any, scripted: Scripted) -> None:
    url, _ = scripted()
    chosen(page, url, picture_bytes())
    assert page.is_hidden("#tip")
    frame = page.locator("#view").bounding_box()
    page.mouse.move(frame["x"] + frame["width"] * 0.25, frame["y"] + frame["height"] * 0.5)
    assert page.inner_text("#tip") == "circle 90 %"
    assert page.get_attribute("#objects tr", "class") == "on"
    page.mouse.move(frame["x"] + frame["width"] * 0.75, frame["y"] + frame["height"] * 0.5)
    assert page.is_hidden("#tip")


def test_the_keyboard_reaches_every_object(page: Any, scripted: Scripted) -> None:
    url, _ = scripted()
    chosen(page, url, picture_bytes())
    page.focus("#json")
    for _ in range(3):  # past what scrolls
        page.keyboard.press("Tab")
        if page.is_visible("#tip"):
            break
    assert page.inner_text("#tip") == "circle 90 %"


def test_picture_and_json_can_be_kept(page: Any, scripted: Scripted, tmp_path: Path) -> None:
    url, _ = scripted()
    chosen(page, url, picture_bytes())
    with page.expect_download() as waiting:
        page.click("#json")
    assert waiting.value.suggested_filename == "two halves.json"
    kept = json.loads(Path(waiting.value.path()).read_text("utf-8"))
    expected = sent(url, picture_bytes(), params={"format": "json", "threshold": 0}).json()
    assert kept["pictures"][0]["detections"] == expected["pictures"][0]["detections"]
    with page.expect_download() as waiting:
        page.click("#save")
    assert waiting.value.suggested_filename == "two halves-found.png"
    with PillowImage.open(waiting.value.path()) as picture:
        assert picture.size == (800, 600)
        assert picture.convert("RGB").getpixel((700, 300)) == RIGHT


def test_what_the_browser_cannot_show_the_service_decodes(page: Any, scripted: Scripted) -> None:
    url, _ = scripted()
    chosen(page, url, picture_bytes("TIFF"), "scan.tif")
    assert "scan.tif, 40 × 30 px: 1 object" in page.inner_text("#status")
    assert max(abs(a - b) for a, b in zip(colour_at(page, 35, 15), RIGHT, strict=True)) < 12


def test_an_error_says_what_to_do(page: Any, scripted: Scripted) -> None:
    url, _ = scripted()
    chosen(page, url, b"no picture", "notes.txt")
    said = page.inner_text("#error")
    assert "notes.txt is not a picture" in said
    assert "next: send an image, for instance as JPEG or PNG" in said
    chosen(page, url, picture_bytes())
    assert page.is_hidden("#error")


def test_turned_pictures_are_upright(page: Any, scripted: Scripted) -> None:
    exif = PillowImage.Exif()
    exif[274] = 6
    url, _ = scripted()
    chosen(page, url, picture_bytes("JPEG", exif=exif))
    assert "30 × 40 px" in page.inner_text("#status")
    assert "turned upright" in page.inner_text("#notes")


def test_masks_and_shares_are_those_of_the_service(page: Any, tiny_url: str) -> None:
    """Run lengths are decoded a second time, in the page: on shapes that are no rectangles."""
    content = scene()
    chosen(page, tiny_url, content)
    page.fill("#threshold", "20")
    answer = sent(tiny_url, content, params={"format": "json", "threshold": 0.2}).json()
    (picture,) = answer["pictures"]
    assert len(picture["detections"]) > 2
    script = "covered(state.shown)"
    assert page.evaluate(script) == picture["masked"]["pixels"]
    areas = page.evaluate("state.shown.map((one) => covered([one]))")
    assert areas == [one["area_px"] for one in picture["detections"]]


def scene() -> bytes:
    """Discs and squares that the embedded model finds."""
    rows, columns = np.mgrid[:240, :320]
    pixels = np.full((240, 320, 3), 90, dtype=np.uint8)
    for x, y, radius, colour in ((70, 80, 40, (220, 40, 40)), (220, 150, 55, (40, 90, 230))):
        pixels[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = colour
    pixels[30:80, 200:260] = (250, 220, 40)
    pixels[160:220, 40:110] = (40, 200, 90)
    written = BytesIO()
    PillowImage.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def test_the_documentation_works_without_a_network(page: Any, scripted: Scripted) -> None:
    url, _ = scripted()
    page.goto(f"{url}/docs")
    page.wait_for_selector("text=/predict")
    assert requests.get(f"{url}/openapi.json", timeout=60).ok


def test_several_files_have_a_button_each(page: Any, scripted: Scripted) -> None:
    url, engine = scripted()
    page.goto(url)
    page.wait_for_selector("#model:not(:empty)")
    assert page.is_hidden("#files")
    assert page.is_hidden("#report")
    files = [
        {"name": name, "mimeType": "image/png", "buffer": picture_bytes()}
        for name in ("one.png", "two.png")
    ]
    page.set_input_files("#file", files)
    page.wait_for_selector("#status:has-text('one.png, 40')")
    assert page.locator("#files button").all_inner_texts() == ["one.png", "two.png"]
    assert page.locator("#files [aria-pressed=true]").all_inner_texts() == ["one.png"]
    page.click("#files button:has-text('two.png')")
    page.wait_for_selector("#status:has-text('two.png, 40')")
    assert page.locator("#files [aria-pressed=true]").all_inner_texts() == ["two.png"]
    assert engine.calls == 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"


def test_what_is_below_the_threshold_is_hinted_at(page: Any, scripted: Scripted) -> None:
    url, _ = scripted()
    chosen(page, url, picture_bytes())
    assert page.is_hidden("#hint")
    page.fill("#threshold", "95")
    assert page.inner_text("#hint") == (
        "Nothing scores 95 % or more; the best of 2 is circle with 90.0 %: "
        "move the slider to the left."
    )
    # The hint is about the picture that is shown, not about one that could not be read.
    page.set_input_files("#file", [{"name": "b.png", "mimeType": "image/png", "buffer": b"no"}])
    page.wait_for_selector("#error:not([hidden])")
    assert page.is_hidden("#hint")


def test_ones_own_model_has_its_title_and_links_to_its_report(
    page: Any, scripted: Scripted, tmp_path: Path
) -> None:
    run = tmp_path / "pets"
    run.mkdir()
    weights = run / "model_best.safetensors"
    shutil.copy(EMBEDDED / "tiny.safetensors", weights)
    (run / "show" / "pictures").mkdir(parents=True)
    (run / "show" / "pictures" / "7.jpg").write_bytes(picture_bytes("JPEG"))
    content = "<p>how it went</p><img src='show/pictures/7.jpg'>"
    (run / "report.html").write_text(content, encoding="utf-8")
    url, engine = scripted(weights=weights)
    engine.service.report = run / "report.html"
    page.goto(url)
    page.wait_for_selector("#model:not(:empty)")
    assert page.inner_text("#model").startswith("model_best.safetensors: circle, square, ")
    page.click("#report")
    page.wait_for_selector("text=how it went")
    # What the report links to is served as well, and nothing else of the folder.
    page.wait_for_function("document.images[0].naturalWidth === 40")
    for path in ("show/pictures/8.jpg", "show/pictures/..%2F..%2Freport.jpg"):
        assert requests.get(f"{url}/{path}", timeout=60).status_code in (404, 422)
