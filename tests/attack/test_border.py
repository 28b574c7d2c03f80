"""Annotations, predictions and run lengths under fuzzing: an error of ours, or the right number."""

from __future__ import annotations

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.core.rle_text import canonical, parse, spell, sums_of
from harness.core.run_lengths import decode
from harness.data.coco import read_annotations
from harness.data.predictions import read_predictions
from harness.measure.coco import score
from harness.measure.masks import areas_px, box_xywh_px, rle_of
from tests.attack.trials import LostError, Trials, mutated, seeds
from tests.data.odd_files import plain_content

TOKENS = (
    (b"NaN", b"-Infinity", b"1e400", b"-1", b"0", b"1.0", b"9007199254740993", b"null", b"true")
    + (b'"1"', b"[]", b"{}", b"[[]]", b'"\\ud800"', b'"\\u0000"', b"1e9", b'"counts"', b'"size"')
    + (b'{"size":[20,30],"counts":"oooooooo"}', b"," * 3, b"[" * 50, b"9" * 30)
)
CHARACTERS = "0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmno"


def predictions_for(content: dict[str, Any]) -> list[dict[str, Any]]:
    sizes = {one["id"]: (one["height"], one["width"]) for one in content["images"]}
    rows = []
    for number, row in enumerate(content["annotations"]):
        mask = rle_of(row["segmentation"], *sizes[row["image_id"]])
        found = {key: row[key] for key in ("image_id", "category_id", "bbox")}
        size = [mask.height_px, mask.width_px]
        rows.append({**found, "score": 1 / (1 + number)})
        rows[-1]["segmentation"] = {"size": size, "counts": mask.counts}
    return rows


def scored(content: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Both evaluators agree, or the error is ours."""
    ids = sorted(one["id"] for one in content["images"])
    tasks = [
        task
        for task, key in (("bbox", "bbox"), ("segm", "segmentation"))
        if rows and all(key in row for row in rows)
    ]
    score(content, rows, tasks=tasks, image_ids=ids, evaluator="both")  # type: ignore[arg-type]


def test_text_of_run_lengths(trials: Trials) -> None:
    """What is accepted covers its mask, and C code reads it as we do."""
    height, width = 7, 9
    for chance in seeds(4000, 20):
        kind = chance.randrange(3)
        if kind == 0:
            text = "".join(chance.choices(CHARACTERS, k=chance.randrange(12)))
        elif kind == 1:
            cuts = sorted(chance.choices(range(height * width + 1), k=chance.randrange(8)))
            runs = np.diff([0, *cuts, height * width]).tolist()
            text = mutated(spell(runs).encode(), chance, [b"o", b"O", b"P", b"0"]).decode("latin1")
        else:
            text = "".join(chr(chance.randrange(256)) for _ in range(chance.randrange(9)))
        with trials.one(repr(text)):
            parsed = parse([text])
            if not parsed.readable[0] or sums_of(parsed)[0] != height * width:
                continue
            (spelled,) = canonical([text], parsed)
            mask = rle_of({"size": [height, width], "counts": spelled}, height, width)
            pixels = decode(mask)
            if areas_px([mask]) != [int(pixels.sum())]:
                raise LostError("areas differ")
            rows, columns = np.nonzero(pixels)
            box = box_xywh_px(mask)
            if len(rows) and box[:2] != [columns.min(), rows.min()]:
                raise LostError("boxes differ")


@pytest.mark.parametrize("side", ["annotations", "predictions"])
def test_damaged_files(trials: Trials, tmp_path: Path, side: str) -> None:
    """Bits, pieces and tokens of JSON are exchanged."""
    content = plain_content()
    rows = predictions_for(copy.deepcopy(content))
    whole = json.dumps(content if side == "annotations" else rows).encode()
    files = {"annotations": tmp_path / "a.json", "predictions": tmp_path / "p.json"}
    files["annotations"].write_text(json.dumps(content), "utf-8")
    files["predictions"].write_text(json.dumps(rows), "utf-8")
    for chance in seeds(600, 25):
        files[side].write_bytes(mutated(whole, chance, TOKENS))
        with trials.one(chance.random()):
            try:
                found = read_annotations(files["annotations"])
                scored(found, read_predictions(files["predictions"], found))
            except HarnessError as error:
                if len(str(error)) > 5000:
                    raise AssertionError("a message without an end") from error


def test_odd_values_in_predictions(trials: Trials, tmp_path: Path) -> None:
    """One value of a prediction is anything JSON can hold."""
    content = plain_content()
    rows = predictions_for(copy.deepcopy(content))
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content), "utf-8")
    found = read_annotations(file)
    odd: list[Any] = [None, True, "1", 1.0, -1, 2**63, 2**70, 10**400, 1e308, [], [[]], {}, "x" * 9]
    odd += [
        float("nan"),
        float("inf"),
        [1, 2, 3],
        [1, 2, 3, True],
        [1e9, 0, 1, 1],
        "oooo",
        b"".decode(),
    ]
    odd += [{"size": [20, 30]}, {"counts": "0"}, {"size": [20, 30], "counts": None}, "1" * 200_000]
    for key in ("image_id", "category_id", "bbox", "score", "segmentation", "extra"):
        for value in odd:
            changed = copy.deepcopy(rows)
            random.Random(key).choice(changed)[key] = value
            (tmp_path / "p.json").write_text(json.dumps(changed), "utf-8")
            with trials.one((key, str(value)[:20])):
                try:
                    scored(found, read_predictions(tmp_path / "p.json", found))
                except HarnessError as error:
                    if len(str(error)) > 1000:
                        raise AssertionError("a message without an end") from error


def test_ids_of_64_bits(trials: Trials) -> None:
    """The same data under other ids has the same score, by both evaluators."""
    content = plain_content()
    rows = predictions_for(copy.deepcopy(content))
    for row in rows[::3]:
        row["bbox"] = [row["bbox"][0] + 1, *row["bbox"][1:]]
    ids = sorted(one["id"] for one in content["images"])
    tasks = ("bbox", "segm")
    expected = score(content, rows, tasks=tasks, image_ids=ids).metrics  # type: ignore[arg-type]
    for chance in seeds(60, 15):
        spread = chance.choice((1, 3, 2**20, 2**53, 2**62))
        start = chance.choice((0, -5, 2**53 - 2, 2**60, -(2**62)))
        images = sorted(start + number * max(1, spread // 8) for number in range(len(ids)))
        changed, moved = copy.deepcopy(content), copy.deepcopy(rows)
        for table in (changed["annotations"], moved):
            for row in table:
                row["image_id"] = images[row["image_id"] - 1]
        for image, one in zip(changed["images"], images, strict=True):
            image["id"] = one
        with trials.one(images):
            found = score(
                changed,
                moved,
                tasks=tasks,  # type: ignore[arg-type]
                image_ids=images,
                evaluator="both",
            ).metrics
            if found != expected:
                raise LostError(f"{found} is not {expected}")


LONG = """
import sys
from harness.measure.coco import score
mask = {"size": [1000, 1000], "counts": sys.stdin.read()}
row = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1000, 1000], "segmentation": mask}
truth = {"images": [{"id": 1, "height": 1000, "width": 1000}], "categories": [{"id": 1}],
         "annotations": [{**row, "id": n} for n in range(200)]}
print("begins", flush=True)
score(truth, [{**row, "score": 0.5}] * 100, tasks=("segm",), image_ids=[1])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_scoring_that_takes_long_can_be_ended(number: signal.Signals) -> None:
    """Masks of half a million runs, 20,000 comparisons: minutes of C code; no process is left."""
    words = [sys.executable, "-c", LONG]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(spell([2] * 500_000))
        process.stdin.close()
        process.stdout.readline()
        time.sleep(3)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert children
        process.send_signal(number)
        process.wait(timeout=30)
        assert process.returncode != 0
    end = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.1)


#: Of the C library: ends a process where it frees memory that was written past its end.
CHECKING = ("libc_malloc_debug.so.0", {"MALLOC_CHECK_": "3"})

LONG_RUNS = """
import numpy as np
from harness.core.rle_text import spell
from harness.measure.masks import encode_edges, rle_of, union_of
height, width, run = 8192, 10240, 2**24
runs = [run, run, run, 2 * run]
striped = encode_edges(np.cumsum(runs[:-1]), height_px=height, width_px=width)
column = run // height
sides = [(column, 2 * column), (3 * column, width)]
stripe = [[a, 0, b, 0, b, height, a, height] for a, b in sides]
for found in (striped, union_of([striped, striped]), rle_of(stripe, height, width)):
    assert found.counts == spell(runs), found.counts
    assert len(found.counts) == 6 * len(runs)
"""


def test_runs_whose_numbers_all_take_six_characters_stay_in_their_memory(trials: Trials) -> None:
    library, settings = CHECKING
    environment = {**os.environ, **settings, "LD_PRELOAD": library}
    loaded = subprocess.run(["true"], env=environment, capture_output=True, check=True)
    if loaded.stderr:
        pytest.skip(f"the C library has no {library}")
    with trials.one("four runs of 2^24 px and more"):
        command = [sys.executable, "-c", LONG_RUNS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
