"""Draw the pages of runs for the documents, as Chromium shows them.

    harness eval --output first
    harness eval --output second --score-threshold 0.3 --short-edge 224
    harness compare first second --html compare.html
    harness show second --output show
    harness sweep --output sweep --limit 12 --batch-sizes 1,4 --compiled no
    harness nightly
    python scripts/write_page_pictures.py first/report.html compare.html sweep/index.html \
        results/nights/NIGHT/index.html show/index.html --output docs/images

The first page is drawn by itself, wide and light, and as on a phone, dark; the others beside one
another, wide and light in one picture, as on a phone and dark in another.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from PIL import Image

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

#: Width and height of a window in px, its colours, and the scale of its picture.
WIDE, PHONE = ((1280, 2900), "light", 0.65), ((390, 1900), "dark", 1.0)
WIDE_BESIDE, PHONE_BESIDE = ((1280, 1300), "light", 0.45), ((390, 900), "dark", 0.8)

#: Between pages that are beside one another, px and colour.
GAP, GROUND = 12, "#808890"

Shape = tuple[tuple[int, int], str, float]


def main() -> None:
    """Open every page, and write the four pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("others", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    asked = parser.parse_args()
    wanted = {
        "report-wide": ([asked.report], WIDE),
        "report-phone": ([asked.report], PHONE),
        "pages-wide": (asked.others, WIDE_BESIDE),
        "pages-phone": (asked.others, PHONE_BESIDE),
    }
    for name, (pages, shape) in wanted.items():
        drawn = beside([shown(page, shape) for page in pages])
        drawn.save(asked.output / f"{name}.jpg", quality=80, optimize=True)


def shown(page: Path, shape: Shape) -> Image.Image:
    """What a window shows of the beginning of a page."""
    from playwright.sync_api import sync_playwright

    (width, height), colours, scale = shape
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with sync_playwright() as started, tempfile.TemporaryDirectory() as folder:
        # Chromium's own sandbox does not work for root, as whom this may run in a container.
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        size = {"width": width, "height": height}
        opened = browser.new_page(viewport=size, color_scheme=colours)
        opened.goto(page.resolve().as_uri())
        opened.screenshot(path=f"{folder}/page.png")
        browser.close()
        picture = Image.open(f"{folder}/page.png").convert("RGB")
    return picture.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)


def beside(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size in a row."""
    width, height = pictures[0].size
    step = width + GAP
    whole = Image.new("RGB", (step * len(pictures) - GAP, height), GROUND)
    for number, picture in enumerate(pictures):
        whole.paste(picture, (step * number, 0))
    return whole


if __name__ == "__main__":
    main()
