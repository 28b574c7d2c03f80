"""Each command does its work within the memory and time that docs/robustness.md states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.attack.trials import harness
from tests.conftest import write_small_coco

GIB = 1 << 30

#: Command → (address space in GiB, seconds) for small inputs. The document has the same table.
LIMITS: dict[str, tuple[float, float]] = {
    "models": (1, 30),
    "download": (1, 30),
    "history": (1, 30),
    "data check": (1, 30),
    "data convert": (1, 30),
    "score": (2, 60),
    "weights check": (2, 60),
    "eval": (4, 120),
    "predict": (4, 150),
    "show": (4, 120),
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_small_coco(tmp_path / "small")


def words_of(command: str, small: Path) -> list[object]:
    annotations, images = small / "annotations.json", small / "images"
    (small / "none.json").write_text("[]", encoding="utf-8")
    data = ["--annotations", annotations, "--images", images]
    return {
        "models": [],
        "download": ["--dry-run", "--root", small / "root"],
        "history": ["--results", small / "results"],
        "data check": [annotations, "--images", images],
        "data convert": [annotations, "--output", small / "converted.json"],
        "score": ["--predictions", small / "none.json", "--annotations", annotations],
        "weights check": [small / "none.pkl", "--model", "tiny"],
        "eval": ["--engine", "fake", *data, "--output", small / "run"],
        "predict": [min(images.iterdir()), "--model", "tiny", "--output", small / "predicted"],
        "show": [annotations, "--images", images, "--output", small / "shown"],
    }[command]


@pytest.mark.parametrize("command", LIMITS)
def test_within_its_limits(command: str, small: Path) -> None:
    memory, seconds = LIMITS[command]
    (small / "none.pkl").write_bytes(b"\x80\x02}q\x00.")
    words = [*command.split(), *words_of(command, small)]
    ended = harness(*words, folder=small, memory_bytes=int(memory * GIB), seconds=seconds)
    ended.require(0, 1, 2, 3, 4, 5)
    assert "memory" not in ended.err.lower()


def test_the_document_states_them(repository: Path) -> None:
    text = (repository / "docs" / "robustness.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `harness ([a-z ]+)` \| ([\d.]+) GiB \| (\d+) s \|", text, re.MULTILINE)
    assert {name: (float(memory), float(time)) for name, memory, time in rows} == LIMITS
