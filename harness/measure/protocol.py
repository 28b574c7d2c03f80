"""What makes a measured number not comparable with a published one.

Most "AP not reproduced" reports come from one of these, not from the model; each sentence states
the value found, the value expected, and the effect of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.architecture import PROTOCOL_FIELDS, Architecture
from harness.core.engine import Precision

#: Known harm by field of the test recipe, with the thread that shows it.
HARM = {
    "score_threshold": "a threshold of 0.5 instead of 0.05 costs several AP (detectron2#663)",
    "max_detections": "AP and AR count up to 100 detections an image",
    "short_edge_px": "another test size moves AP by whole points, small objects most",
    "long_edge_max_px": "another test size moves AP by whole points, small objects most",
    "channel_order": "swapped channels cost several AP: weights expect the order of their training",
    "box_nms_iou": "another NMS threshold trades recall for duplicates",
}


#: Of weights of one's own. Where nothing is published for the data, nothing is lost by them.
UNPINNED = (
    "the checkpoint is not the pinned one: a box-only checkpoint under a mask config is "
    "how detectron2#721 lost its mask AP"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a number was measured, as far as it affects comparability."""

    architecture: Architecture
    """With the test recipe that was used."""

    precision: Precision
    """Of the network's arithmetic."""

    batch_size: int
    """Images a batch."""

    compiled: bool = False
    """By torch.compile."""

    pinned_weights: bool
    """The checkpoint is the one the lock names."""

    evaluated_images: int
    """Images that were evaluated, of ``image_count``."""

    image_count: int
    """Images of the whole data set."""


def deviations(conditions: Conditions, published: Architecture) -> tuple[str, ...]:
    """One sentence for each way the conditions differ from the published protocol.

    Args:
        conditions: Of the measurement.
        published: The architecture with the published test recipe.
    """
    found = []
    for field in PROTOCOL_FIELDS:
        used, expected = getattr(conditions.architecture, field), getattr(published, field)
        if used != expected:
            found.append(f"{field} is {used}, the protocol says {expected}: {HARM[field]}")
    if conditions.evaluated_images != conditions.image_count:
        found.append(
            f"only {conditions.evaluated_images} of {conditions.image_count} images were "
            "evaluated: AP of a subset is another number"
        )
    if conditions.batch_size != 1:
        found.append(
            f"batch size is {conditions.batch_size}, the protocol says 1: padding to a common "
            "size moves AP a little (pytorch/vision#4257)"
        )
    if conditions.precision != "fp32":
        found.append(
            f"precision is {conditions.precision}, the protocol says fp32: TF32 alone moved "
            "Detectron2's own accuracy tests out of tolerance (detectron2#5348)"
        )
    if conditions.compiled:
        found.append(
            "the network is compiled, the protocol says it is not: fused operations round "
            "differently, and equality with Detectron2 is proven without them"
        )
    if not conditions.pinned_weights:
        found.append(UNPINNED)
    return tuple(found)
