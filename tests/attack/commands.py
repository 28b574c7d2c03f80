"""Commands that are disturbed at work, and what they must come to when they are repeated."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.files.atomic import TEMPORARY
from harness.files.layout import LOCK_NAME, find_lock
from tests.attack.trials import Ended, LostError
from tests.conftest import write_small_coco

DATA = ("--annotations", "small/annotations.json", "--images", "small/images")

MATRIX = '[[block]]\nmodels = ["tiny"]\nengines = ["fake"]\nlimit = 2\nbench = false\n'

#: Which command continues, or begins again, after an error.
NEXT = re.compile(r"(?:continue with|start it again with): harness (.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command.

    results: Patterns of files whose bytes are compared; of several the last. most: Operations that
    are refused. after: A command that succeeds before. follows: Whether an error's advice is
    followed; else the command is repeated.
    """

    words: Sequence[str]
    results: Sequence[str]
    most: int
    after: Sequence[str] = ()
    follows: bool = True


EVAL = ("eval", "--engine", "fake", *DATA, "--resamples", "0", "--output", "run")

#: A model whose checkpoint is that of a local file in these tests.
FETCHED = "R_50_FPN_3x"

TRAIN = (
    *("train", "--train-annotations", DATA[1], "--train-images", DATA[3]),
    *("--val-annotations", DATA[1], "--val-images", DATA[3], "--init", "none"),
    *("--iterations", "3", "--batch-size", "1", "--eval-every", "2", "--checkpoint-every", "1"),
    *("--short-edge", "64", "--device", "cpu", "--threads", "1", "--no-pictures"),
    *("--output", "run"),
)

SWEEP = (
    *("sweep", "--engine", "fake", *DATA, "--precisions", "fp32,bf16", "--batch-sizes", "1"),
    *("--warmup", "0", "--repeats", "1", "--min-duration", "0.01", "--output", "run"),
)

EXPORT = ("export", "--root", "datasets", "--output", "x.pt2", "--limit", "1", "--threads", "1")

NIGHT = ("nightly", "--matrix", "matrix.toml", "--results", "results", "--root", "datasets")

CASES = {
    "eval": Case(words=EVAL, results=("run/predictions.json",), most=18),
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
    "score": Case(
        words=("score", "run", "--output", "new"),
        results=("new/per_category.csv",),
        most=6,
        after=EVAL,
    ),
    "show": Case(words=("show", "run"), results=("run/show/pictures/*.jpg",), most=3, after=EVAL),
    "report": Case(
        words=("report", "run"), results=("run/report.html",), most=4, after=EVAL, follows=False
    ),
    "nightly": Case(
        words=NIGHT,
        results=("results/nights/*/tiny-*/eval/predictions.json",),
        most=6,
        follows=False,
    ),
    "download": Case(
        words=("download", "--only", "checkpoints", "--model", FETCHED, "--root", "root"),
        results=("root/checkpoints/**/*.pkl",),
        most=9,
    ),
    "train": Case(words=TRAIN, results=("run/model_last.safetensors",), most=12),
    "sweep": Case(words=SWEEP, results=("run/cells/*/predictions.json",), most=6),
    "export": Case(words=EXPORT, results=("x.pt2",), most=3),
}

#: Take seconds each time.
SLOW = ("train", "sweep", "export")


def write_template(folder: Path, embedded_root: Path) -> Path:
    """The working folder of the commands, before any of them."""
    write_small_coco(folder / "small")
    (folder / "datasets").symlink_to(embedded_root)
    (folder / "matrix.toml").write_text(MATRIX, encoding="utf-8")
    write_lock(folder)
    return folder


def write_lock(folder: Path) -> None:
    """A lock in which one checkpoint is a file of the folder, of several pieces of a download."""
    served = folder / "served"
    served.write_bytes(random.Random(1).randbytes(3_000_000))
    lock = json.loads(find_lock().read_text(encoding="utf-8"))
    (checkpoint,) = (one for one in lock["artefacts"] if one["name"] == f"mask_rcnn_{FETCHED}")
    checkpoint |= {
        "url": served.as_uri(),
        "mirrors": [],
        "bytes": served.stat().st_size,
        "sha256": hashlib.sha256(served.read_bytes()).hexdigest(),
        "md5_prefix": None,
    }
    (folder / LOCK_NAME).write_text(json.dumps(lock), encoding="utf-8")


def found(work: Path, patterns: Sequence[str]) -> dict[str, bytes | None]:
    """The content of the last file of each pattern; None where there is none."""
    files = {one: max(work.glob(one), default=None) for one in patterns}
    return {one: None if file is None else file.read_bytes() for one, file in files.items()}


def require_repaired(
    run: Callable[[Sequence[str]], Ended],
    case: Case,
    said: str,
    work: Path,
    whole: Mapping[str, bytes | None],
) -> None:
    """Follow the advice of an error, or repeat the command; the results are the undisturbed ones.

    Raises:
        LostError: They are not.
    """
    advice = NEXT.search(said) if case.follows else None
    again = run(shlex.split(advice[1]) if advice else case.words).require(0)
    for one, content in found(work, case.results).items():
        if content != whole[one]:
            raise LostError(f"{one} is another one after: {said[-800:]}\nthen {again.err[-300:]}")
    litter = [one for one in work.rglob(".*") if TEMPORARY.fullmatch(one.name)]
    if litter:
        raise AssertionError(f"the repetition left {litter}")
