"""ImageNet backbones: the names of Caffe2, or of a bare ResNet, turned into those of the network.

The MSRA ResNets keep BatchNorm as a scale and a shift, its statistics already absorbed
(Detectron2 ``checkpoint/c2_model_loading.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

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
BARE = re.compile(r"(stem|res\d)\..+")
ENDINGS = {"w": "weight", "bn_s": "norm.weight", "bn_b": "norm.bias"}


def backbone_of(tensors: Mapping[str, Array], batch_norm_eps: float) -> dict[str, Array]:
    """The backbone's tensors by the network's keys; the classifier of ImageNet is left out.

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
    name = name.removeprefix(PREFIX)
    if BARE.fullmatch(name):
        return name
    if name in STEM:
        return STEM[name]
    match = BLOCK.fullmatch(name)
    if match is None:
        return None
    stage, block, branch, ending = match.groups()
    return f"res{stage}.{block}.{BRANCHES[branch]}.{ENDINGS[ending]}"
