"""The table of families in ``docs/zoo.md`` is what the tests are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.zoo.architectures import architecture_of
from harness.zoo.lock import read_lock
from tests.families import ALL
from tests.family_table import cells, rows_of


def test_every_row_of_the_zoo_is_of_one_family() -> None:
    zoo = [one for one in read_lock().models if one.model_id is not None]
    covered = [name for family in ALL for name in rows_of(family)]
    assert len(covered) == len(zoo) == 56
    assert set(covered) == {one.name for one in zoo}
    entries = {one.name: one.architecture for one in read_lock().models}
    for family in ALL:
        assert entries[family.entry] in family.members
        for name in family.members:
            assert (architecture_of(name).torchvision is not None) == family.torchvision


@pytest.mark.slow
def test_every_test_that_it_names_exists_for_that_family(repository: Path) -> None:
    named = {one for _, found in cells() for one in found if not one.endswith(".")}
    files = sorted({one.partition("::")[0] for one in named})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", *files],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    there = set(done.stdout.splitlines())
    assert named - there == set()
