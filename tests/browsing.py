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

#: Text that is not told from its ground: a contrast below 4.5 to 1 (WCAG 2.1, AA), with what is
#: transparent counted in. Only plain grounds are looked at, and nothing that is disabled.
FAINT = """(() => {
  const parts = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (front, ground, share) =>
    front.map((one, k) => one * share + ground[k] * (1 - share));
  const light = (colour) => {
    const [r, g, b] = colour.map((one) => one / 255)
      .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !one.getClientRects().length || one.closest("svg, dialog, script, style")) continue;
    if (one.matches(":disabled, option")) continue;
    const chain = [];
    for (let up = one; up; up = up.parentElement) chain.unshift(getComputedStyle(up));
    let ground = parts(getComputedStyle(document.body).backgroundColor).slice(0, 3), opacity = 1;
    for (const style of chain) {
      opacity *= Number(style.opacity);
      const [r, g, b, a] = parts(style.backgroundColor);
      ground = over([r, g, b], ground, a * opacity);
    }
    const [r, g, b, a] = parts(chain.at(-1).color);
    const ink = over([r, g, b], ground, a * opacity);
    const [dark, bright] = [light(ink), light(ground)].sort((p, q) => p - q);
    const contrast = (bright + 0.05) / (dark + 0.05);
    if (contrast < 4.5) found.push(`${one.tagName} ${one.className}: ${contrast.toFixed(1)}`);
  }
  return found;
})()"""


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
def window(
    browser: Any,
    size: tuple[int, int],
    colours: str,
    *,
    asked_for: tuple[str, ...] = ("file:", "data:"),
    **more: Any,
) -> Iterator[Any]:
    """A page that fails its test with any error of its scripts, and any other request.

    Args:
        browser: That opens it.
        size: Width and height, px.
        colours: Its colour scheme: light or dark.
        asked_for: How the addresses begin that it may ask for.
        more: Of the browser's context.
    """
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=colours, **more
    )
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "request",
        lambda asked: None if asked.url.startswith(asked_for) else faults.append(asked.url),
    )
    yield opened
    context.close()
    assert not faults
