"""A Fast R-CNN evaluated on the proposals of a file, and of a run of an RPN."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import (
    AnotherRunError,
    IntegrityError,
    PrerequisiteError,
    UsageError,
)
from harness.core.record import RunRecord
from harness.core.requests.inference import InferenceRequest
from harness.core.requests.zoo import DownloadRequest
from harness.core.run_files import PREDICTIONS
from harness.core.settings import replaced
from harness.files.digest import file_digest
from harness.nn.rcnn import tensor_shapes
from harness.workflows.evaluation.proposals import OWN, UNPROVEN
from harness.workflows.evaluation.resolve import resolve
from harness.workflows.runs.shards import read_header, shard_path
from harness.zoo.architectures import architecture_of
from harness.zoo.download import chosen
from harness.zoo.lock import find_artefact, read_lock
from harness.zoo.weights import write_checkpoint

MODEL = "fast_rcnn_R_50_FPN_1x"
SIZE = {"short_edge_px": 64, "long_edge_max_px": 107}
Evaluate = Callable[..., tuple[RunRecord, Path]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights for the eight classes of the small data set, by model: all scores are equal."""
    found = {}
    for model, name in ((MODEL, "fast_rcnn_R_50_FPN"), ("rpn_R_50_FPN_1x", "rpn_R_50_FPN")):
        found[model] = tmp_path_factory.mktemp("weights") / f"{name}.safetensors"
        network = replace(architecture_of(name), class_count=8)
        shapes = tensor_shapes(network)
        tensors = {key: np.zeros(shape, dtype=np.float32) for key, shape in shapes.items()}
        write_checkpoint(found[model], tensors)
    return found


@pytest.fixture
def given(asked: InferenceRequest, weights: dict[str, Path]) -> InferenceRequest:
    """The network on the small data set, without proposals."""
    return replaced(asked, model=MODEL, weights=weights[MODEL], engine="native", threads=1, **SIZE)


def written(path: Path, ids: tuple[int, ...], *, seed: int = 1) -> Path:
    random = np.random.Generator(np.random.PCG64(seed))
    starts = [random.uniform(0, 60, (40, 2)) for _ in ids]
    content: dict[str, Any] = {
        "ids": list(ids),
        "boxes": [
            np.concatenate((one, one + random.uniform(4, 60, (40, 2))), axis=1) for one in starts
        ],
        "objectness_logits": [random.normal(size=40) for _ in ids],
    }
    path.write_bytes(pickle.dumps(content))
    return path


def test_a_run_depends_on_the_file_of_its_proposals(
    tmp_path: Path, given: InferenceRequest, evaluated: Evaluate
) -> None:
    with pytest.raises(PrerequisiteError, match="coco_2017_val_box_proposals is not there"):
        resolve(given)
    ids = resolve(replaced(given, engine="fake")).dataset.image_ids
    file = written(tmp_path / "box_proposals.pkl", ids)
    asked = replaced(given, proposals=file, limit=3)
    record, folder = evaluated(tmp_path / "run", inference=asked)
    digest = file_digest(file)
    assert record.resolved["proposals_sha256"] == digest
    assert OWN in record.protocol_deviations
    assert (read_header(shard_path(folder, 0)) or {})["proposals_sha256"] == digest
    assert len(ids) > 2
    before = (folder / PREDICTIONS).read_bytes()
    assert len(before) > 100
    (folder / "record.json").unlink()
    written(file, ids, seed=2)
    with pytest.raises(AnotherRunError, match="proposals_sha256"):
        evaluated(tmp_path / "run", inference=asked, resume=True)
    record, other = evaluated(tmp_path / "other", inference=asked)
    assert (other / PREDICTIONS).read_bytes() != before


def test_the_fake_engine_reads_a_file_that_it_is_given(
    tmp_path: Path, given: InferenceRequest
) -> None:
    fake = replaced(given, engine="fake")
    with pytest.raises(UsageError, match="no such file of region proposals"):
        resolve(replaced(fake, proposals=tmp_path / "none.pkl"))
    with pytest.raises(UsageError, match=r"not a finished run: it has no record\.json"):
        resolve(replaced(fake, proposals=tmp_path))
    with pytest.raises(IntegrityError, match="no proposals of"):
        resolve(replaced(fake, proposals=written(tmp_path / "other.pkl", (10**6,))))
    file = written(tmp_path / "box_proposals.pkl", resolve(fake).dataset.image_ids)
    asked = resolve(replaced(fake, proposals=file))
    assert asked.proposals is not None
    assert asked.proposals.sha256 == file_digest(file)


def test_a_run_of_an_rpn_leaves_them(
    tmp_path: Path, given: InferenceRequest, weights: dict[str, Path], evaluated: Evaluate
) -> None:
    name = "rpn_R_50_FPN_1x"
    small = replaced(given, limit=2)
    proposed = replaced(small, model=name, weights=weights[name])
    _, folder = evaluated(tmp_path / "proposed", inference=proposed)
    record, again = evaluated(tmp_path / "run", inference=replaced(small, proposals=folder))
    assert record.resolved["proposals"].endswith(PREDICTIONS)
    with pytest.raises(UsageError, match="not a run of a network that only proposes regions"):
        resolve(replaced(small, proposals=again))
    with pytest.raises(IntegrityError, match="no proposals of"):
        resolve(replaced(given, proposals=folder))
    with pytest.raises(UsageError, match="rpn_R_50_FPN_1x proposes regions itself"):
        resolve(replaced(proposed, proposals=folder))


def test_the_published_file_comes_with_the_checkpoint_and_cannot_be_proven(
    given: InferenceRequest,
) -> None:
    lock = read_lock()
    fetched = chosen(lock, DownloadRequest(only=("zoo",), models=(MODEL,)))
    assert [one.name for one in fetched] == [MODEL, "coco_2017_val_box_proposals"]
    artefact = find_artefact(lock, "coco_2017_val_box_proposals")
    path = given.network.root / artefact.path
    path.parent.mkdir(parents=True)
    ids = resolve(replaced(given, engine="fake")).dataset.image_ids
    written(path, ids)
    assert UNPROVEN in resolve(given).deviations
