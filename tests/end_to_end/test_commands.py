"""``eval``, ``bench`` and ``doctor`` from the words a user types to the exit code."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.files.layout import LOCK_NAME
from harness.workflows.runs.folder import read_record
from tests.conftest import Seeded


@pytest.fixture(scope="session")
def tiny_weights(seeded: Seeded) -> Path:
    """The seeded checkpoint of the embedded model."""
    from harness.zoo.architectures import tiny

    return seeded(tiny())


def test_eval_ends_in_one_table_a_verdict_and_the_record(
    harness: Callable[..., Any], on_small: list[str], project: Path
) -> None:
    answer = harness("eval", "--engine", "fake", *on_small, "--format", "markdown")
    assert answer.code == 0
    lines = answer.out.splitlines()
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert header == ["metric", "measured", "reference", "delta", "tolerance", "source", "status"]
    cells = {line.split("|")[1].strip() for line in lines[2:26]}
    assert {"bbox/AP", "bbox/ARl", "segm/AP50", "segm/AR1"} < cells
    assert len(cells) == 24
    assert any(line.startswith("NO REFERENCE") for line in lines)
    assert lines[-1].startswith("record: ")
    record = read_record(Path(lines[-1].removeprefix("record: ")).parent)
    assert record.command[0] == "harness"
    assert record.metrics["bbox/AP"] == pytest.approx(100)
    assert "not comparable: the fake engine" in answer.err
    assert "data: 1 image has no annotation" in answer.err


def test_json_is_the_record_and_nothing_else(
    harness: Callable[..., Any], on_small: list[str], tmp_path: Path
) -> None:
    answer = harness(
        "eval", "--engine", "fake", *on_small, "--json", "--output", tmp_path / "it's here"
    )
    assert answer.code == 0
    stored = (tmp_path / "it's here" / "record.json").read_text(encoding="utf-8")
    assert json.loads(answer.out) == json.loads(stored)


def test_categories_are_printed_by_id(harness: Callable[..., Any], on_small: list[str]) -> None:
    answer = harness("eval", "--engine", "fake", *on_small, "--per-category", "--format", "plain")
    assert "bbox AP" in answer.out
    assert "kind 19" in answer.out


def test_nothing_to_compare_can_be_a_failure(
    harness: Callable[..., Any], on_small: list[str]
) -> None:
    assert harness("eval", "--engine", "fake", *on_small, "--require-reference").code == 1


def test_a_verdict_is_the_exit_code(
    harness: Callable[..., Any], on_small: list[str], project: Path
) -> None:
    """The embedded network, judged by what it measured, by more, and by less."""

    def judged(value: float) -> Any:
        lock = json.loads((project / LOCK_NAME).read_text(encoding="utf-8"))
        (tiny,) = (entry for entry in lock["models"] if entry["name"] == "tiny")
        tolerance = {"below": 0.1, "above": 0.1, "source": "test"}
        tiny["references"] = [
            {
                "metric": "bbox/AP",
                "value": value,
                "tolerance": tolerance,
                "dataset": "annotations",
                "device_class": None,
                "role": "accepted",
                "source": "test",
            }
        ]
        (project / LOCK_NAME).write_text(json.dumps(lock), encoding="utf-8")
        return harness("eval", *on_small, "--threads", "1")

    first = judged(1e3)
    assert first.code == 1
    assert "NOT REPRODUCED: box AP" in first.out
    folder = Path(
        next(
            line.removeprefix("record: ")
            for line in first.out.splitlines()
            if line.startswith("record: ")
        )
    ).parent
    measured = read_record(folder).metrics["bbox/AP"]
    assert measured is not None
    same = judged(measured + 0.09)
    assert same.code == 0, same.out
    assert "REPRODUCED: box AP" in same.out
    assert judged(measured - 0.2).code == 1  # too good is also wrong


@pytest.mark.parametrize(("weight", "code"), [(math.nan, 4), (3e38, 5)])
def test_numbers_that_are_not_finite_never_become_a_low_ap(
    harness: Callable[..., Any],
    on_small: list[str],
    tiny_weights: Path,
    tmp_path: Path,
    weight: float,
    code: int,
) -> None:
    """NaN weights are refused when they are read; finite ones may still overflow on the way."""
    from harness.zoo.weights import read_checkpoint, write_checkpoint

    tensors = {key: np.array(value) for key, value in read_checkpoint(tiny_weights).items()}
    tensors["backbone.bottom_up.stem.conv1.weight"][:] = weight
    broken = tmp_path / "broken.safetensors"
    write_checkpoint(broken, tensors)
    run = tmp_path / "run"
    answer = harness("eval", *on_small, "--weights", broken, "--threads", "1", "--output", run)
    assert answer.code == code, answer.err
    assert "not finite" in answer.err
    assert ("image 7" in answer.err) == (code == 5)
    assert not (run / "predictions.json").exists()


def test_an_interrupted_network_run_repeats_to_the_byte(
    harness: Callable[..., Any], on_small: list[str], tiny_weights: Path, tmp_path: Path
) -> None:
    command = ["eval", *on_small, "--weights", tiny_weights, "--threads", "1"]
    for name in ("one", "two"):
        assert harness(*command, "--output", tmp_path / name).code == 0
    whole = (tmp_path / "one" / "predictions.json").read_bytes()
    assert (tmp_path / "two" / "predictions.json").read_bytes() == whole
    (tmp_path / "two" / "record.json").unlink()
    shard = tmp_path / "two" / "shards" / "0000.jsonl"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    assert harness(*command, "--output", tmp_path / "two", "--resume").code == 0
    assert (tmp_path / "two" / "predictions.json").read_bytes() == whole


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--batch-size", "0"], 2, "--batch-size must be at least 1"),
        (["--loaders", "-1"], 2, "--loaders must be from 1 to 512"),
        (["--loaders", "100000"], 2, "--loaders must be from 1 to 512"),
        (["--workers", "100000"], 2, "--workers must be from 1 to 512"),
        (["--limit", "0"], 2, "--limit must be at least 1"),
        (["--dataset", "synthetic_val"], 2, "not both"),
        (["--weights", "nowhere.pkl"], 2, "no such checkpoint file"),
        (["--output", "/proc/nowhere"], 2, "cannot write /proc/nowhere"),
        (["--output", "empty", "--resume"], 2, "nothing to resume"),
        (["--model", "tinny"], 2, "did you mean tiny?"),
        (["--model", "R_101_FPN_3x"], 4, "80 classes"),
        (["--engine", "native", "--device", "cuda:99", "--threads", "1"], 3, "cuda:99"),
        (["--engine", "native", "--device", "tpu", "--threads", "1"], 2, "unknown device 'tpu'"),
    ],
)
def test_bad_requests(
    harness: Callable[..., Any],
    on_small: list[str],
    project: Path,
    options: list[str],
    code: int,
    said: str,
) -> None:
    answer = harness("eval", "--engine", "fake", *on_small, *options)
    assert answer.code == code
    assert said in answer.err
    assert answer.out == ""
    assert not list(project.rglob("record.json"))


def test_bench_prints_and_records_speeds(
    harness: Callable[..., Any], on_small: list[str], tiny_weights: Path, tmp_path: Path
) -> None:
    answer = harness(
        *("bench", *on_small, "--weights", tiny_weights, "--threads", "1", "--json"),
        *("--repeats", "2", "--min-duration", "0", "--output", tmp_path / "run"),
    )
    assert answer.code == 0, answer.err
    record = read_record(tmp_path / "run")
    assert json.loads(answer.out)["run_id"] == record.run_id
    metrics = {name: value for name, value in record.metrics.items() if value is not None}
    phases = sum(metrics[f"phase/{name}_s"] for name in ("transfer", "forward", "paste"))
    assert metrics["s_per_image"] == pytest.approx(phases)
    assert metrics["fps"] == pytest.approx(1 / metrics["s_per_image"])
    assert metrics["latency_p50_s"] <= metrics["latency_p90_s"] <= metrics["latency_p99_s"]
    assert metrics["timed_images"] == 12
    assert metrics["detections_per_image"] > 1
    assert 0 < metrics["end_to_end_fps"] < metrics["fps"] * 4
    assert record.verdict.outcome == "nothing-to-compare"
    assert "checkpoint" in " ".join(record.protocol_deviations)


@pytest.mark.slow
def test_bench_explains_where_the_time_goes(
    harness: Callable[..., Any], on_small: list[str], tmp_path: Path
) -> None:
    quick = ("--threads", "1", "--limit", "1", "--repeats", "1", "--min-duration", "0")
    answer = harness("profile", *on_small, *quick, "--output", tmp_path / "run")
    assert answer.code == 0, answer.err
    for words in ("box pooling", "aten::", "takes most:", "measured peak", "trace.json"):
        assert words in answer.out
    told = harness("bench", *on_small, *quick, "--profile", "--json")
    assert set(json.loads(told.out)) == {"record", "profile"}
    refused = harness("bench", "--engine", "fake", *on_small, "--profile")
    assert refused.code == 2
    assert "--profile looks into the layers of a network" in refused.err


@pytest.mark.slow
def test_a_sweep_recommends_a_setting(
    harness: Callable[..., Any], on_small: list[str], tiny_weights: Path, tmp_path: Path
) -> None:
    quick = ["--repeats", "1", "--warmup", "0", "--min-duration", "0", "--threads", "1"]
    words = [*on_small, "--weights", str(tiny_weights), "--device", "cpu", *quick]
    axes = ["--precisions", "fp32,bf16", "--memory-formats", "channels_last", "--compiled", "no"]
    words += [*axes, "--batch-sizes", "1,2", "--output", str(tmp_path / "run")]
    answer = harness("sweep", *words, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [one["status"] for one in found["cells"]] == ["measured"] * 4
    assert all(one["speed"]["fps"] > 0 for one in found["cells"])
    assert [one["mode"] for one in found["choices"]] == ["verdict", "throughput"]
    assert {"index.html", "sweep.json"} <= {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bench", "--sweep"], "harness bench has no --sweep any more\n  use: harness sweep"),
        (["bench", "--ap-tolerance", "1"], "does not know '--ap-tolerance'"),
        (["sweep", "--precision", "bf16"], "did you mean --precisions?"),
        (["sweep", "--profile"], "does not know '--profile'"),
        (["sweep", "--precisions", "fp32,int8"], "--precisions: 'int8' is not known; choose from"),
        (["sweep", "--batch-sizes", "1,x"], "--batch-sizes: expected whole numbers with commas"),
        (["sweep", "--batch-sizes", "1,0"], "--batch-sizes must be at least 1, got 0"),
    ],
)
def test_options_that_do_not_fit_a_sweep_are_refused(
    harness: Callable[..., Any], on_small: list[str], words: list[str], message: str
) -> None:
    answer = harness(*words, "--engine", "fake", *on_small)
    assert answer.code == 2
    assert message in answer.err


@pytest.mark.parametrize("option", ["--repeats", "--warmup", "--min-duration"])
def test_bench_refuses_negative_numbers(
    harness: Callable[..., Any], on_small: list[str], option: str
) -> None:
    answer = harness("bench", "--engine", "fake", *on_small, option, "-1")
    assert answer.code == 2
    assert option in answer.err


def test_doctor_answers_in_rows(harness: Callable[..., Any], tmp_path: Path) -> None:
    answer = harness("doctor", "--json", "--root", tmp_path)
    rows = json.loads(answer.out)
    assert answer.code == 0
    assert {"subject", "found", "status", "fix"} == set(rows[0])
    shown = harness("doctor", "--root", tmp_path, "--format", "markdown")
    assert all(row["subject"] in shown.out for row in rows)


def test_doctor_ends_in_3_when_runs_cannot_work(
    harness: Callable[..., Any], project: Path, tmp_path: Path
) -> None:
    (project / LOCK_NAME).write_text("{}", encoding="utf-8")
    assert harness("doctor", "--root", tmp_path).code == 3
