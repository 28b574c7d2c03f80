"""Each operation on files refused in turn, as a full, protected or broken disk does.

Every end is a sentence with its exit code, and what the message says to do next comes to the bytes
of an undisturbed command.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.attack.commands import CASES, SLOW, found, require_repaired, write_template
from tests.attack.failing import Command, Fault, commands
from tests.attack.trials import Ended, Trials

#: What a disk refuses, whether it goes on to refuse, and the exit codes that this may have.
REFUSALS = (
    (errno.ENOSPC, True, (0, 5)),
    (errno.EACCES, False, (0, 2, 5)),
    (errno.EIO, True, (0, 5)),
    (errno.ENOSPC, False, (0, 5)),
    (errno.EACCES, True, (0, 2, 5)),
    (errno.EIO, False, (0, 5)),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with commands(tmp_path_factory.mktemp("streams")) as function:
        yield function


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, embedded_root: Path) -> Path:
    return write_template(tmp_path_factory.mktemp("template"), embedded_root)


def spread(operations: Sequence[str], most: int) -> list[int]:
    """Positions of operations: of each kind on each file the first, evenly chosen of those."""
    firsts = {name: at for at, name in reversed([*enumerate(operations)])}
    places = sorted(firsts.values())
    return places[:: -(-len(places) // most)]


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=[pytest.mark.slow] if one in SLOW else []) for one in CASES],
)
def test_a_refused_operation_is_a_sentence(
    name: str, run: Command, template: Path, tmp_path: Path, trials: Trials
) -> None:
    case, before, work = CASES[name], tmp_path / "before", tmp_path / "work"
    shutil.copytree(template, before, symlinks=True)
    if case.after:
        run(case.after, before).ended.require(0)
    shutil.copytree(before, work, symlinks=True)
    undisturbed = run(case.words, work)
    undisturbed.ended.require(0)
    whole = found(work, case.results)
    places = spread(undisturbed.operations, case.most)
    assert places
    assert None not in whole.values()
    for turn, at in enumerate(places):
        number, lasting, codes = REFUSALS[turn % len(REFUSALS)]
        fault = Fault(at=at, error=number, lasting=lasting)
        with trials.one(f"{name}: {undisturbed.operations[at]}: {errno.errorcode[number]}"):
            shutil.rmtree(work)
            shutil.copytree(before, work, symlinks=True)
            ended = run(case.words, work, fault).ended.require(*codes)
            if ended.code:
                require_repaired(partial(undisturbed_in, run, work), case, ended.err, work, whole)


def undisturbed_in(run: Command, work: Path, words: Sequence[str]) -> Ended:
    return run(words, work).ended
