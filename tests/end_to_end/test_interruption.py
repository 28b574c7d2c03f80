"""A run broken by anything, at any image, ends in the same bytes once it is continued."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

IMAGES = 6


@pytest.fixture
def whole(harness: Callable[..., Any], on_small: list[str], tmp_path: Path) -> bytes:
    """The predictions of an unbroken run."""
    answer = harness("eval", "--engine", "fake", *on_small, "--output", tmp_path / "whole")
    assert answer.code == 0
    return (tmp_path / "whole" / "predictions.json").read_bytes()


def finished(folder: Path) -> int:
    """Whole lines of the shard after its header."""
    return (folder / "shards" / "0000.jsonl").read_bytes().count(b"\n") - 1


def test_killed_at_one_image_after_another(
    signalled: Callable[..., Any],
    harness: Callable[..., Any],
    on_small: list[str],
    tmp_path: Path,
    whole: bytes,
) -> None:
    run = tmp_path / "run"
    command = ["eval", "--engine", "fake", *on_small, "--output", run]
    for images, resume in ((2, []), (IMAGES - 2, ["--resume"])):
        before = finished(run) if resume else 0
        answer = signalled(signal.SIGKILL, images, *command, *resume)
        assert answer.code == -signal.SIGKILL
        assert finished(run) == before + images
        assert not (run / "record.json").exists()
        with (run / "shards" / "0000.jsonl").open("ab") as shard:
            shard.write(b'{"image_id":1001,"predictions":[{"categ')
    answer = harness(*command, "--resume")
    assert answer.code == 0, answer.err
    assert (run / "predictions.json").read_bytes() == whole
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    assert record["metrics"]["bbox/AP"] == pytest.approx(100)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_interrupted_says_how_to_continue(
    signalled: Callable[..., Any],
    harness: Callable[..., Any],
    on_small: list[str],
    project: Path,
    whole: bytes,
    number: int,
) -> None:
    answer = signalled(number, 2, "eval", "--engine", "fake", *on_small)
    assert answer.code == 130
    assert "Traceback" not in answer.err
    (run,) = (project / "results" / "runs").iterdir()
    last = answer.err.splitlines()[-1]
    assert last.strip().startswith("continue with: harness eval --engine fake")
    assert last.endswith(f"--output '{run}' --resume")
    assert finished(run) == 2
    assert harness("eval", "--engine", "fake", *on_small, "--resume").code == 0
    assert (run / "predictions.json").read_bytes() == whole
    assert len(list(run.parent.iterdir())) == 1


@pytest.mark.usefixtures("no_byte_code")
def test_a_full_disk_keeps_what_fitted(
    process: Callable[..., Any],
    harness: Callable[..., Any],
    on_small: list[str],
    tmp_path: Path,
    whole: bytes,
) -> None:
    """A limit on file sizes stands for the disk: the write that crosses it is cut short."""
    size = (tmp_path / "whole" / "shards" / "0000.jsonl").stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 100, size - 100))

    run = tmp_path / "run"
    command = ["eval", "--engine", "fake", *on_small, "--output", run]
    answer = process(*command, preexec_fn=limit)
    assert answer.code == 5, answer.err
    assert "0000.jsonl" in answer.err or str(run) in answer.err
    assert "File too large" in answer.err
    assert "--resume" in answer.err
    assert "Traceback" not in answer.err
    assert 0 < finished(run) < IMAGES
    assert harness(*command, "--resume").code == 0
    assert (run / "predictions.json").read_bytes() == whole


def test_a_broken_image_can_be_replaced(
    harness: Callable[..., Any],
    on_small: list[str],
    small_coco: Path,
    tmp_path: Path,
    whole: bytes,
) -> None:
    image = small_coco / "images" / "000000000300.png"
    content = image.read_bytes()
    image.write_bytes(content[: len(content) // 2])
    command = ["eval", "--engine", "fake", *on_small, "--output", tmp_path / "run"]
    answer = harness(*command)
    assert answer.code == 4
    assert f"image 300: {image} cannot be decoded" in answer.err
    assert "finished images are kept" in answer.err
    assert finished(tmp_path / "run") == 4
    image.write_bytes(content)
    assert harness(*command, "--resume").code == 0
    assert (tmp_path / "run" / "predictions.json").read_bytes() == whole


def test_another_request_never_continues_a_run(
    signalled: Callable[..., Any], harness: Callable[..., Any], on_small: list[str], tmp_path: Path
) -> None:
    command = ["eval", "--engine", "fake", *on_small, "--output", tmp_path / "run"]
    assert signalled(signal.SIGKILL, 2, *command).code == -signal.SIGKILL
    answer = harness(*command, "--max-detections", "50", "--limit", "4", "--resume")
    assert answer.code == 4
    assert "architecture.max_detections: 100 there, 50 now" in answer.err
    assert "images: 6 there, 4 now" in answer.err
    assert finished(tmp_path / "run") == 2


def test_a_broken_run_can_be_scored_once_its_predictions_are_there(
    harness: Callable[..., Any], on_small: list[str], tmp_path: Path, whole: bytes
) -> None:
    run = tmp_path / "whole"
    (run / "record.json").unlink()
    answer = harness("score", run, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["metrics"]["bbox/AP"] == pytest.approx(100)
    assert (run / "predictions.json").read_bytes() == whole
