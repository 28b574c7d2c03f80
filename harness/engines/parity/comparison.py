"""Whether an exported file, or another run's network, computes what the native engine does.

Every stage has a fixed tolerance, which the weights of a file may make too narrow or too wide; the
first stage that exceeds it is where to look. Of the final detections, 99.9 % must be within the
limits of ``harness.measure.agreement``. Two engines are proven in ``bits`` and ``rounding``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from harness.core.detections import Detections, Image
from harness.core.engine import Engine
from harness.engines.native import NativeEngine
from harness.engines.parity.tracing import finite
from harness.engines.stages import Stages, native_stages
from harness.measure.agreement import (
    BOX_BAR_PX,
    KEYPOINT_SCORE_SHARE,
    MASK_IOU_BAR,
    SCORE_BAR,
    Agreement,
    combine,
    compare,
)
from harness.measure.timing import NULL_STOPWATCH

#: Largest allowed difference of a stage, as a share of the largest magnitude of the reference.
#: With seeded weights, two correct fp32 implementations that sum in another order measured up to
#: 2e-5 after the backbone's fifty layers; weights that amplify rounding need more.
RELATIVE_BAR = 1e-4

#: Shares of detections and of proposals that must be within their bars.
SHARE_BAR, PROPOSALS_BAR = 0.999, 0.99
ENOUGH = f"≥ {100 * SHARE_BAR:g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDifference:
    """The largest difference of one stage over all images."""

    stage: str
    """Name of the stage."""

    max_absolute: float | None
    """Largest difference, in the unit of the stage; None of other shapes, and where it is not
    finite.
    """

    max_relative: float | None
    """The same as a share of the largest magnitude of the reference in that image."""

    share: float | None
    """Share of rows that have a partner (proposals, detections); None where values are compared
    one to one.
    """

    tolerance: str
    """What is allowed, in words."""

    ok: bool
    """Whether the difference is allowed."""

    same_shape: bool = True
    """Whether both have this stage, in one shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """How two engines compare."""

    images: int
    """Number of images."""

    stages: tuple[StageDifference, ...]
    """All stages in network order."""

    agreement: Agreement
    """How the final detections compare."""

    first_failing: str | None
    """The stage to look at; None when all agree."""


def compare_engines(
    native: NativeEngine,
    reference: Engine,
    images: Iterable[Image],
    *,
    reference_stages: Callable[[Any], tuple[Stages, Tensor]],
    mask_slack_px: int = 0,
) -> ParityReport:
    """Compare both engines on every image, stage by stage.

    Args:
        native: The native engine.
        reference: The engine to compare with.
        images: At least one.
        reference_stages: Returns, for an image that the reference prepared, its stages and its
            proposals (n, 4).
        mask_slack_px: Pixels by which any mask may differ, however small it is.
    """
    stages: dict[str, list[StageDifference]] = {}
    agreements = []
    for image in images:
        ours = native.prepare(image, NULL_STOPWATCH)
        theirs = reference.prepare(image, NULL_STOPWATCH)
        expected, proposals = reference_stages(theirs)
        found = native_stages(native, ours, proposals)
        for stage, value in expected.items():
            difference = _difference(stage, found.get(stage), value)
            stages.setdefault(stage, []).append(difference)
        agreements.append(
            compare(
                native.infer([ours], NULL_STOPWATCH)[0],
                reference.infer([theirs], NULL_STOPWATCH)[0],
                mask_slack_px=mask_slack_px,
            )
        )
    worst = tuple(_worst(parts) for parts in stages.values())
    return _report(worst, agreements, mask_slack_px)


def compare_detections(
    ours: Engine, reference: Engine, images: Iterable[Image], *, mask_slack_px: int = 0
) -> ParityReport:
    """Compare what two engines find on every image.

    Args:
        ours: One engine.
        reference: The other one.
        images: At least one.
        mask_slack_px: Pixels by which any mask may differ, however small it is.
    """

    def found(engine: Engine, image: Image) -> Detections:
        return engine.infer([engine.prepare(image, NULL_STOPWATCH)], NULL_STOPWATCH)[0]

    agreements = [
        compare(found(ours, image), found(reference, image), mask_slack_px=mask_slack_px)
        for image in images
    ]
    return _report((), agreements, mask_slack_px)


def _report(
    stages: tuple[StageDifference, ...], agreements: list[Agreement], mask_slack_px: int
) -> ParityReport:
    agreement = combine(agreements)
    rows = (*stages, *_final_rows(agreement, mask_slack_px))
    failing = next((row.stage for row in rows if not row.ok), None)
    return ParityReport(
        images=len(agreements), stages=rows, agreement=agreement, first_failing=failing
    )


def _difference(
    stage: str, found: npt.NDArray[np.float32] | None, expected: npt.NDArray[np.float32]
) -> StageDifference:
    """Compare a stage; one that the other network does not have is None."""
    if stage == "proposals" and found is not None:
        return _proposal_difference(found, expected)
    bar = 0.0 if stage == "resized input" else RELATIVE_BAR
    same_shape = found is not None and found.shape == expected.shape
    absolute = relative = None
    if found is not None and same_shape:
        with np.errstate(invalid="ignore"):  # infinite in both
            absolute = finite(float(np.abs(found - expected).max(initial=0.0)))
        largest = float(np.abs(expected).max(initial=0.0))
        relative = None if absolute is None else finite(absolute / max(largest, 1e-12))
    return StageDifference(
        stage=stage,
        max_absolute=absolute,
        max_relative=relative,
        share=None,
        tolerance=f"relative {bar:g}" if bar else "equal",
        ok=relative is not None and relative <= bar,
        same_shape=same_shape,
    )


def _proposal_difference(
    found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]
) -> StageDifference:
    """Compare proposals as a set: the last bit of a logit may swap two, or replace the last one."""
    apart = np.abs(found[None, :, :] - expected[:, None, :]).max(axis=2)  # (n, m)
    nearest = apart.min(axis=1, initial=np.inf)  # (n,)
    matched = nearest[nearest <= BOX_BAR_PX]
    share = len(matched) / len(expected) if len(expected) else 1.0
    if len(found) != len(expected):
        share = 0.0
    absolute = float(matched.max(initial=0.0))
    return StageDifference(
        stage="proposals",
        max_absolute=absolute,
        max_relative=absolute / max(float(np.abs(expected).max(initial=0.0)), 1e-12),
        share=share,
        tolerance=f"{BOX_BAR_PX:g} px on ≥ {100 * PROPOSALS_BAR:g} %",
        ok=share >= PROPOSALS_BAR,
    )


def _worst(parts: list[StageDifference]) -> StageDifference:
    shares = [part.share for part in parts if part.share is not None]
    return StageDifference(
        stage=parts[0].stage,
        max_absolute=_largest(part.max_absolute for part in parts),
        max_relative=_largest(part.max_relative for part in parts),
        share=min(shares) if shares else None,
        tolerance=parts[0].tolerance,
        ok=all(part.ok for part in parts),
        same_shape=all(part.same_shape for part in parts),
    )


def _largest(values: Iterable[float | None]) -> float | None:
    """Return the largest of some values; None where one of them is."""
    found = tuple(values)
    known = [one for one in found if one is not None]
    return max(known) if len(known) == len(found) else None


def _final_rows(agreement: Agreement, mask_slack_px: int) -> tuple[StageDifference, ...]:
    count = max(agreement.detections, 1)
    paired = 1 - agreement.unmatched / count
    masks = 1 - agreement.masks_below / count
    points = agreement.keypoints_below / count
    ok = agreement.share_within_bars >= SHARE_BAR
    slack = f" or {mask_slack_px} px" if mask_slack_px else ""
    return (
        StageDifference(
            stage="final boxes, scores, classes",
            max_absolute=agreement.max_box_px,
            max_relative=agreement.max_score,
            share=paired,
            tolerance=f"{BOX_BAR_PX:g} px and score {SCORE_BAR:g} on {ENOUGH}",
            ok=ok or paired >= SHARE_BAR,
        ),
        StageDifference(
            stage="pasted masks",
            max_absolute=1 - agreement.min_mask_iou,
            max_relative=1 - agreement.min_mask_iou,
            share=masks,
            tolerance=f"IoU {MASK_IOU_BAR:g}{slack} on {ENOUGH} of detections, with the row above",
            ok=agreement.share_within_bars + points >= SHARE_BAR,
        ),
        *_keypoint_row(agreement, points, ok=ok),
        *_map_row(agreement),
    )


def _keypoint_row(agreement: Agreement, off: float, *, ok: bool) -> tuple[StageDifference, ...]:
    """The row of keypoints; none where they are all the same, as without any.

    Args:
        agreement: Agreement of the detections.
        off: Share of them with a keypoint outside its bars.
        ok: Whether detections, masks and keypoints together are within theirs.
    """
    if not agreement.keypoints_below and not agreement.max_keypoint_px:
        return ()
    return (
        StageDifference(
            stage="keypoints",
            max_absolute=agreement.max_keypoint_px,
            max_relative=agreement.max_keypoint_px,
            share=1 - off,
            tolerance=f"{BOX_BAR_PX:g} px and {KEYPOINT_SCORE_SHARE:g} of the score, "
            "with the rows above",
            ok=ok,
        ),
    )


def _map_row(agreement: Agreement) -> tuple[StageDifference, ...]:
    """The row of the maps of segments; none without maps."""
    if not agreement.map_px:
        return ()
    off = agreement.map_off_px / agreement.map_px
    return (
        StageDifference(
            stage="maps of segments",
            max_absolute=float(agreement.map_off_px),
            max_relative=off,
            share=1 - off,
            tolerance=f"the same segment in {ENOUGH} of pixels",
            ok=1 - off >= SHARE_BAR,
        ),
    )
