"""Intermediate results of the two real engines on one image, stage by stage.

All of them have the same keys in network order. Values are float32 NumPy arrays without the
batch axis. ``box logits`` and ``box deltas`` are computed on given proposals, so that a swap of two
proposals does not look like a difference of the box head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.engines.detectron2 import Detectron2Engine
from harness.engines.devices import apply_precision
from harness.engines.native import NativeEngine, PreparedImage

Stages = dict[str, npt.NDArray[np.float32]]


@torch.inference_mode()
def native_stages(engine: NativeEngine, image: PreparedImage, proposals: Tensor) -> Stages:
    """Return the stages of the native engine; the box head sees ``proposals`` (n, 4)."""
    apply_precision(engine.info.precision, engine.device)  # another engine may have computed since
    network = engine.network
    if network.architecture.detector == "dense":
        return as_arrays(native_dense(engine, image))
    batch = network.batch([torch.from_numpy(image.pixels).to(engine.device).permute(2, 0, 1)])
    pyramid = network.backbone(batch.pixels)
    logits: list[Tensor] = []
    deltas: list[Tensor] = []
    if network.architecture.given_proposals:
        own = torch.from_numpy(image.proposals)
    else:
        logits, deltas = network.proposal_generator.rpn_head(pyramid)
        anchors = network.proposal_generator.anchors(pyramid)
        own = network.proposal_generator.select(logits, deltas, anchors, batch.sizes)[0]
    resized = torch.from_numpy(image.pixels).permute(2, 0, 1)
    answers = []
    if network.architecture.detector == "rcnn":
        stages = network.roi_heads.refine(pyramid, [proposals.to(engine.device)], batch.sizes)
        answers = [(one.logits, one.deltas) for one in stages]
    maps = dict(zip(network.architecture.map_names, pyramid, strict=True))
    found = named_stages(
        resized, maps, logits=logits, deltas=deltas, proposals=own, answers=answers
    )
    if network.architecture.is_panoptic:
        found |= semantic_stage(network.sem_seg_head(pyramid)[0])
    return found


def semantic_stage(logits: Tensor) -> Stages:
    """Return the stage of a semantic head, (C, H / 4, W / 4)."""
    return as_arrays({"semantic logits": logits})


def own_stages(engine: NativeEngine, image: PreparedImage) -> tuple[Stages, Tensor]:
    """Return the stages of the native engine on its own proposals, and these (n, 4)."""
    somewhere = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    found = native_stages(engine, image, somewhere)
    if "proposals" not in found:  # a dense head has none
        return found, torch.zeros((0, 4))
    proposals = torch.from_numpy(found["proposals"])
    return native_stages(engine, image, proposals), proposals


@torch.inference_mode()
def detectron2_stages(engine: Detectron2Engine, image: dict[str, Any]) -> tuple[Stages, Tensor]:
    """Return the stages of Detectron2, and its proposals (n, 4)."""
    apply_precision(engine.info.precision, engine.device)  # another engine may have computed since
    model = engine.model
    if engine.info.architecture.detector == "dense":
        return as_arrays(detectron2_dense(engine, image)), torch.zeros((0, 4))
    from detectron2.modeling import GeneralizedRCNN

    images = GeneralizedRCNN.preprocess_image(model, [image])  # a ProposalNetwork has none
    features = model.backbone(images.tensor)
    numbers = engine.info.architecture
    pyramid = [features[name] for name in model.backbone.output_shape()]
    if numbers.given_proposals:
        logits, deltas, found = _given(image)
    else:
        logits, deltas, found = _proposed(model, features, images.image_sizes)
    answers = [] if numbers.detector == "rpn" else _box_answers(model.roi_heads, features, found)
    boxes = found[0].proposal_boxes.tensor
    maps = dict(zip(numbers.map_names, pyramid, strict=True))
    named = named_stages(
        image["image"], maps, logits=logits, deltas=deltas, proposals=boxes, answers=answers
    )
    if numbers.is_panoptic:
        named |= semantic_stage(model.sem_seg_head.layers(features)[0])
    return named, boxes


def _given(image: dict[str, Any]) -> tuple[list[Tensor], list[Tensor], Any]:
    """Return the proposals that came with an image; they have neither logits nor deltas."""
    return [], [], [image["proposals"]]


def _proposed(model: Any, features: Any, sizes: Any) -> tuple[list[Tensor], list[Tensor], Any]:
    """Return logits and deltas of each level of Detectron2's own proposals, and these."""
    rpn = model.proposal_generator
    pyramid = [features[name] for name in rpn.in_features]
    logits, deltas = rpn.rpn_head(pyramid)
    logits = [one.permute(0, 2, 3, 1).flatten(1) for one in logits]
    deltas = [
        one.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, -2) for one in deltas
    ]  # (B, A·4, H, W) → (B, H·W·A, 4)
    anchors = rpn.anchor_generator(pyramid)
    return logits, deltas, rpn.predict_proposals(anchors, logits, deltas, sizes)


def _box_answers(heads: Any, features: Any, proposals: Any) -> list[tuple[Tensor, Tensor]]:
    """Return logits and deltas of each stage of Detectron2's heads, for its proposals."""
    if hasattr(heads, "res5"):
        levels = [features[name] for name in heads.in_features]
        boxes = [one.proposal_boxes for one in proposals]
        pooled = heads._shared_roi_transform(levels, boxes)
        return [heads.box_predictor(pooled.mean(dim=[2, 3]))]
    levels = [features[name] for name in heads.box_in_features]
    if not hasattr(heads, "num_cascade_stages"):
        pooled = heads.box_pooler(levels, [one.proposal_boxes for one in proposals])
        return [heads.box_predictor(heads.box_head(pooled))]
    answers = []
    for stage in range(heads.num_cascade_stages):
        answers.append(heads._run_stage(levels, proposals, stage))
        moved = heads.box_predictor[stage].predict_boxes(answers[-1], proposals)
        sizes = [one.image_size for one in proposals]
        proposals = heads._create_proposals_from_boxes(moved, sizes)
    return answers


def named_stages(
    resized: Tensor,
    maps: Mapping[str, Tensor],
    *,
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    proposals: Tensor,
    answers: Sequence[tuple[Tensor, Tensor]],
) -> Stages:
    """Return the stages of one image by name.

    Args:
        resized: (3, H, W).
        maps: What regions are proposed on, each (1, C, H, W), by name (``map_names``).
        logits: Per level (1, H·W·A); none where proposals are given.
        deltas: Per level (1, H·W·A, 4).
        proposals: (n, 4), px of the resized input.
        answers: Logits (n, K + 1) and deltas (n, 4K) or (n, 4) of each stage of the box head.
    """
    named = {"resized input": resized}
    named |= {f"backbone {name}": one[0] for name, one in maps.items()}
    if logits:
        named["rpn logits"] = torch.cat([level[0] for level in logits])
        named["rpn deltas"] = torch.cat([level[0] for level in deltas])
    named["proposals"] = proposals
    for number, (box_logits, box_deltas) in enumerate(answers, start=1):
        named |= {stage_name("box logits", number): box_logits}
        named |= {stage_name("box deltas", number): box_deltas}
    return as_arrays(named)


def as_arrays(named: dict[str, Tensor]) -> Stages:
    """Return stages by name as float32 arrays on the host."""
    return {name: value.float().cpu().numpy() for name, value in named.items()}


def stage_name(what: str, number: int) -> str:
    """Return the name of a number of the box head, the first stage's without its number."""
    return what if number == 1 else f"{what} {number}"


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
