"""Shares scored in several processes: the first in this one, each other in a child.

A child is a Python of its own that reads its shares from a pipe. A fork would copy the locks of
whatever threads run here, torch's among them, and ``multiprocessing`` would run the main module of
the caller once more, which scripts without a guard do not survive.
"""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from harness.core.errors import RunFailedError
from harness.measure.evaluators import (
    Curves,
    OneEvaluator,
    Share,
    Task,
    curves_of,
    ground_truth,
    result_row,
)

#: How much longer a mask takes than a box: 1.4 s and 0.5 s for 33,000 predictions.
COST: Mapping[Task, float] = {"bbox": 1.0, "segm": 2.8}


def dealt(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    tasks: Sequence[Task],
    image_ids: Sequence[int],
    evaluator: OneEvaluator,
    portions: int,
) -> list[list[Share]]:
    """Every category of every task in one share, in at most ``portions`` portions.

    No portion takes much longer than another.
    """
    owners = _owners(annotations, predictions, tasks, portions)
    shares: list[list[Share]] = [[] for _ in range(portions)]
    for task in tasks:
        owner = owners[task]
        truth = ground_truth(annotations, task)
        objects = _by_owner(owner, portions, truth["annotations"])
        found = _by_owner(owner, portions, [result_row(row, task) for row in predictions])
        categories = _by_owner(owner, portions, truth["categories"], key="id")
        for number, portion in enumerate(shares):
            if categories[number] or number == 0:  # no categories at all are a share, too
                portion.append(
                    Share(
                        evaluator=evaluator,
                        task=task,
                        truth={
                            **truth,
                            "annotations": objects[number],
                            "categories": categories[number],
                        },
                        rows=found[number],
                        image_ids=image_ids,
                    )
                )
    return [portion for portion in shares if portion]


def _owners(
    annotations: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    tasks: Sequence[Task],
    portions: int,
) -> dict[Task, dict[int, int]]:
    """The portion of each category: the costliest first, each to the portion that has least."""
    rows = Counter(row["category_id"] for row in (*annotations["annotations"], *predictions))
    ids = [category["id"] for category in annotations["categories"]]
    costs = {(task, one): COST[task] * rows[one] for task in tasks for one in ids}
    owners: dict[Task, dict[int, int]] = {task: {} for task in tasks}
    loads = [0.0] * portions
    for task, one in sorted(costs, key=lambda unit: -costs[unit]):
        owners[task][one] = loads.index(min(loads))
        loads[owners[task][one]] += costs[task, one]
    return owners


def _by_owner(
    owner: Mapping[int, int],
    portions: int,
    rows: Sequence[dict[str, Any]],
    key: str = "category_id",
) -> list[list[dict[str, Any]]]:
    """The rows of each portion, in their order. owner: of a category."""
    found: list[list[dict[str, Any]]] = [[] for _ in range(portions)]
    for row in rows:
        found[owner[row[key]]].append(row)
    return found


def joined(scored: Sequence[tuple[Share, Curves]]) -> dict[Task, Curves]:
    """The curves of all categories together, by task."""
    whole: dict[Task, Curves] = {}
    for task in dict.fromkeys(share.task for share, _ in scored):
        parts = [(share, curves) for share, curves in scored if share.task == task]
        ids = [one for share, _ in parts for one in share.category_ids]
        order = np.argsort(np.array(ids, dtype=np.int64))
        precision = np.concatenate([curves.precision for _, curves in parts], axis=2)
        recall = np.concatenate([curves.recall for _, curves in parts], axis=1)
        whole[task] = Curves(precision[:, :, order], recall[:, order])
    return whole


def score_shares(portions: Sequence[Sequence[Share]]) -> list[tuple[Share, Curves]]:
    """Every share with its curves; each portion of shares gets a process.

    Raises what a child raised, and RunFailedError for one that died. No child outlives this call.
    """
    first, *others = portions
    with ThreadPoolExecutor(len(portions)) as pool, _children(len(others)) as children:
        answers = [pool.submit(_ask, *asked) for asked in zip(children, others, strict=True)]
        curves = [curves_of(share) for share in first]
        for answer in answers:
            curves += answer.result()
    return list(zip(itertools.chain(*portions), curves, strict=True))


def answer_parent() -> None:
    """The life of a child: shares from stdin, their curves, or what went wrong, to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent answers it
    gc.disable()  # as in curves_of, and for reading the shares too
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing printed gets into the answer
    shares = pickle.load(sys.stdin.buffer)
    try:
        outcome: list[Curves] | Exception = [curves_of(share) for share in shares]
    except Exception as error:
        outcome = error
    with answer:
        pickle.dump(outcome, answer, protocol=pickle.HIGHEST_PROTOCOL)


@contextmanager
def _children(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that wait for shares; ended in the end, whatever happened."""
    # The same path as here: nothing that lies in the working directory is imported by mistake.
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from {__name__} import answer_parent; answer_parent()"
    )
    children: list[subprocess.Popen[bytes]] = []
    pipe = subprocess.PIPE
    try:
        for _ in range(count):
            command = [sys.executable, "-c", code]
            children.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe))
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()


def _ask(child: subprocess.Popen[bytes], shares: Sequence[Share]) -> list[Curves]:
    """The child's answer to ``shares``."""
    said, complaints = child.communicate(pickle.dumps(shares, protocol=pickle.HIGHEST_PROTOCOL))
    if child.returncode != 0:
        last = complaints.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise RunFailedError(
            f"a process that scores died with exit code {child.returncode}: {last or 'no message'}",
            hint="exit code −9 is what too little memory looks like; predictions are kept",
        )
    outcome: list[Curves] | Exception = pickle.loads(said)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
