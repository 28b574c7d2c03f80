"""Each operation on files refused in turn, as a full, protected or broken disk does.

Every end is a sentence with its exit code, and what the message says to do next comes to the bytes
of an undisturbed command.
"""

from __future__ import annotations

import errno
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attack.failing import Command, Fault, commands
from tests.attack.trials import LostError, Trials
from tests.conftest import write_small_coco

DATA = ("--annotations", "small/annotations.json", "--images", "small/images")

#: Which command continues, or begins again, after an error.
NEXT = re.compile(r"(?:continue with|start it again with): harness (.+)")

#: What a disk refuses, whether it goes on to refuse, and the exit codes that this may have.
REFUSALS = (
    (errno.ENOSPC, True, (0, 5)),
    (errno.EACCES, False, (0, 2, 5)),
    (errno.EIO, True, (0, 5)),
    (errno.ENOSPC, False, (0, 5)),
    (errno.EACCES, True, (0, 2, 5)),
    (errno.EIO, False, (0, 5)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command. results: Files whose bytes are compared. most: Operations that are refused."""

    words: Sequence[str]
    results: Sequence[str]
    most: int


CASES = {
    "eval": Case(
        words=("eval", "--engine", "fake", *DATA, "--resamples", "0", "--output", "run"),
        results=("run/predictions.json",),
        most=18,
    ),
    "convert": Case(
        words=("data", "convert", "small/annotations.json", "--output", "new.json"),
        results=("new.json",),
        most=12,
    ),
    "split": Case(
        words=("data", "split", "small/annotations.json"),
        results=("small/train.json", "small/val.json"),
        most=12,
    ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with commands(tmp_path_factory.mktemp("streams")) as function:
        yield function


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    write_small_coco(folder / "small")
    return folder


def spread(operations: Sequence[str], most: int) -> list[int]:
    """Positions of operations: of each kind on each file the first, evenly chosen of those."""
    firsts = {name: at for at, name in reversed([*enumerate(operations)])}
    places = sorted(firsts.values())
    return places[:: -(-len(places) // most)]


@pytest.mark.parametrize("name", CASES)
def test_a_refused_operation_is_a_sentence(
    name: str, run: Command, template: Path, tmp_path: Path, trials: Trials
) -> None:
    case, work = CASES[name], tmp_path / "work"
    shutil.copytree(template, work)
    undisturbed = run(case.words, work)
    undisturbed.ended.require(0)
    whole = {one: (work / one).read_bytes() for one in case.results}
    places = spread(undisturbed.operations, case.most)
    assert places
    for turn, at in enumerate(places):
        number, lasting, codes = REFUSALS[turn % len(REFUSALS)]
        fault = Fault(at=at, error=number, lasting=lasting)
        with trials.one(f"{name}: {undisturbed.operations[at]}: {errno.errorcode[number]}"):
            shutil.rmtree(work)
            shutil.copytree(template, work)
            ended = run(case.words, work, fault).ended.require(*codes)
            if ended.code:
                require_repaired(run, case.words, ended.err, work, whole)


def require_repaired(
    run: Command, words: Sequence[str], said: str, work: Path, whole: Mapping[str, bytes]
) -> None:
    """Follow the advice of an error, or repeat the command; the results are the undisturbed ones.

    Raises:
        LostError: They are not.
    """
    advice = NEXT.search(said)
    again = run(shlex.split(advice[1]) if advice else words, work).ended.require(0)
    for one, content in whole.items():
        if not (work / one).is_file() or (work / one).read_bytes() != content:
            raise LostError(f"{one} is another one after: {said[-800:]}\nthen {again.err[-300:]}")
