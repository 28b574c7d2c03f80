"""Predictions of other programs, as JSON and as pickles: read, or refused, within bounds."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.data.coco import read_annotations
from harness.measure.coco import score
from harness.workflows.runs.results_files import read_loosely, read_results
from tests.attack.memory import Peak, traced_memory
from tests.attack.trials import Trials, mutated, seeds
from tests.data.test_foreign_results import FORMS, two_an_image

__all__ = ["traced_memory"]

pytestmark = pytest.mark.usefixtures("traced_memory")

#: What reading may take of memory: so many times the file, and a little for the smallest; and of
#: seconds of a processor, for files of at most 400 kB.
TIMES, AT_LEAST_BYTES, SECONDS = 64, 8 << 20, 20

ODD: tuple[Any, ...] = (
    *(None, True, "1", "٣", "²", -1, 0, 2**63, 2**70, 10**400, 1e308, float("nan"), float("inf")),
    *([], [[]], {}, "x" * 100_000, [1, 2, 3], [[1, 2, 3, True]], [[1e9, 0, 1, 1]], [10**400] * 4),
    *({"size": [20, 30]}, {"counts": "0", "size": [9, 9]}, [[0.0, 0.0, 1e300, 0.0, 5.0, 1e300]]),
    *(
        [["a", "b", "c", "d", "e", "f"]],
        {"size": [60, 80], "counts": [10**30]},
        "\x1b[2J",
        "\ud800",
    ),
    *({"size": [60, 80], "counts": [-5, 4805]}, [[[0.7]]], {"size": "ab", "counts": b"\xff"}),
    *([[0.9] * 7] * 7, np.zeros((0, 5), np.float32), np.ones((3, 4), np.float32), np.float64(3)),
)
TOKENS = (
    (b"NaN", b"-Infinity", b"1e400", b"-1", b"null", b"true", b'"1"', b"[]", b"{}", b"[[]]")
    + (b'"\\ud800"', b"9" * 400, b'"instances"', b'"masks"', b'"boxes"', b"[" * 50)
    + (b"q\x00", b"h\x00", b"h\x01", b"j\x01\x00\x00\x00", b"R", b"(", b"t", b"2", b"\x94", b"0")
)


@pytest.fixture
def content(small_coco: Path) -> dict[str, Any]:
    return read_annotations(small_coco / "annotations.json")


def read_within_bounds(path: Path, content: dict[str, Any]) -> None:
    """Read and scored, or refused briefly; in both ways that commands read predictions."""
    begun = time.process_time()
    peak = Peak()
    try:
        for read in (read_results, read_loosely):
            try:
                rows = read(path, content).rows
            except HarnessError as error:
                if len(str(error)) > 2000 or not str(error).replace("\n", "").isprintable():
                    raise AssertionError("a message that is too long, or no text") from error
                continue
            if read is read_results and rows and "bbox" in rows[0]:
                ids = sorted(one["id"] for one in content["images"])
                score(content, rows, tasks=("bbox",), image_ids=ids)
    finally:
        peak.require_at_most(TIMES * path.stat().st_size + AT_LEAST_BYTES)
    if time.process_time() - begun > SECONDS:
        raise AssertionError(f"took more than {SECONDS} s")


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key of a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in list(pairs):
        yield value, key
        if isinstance(one, list | dict):
            yield from places(one)


@pytest.mark.parametrize("program", FORMS)
def test_odd_values(trials: Trials, content: dict[str, Any], tmp_path: Path, program: str) -> None:
    """Any value at any place, in a pickle, and in JSON where that can hold it."""
    form = FORMS[program](content, two_an_image(content))
    count = len(list(places(form)))
    for chance in seeds(600, 10):
        place, odd = chance.randrange(count), chance.choice(ODD)
        changed = copy.deepcopy(form)
        container, key = list(places(changed))[place]
        container[key] = odd
        files = {"p.pkl": pickle.dumps(changed)}
        with contextlib.suppress(TypeError):  # an array
            files["p.json"] = json.dumps(changed).encode()
        name, data = chance.choice(sorted(files.items()))
        (tmp_path / name).write_bytes(data)
        with trials.one((program, key, str(odd)[:30], name)):
            read_within_bounds(tmp_path / name, content)


@pytest.mark.parametrize("name", ["p.json", "p.pkl"])
def test_damaged_files(trials: Trials, content: dict[str, Any], tmp_path: Path, name: str) -> None:
    forms = [FORMS[program](content, two_an_image(content)) for program in sorted(FORMS)]
    whole = [json.dumps(one).encode() if name == "p.json" else pickle.dumps(one) for one in forms]
    for chance in seeds(400, 10):
        (tmp_path / name).write_bytes(mutated(chance.choice(whole), chance, TOKENS))
        with trials.one(chance.random()):
            read_within_bounds(tmp_path / name, content)


def bombs(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Small pickles that refer to one large thing from many places."""
    row = {"category_id": 0, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5}
    image = content["images"][0]["id"]
    instances = [{**row, "image_id": image} for _ in range(2000)]
    yield "one list", [{"image_id": image, "instances": instances} for _ in range(5000)]
    yield "one row", [{"image_id": image, "instances": [instances[0]] * 50_000}]
    many = [instances] * 300
    yield "lists of lists", [{"image_id": image, "instances": many} for _ in range(300)]
    table = {"bboxes": np.ones((2000, 4)), "labels": [0] * 2000, "scores": [0.5] * 2000}
    yield "one table", [{"img_id": image, "pred_instances": table} for _ in range(5000)]
    mask = {"bboxes": [[1.0, 2.0, 3.0, 4.0]], "labels": [0], "scores": [0.5]}
    mask["masks"] = [np.ones((300, 300), np.uint8)]
    yield "one mask", [{"img_id": image, "pred_instances": {**mask}} for _ in range(5000)]
    counts = {"size": [60, 80], "counts": "0" * 50_000}
    yield (
        "one text",
        [
            {
                "image_id": image,
                "instances": [{**row, "image_id": image, "segmentation": {**counts}}],
            }
            for _ in range(5000)
        ],
    )


@pytest.mark.parametrize("number", range(6))
def test_bombs_of_references(
    trials: Trials, content: dict[str, Any], tmp_path: Path, number: int
) -> None:
    name, value = list(bombs(content))[number]
    path = tmp_path / "p.pkl"
    path.write_bytes(pickle.dumps(value))
    with trials.one(name):
        read_within_bounds(path, content)


def test_many_categories_and_many_rows(
    trials: Trials, content: dict[str, Any], tmp_path: Path
) -> None:
    """Nothing grows with the product of both."""
    many = {**content, "categories": [{"id": n, "name": f"n{n}"} for n in range(20_000)]}
    sides = dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), 1.0)
    image = content["images"][0]["id"]
    rows = [{**sides, "class_id": 19_999, "confidence": 0.5, "image_id": image}] * 20_000
    path = tmp_path / "p.json"
    path.write_text(json.dumps(rows), "utf-8")
    begun = time.process_time()
    with trials.one():
        assert len(read_results(path, many).rows) == len(rows)
        assert time.process_time() - begun < 10
