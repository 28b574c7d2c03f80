"""The weights of a run are proven once: ``config.toml`` has the hash that the proof found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

import harness
from harness.files.toml import read_table
from harness.zoo.checkpoints import EMBEDDED, weights_digest


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of the user's own: the embedded weights."""
    path = tmp_path / "own weights.safetensors"
    path.write_bytes((EMBEDDED / "tiny.safetensors").read_bytes())
    return path


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """The same in two files, and the index that names them."""
    tensors = load_file(EMBEDDED / "tiny.safetensors")
    places = {name: f"{number % 2}.safetensors" for number, name in enumerate(sorted(tensors))}
    for part in set(places.values()):
        held = {name: tensors[name] for name in tensors if places[name] == part}
        save_file(held, tmp_path / part)
    index = tmp_path / "own.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    return index


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests in the order in which this process asked for them."""
    found: list[str] = []
    real = hashlib.new

    class Noted:
        def __init__(self, name: str) -> None:
            self._digest = real(name)
            self.update = self._digest.update

        def hexdigest(self) -> str:
            found.append(self._digest.hexdigest())
            return found[-1]

    monkeypatch.setattr(hashlib, "new", Noted)
    return found


def _evaluate(weights: Path, data: dict[str, Path], output: Path) -> None:
    harness.evaluate(weights=weights, **data, limit=1, output=output, threads=1, report=False)


def _benchmark(weights: Path, data: dict[str, Path], output: Path) -> None:
    once: dict[str, Any] = {"warmup": 0, "repeats": 1, "min_duration_s": 0.0}
    harness.benchmark(weights=weights, **data, limit=1, output=output, threads=1, **once)


def _predict(weights: Path, data: dict[str, Path], output: Path) -> None:
    harness.predict(min(data["images"].iterdir()), weights=weights, threads=1, output=output)


def _train(weights: Path, data: dict[str, Path], output: Path) -> None:
    named = {f"{part}_{name}": path for part in ("train", "val") for name, path in data.items()}
    short: dict[str, Any] = {"iterations": 1, "batch_size": 1, "eval_every": 0, "pictures": False}
    harness.train(
        init=str(weights), **named, **short, short_edge_px=64, device="cpu", output=output
    )


@pytest.mark.parametrize("run", [_evaluate, _benchmark, _predict, _train])
def test_weights_of_ones_own_are_hashed_once(
    run: Callable[[Path, dict[str, Path], Path], None],
    weights: Path,
    small_coco: Path,
    hashed: list[str],
    tmp_path: Path,
) -> None:
    data = {"annotations": small_coco / "annotations.json", "images": small_coco / "images"}
    run(weights, data, tmp_path / "run")
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert hashed.count(found) == 1
    assert set(read_table(tmp_path / "run" / "config.toml", what="")["sha256"].values()) == {found}


def test_weights_in_several_files_are_proven_by_all_of_them(
    split: Path, small_coco: Path, hashed: list[str], tmp_path: Path
) -> None:
    data = {"annotations": small_coco / "annotations.json", "images": small_coco / "images"}
    _evaluate(split, data, tmp_path / "run")
    parts = [tmp_path / f"{number}.safetensors" for number in range(2)]
    found = [hashlib.sha256(one.read_bytes()).hexdigest() for one in (split, *parts)]
    assert [hashed.count(one) for one in found] == [1, 1, 1]
    config = read_table(tmp_path / "run" / "config.toml", what="")
    assert config["sha256"] == {"weights": weights_digest(split)}
    harness.load_model(tmp_path / "run").close()
    parts[1].write_bytes(b"of another training")
    with pytest.raises(harness.IntegrityError, match="the weights of the run are no longer there"):
        harness.load_model(tmp_path / "run")
    parts[1].unlink()
    with pytest.raises(harness.IntegrityError, match=r"names 1\.safetensors, and there is no such"):
        _evaluate(split, data, tmp_path / "other")
