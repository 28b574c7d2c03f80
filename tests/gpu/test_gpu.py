"""What only a GPU can show. Run with ``make test-gpu``; elsewhere each is skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from harness.core.detections import Detections
from harness.engines.native import NativeEngine, PreparedImage, open_native
from harness.engines.parity.bits import same_detections
from harness.engines.parity.rounding import float64_network, prove_fast
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import tiny
from harness.zoo.seeded import amplifying_checkpoint, seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.golden.cases import pictures

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]

#: Launches an image whose shape has come before: the graph, and copies around it.
MOST_LAUNCHES = 12


@pytest.fixture(scope="module", params=[seeded_checkpoint, amplifying_checkpoint])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    write_checkpoint(path, request.param(tiny()))
    return path


@pytest.fixture
def engine(weights: Path) -> Iterator[NativeEngine]:
    opened = open_native(architecture=tiny(), weights=weights, device="cuda")
    yield opened
    opened.close()


def prepared(engine: NativeEngine) -> list[PreparedImage]:
    return [engine.prepare(picture, NULL_STOPWATCH) for picture in pictures()]


def answers(engine: NativeEngine, images: list[PreparedImage]) -> list[Detections]:
    return [engine.infer([one], NULL_STOPWATCH)[0] for one in images]


def require_same(found: list[Detections], expected: list[Detections]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert len(other) > 0
        assert same_detections(one, other) == (len(other), None)


# Said once, when the mode is first set; as an error it would leave the mode set.
@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
@pytest.mark.parametrize("graphs", [False, True])
def test_nothing_waits_before_the_end_of_an_image(weights: Path, graphs: bool) -> None:
    engine = open_native(architecture=tiny(), weights=weights, device="cuda", graphs=graphs)
    assert engine.slots is not None, engine.notes
    for one in prepared(engine):
        for _ in range(3):  # constants are made, and then the graph
            engine.infer([one], NULL_STOPWATCH)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            pending = engine.begin([one])
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert len(engine.finish(pending)[0]) > 0
    assert engine.notes == []


# Torch says so of every profile, also of one whose only cycle is read.
@pytest.mark.filterwarnings("ignore:.*Profiler clears events at the end of each cycle:UserWarning")
def test_an_image_is_a_handful_of_launches(engine: NativeEngine) -> None:
    one = prepared(engine)[0]
    for _ in range(3):
        engine.infer([one], NULL_STOPWATCH)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        engine.infer([one], NULL_STOPWATCH)
    calls = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync")
    counts = {event.key: event.count for event in seen.key_averages()}
    found = {key: count for key, count in counts.items() if key.startswith(calls)}
    assert found.get("cudaGraphLaunch") == 1
    assert sum(found.values()) <= MOST_LAUNCHES, found


def test_graphs_change_no_byte(engine: NativeEngine, weights: Path) -> None:
    images = prepared(engine)
    rounds = [answers(engine, images) for _ in range(3)]
    assert engine.slots is not None
    assert engine.slots.graph_count > 0
    plain = open_native(architecture=tiny(), weights=weights, device="cuda", graphs=False)
    for found in (rounds[1], rounds[2], answers(plain, images)):
        require_same(found, rounds[0])


def test_a_batch_gives_what_it_gives_when_begun_ahead(engine: NativeEngine) -> None:
    images = prepared(engine)
    expected = engine.infer(images, NULL_STOPWATCH)
    pending = [engine.begin(images) for _ in range(4)]
    for one in pending:
        require_same(engine.finish(one), expected)


def test_what_differs_from_the_reference_is_rounding(engine: NativeEngine, weights: Path) -> None:
    exact = open_native(architecture=tiny(), weights=weights, device="cuda", exact=True)
    truth = float64_network(tiny(), weights, exact.device)
    proof = prove_fast(engine, exact, truth, pictures())
    assert proof.ok, (proof.stages, proof.differences)


# Of Detectron2, which calls functions that torch warns of.
@pytest.mark.filterwarnings("ignore")
def test_exact_has_the_bits_of_detectron2(weights: Path) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from harness.engines.detectron2 import open_detectron2
    from harness.engines.parity.bits import prove_exact

    exact = open_native(architecture=tiny(), weights=weights, device="cuda", exact=True)
    reference = open_detectron2(architecture=tiny(), weights=weights, device="cuda")
    proof = prove_exact(exact, reference, pictures())
    assert proof.ok, proof.first_difference
    assert proof.detections > 0


def test_half_precision_that_overflows_is_an_error(tmp_path: Path) -> None:
    from harness.core.errors import RunFailedError

    tensors = seeded_checkpoint(tiny())
    key = "backbone.bottom_up.res4.0.conv1.weight"
    tensors[key] = np.full_like(tensors[key], 6e4)  # finite in fp16, not in a sum
    path = tmp_path / "overflow.safetensors"
    write_checkpoint(path, tensors)
    engine = open_native(architecture=tiny(), weights=path, device="cuda", precision="fp16")
    with pytest.raises(RunFailedError, match="not finite"):
        engine.infer(prepared(engine)[:1], NULL_STOPWATCH)
