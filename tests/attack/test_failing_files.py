"""Each operation on files refused in turn, as a full, protected or broken disk does, or the last.

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
from tests.attack.failing import KILLED, TEMPORARY_FOLDER, Command, Fault, commands
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


#: Commands that write most kinds of files, and how many operations are the last of one.
KILLS = {"eval": 2, "split": 2, "show": 3, "download": 3}


@pytest.mark.parametrize("name", KILLS)
def test_what_a_killed_command_left_is_removed_by_the_next(
    name: str, run: Command, template: Path, tmp_path: Path, trials: Trials
) -> None:
    """Only names that an undisturbed command leaves, too, are there after the repetition."""
    case, before, work = CASES[name], tmp_path / "before", tmp_path / "work"
    shutil.copytree(template, before, symlinks=True)
    (before / TEMPORARY_FOLDER).mkdir()
    if case.after:
        run(case.after, before).ended.require(0)
    shutil.copytree(before, work, symlinks=True)
    undisturbed = run(case.words, work)
    undisturbed.ended.require(0)
    whole = {path.relative_to(work) for path in work.rglob("*")}
    at_names = [
        at
        for at, name in enumerate(undisturbed.operations)
        if name.startswith(("rename", "remove", "fsync"))
    ]
    places = at_names[:: -(-len(at_names) // KILLS[name])][: KILLS[name] - 1] + at_names[-1:]
    for at in places:
        with trials.one(f"{name}: killed at {undisturbed.operations[at]}"):
            shutil.rmtree(work)
            shutil.copytree(before, work, symlinks=True)
            assert run(case.words, work, Fault(at=at, error=KILLED)).ended.code == KILLED
            again = run(case.words, work).ended.require(0, 2)
            if again.code:
                run((*case.words, "--resume"), work).ended.require(0, 2)
            left = {path.relative_to(work) for path in work.rglob("*")} - whole
            assert not left, f"{left} is left"


def undisturbed_in(run: Command, work: Path, words: Sequence[str]) -> Ended:
    return run(words, work).ended
