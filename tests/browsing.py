"""Chromium without a window, for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

#: Width and height of a window in px, and its colours.
WINDOWS = (((1280, 900), "light"), ((390, 844), "dark"))

#: Elements that reach out of the window, but those that scroll by themselves.
OUTSIDE = """[...document.querySelectorAll("body *")].filter((one) =>
  one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll, .tall, pre, dialog"))
  .map((one) => one.tagName + " " + one.className)"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; skips where there is none."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("needs Chromium; on Debian: apt-get install chromium")
    # Chromium's own sandbox does not work for root, as whom tests run in containers.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with driver.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=options)
        yield opened
        opened.close()


@contextmanager
def window(browser: Any, size: tuple[int, int], colours: str) -> Iterator[Any]:
    """A page that fails its test with any error of its scripts, and any request but for files."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "request",
        lambda asked: (
            None if asked.url.startswith(("file:", "data:")) else faults.append(asked.url)
        ),
    )
    yield opened
    context.close()
    assert not faults
