"""Findings of the doctor on a terminal."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.report.checklist import checklist

FIX = "harness download --only val,annotations --root /a/long/path/to/datasets/of/a/cluster/shared"
FINDINGS = (
    ("torch", "ok", "2.12.1", ""),
    ("val2017", "warn", "not there: /a/long/path/to/datasets/coco/val2017", FIX),
    ("checkpoint torchvision_fasterrcnn_mobilenet_v3_large_fpn", "warn", "not there", FIX),
    ("GPU", "fail", "the driver is too old for this torch: " + "why " * 40, ""),
)


def shown(width: int, findings: tuple[tuple[str, ...], ...] = FINDINGS) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for line in checklist(findings):
        if isinstance(line, str):
            console.file.write(line + "\n")
        else:
            console.print(line)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [64, 80, 200])
def test_nothing_is_cut_and_a_command_is_on_one_line(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(width)
    words = text.split()
    for row in FINDINGS:
        assert all(word in words for cell in row for word in cell.split())
    assert text.count(f"      → {FIX}\n") == 2


def test_a_finding_without_a_fix_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    first, second, *_ = shown(80).splitlines()
    assert first.split() == ["ok", "torch", "2.12.1"]
    assert second.startswith("warn  val2017")


@given(st.text(max_size=60), st.text(max_size=200), st.text(max_size=60))
def test_any_text_is_shown_without_control_characters(what: str, found: str, fix: str) -> None:
    lines = checklist(((what, "warn", found, fix),))
    for line in map(str, lines):
        assert not any(unicodedata.category(letter) == "Cc" for letter in line)
