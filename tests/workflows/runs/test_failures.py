"""The error file of a job: read as it was raised, and never trusted to be whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import IntegrityError, RunFailedError
from harness.workflows.runs.submissions import failure_of, failure_path


def left(folder: Path, content: bytes) -> Path:
    path = failure_path(folder, 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_an_error_keeps_its_kind_and_hint(tmp_path: Path) -> None:
    left(tmp_path, b'{"kind": "IntegrityError", "message": "no", "hint": "look"}')
    found = failure_of(tmp_path, 0)
    assert type(found) is IntegrityError
    assert (found.message, found.hint) == ("no", "look")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b'"x"',
        b'{"kind": "IntegrityError"}',
        b'{"message": 3}',
        b"\xff\0",
        b"null",
    ],
)
def test_a_damaged_file_is_a_failed_job(content: bytes, tmp_path: Path) -> None:
    path = left(tmp_path, content)
    found = failure_of(tmp_path, 0)
    assert type(found) is RunFailedError
    assert f"{path} does not say why" in found.message


@pytest.mark.parametrize("kind", ["annotations", "Exception", "no_such_error", 7, None])
def test_a_kind_that_is_no_error_of_ours_is_a_failed_run(kind: object, tmp_path: Path) -> None:
    text = {None: "null", 7: "7"}.get(kind, f'"{kind}"')  # type: ignore[call-overload]
    left(tmp_path, f'{{"kind": {text}, "message": "no", "hint": 3}}'.encode())
    found = failure_of(tmp_path, 0)
    assert type(found) is RunFailedError
    assert (found.message, found.hint) == ("no", None)


def test_a_job_that_left_none_has_none(tmp_path: Path) -> None:
    assert failure_of(tmp_path, None) is None
