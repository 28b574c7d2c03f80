"""The README's measured numbers are those of the files they come from, and every file is named."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

#: Programs whose files are named by a sentence about all of them, not one by one.
PROGRAMS = ("forward_vs_detectron2", "eval_vs_detectron2", "train_vs_detectron2")


@pytest.fixture(scope="module")
def results(repository: Path) -> Path:
    return repository / "benchmarks" / "results"


def read(results: Path, pattern: str) -> list[Any]:
    """The files of a pattern; there are some."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(results.glob(pattern))]
    assert found, pattern
    return found


def row(repository: Path, start: str) -> str:
    """The row of the README's table that begins so."""
    lines = (repository / "README.md").read_text("utf-8").splitlines()
    (line,) = (one for one in lines if one.startswith(f"| {start}"))
    return line


def span(values: list[float], digits: int = 1) -> str:
    """Least and largest, as the README writes them."""
    low, high = (f"{one:.{digits}f}" for one in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def test_speed_on_a_cpu(repository: Path, results: Path) -> None:
    def network(pattern: str) -> list[float]:
        files = read(results, f"forward_vs_detectron2-R_50-{pattern}")
        return [one["scopes"]["network"]["times_faster"] for one in files]

    assert f"{span(network('fp32-*cpu.json'))} times" in row(repository, "network on two CPU")
    assert f"{span(network('exact-*cpu.json'))} times" in row(repository, "… `--exact`")
    bf16 = f"{network('bf16-xeon-*')[0]:.1f} / {network('bf16-epyc-*')[0]:.1f} times"
    assert bf16 in row(repository, "… bf16, on a processor")
    whole = [
        read(results, f"eval_vs_detectron2-R_50-{one}")[0]["compared"]["native bf16"][
            "times_faster"
        ]
        for one in ("val40-bf16-xeon-*", "val100-epyc-*")
    ]
    assert f"{whole[0]:.1f} / {whole[1]:.1f} times" in row(repository, "whole evaluation, bf16")
    training = [one["times_faster"] for one in read(results, "train_vs_detectron2-R_50-*cpu.json")]
    assert f"{span(training)} times" in row(repository, "training iteration of two images")


def test_speed_on_a_gpu(repository: Path, results: Path) -> None:
    files = [one for one in read(results, "gpu-R_50-*.json") if "single" in one]
    for precision, start in (("fp32", "GPU ("), ("fp16", "… fp16, against")):
        scopes = [one["single"][precision]["resized image to encoded detections"] for one in files]
        ratio = span([one["times_faster"] for one in scopes], 1 if precision == "fp32" else 0)
        time_ms = span([1000 * one["ours_median_s"] for one in scopes], 0)
        assert f"{ratio} times, {time_ms} ms" in row(repository, start)


def test_equality(repository: Path, results: Path) -> None:
    (here,) = read(results, "parity-R_50_FPN_3x-*.json")
    cards = [one for one in read(results, "gpu-R_50-*.json") if "proofs" in one]
    proofs = [here[one]["exact"] for one in ("seeded", "amplifying")]
    for one in cards:
        proofs += [one["proofs"][f"exact, {name}"] for name in ("seeded", "amplifying")]
    said = re.findall(r"(\d+) of (\d+)", row(repository, "`--exact`"))
    assert {(str(one["equal"]), str(one["detections"])) for one in proofs} == set(said)
    fast = [here[one]["fast"] for one in ("seeded", "amplifying")]
    for one in cards:
        fast += [one["proofs"][f"fast fp32, {name}"] for name in ("seeded", "amplifying")]
    assert not any(one["unexplained"] for one in fast)
    worst = max(stage["ratio"] for one in fast for stage in one["stages"])
    assert f"| {worst:.1f} or less" in row(repository, "the default, fp32: distance")


def test_the_others(repository: Path, results: Path) -> None:
    (faults,) = read(results, "diagnosed_faults-real-*.json")
    singly = faults["singly"]
    assert f"{singly['named_first']} of {singly['tried']}" in row(repository, "known faults")
    scoring = [one["times_faster"] for one in read(results, "score_vs_pycocotools-*.json")]
    assert f"{int(min(scoring))} times" in row(repository, "scoring, against")
    (drawing,) = read(results, "draw_vs_detectron2-*.json")
    assert f"{drawing['grounds']['colour']['times_faster']:.0f} times" in row(repository, "drawing")


def test_every_result_is_named_and_every_named_one_exists(repository: Path, results: Path) -> None:
    pages = "\n".join(
        (repository / "docs" / name).read_text("utf-8") for name in ("measured.md", "zoo.md")
    )
    present = sorted(path.name for path in results.glob("*.json"))
    named = re.findall(r"`([\w*-]+-(?:[\w*-]*cpu|h[12]00|\*)\.json)`", pages)
    missing = [one for one in named if not any(fnmatch(name, one) for name in present)]
    assert not missing, f"not in benchmarks/results: {missing}"
    unnamed = [
        name
        for name in present
        if not any(fnmatch(name, one) for one in named)
        and f"benchmarks/{name.partition('-')[0]}.py" not in pages
        and f"`{name.partition('-')[0]}-`" not in pages
        and not name.startswith(PROGRAMS)
    ]
    assert not unnamed, f"docs/measured.md does not name {unnamed}"
