"""``harness weights``: what a user sees of proving, converting and generating checkpoints."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import harness
from harness.cli.main import run
from harness.files.json import to_plain
from harness.zoo.checkpoints import EMBEDDED
from harness.zoo.weights import read_checkpoint


class Answer(NamedTuple):
    """What the command left."""

    code: Any
    out: str
    err: str


Weights = Callable[..., Answer]


@pytest.fixture
def weights(capsys: pytest.CaptureFixture[str]) -> Weights:
    """``harness weights`` with words, in this process."""

    def command(*words: str | Path) -> Answer:
        code: Any
        try:
            code = run(["weights", *map(str, words)])
        except SystemExit as ended:  # argparse, of a word that is missing or unknown
            code = ended.code
        return Answer(code, *capsys.readouterr())

    return command


@pytest.fixture
def tiny_checkpoint(weights: Weights, odd_tmp_path: Path) -> Path:
    path = odd_tmp_path / "tiny.safetensors"
    assert weights("seeded", "--model", "tiny", "--output", path).code == 0
    return path


def test_a_seeded_checkpoint_is_the_same_every_time(
    weights: Weights, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    again, other = tmp_path / "again.safetensors", tmp_path / "other.safetensors"
    answer = weights("seeded", "--model", "tiny", "--output", again)
    assert answer.out.startswith(f"wrote {again}: seeded weights of tiny")
    assert again.read_bytes() == tiny_checkpoint.read_bytes()
    assert weights("seeded", "--model", "tiny", "--output", other, "--seed", "7").code == 0
    assert other.read_bytes() != tiny_checkpoint.read_bytes()


def test_check_names_what_a_file_fits_and_is(weights: Weights, tiny_checkpoint: Path) -> None:
    answer = weights("check", tiny_checkpoint)
    tensors = read_checkpoint(tiny_checkpoint)
    numbers = sum(tensor.size for tensor in tensors.values())
    assert answer.code == 0
    assert answer.out.splitlines() == [
        f"{tiny_checkpoint} fits tiny: {len(tensors)} tensors, {numbers:,} numbers",
        f"sha256 {hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()}",
        "not a pinned checkpoint",
    ]
    assert weights("check", tiny_checkpoint, "--model", "tiny").out == answer.out


def test_check_answers_a_program_with_json(weights: Weights, tiny_checkpoint: Path) -> None:
    answer = weights("check", tiny_checkpoint, "--json")
    tensors = read_checkpoint(tiny_checkpoint)
    found = {
        "file": str(tiny_checkpoint),
        "sha256": hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest(),
        "bytes": tiny_checkpoint.stat().st_size,
        "tensors": len(tensors),
        "numbers": sum(tensor.size for tensor in tensors.values()),
        "models": ["tiny"],
        "pinned": [],
        "notes": [],
    }
    assert json.loads(answer.out) == found
    assert to_plain(harness.check_weights(tiny_checkpoint)) == found
    pinned = harness.check_weights(EMBEDDED / "tiny.safetensors", model="tiny")
    assert pinned.pinned == pinned.models == ("tiny",)


def test_check_refuses_the_checkpoint_of_another_model(
    weights: Weights, tiny_checkpoint: Path
) -> None:
    answer = weights("check", tiny_checkpoint, "--model", "R_50_FPN_3x")
    assert answer.code == 4
    assert answer.out == ""
    assert f"{tiny_checkpoint} does not fit the model" in answer.err
    assert "missing" in answer.err
    assert "of another shape" in answer.err


def test_check_says_when_a_file_fits_nothing(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": {"weight": np.ones(3, np.float32)}}))
    answer = weights("check", path)
    assert answer.code == 4
    assert "fits no model entry" in answer.err
    assert "--model NAME" in answer.err


@pytest.mark.parametrize("action", ["check", "convert"])
def test_a_hostile_pickle_ends_in_exit_code_4_and_does_not_run(
    weights: Weights, tmp_path: Path, action: str
) -> None:
    class Running:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "it ran"),)

    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": {"weight": Running()}}))
    words = [path] if action == "check" else [path, tmp_path / "out.safetensors"]
    answer = weights(action, *words)
    assert answer.code == 4
    assert "refused to load posix.mkdir" in answer.err
    assert "Traceback" not in answer.err
    assert [found.name for found in tmp_path.iterdir()] == ["model.pkl"]


def test_convert_changes_the_format_and_no_number(
    weights: Weights, tiny_checkpoint: Path, odd_tmp_path: Path
) -> None:
    middle, end = odd_tmp_path / "sub" / "model.pkl", odd_tmp_path / "end.safetensors"
    assert weights("convert", tiny_checkpoint, middle).out == f"wrote {middle}\n"
    assert weights("convert", middle, end).code == 0
    assert end.read_bytes() == tiny_checkpoint.read_bytes()
    assert weights("check", middle, "--model", "tiny").code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "action"),
        (["chek"], 2, "invalid choice"),
        (["check"], 2, "file"),
        (["check", "nowhere.pkl"], 2, "cannot open the checkpoint nowhere.pkl"),
        (["check", "nowhere.pkl", "--model", "tinny"], 2, "did you mean tiny?"),
        (["seeded", "--model", "tinny", "--output", "a.pkl"], 2, "did you mean tiny?"),
        (["seeded", "--model", "tiny", "--output", "a.onnx"], 2, "must be .pkl or .safetensors"),
        (["seeded", "--model", "tiny", "--output", "/proc/x/a.pkl"], 2, "cannot write /proc/x"),
    ],
)
def test_bad_requests(weights: Weights, words: list[str], code: int, said: str) -> None:
    answer = weights(*words)
    assert answer.code == code
    assert said in answer.err
    assert answer.out == ""
