"""Intermediate results of a dense head by both engines; as ``harness.engines.stages``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from harness.engines.detectron2 import Detectron2Engine
    from harness.engines.native import NativeEngine, PreparedImage

#: Stages by name, before they are arrays.
Named = dict[str, Tensor]


def native_dense(engine: NativeEngine, image: PreparedImage) -> Named:
    """Return the stages of the native engine."""
    network = engine.network
    batch = network.batch([torch.from_numpy(image.pixels).to(engine.device).permute(2, 0, 1)])
    pyramid = network.backbone(batch.pixels)
    logits, deltas = network.head(pyramid)
    resized = torch.from_numpy(image.pixels).permute(2, 0, 1)
    return named_dense(resized, pyramid, logits, deltas)


def detectron2_dense(engine: Detectron2Engine, image: dict[str, Any]) -> Named:
    """Return the stages of Detectron2."""
    model = engine.model
    features = model.backbone(model.preprocess_image([image]).tensor)
    pyramid = [features[name] for name in model.head_in_features]
    widths = [model.num_classes, 4]
    logits, deltas = model._transpose_dense_predictions(model.head(pyramid), widths)
    return named_dense(image["image"], pyramid, logits, deltas)


def named_dense(
    resized: Tensor, pyramid: Sequence[Tensor], logits: Sequence[Tensor], deltas: Sequence[Tensor]
) -> Named:
    """Return the stages of one image by name.

    Args:
        resized: (3, H, W).
        pyramid: p3 … p7.
        logits: Per level (1, H·W·A, K).
        deltas: Per level (1, H·W·A, 4).
    """
    named = {"resized input": resized}
    named |= {f"backbone p{index}": level[0] for index, level in enumerate(pyramid, start=3)}
    named["class logits"] = torch.cat([level[0] for level in logits])
    named["box deltas"] = torch.cat([level[0] for level in deltas])
    return named
