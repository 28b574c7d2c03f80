"""ImageNet backbones: keys of Caffe2, of torchvision, or bare ones, renamed to the network's.

The MSRA ResNets keep BatchNorm as a scale and a shift, its statistics already absorbed (Detectron2
``checkpoint/c2_model_loading.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from harness.core.architecture import Architecture
from harness.core.errors import IntegrityError

Array = npt.NDArray[np.float32]

PREFIX = "backbone.bottom_up."

#: Branches of a bottleneck block by Caffe2's letter; branch 1 is the shortcut.
BRANCHES = {"1": "shortcut", "2a": "conv1", "2b": "conv2", "2c": "conv3"}

BLOCK = re.compile(r"res(\d)_(\d+)_branch(1|2a|2b|2c)_(w|bn_s|bn_b)")
STEM = {
    "conv1_w": "stem.conv1.weight",
    "res_conv1_bn_s": "stem.conv1.norm.weight",
    "res_conv1_bn_b": "stem.conv1.norm.bias",
}
BARE = re.compile(r"(stem|res\d|s\d)\..+")
ENDINGS = {"w": "weight", "bn_s": "norm.weight", "bn_b": "norm.bias"}


#: torchvision's MobileNetV2: number of its first block, and how many blocks, by our stage.
MOBILENET_STAGES = {"res2": (2, 2), "res3": (4, 3), "res4": (7, 7), "res5": (14, 4)}

#: Convolution and BatchNorm of a block in torchvision's file, by our name for the two.
MOBILENET_BLOCK = {
    "expand": ("0.0", "0.1"),
    "depthwise": ("1.0", "1.1"),
    "project": ("2", "3"),
}
MOBILENET_FIRST_BLOCK = {"depthwise": ("0.0", "0.1"), "project": ("1", "2")}

#: What of torchvision's file is no backbone: the last layer, the classifier, counters of training.
MOBILENET_REST = re.compile(r"features\.18\..+|classifier\..+|.+\.num_batches_tracked")


def backbone_prefix(architecture: Architecture) -> str:
    """What the network's keys of its backbone begin with; with C4, those of res5 do not."""
    return PREFIX if architecture.neck == "fpn" else "backbone."


def backbone_prefixes(architecture: Architecture) -> tuple[str, ...]:
    """What the network's keys of everything that a backbone's file fills begin with."""
    prefix = backbone_prefix(architecture)
    return (prefix, "roi_heads.res5.") if architecture.neck == "c4" else (prefix,)


def backbone_of(tensors: Mapping[str, Array], architecture: Architecture) -> dict[str, Array]:
    """The backbone's tensors by the network's keys; the classifier of ImageNet is left out.

    Args:
        tensors: Tensors of the file, float32, by its keys.
        architecture: Architecture of the network, which decides whose keys they are.

    Raises:
        IntegrityError: A MobileNetV2 has an unknown tensor.
    """
    if architecture.backbone == "mobilenet_v2":
        return _mobilenet(tensors)
    found = _resnet(tensors, architecture.batch_norm_eps)
    own = {f"{PREFIX}res5.": "roi_heads.res5."} if architecture.neck == "c4" else {}
    own |= {PREFIX: backbone_prefix(architecture)}
    return {_renamed(key, own): value for key, value in found.items()}


def _renamed(key: str, prefixes: Mapping[str, str]) -> str:
    old = next(one for one in prefixes if key.startswith(one))
    return prefixes[old] + key.removeprefix(old)


def mobilenet_names() -> dict[str, str]:
    """Every key of torchvision's MobileNetV2 that the backbone has, and the network's key."""
    names = {**_pair("features.0.0", "features.0.1", "stem.conv1")}
    for part, (convolution, norm) in MOBILENET_FIRST_BLOCK.items():
        start = "features.1.conv"
        names |= _pair(f"{start}.{convolution}", f"{start}.{norm}", f"stem.block.{part}")
    for stage, (first, count) in MOBILENET_STAGES.items():
        for index in range(count):
            start = f"features.{first + index}.conv"
            for part, (convolution, norm) in MOBILENET_BLOCK.items():
                ours = f"{stage}.{index}.{part}"
                names |= _pair(f"{start}.{convolution}", f"{start}.{norm}", ours)
    return names


def _pair(convolution: str, norm: str, ours: str) -> dict[str, str]:
    statistics = ("weight", "bias", "running_mean", "running_var")
    names = {f"{norm}.{one}": f"{PREFIX}{ours}.norm.{one}" for one in statistics}
    return {f"{convolution}.weight": f"{PREFIX}{ours}.weight", **names}


def _mobilenet(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """By torchvision's names, or by the network's own."""
    names = mobilenet_names()
    known = names | {ours: ours for ours in names.values()}
    unknown = [key for key in tensors if key not in known and not MOBILENET_REST.fullmatch(key)]
    if unknown:
        raise IntegrityError(
            f"{len(unknown)} tensors are of no MobileNetV2, the first is {unknown[0]}",
            hint="torchvision's comes with: harness download --only backbones",
        )
    return {known[key]: value for key, value in tensors.items() if key in known}


def _resnet(tensors: Mapping[str, Array], batch_norm_eps: float) -> dict[str, Array]:
    """By Caffe2's names, or by the network's own, with or without their prefix.

    BatchNorm without statistics gets a mean of 0 and a variance of 1 − eps: the identity before
    scale and shift.
    """
    found: dict[str, Array] = {}
    for name, value in tensors.items():
        key = _key(name)
        if key is None:
            continue
        found[PREFIX + key] = value  # also over a statistic that was set below
        if key.endswith("norm.weight"):
            start = PREFIX + key.removesuffix("weight")
            found.setdefault(f"{start}running_mean", np.zeros_like(value))
            found.setdefault(f"{start}running_var", np.full_like(value, 1 - batch_norm_eps))
    return found


def _key(name: str) -> str | None:
    name = name.removeprefix(PREFIX).removeprefix("backbone.").removeprefix("roi_heads.")
    if BARE.fullmatch(name):
        return name
    if name in STEM:
        return STEM[name]
    match = BLOCK.fullmatch(name)
    if match is None:
        return None
    stage, block, branch, ending = match.groups()
    return f"res{stage}.{block}.{BRANCHES[branch]}.{ENDINGS[ending]}"
