"""Intermediate results of the two real engines on one image, stage by stage.

All of them have the same keys in network order. Values are float32 NumPy arrays without the
batch axis. ``box logits`` and ``box deltas`` are computed on given proposals, so that a swap of two
proposals does not look like a difference of the box head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.engines.detectron2 import Detectron2Engine
from harness.engines.native import NativeEngine, PreparedImage

Stages = dict[str, npt.NDArray[np.float32]]


@torch.inference_mode()
def native_stages(engine: NativeEngine, image: PreparedImage, proposals: Tensor) -> Stages:
    """Return the stages of the native engine; the box head sees ``proposals`` (n, 4)."""
    network = engine.network
    batch = network.batch([torch.from_numpy(image.pixels).to(engine.device).permute(2, 0, 1)])
    pyramid = network.backbone(batch.pixels)
    logits, deltas = network.proposal_generator.rpn_head(pyramid)
    anchors = network.proposal_generator.anchors(pyramid)
    own = network.proposal_generator.select(logits, deltas, anchors, batch.sizes)[0]
    box_logits, box_deltas = network.roi_heads.classify(pyramid, [proposals.to(engine.device)])
    resized = torch.from_numpy(image.pixels).permute(2, 0, 1)
    return named_stages(resized, pyramid, logits, deltas, own, box_logits, box_deltas)


@torch.inference_mode()
def detectron2_stages(engine: Detectron2Engine, image: dict[str, Any]) -> tuple[Stages, Tensor]:
    """Return the stages of Detectron2, and its proposals (n, 4)."""
    model = engine.model
    images = model.preprocess_image([image])
    features = model.backbone(images.tensor)
    rpn = model.proposal_generator
    pyramid = [features[name] for name in rpn.in_features]
    logits, deltas = rpn.rpn_head(pyramid)
    logits = [one.permute(0, 2, 3, 1).flatten(1) for one in logits]
    deltas = [
        one.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, -2) for one in deltas
    ]  # (B, A·4, H, W) → (B, H·W·A, 4)
    anchors = rpn.anchor_generator(pyramid)
    found = rpn.predict_proposals(anchors, logits, deltas, images.image_sizes)
    heads = model.roi_heads
    levels = [features[name] for name in heads.box_in_features]
    pooled = heads.box_pooler(levels, [one.proposal_boxes for one in found])
    box_logits, box_deltas = heads.box_predictor(heads.box_head(pooled))
    boxes = found[0].proposal_boxes.tensor
    return named_stages(
        image["image"], pyramid, logits, deltas, boxes, box_logits, box_deltas
    ), boxes


def named_stages(
    resized: Tensor,
    pyramid: Sequence[Tensor],
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    proposals: Tensor,
    box_logits: Tensor,
    box_deltas: Tensor,
) -> Stages:
    """Return the stages of one image by name.

    Args:
        resized: (3, H, W).
        pyramid: p2 … p6.
        logits: Per level (1, H·W·A).
        deltas: Per level (1, H·W·A, 4).
        proposals: (n, 4), px of the resized input.
        box_logits: (n, K + 1).
        box_deltas: (n, 4K).
    """
    named = {"resized input": resized}
    named.update({f"backbone p{index}": level[0] for index, level in enumerate(pyramid, start=2)})
    named["rpn logits"] = torch.cat([level[0] for level in logits])
    named["rpn deltas"] = torch.cat([level[0] for level in deltas])
    named["proposals"] = proposals
    named["box logits"] = box_logits
    named["box deltas"] = box_deltas
    return {name: value.float().cpu().numpy() for name, value in named.items()}
