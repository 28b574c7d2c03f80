"""torchvision's networks in training: their own losses, under the names of this package.

The head of a published network has 91 labels; ``build_for_training`` gives it one more than there
are classes, as ``FastRCNNPredictor`` and ``MaskRCNNPredictor`` are replaced in torchvision's own
tutorial. BatchNorm keeps its statistics: a batch of a fine-tuning is too small to estimate them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from harness.core.architecture import Architecture
from harness.nn.targets import Losses, Targets
from harness.nn.torchvision_networks import build_torchvision

#: torchvision's name of a loss → Detectron2's, under which it is logged and compared.
LOSSES = {
    "loss_objectness": "loss_rpn_cls",
    "loss_rpn_box_reg": "loss_rpn_loc",
    "loss_classifier": "loss_cls",
    "loss_box_reg": "loss_box_reg",
    "loss_mask": "loss_mask",
}

#: Layers with an output a label, and how many numbers a label has in each.
CLASS_LAYERS = {
    "roi_heads.box_predictor.cls_score.": 1,
    "roi_heads.box_predictor.bbox_pred.": 4,
    "roi_heads.mask_predictor.mask_fcn_logits.": 1,
}

#: First parts of a ResNet's body by number of frozen stages; of MobileNetV3, where the body's
#: blocks of a stage begin (torchvision's ``_mobilenet_extractor``).
RESNET_STAGES = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))
MOBILENET_STAGES = (0, 2, 4, 7, 13, 16)


class Pixels(NamedTuple):
    """Images as torchvision's network takes them."""

    images: list[Tensor]
    """Each (3, H, W) float32, 0 to 1, in RGB order, already resized."""


def build_for_training(architecture: Architecture, rois_per_image: int, seed: int) -> nn.Module:
    """Return a network of torchvision in training mode, with random weights.

    Args:
        architecture: Names the builder; its classes decide the heads.
        rois_per_image: Regions for the box head.
        seed: Seed of the random weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_torchvision(architecture, architecture.class_count + 1)
    given = network.get_submodule("transform")
    assert isinstance(given, GeneralizedRCNNTransform)
    # Samples come resized, with their boxes and masks.
    network.transform = GeneralizedRCNNTransform(
        min_size=given.min_size[0],
        max_size=given.max_size,
        image_mean=given.image_mean,
        image_std=given.image_std,
        _skip_resize=True,
    )
    heads = network.get_submodule("roi_heads")
    assert isinstance(heads, RoIHeads)
    heads.fg_bg_sampler.batch_size_per_image = rois_per_image
    return network.requires_grad_(True)


def train_mode(network: nn.Module) -> nn.Module:
    """Put a network of torchvision into training mode; BatchNorm stays as it is in tests."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return network


def freeze_torchvision(network: nn.Module, stages: int) -> None:
    """Freeze the first stages of the backbone.

    Args:
        network: It is changed.
        stages: 0 freezes nothing, 1 the stem, up to 5.
    """
    body = network.get_submodule("backbone.body")
    if hasattr(body, "layer1"):
        names = [name for stage in RESNET_STAGES[:stages] for name in stage]
    else:
        names = [str(number) for number in range(MOBILENET_STAGES[stages])]
    for name in names:
        body.get_submodule(name).requires_grad_(False)


def class_rows(key: str, value: Tensor, labels: Sequence[int]) -> Tensor:
    """Return the rows of a class layer's tensor that belong to some labels, in their order.

    Args:
        key: Name of the tensor; one of another layer is returned as it is.
        value: Its rows are numbers of the labels, one label after the other.
        labels: Labels of the checkpoint; the background is 0.
    """
    each = next((count for start, count in CLASS_LAYERS.items() if key.startswith(start)), None)
    if each is None:
        return value
    return torch.cat([value[each * label : each * (label + 1)] for label in labels])


class TorchvisionLosses(nn.Module):
    """A network of torchvision as a function from images to its losses."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap a network.

        Args:
            network: As ``build_for_training`` returns it.
        """
        super().__init__()
        self.network = network

    def forward(self, batch: Pixels, targets: Sequence[Targets]) -> Losses:
        """Return losses, and no statistics.

        Regions are sampled with the first target's generator, whatever was drawn before: so a
        training that is resumed samples as an unbroken one.
        """
        device = batch.images[0].device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(targets[0].generator.initial_seed())
            pairs = zip(batch.images, targets, strict=True)
            found = self.network(batch.images, [_target(*pair) for pair in pairs])
        return {LOSSES[name]: value for name, value in found.items()}, {}


def _target(image: Tensor, target: Targets) -> dict[str, Tensor]:
    """Return ground truth as torchvision takes it: labels from 1, masks as bitmaps."""
    found = {"boxes": target.boxes, "labels": target.classes + 1}
    if target.masks is not None:
        found["masks"] = target.masks.whole(image.shape[1], image.shape[2]).to(image.device)
    return found


def scaled(images: Sequence[Tensor]) -> Pixels:
    """Return uint8 images as torchvision takes them."""
    return Pixels([image.float() / 255 for image in images])


def without_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without the counters that BatchNorm keeps beside its weights."""
    return {
        key: value for key, value in tensors.items() if not key.endswith(".num_batches_tracked")
    }
