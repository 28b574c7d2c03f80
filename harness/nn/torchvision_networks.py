"""Networks that torchvision builds itself, as it builds them for its published weights.

torchvision chooses a network's BatchNorm by whether it is about to download weights. Here the
weights come from a proven file, so that choice is made again: see ``_freeze_norms``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torchvision.models import get_model, get_model_weights
from torchvision.ops.misc import FrozenBatchNorm2d

from harness.core.architecture import Architecture, TorchvisionBuilder
from harness.nn.unfilled import Unfilled

#: Outputs of torchvision's COCO networks: the background, and every category id up to 90.
COCO_LABELS = 91

#: The tensor with one number a label.
CLASSIFIER = "roi_heads.box_predictor.cls_score.bias"

#: The layer with one mask a label.
MASK_LAYER = "roi_heads.mask_predictor.mask_fcn_logits."

#: Names of labels that no object has; the ids COCO left out are called N/A.
NOT_CLASSES = ("__background__", "N/A")

#: What the frozen BatchNorms of the published networks add to their variance: 0 where torchvision
#: calls ``overwrite_eps``. The v2 networks are not here: their BatchNorm is the ordinary one.
FROZEN_EPS: dict[TorchvisionBuilder, float] = {
    "maskrcnn_resnet50_fpn": 0.0,
    "fasterrcnn_resnet50_fpn": 0.0,
    "fasterrcnn_mobilenet_v3_large_fpn": 1e-5,
}


def build_torchvision(architecture: Architecture, label_count: int | None = None) -> nn.Module:
    """Return the network in evaluation mode, with random weights and the entry's test-time recipe.

    Args:
        architecture: Names the builder, and has the numbers of the recipe.
        label_count: Outputs of its classifier, the background among them; None for those of its
            published weights, or one more than classes.
    """
    assert architecture.torchvision is not None
    network: nn.Module = get_model(
        architecture.torchvision,
        weights=None,
        weights_backbone=None,
        num_classes=label_count or published_labels(architecture),
        min_size=architecture.short_edge_px,
        max_size=architecture.long_edge_max_px,
        box_score_thresh=architecture.score_threshold,
        box_nms_thresh=architecture.box_nms_iou,
        box_detections_per_img=architecture.max_detections,
    )
    if architecture.torchvision in FROZEN_EPS:
        _freeze_norms(network.get_submodule("backbone"), FROZEN_EPS[architecture.torchvision])
    return network.eval().requires_grad_(False)


def published_labels(architecture: Architecture) -> int:
    """Return the number of outputs: 91 for COCO's 80 classes, else one more than classes."""
    return COCO_LABELS if architecture.class_count == 80 else architecture.class_count + 1


def coco_labels(builder: TorchvisionBuilder) -> tuple[int, ...]:
    """Return the label of each of COCO's 80 classes, in the order of their category ids."""
    names = get_model_weights(builder).DEFAULT.meta["categories"]
    return tuple(label for label, name in enumerate(names) if name not in NOT_CLASSES)


def preprocessing_of(builder: TorchvisionBuilder) -> Any:
    """Return the preprocessing that torchvision's weights require of an image."""
    return get_model_weights(builder).DEFAULT.transforms()


def torchvision_shapes(
    architecture: Architecture, label_count: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Return every weight of the network's checkpoint and its shape, without allocating tensors."""
    with torch.device("meta"), Unfilled():
        return weight_shapes(build_torchvision(architecture, label_count))


def with_own_masks_only(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return tensors whose mask layer has no more labels than the classifier.

    Who replaces the box head alone keeps the mask layer of COCO's 91 labels; the mask of label n is
    its output n, so the first ones are used and the others never were.
    """
    label_count = len(tensors.get(CLASSIFIER, ()))
    masks = {key: value for key, value in tensors.items() if key.startswith(MASK_LAYER)}
    if not label_count or all(len(value) <= label_count for value in masks.values()):
        return tensors
    return {**tensors, **{key: value[:label_count] for key, value in masks.items()}}


def weight_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return every tensor of a checkpoint but the counters that only training reads."""
    return {
        key: tuple(tensor.shape)
        for key, tensor in network.state_dict().items()
        if not key.endswith(".num_batches_tracked")
    }


def _freeze_norms(module: nn.Module, eps: float) -> None:
    """Replace every ordinary BatchNorm below by torchvision's frozen one."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps))
        else:
            _freeze_norms(child, eps)
