"""Progress in a log: silent, but for a line now and then."""

from __future__ import annotations

import pytest

from harness.cli import console
from harness.core.errors import UsageError
from harness.report import progress_views


def test_no_bar_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = console.TerminalProgress()
    with progress.task("infer", total=3, unit="img") as advance:
        for _ in range(3):
            advance(1)
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "")


def test_lines_come_once_a_period(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_views, "LOG_PERIOD_S", 0.0)
    progress = console.TerminalProgress()
    with progress.task("infer", total=10, done=4, unit="img") as advance:
        advance(2)
        advance(4)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("infer: 6/10 img, ")
    assert second.startswith("infer: 10/10 img, ")


def test_notices_are_neither_wrapped_nor_marked_up(capsys: pytest.CaptureFixture[str]) -> None:
    text = "[bold]not markup[/bold] " + "x" * 300
    console.TerminalProgress().notice(text)
    assert capsys.readouterr().err == text + "\n"


def test_json_answers_hold_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        console.print_json({"ap": float("nan")})
    assert capsys.readouterr().out == ""


def test_errors_keep_their_hint() -> None:
    assert str(UsageError("what", hint="do this")) == "what\n  do this"
