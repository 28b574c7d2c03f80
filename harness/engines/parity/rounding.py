"""Proof that a fast network differs from the reference by rounding only, on any weights.

A fixed bar measures the weights: a checkpoint that amplifies rounding puts two correct networks
far apart. So each stage is measured against the same network in float64, and may be at most
``MOST_RATIO`` times as far from it as the reference's own arithmetic is; and every detection that
differs has to come down to a decision that this rounding tips (``engines.parity.tracing``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.core.architecture import Architecture
from harness.core.detections import Image as Picture
from harness.engines.native import NativeEngine, load_network
from harness.engines.parity.case import Case, Difference
from harness.engines.parity.tracing import Measured, StageDistance
from harness.measure.timing import NULL_STOPWATCH
from harness.nn.rcnn import RCNN, compute_exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class FastProof:
    """What was found over all images."""

    images: int
    """Number of images."""

    detections: int
    """Number of detections of the reference."""

    stages: tuple[StageDistance, ...]
    """One row a stage, in network order."""

    differences: tuple[Difference, ...]
    """All detections that differ."""

    explained: dict[str, int]
    """Differences by the kind of their decision."""
    unexplained: int
    """Number of differences without a decision."""
    ok: bool
    """Whether only rounding was found."""


def float64_network(architecture: Architecture, weights: Path, device: torch.device) -> RCNN:
    """Return the network in the reference's arithmetic, in float64.

    Args:
        architecture: The network.
        weights: A checkpoint of it.
        device: Where it computes.
    """
    network = load_network(architecture, weights)
    compute_exactly(network)
    return network.double().to(device)


def prove_fast(
    fast: NativeEngine,
    reference: NativeEngine,
    truth: RCNN,
    images: Iterable[Picture],
    *,
    case: type[Case] | None = None,
) -> FastProof:
    """Compare both engines with float64 on every image.

    Args:
        fast: The engine to prove.
        reference: An exact one of the same weights, in the same precision.
        truth: The same network in float64.
        images: What to compute.
        case: How the network is replayed and its replays compared; None for heads on regions.
    """
    kind = Case if case is None else case
    slots = None if fast.slots is None else fast.slots.network
    replayers = (
        kind.replayer(fast.network, slots),
        kind.replayer(reference.network),
        kind.replayer(truth),
    )
    measured, differences, detections, count = Measured(), [], 0, 0
    for picture in images:
        prepared = fast.prepare(picture, NULL_STOPWATCH)
        answer = fast.infer([prepared], NULL_STOPWATCH)[0]
        image = kind.of(prepared, *replayers)
        image.measure(measured)
        found = image.differences()
        if not image.is_as_replayed(answer):
            found.append(image.difference(None, "not as replayed", None))
        differences.extend(found)
        detections += len(image.reference.detections.best)
        count += 1
    stages = measured.rows()
    kinds = Counter(one.decision.kind for one in differences if one.decision is not None)
    unexplained = len(differences) - sum(kinds.values())
    return FastProof(
        images=count,
        detections=detections,
        stages=stages,
        differences=tuple(differences),
        explained=dict(kinds),
        unexplained=unexplained,
        ok=unexplained == 0 and all(stage.ok for stage in stages),
    )
