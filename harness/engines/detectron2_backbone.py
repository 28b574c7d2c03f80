"""Backbones of any widths and depths, of Detectron2's own blocks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from harness.core.architecture import Architecture, Norm


def backbone_of(architecture: Architecture, norms: Mapping[Norm, str]) -> Any:
    """Return what Detectron2's network has for a backbone, with its pyramid if it has one.

    Args:
        architecture: The network.
        norms: Detectron2's name of each normalisation.
    """
    norm = norms[architecture.backbone_norm]
    regnet = architecture.backbone == "regnet"
    bottom_up = (_regnet if regnet else _resnet)(architecture, norm)
    if architecture.neck != "fpn":
        return bottom_up
    from detectron2.modeling.backbone import FPN
    from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7

    a = architecture
    dense = a.detector == "dense"
    above = LastLevelP6P7(a.stage_channels[-1], a.fpn_channels) if dense else LastLevelMaxPool()
    return FPN(
        bottom_up,
        in_features=["s1", "s2", "s3", "s4"] if regnet else _merged(a),
        out_channels=architecture.fpn_channels,
        norm=norms[architecture.fpn_norm],
        top_block=above,
    )


def _merged(architecture: Architecture) -> list[str]:
    return [f"res{level}" for level in architecture.merged_levels]


def _resnet(architecture: Architecture, norm: str) -> Any:
    from detectron2.modeling.backbone import resnet

    a = architecture
    channels = a.stem_channels
    stages = []
    for index, (count, width) in enumerate(zip(a.blocks_per_stage, a.stage_channels, strict=True)):
        dilation = 2 if a.neck == "dc5" and index == 3 else 1
        kind = resnet.BasicBlock
        options: dict[str, Any] = {"norm": norm}
        if a.block == "bottleneck":
            deformable = a.deformable_stages[index]
            kind = resnet.DeformBottleneckBlock if deformable else resnet.BottleneckBlock
            options |= {
                "bottleneck_channels": a.groups * a.width_per_group * 2**index,
                "num_groups": a.groups,
                "stride_in_1x1": a.stride_in_1x1,
                "dilation": dilation,
            }
        first = 1 if index == 0 or dilation == 2 else 2
        stage = resnet.ResNet.make_stage(
            kind,
            count,
            in_channels=channels,
            out_channels=width,
            stride_per_block=[first] + [1] * (count - 1),
            **options,
        )
        stages.append(stage)
        channels = width
    stem = resnet.BasicStem(3, a.stem_channels, norm=norm)
    features = {"fpn": _merged(a), "c4": ["res4"], "dc5": ["res5"]}[a.neck]
    return resnet.ResNet(stem, stages, out_features=features)


def _regnet(architecture: Architecture, norm: str) -> Any:
    from detectron2.modeling.backbone import regnet
    from torch import nn

    a = architecture
    return regnet.AnyNet(
        stem_class=regnet.SimpleStem,
        stem_width=a.stem_channels,
        block_class=regnet.ResBottleneckBlock,
        depths=list(a.blocks_per_stage),
        widths=list(a.stage_channels),
        group_widths=[min(a.width_per_group, width) for width in a.stage_channels],
        strides=[2] * 4,
        bottleneck_ratios=[1.0] * 4,
        se_ratio=a.squeeze_ratio,
        activation_class=partial(nn.ReLU, inplace=True),
        norm=norm,
        out_features=["s1", "s2", "s3", "s4"],
    )
