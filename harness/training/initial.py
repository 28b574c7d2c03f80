"""The weights a training begins with, and which of them come from a checkpoint."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from harness.core.architecture import Architecture
from harness.core.errors import IntegrityError
from harness.nn.mobilenet import InvertedResidual
from harness.nn.rcnn import RCNN
from harness.nn.torchvision_networks import COCO_LABELS, coco_labels, with_own_masks_only
from harness.nn.torchvision_training import CLASS_LAYERS as TORCHVISION_CLASS_LAYERS
from harness.nn.torchvision_training import class_rows, without_counters
from harness.zoo.backbones import backbone_prefix, backbone_prefixes
from harness.zoo.weights import missing_statistics, named_apart, named_by_caffe2

Array = npt.NDArray[np.float32]

#: The layers with one output a class; they begin at random when the classes differ. A cascade has
#: them once a stage.
CLASS_LAYERS = re.compile(
    r"roi_heads\.(box_predictor\.(\d\.)?(cls_score|bbox_pred)|mask_head\.predictor|"
    r"keypoint_head\.score_lowres)\."
    r"|head\.cls_score\."
    r"|sem_seg_head\.predictor\."
)

#: Standard deviation of layers that begin almost at zero (Detectron2's ``modeling``), by a pattern
#: that their names match. Offsets of deformable convolutions begin at zero.
SILENT_STD = {
    r"proposal_generator\.rpn_head\.": 0.01,
    r"head\.": 0.01,
    r"roi_heads\.box_predictor\.(\d\.)?cls_score\.": 0.01,
    r"roi_heads\.box_predictor\.(\d\.)?bbox_pred\.": 0.001,
    r"roi_heads\.mask_head\.predictor\.": 0.001,
    r".*\.conv2_offset\.": 0.0,
}

#: Probability of an object that the classes of a dense head begin with (RETINANET.PRIOR_PROB).
PRIOR = 0.01

#: Convolutions that begin as those of a ResNet: of the heads, and with C4 the res5 in them.
HEAD_CONVOLUTIONS = re.compile(
    r"roi_heads\.(mask_head|keypoint_head|res5|box_head\.(\d\.)?conv\d)\b|sem_seg_head\."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialWeights:
    """Which weights come from a checkpoint."""

    kept: tuple[str, ...]
    """Keys taken from the checkpoint."""

    fresh: tuple[str, ...]
    """Keys that begin at random."""

    @property
    def sentence(self) -> str:
        """How many tensors are kept, and which are not, for the log."""
        if not self.kept:
            return f"all {len(self.fresh)} tensors begin at random"
        parts = sorted({".".join(key.split(".")[:-1]) for key in self.fresh})
        tail = f"; these begin at random: {', '.join(parts)}" if parts else ""
        return f"{len(self.kept)} of {len(self.kept) + len(self.fresh)} tensors are kept{tail}"


@torch.no_grad()
def initialise(network: RCNN, seed: int) -> None:
    """Draw random weights as Detectron2 does; normalisations remain the identity.

    Convolutions of the backbone and the heads: He et al. (fan-out); FPN and fully connected
    layers: Caffe2's Xavier (uniform, fan-in); predictors: almost zero. MobileNetV2: He et al. with
    fan-in, as fan-out would silence filters of one channel (see also ``_bound``).

    Args:
        network: On the CPU; it is changed.
        seed: Seed of the training.
    """
    generator = torch.Generator().manual_seed(seed)
    fan: Literal["fan_out", "fan_in"] = (
        "fan_in" if network.architecture.backbone == "mobilenet_v2" else "fan_out"
    )
    backbone = backbone_prefix(network.architecture)
    for name, value in network.named_parameters():
        std = next((std for like, std in SILENT_STD.items() if re.match(like, name)), None)
        if name.endswith("bias"):
            value.zero_()
        elif value.ndim == 1:
            value.fill_(1.0)  # of a normalisation
        elif std is not None:
            value.normal_(std=std, generator=generator)
        elif name.startswith(backbone):
            nn.init.kaiming_normal_(value, mode=fan, nonlinearity="relu", generator=generator)
        elif HEAD_CONVOLUTIONS.match(name):
            nn.init.kaiming_normal_(value, mode="fan_out", nonlinearity="relu", generator=generator)
        else:
            nn.init.kaiming_uniform_(value, a=1, generator=generator)
    if network.architecture.detector == "dense":
        nn.init.constant_(network.head.cls_score.get_parameter("bias"), _logit(PRIOR))
    for module in network.modules():
        if isinstance(module, InvertedResidual):
            _bound(module)


def _logit(probability: float) -> float:
    return -math.log((1 - probability) / probability)


def _bound(block: InvertedResidual) -> None:
    """Scale a block so that its output spreads no more than its input; no ReLU follows its last
    layer.

    What is added to a shortcut begins at a quarter: BatchNorm, which usually bounds such sums, is
    frozen at the identity.
    """
    block.project.weight.mul_(0.5**0.5 * (0.25 if block.has_shortcut else 1.0))


@torch.no_grad()
def load_matching(network: RCNN, tensors: Mapping[str, Array], *, where: str) -> InitialWeights:
    """Load a whole model's checkpoint; class layers of another shape remain as they are.

    Args:
        network: It is changed.
        tensors: Tensors of the checkpoint, by key.
        where: Names the checkpoint in messages.

    Returns:
        Which weights were loaded.

    Raises:
        IntegrityError: Another tensor than those of the class layers is missing or does not fit.
    """
    own = network.state_dict()
    tensors = {**tensors, **missing_statistics(tensors, _shapes(own))}
    fresh = {
        key for key in own if CLASS_LAYERS.match(key) and _shape(tensors, key) != own[key].shape
    }
    needed = own.keys() - fresh
    wrong = sorted(key for key in needed if _shape(tensors, key) != own[key].shape)
    if wrong:
        raise _unfitting(wrong, len(needed), tensors, own, where)
    _copy(own, tensors, needed)
    return InitialWeights(kept=tuple(sorted(needed)), fresh=tuple(sorted(fresh)))


@torch.no_grad()
def load_torchvision(
    network: nn.Module, architecture: Architecture, tensors: Mapping[str, Array], *, where: str
) -> InitialWeights:
    """Load a checkpoint of torchvision's network.

    Of COCO's 91 labels those of the 80 categories are kept where the data have as many; class
    layers of other classes remain as they are.

    Args:
        network: It is changed.
        architecture: With the number of classes.
        tensors: Tensors of the checkpoint, by key.
        where: Names the checkpoint in messages.

    Returns:
        Which weights were loaded.

    Raises:
        IntegrityError: Another tensor than those of the class layers is missing or does not fit.
    """
    assert architecture.torchvision is not None
    own = without_counters(network.state_dict())
    tensors = with_own_masks_only(tensors)
    given = {key: torch.from_numpy(np.array(tensors[key])) for key in own if key in tensors}
    bias = given.get("roi_heads.box_predictor.cls_score.bias")
    if architecture.class_count == 80 and bias is not None and len(bias) == COCO_LABELS:
        labels = (0, *coco_labels(architecture.torchvision))
        given = {key: class_rows(key, value, labels) for key, value in given.items()}
    starts = tuple(TORCHVISION_CLASS_LAYERS)
    fresh = {
        key
        for key in own
        if key.startswith(starts) and (key not in given or given[key].shape != own[key].shape)
    }
    needed = own.keys() - fresh
    wrong = sorted(key for key in needed if key not in given or given[key].shape != own[key].shape)
    if wrong:
        raise _unfitting(wrong, len(needed), tensors, own, where)
    for key in needed:
        own[key].copy_(given[key])
    return InitialWeights(kept=tuple(sorted(needed)), fresh=tuple(sorted(fresh)))


@torch.no_grad()
def load_backbone(network: RCNN, tensors: Mapping[str, Array], *, where: str) -> InitialWeights:
    """Load a backbone's checkpoint.

    Args:
        network: It is changed.
        tensors: Tensors of the checkpoint, by the network's keys.
        where: Names the checkpoint in messages.

    Returns:
        Which weights were loaded.

    Raises:
        IntegrityError: A tensor is missing or does not fit.
    """
    own = network.state_dict()
    prefixes = backbone_prefixes(network.architecture)
    needed = {key for key in own if key.startswith(prefixes)}
    wrong = sorted(key for key in needed if _shape(tensors, key) != own[key].shape)
    if wrong:
        raise IntegrityError(
            f"{where} is not the backbone of this model: {len(wrong)} of {len(needed)} tensors are "
            f"missing or of another shape, the first is {wrong[0]}"
        )
    _copy(own, tensors, needed)
    return InitialWeights(kept=tuple(sorted(needed)), fresh=tuple(sorted(own.keys() - needed)))


def _unfitting(
    wrong: list[str],
    needed: int,
    tensors: Mapping[str, Array],
    own: Mapping[str, torch.Tensor],
    where: str,
) -> IntegrityError:
    """The error of a checkpoint of another model; names both where they are known."""
    other = named_apart(tensors, _shapes(own)) or named_by_caffe2(tensors)
    return IntegrityError(
        f"{where} does not fit the model: {len(wrong)} of {needed} tensors are missing or of "
        f"another shape, the first is {wrong[0]}",
        hint=other or "choose another --init, or the --model the checkpoint belongs to",
    )


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(one.shape) for key, one in tensors.items()}


def _shape(tensors: Mapping[str, Array], key: str) -> tuple[int, ...] | None:
    return tensors[key].shape if key in tensors else None


def _copy(own: Mapping[str, torch.Tensor], tensors: Mapping[str, Array], keys: set[str]) -> None:
    for key in keys:
        own[key].copy_(torch.from_numpy(np.array(tensors[key], dtype=np.float32)))
