"""Weights say themselves what they were trained on, wherever they are moved to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.core.dataset import Category
from harness.core.errors import IntegrityError
from harness.data.categories import categories_for, stuff_for
from harness.data.trained_weights import Statement, short_edge_learned, statement_of
from harness.files.safetensors_header import METADATA, STATEMENT
from harness.zoo.safetensors_files import CHECKSUM, read_safetensors, safetensors_bytes
from harness.zoo.weights import write_checkpoint

SAID = Statement(
    model="tiny",
    short_edge_px=96,
    categories=(Category(0, "ein Bär"), Category(7, "cat", ("left", "right"), ((1, 2),))),
    stuff=(Category(9, "sky"),),
)

TENSORS = {"a": np.arange(3, dtype=np.float32), "é": np.zeros((1, 2), np.int8)}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "moved.safetensors"
    write_checkpoint(path, TENSORS, SAID.text)
    return path


def test_weights_have_classes_and_size_of_their_training(weights: Path, tmp_path: Path) -> None:
    assert statement_of(weights) == SAID
    assert short_edge_learned(weights) == (96, weights)
    assert categories_for("coco_2017_val", annotations=None, weights=weights) == SAID.categories
    assert stuff_for(54, panoptic=None, weights=weights) == SAID.stuff
    # A training that is in the folder by chance is not theirs.
    (tmp_path / "run.json").write_text('{"kind": "train", "request": {"short_edge_px": 64}}')
    assert short_edge_learned(weights) == (96, weights)


def test_the_file_is_one_of_safetensors_and_the_same_each_time(weights: Path) -> None:
    from safetensors.numpy import load_file

    for read in (load_file(weights), read_safetensors(weights)):
        assert {key: value.tolist() for key, value in read.items()} == {
            key: value.tolist() for key, value in TENSORS.items()
        }
    assert {safetensors_bytes(TENSORS, SAID.text) for _ in range(20)} == {weights.read_bytes()}


def test_without_a_statement_the_bytes_are_those_of_safetensors() -> None:
    from safetensors.numpy import save

    written = safetensors_bytes(TENSORS)
    header = json.loads(written[8 : 8 + int.from_bytes(written[:8], "little")])
    assert written == save(TENSORS, metadata={CHECKSUM: header[METADATA][CHECKSUM]})


def test_no_byte_of_what_is_said_can_change_unseen(weights: Path) -> None:
    whole = weights.read_bytes()
    begin = whole.index(STATEMENT.encode())
    for place in range(begin, whole.index(b'"a":', begin)):
        weights.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((IntegrityError, ValueError)):
            read_safetensors(weights)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[]",
        "[" * 100_000,
        SAID.text.replace("96", '"96"'),
        SAID.text.replace("96", "-96"),
        SAID.text.replace("96", "20001"),
        SAID.text.replace("96", "9" * 400),
        SAID.text.replace('"cat"', "null"),
        SAID.text.replace('"id":7', '"id":7.5'),
        SAID.text.replace("[1,2]", "[1]"),
    ],
)
def test_what_no_training_writes_is_an_error(said: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    write_checkpoint(path, TENSORS, said)
    with pytest.raises(IntegrityError, match="what it says of its training cannot be read"):
        statement_of(path)


def test_other_files_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    for content in (b"", b"\0" * 20, safetensors_bytes(TENSORS), b"\x09" + bytes(7) + b'{"a": 1}}'):
        path.write_bytes(content)
        assert statement_of(path) is None
    assert statement_of(tmp_path / "none") is statement_of(None) is None
