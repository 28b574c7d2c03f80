"""A profile of the embedded model against what can be computed by hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from harness.core.engine import Engine
from harness.core.errors import UsageError
from harness.core.progress import Silent
from harness.engines.cost import Traffic
from harness.engines.fake import FakeEngine
from harness.engines.native import NativeEngine, open_native
from harness.engines.observed import NATIVE_PARTS, STAGES, observed, parameters_by_stage
from harness.engines.profiling import profile_engine
from harness.measure.profile import Profile, StageMeter, copy_share, product_share, whole
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.fpn import STRIDES_PX
from harness.nn.rcnn import RCNN
from harness.zoo.architectures import tiny
from harness.zoo.checkpoints import EMBEDDED
from tests.golden import dense_losses as dense
from tests.golden.cases import pictures

WEIGHTS = EMBEDDED / "tiny.safetensors"

#: Images that are profiled.
IMAGES = 1

#: The operator of a convolution on a CPU, its ReLU included.
CONVOLUTION = "mkldnn::_convolution_pointwise"

#: Stages of a network with heads on regions.
OF_REGIONS = [stage for stage in STAGES if stage != "dense head"]

#: Stages that multiply matrices; no other one does.
ARITHMETIC = {"backbone", "fpn", "rpn head", "box head", "mask head"}


@pytest.fixture(scope="module")
def engine() -> NativeEngine:
    return open_native(architecture=tiny(), weights=WEIGHTS, device="cpu", threads=1)


def batches_of(engine: Engine) -> list[list[Any]]:
    return [[engine.prepare(picture, NULL_STOPWATCH)] for picture in pictures()[:IMAGES]]


@pytest.fixture(scope="module")
def profiled(
    engine: NativeEngine, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Profile, dict[str, Any]]:
    """The profile of the golden pictures, and its trace."""
    path = tmp_path_factory.mktemp("profile") / "trace.json"
    profile = profile_engine(
        engine,
        batches_of(engine),
        repeats=1,
        trace=path,
        clock=time.perf_counter,
        progress=Silent(),
    )
    return profile, json.loads(path.read_text(encoding="utf-8"))


def test_every_stage_has_its_row_in_network_order(profiled: tuple[Profile, Any]) -> None:
    profile, _ = profiled
    assert [one.stage for one in profile.stages] == OF_REGIONS
    assert all(one.seconds > 0 for one in profile.stages)
    assert {one.stage for one in profile.stages if one.flops} == ARITHMETIC
    assert {one.stage for one in profile.stages if one.parameters} == ARITHMETIC
    assert profile.images == IMAGES


def test_stages_add_up_to_the_time_outside(engine: NativeEngine) -> None:
    batch = batches_of(engine)[0]
    clock = time.process_time  # on a busy machine others may have the core between two looks
    meter = StageMeter(clock, engine.synchronize)
    with observed(engine, meter):
        begun = clock()
        with meter.phase("rest"):
            engine.infer(batch, meter)
        passed = clock() - begun
    assert sum(meter.amounts.values()) == pytest.approx(passed, rel=0.01)
    assert meter.amounts["rest"] + meter.amounts["forward"] < 0.5 * passed


def test_operations_of_convolutions_are_those_counted_by_hand(
    profiled: tuple[Profile, Any], engine: NativeEngine
) -> None:
    profile, _ = profiled
    numbers = engine.info.architecture
    channels, anchors = numbers.fpn_channels, len(numbers.anchor_ratios)
    each_cell = 2 * channels * (9 * channels + anchors + 4 * anchors)
    cells = 0
    for (prepared,) in batches_of(engine):
        height, width = (-(-side // 32) * 32 for side in prepared.pixels.shape[:2])
        # p6 is every second cell of p5, the first included.
        cells += sum(-(-height // stride) * -(-width // stride) for stride in STRIDES_PX)
    (found,) = (one.flops for one in profile.stages if one.stage == "rpn head")
    assert found == each_cell * cells / profile.images


def test_parameters_are_all_of_the_networks(engine: NativeEngine) -> None:
    counts = parameters_by_stage(engine)
    assert sum(counts.values()) == sum(one.numel() for one in engine.network.parameters())
    predictor = engine.network.proposal_generator.rpn_head
    assert counts["rpn head"] == sum(one.numel() for one in predictor.parameters())


def test_shares_of_the_measured_peak_are_shares(profiled: tuple[Profile, Any]) -> None:
    profile, _ = profiled
    total = whole(profile.stages)
    # Caches, and a peak measured while the machine was busy, may lift a share above 1.
    assert 0 < (product_share(total, profile.peak) or 0) < 1.5
    assert 0 < (copy_share(total, profile.peak) or 0) < 1.5
    assert profile.peak.flops_per_s > 1e9
    assert profile.peak.bytes_per_s > 1e8


def test_operators_share_the_time_among_them(profiled: tuple[Profile, Any]) -> None:
    profile, _ = profiled
    shares = [one.share for one in profile.operators]
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)
    names = {one.operator for one in profile.operators}
    assert "torchvision::nms" in names
    assert not names & {*STAGES, "forward"}
    convolutions = sum(one.calls for one in profile.operators if one.operator == CONVOLUTION)
    assert convolutions >= len(list(engine_convolutions()))


def engine_convolutions() -> list[str]:
    """Names of the convolutions an image passes at least once."""
    network = open_native(architecture=tiny(), weights=WEIGHTS, device="cpu", threads=1).network
    parts = (network.backbone, network.proposal_generator)
    return [
        name
        for part in parts
        for name, module in part.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    ]


def test_the_trace_has_the_stages(profiled: tuple[Profile, dict[str, Any]]) -> None:
    profile, trace = profiled
    events = [one for one in trace["traceEvents"] if one.get("ph") == "X"]
    assert set(OF_REGIONS) <= {one["name"] for one in events}
    passes = [one for one in events if one["name"] == "backbone"]
    assert len(passes) == profile.traced_images
    inside = [
        one
        for one in events
        if one["name"] == CONVOLUTION
        and passes[0]["ts"] <= one["ts"] <= passes[0]["ts"] + passes[0]["dur"]
    ]
    assert len(inside) > 5


def test_observing_changes_nothing_and_leaves_nothing(engine: NativeEngine) -> None:
    batch = batches_of(engine)[0]
    before = engine.infer(batch, NULL_STOPWATCH)[0]
    network = engine.network
    kept = {name: set(vars(module)) for name, module in network.named_modules()}
    with observed(engine, NULL_STOPWATCH):
        during = engine.infer(batch, NULL_STOPWATCH)[0]
        assert "forward" in vars(network.backbone)
    assert {name: set(vars(module)) for name, module in network.named_modules()} == kept
    assert (during.scores == before.scores).all()
    assert during.masks == before.masks


def test_every_part_is_a_method_of_the_network(engine: NativeEngine) -> None:
    networks = [engine.network, RCNN(dense.architecture())]
    modules = [dict(one.named_modules()) for one in networks]
    missing = [
        part
        for part in NATIVE_PARTS
        if not any(hasattr(one.get(part.module), part.method) for one in modules)
    ]
    assert not missing
    assert {part.stage for part in NATIVE_PARTS} <= set(STAGES)


def test_an_engine_without_a_network_is_refused() -> None:
    fake = FakeEngine({}, tiny())
    with (
        pytest.raises(UsageError, match="fake engine has no network"),
        observed(fake, NULL_STOPWATCH),
    ):
        pass


def test_traffic_is_what_an_operator_reads_and_writes() -> None:
    one, other = torch.zeros(2, 1000), torch.zeros(2, 1000, dtype=torch.float64)
    small, large = 4 * 2000, 8 * 2000

    def moved(work: Callable[[], object]) -> int:
        with torch.inference_mode(), Traffic() as traffic:
            work()
        return traffic.moved_bytes

    assert moved(lambda: one.view(20, 100)[3:].permute(1, 0)) == 0
    assert moved(lambda: one.reshape(-1)) == 0
    assert moved(lambda: torch.empty(50)) == 0
    assert moved(lambda: one.permute(1, 0).reshape(-1)) == small + small  # cannot be a view
    assert moved(lambda: one.clone()) == small + small
    assert moved(lambda: one.to(torch.float64)) == small + large
    assert moved(lambda: other.copy_(one)) == small + large
    assert moved(lambda: one.relu_()) == small + small
    assert moved(lambda: torch.add(one, one, out=torch.empty(2, 1000))) == 3 * small
    weights = torch.zeros(5, 1000)
    assert moved(lambda: F.linear(one, weights)) == small + 4 * 5000 + 4 * 10


@pytest.mark.filterwarnings("ignore")
def test_detectron2_has_the_same_stages(tmp_path: Path, engine: NativeEngine) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from harness.engines.detectron2 import open_detectron2

    reference = open_detectron2(architecture=tiny(), weights=WEIGHTS, device="cpu", threads=1)
    profile = profile_engine(
        reference,
        batches_of(reference)[:1],
        repeats=1,
        trace=tmp_path / "trace.json",
        clock=time.perf_counter,
        progress=Silent(),
    )
    assert {one.stage for one in profile.stages} == set(STAGES) - {"transfer", "dense head"}
    assert {one.stage for one in profile.stages if one.flops} == ARITHMETIC
    ours = parameters_by_stage(engine)
    theirs = {one.stage: one.parameters for one in profile.stages}
    assert theirs["rpn head"] == ours["rpn head"]
    assert theirs["box head"] == ours["box head"]
