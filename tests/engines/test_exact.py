"""``--exact``: Detectron2's own arithmetic, live where it is installed, else recorded numbers.

Narrow networks of the families are compared at every step (``test_families``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.architecture import Architecture
from harness.core.errors import UsageError
from harness.core.requests.inference import EngineOptions
from harness.engines.native import open_native
from harness.engines.opening import require_settings
from harness.measure.agreement import compare
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import tiny
from harness.zoo.seeded import amplifying_checkpoint, seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.conftest import Seeded
from tests.golden.cases import NETWORKS, detections_of, network, pictures, read_golden

RECORDED = "mask_rcnn_R_50_FPN"


@pytest.mark.slow
def test_exact_gives_what_was_recorded_from_detectron2(seeded: Seeded) -> None:
    architecture = network(RECORDED)
    weights = seeded(architecture)
    engine = open_native(
        architecture=architecture, weights=weights, device="cpu", threads=1, exact=True
    )
    assert engine.info.exact
    assert engine.info.memory_format == "contiguous"
    for picture, golden in zip(pictures(), read_golden(RECORDED)["images"], strict=True):
        expected = detections_of(golden["detections"], picture)
        prepared = engine.prepare(picture, NULL_STOPWATCH)
        agreement = compare(engine.infer([prepared], NULL_STOPWATCH)[0], expected)
        # The recorded bits are of one processor; another one's sums end in another bit.
        assert agreement.unmatched == 0, agreement
        assert agreement.mask_off_px <= 1, agreement


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["tiny", *NETWORKS])
@pytest.mark.parametrize("checkpoint", [seeded_checkpoint, amplifying_checkpoint])
def test_exact_has_the_bits_of_detectron2(
    name: str, checkpoint: Callable[[Architecture], dict[str, object]], tmp_path: Path
) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from harness.engines.detectron2 import open_detectron2
    from harness.engines.parity.bits import prove_exact

    architecture = tiny() if name == "tiny" else network(name)
    weights = tmp_path / "weights.safetensors"
    write_checkpoint(weights, checkpoint(architecture))
    exact = open_native(
        architecture=architecture, weights=weights, device="cpu", threads=1, exact=True
    )
    reference = open_detectron2(architecture=architecture, weights=weights, device="cpu", threads=1)
    proof = prove_exact(exact, reference, pictures())
    assert proof.ok, proof.first_difference
    assert proof.detections > 0
    assert proof.equal == proof.detections


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (EngineOptions(exact=True, compile=True), "--compile"),
        (EngineOptions(exact=True, precision="bf16"), "--precision bf16"),
        (EngineOptions(exact=True, memory_format="channels_last"), "--memory-format"),
    ],
)
def test_what_is_not_the_references_arithmetic_is_refused(
    options: EngineOptions, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        require_settings("native", options)


def test_other_engines_have_no_exact_arithmetic() -> None:
    with pytest.raises(UsageError, match="torchvision engine has no other arithmetic"):
        require_settings("torchvision", EngineOptions(exact=True))
