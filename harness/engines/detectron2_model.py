"""Detectron2's own network for an Architecture: its configuration, and its parts combined.

Detectron2's blocks make backbones of any widths and depths; with a dense head it is its RetinaNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from harness.core.architecture import Architecture, Norm
from harness.core.errors import PrerequisiteError, UsageError
from harness.nn.panoptic import LOSS_WEIGHT

#: RESNETS.DEPTH by (block, blocks per stage).
DEPTHS = {
    ("basic", (2, 2, 2, 2)): 18,
    ("basic", (3, 4, 6, 3)): 34,
    ("bottleneck", (3, 4, 6, 3)): 50,
    ("bottleneck", (3, 4, 23, 3)): 101,
    ("bottleneck", (3, 8, 36, 3)): 152,
}

#: Names of ``detectron2.layers.get_norm``. SyncBN is what the zoo's configurations name for ``bn``.
NORMS: dict[Norm, str] = {"frozen_bn": "FrozenBN", "bn": "SyncBN", "gn": "GN", "none": ""}

PYRAMID = ["p2", "p3", "p4", "p5", "p6"]
STAGES = ["res2", "res3", "res4", "res5"]


def config_of(architecture: Architecture, device: torch.device) -> Any:
    """Return Detectron2's configuration node for ``architecture``."""
    from detectron2.config import get_cfg

    a = architecture
    cfg = get_cfg()
    m = cfg.MODEL
    m.DEVICE = str(device)
    m.WEIGHTS = ""
    m.META_ARCHITECTURE = "GeneralizedRCNN"
    m.PIXEL_MEAN, m.PIXEL_STD = list(a.pixel_mean), list(a.pixel_std)
    _set_backbone(m, a)
    _set_proposals(m, a)
    _set_heads(m, a)
    if a.detector == "dense":
        set_dense(m, a)
    if a.is_panoptic:
        _set_semantic(m, a)
    if a.detector == "rpn":
        m.META_ARCHITECTURE = "ProposalNetwork"
    cfg.TEST.DETECTIONS_PER_IMAGE = a.max_detections
    cfg.INPUT.FORMAT = a.channel_order
    cfg.INPUT.MIN_SIZE_TEST = a.short_edge_px
    cfg.INPUT.MAX_SIZE_TEST = a.long_edge_max_px
    return cfg


def _set_backbone(m: Any, a: Architecture) -> None:
    fpn = a.neck == "fpn"
    m.BACKBONE.NAME = "build_resnet_fpn_backbone" if fpn else "build_resnet_backbone"
    m.RESNETS.DEPTH = DEPTHS.get((a.block, a.blocks_per_stage), 50)
    m.RESNETS.STEM_OUT_CHANNELS = a.stem_channels
    m.RESNETS.RES2_OUT_CHANNELS = a.stage_channels[0]
    m.RESNETS.OUT_FEATURES = {"fpn": STAGES, "c4": ["res4"], "dc5": ["res5"]}[a.neck]
    m.RESNETS.RES5_DILATION = 2 if a.neck == "dc5" else 1
    m.RESNETS.NUM_GROUPS, m.RESNETS.WIDTH_PER_GROUP = a.groups, a.width_per_group
    m.RESNETS.STRIDE_IN_1X1 = a.stride_in_1x1
    m.RESNETS.DEFORM_ON_PER_STAGE = list(a.deformable_stages)
    m.RESNETS.NORM = NORMS[a.backbone_norm]
    m.FPN.IN_FEATURES = STAGES
    m.FPN.OUT_CHANNELS = a.fpn_channels
    m.FPN.NORM = NORMS[a.fpn_norm]


def _set_proposals(m: Any, a: Architecture) -> None:
    fpn, sizes = a.neck == "fpn", list(a.anchor_sizes_px)
    m.ANCHOR_GENERATOR.SIZES = [[size] for size in sizes] if fpn else [sizes]
    m.ANCHOR_GENERATOR.ASPECT_RATIOS = [list(a.anchor_ratios)]
    m.RPN.IN_FEATURES = PYRAMID if fpn else m.RESNETS.OUT_FEATURES
    m.RPN.CONV_DIMS = [-1] * a.rpn_conv_count
    m.RPN.PRE_NMS_TOPK_TEST = a.rpn_pre_nms_per_level
    m.RPN.POST_NMS_TOPK_TEST = a.rpn_post_nms
    m.RPN.NMS_THRESH = a.rpn_nms_iou
    m.LOAD_PROPOSALS = a.given_proposals
    m.PROPOSAL_GENERATOR.NAME = "PrecomputedProposals" if a.given_proposals else "RPN"


def _set_heads(m: Any, a: Architecture) -> None:
    kinds = {"fpn": "StandardROIHeads", "c4": "Res5ROIHeads", "dc5": "StandardROIHeads"}
    m.ROI_HEADS.NAME = "CascadeROIHeads" if a.is_cascade else kinds[a.neck]
    m.ROI_HEADS.IN_FEATURES = PYRAMID[:4] if a.neck == "fpn" else m.RESNETS.OUT_FEATURES
    m.ROI_HEADS.NUM_CLASSES = a.class_count
    m.ROI_HEADS.SCORE_THRESH_TEST = a.score_threshold
    m.ROI_HEADS.NMS_THRESH_TEST = a.box_nms_iou
    m.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    m.ROI_BOX_HEAD.NUM_CONV, m.ROI_BOX_HEAD.CONV_DIM = a.box_conv_count, a.box_conv_channels
    m.ROI_BOX_HEAD.NUM_FC = len(a.box_fc_channels)
    m.ROI_BOX_HEAD.FC_DIM = a.box_fc_channels[0] if a.box_fc_channels else 1024
    m.ROI_BOX_HEAD.NORM = NORMS[a.head_norm]
    m.ROI_BOX_HEAD.POOLER_RESOLUTION = a.box_pool_px
    m.ROI_BOX_HEAD.SMOOTH_L1_BETA = a.box_smooth_l1_beta
    m.ROI_BOX_HEAD.BBOX_REG_WEIGHTS = a.box_delta_weights
    m.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = a.is_cascade
    if a.is_cascade:
        first = m.ROI_HEADS.IOU_THRESHOLDS[0]
        m.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS = a.delta_weights
        m.ROI_BOX_CASCADE_HEAD.IOUS = (first, *a.cascade_ious)
    m.MASK_ON = a.has_masks
    m.ROI_MASK_HEAD.NAME = "MaskRCNNConvUpsampleHead"
    m.ROI_MASK_HEAD.NUM_CONV = a.mask_conv_count
    m.ROI_MASK_HEAD.CONV_DIM = a.mask_conv_channels
    m.ROI_MASK_HEAD.NORM = NORMS[a.head_norm]
    m.ROI_MASK_HEAD.POOLER_RESOLUTION = a.mask_pool_px
    m.KEYPOINT_ON = a.keypoint_count > 0
    m.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS = a.keypoint_count
    m.ROI_KEYPOINT_HEAD.CONV_DIMS = list(a.keypoint_conv_channels)
    m.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION = a.keypoint_pool_px


def _set_semantic(m: Any, a: Architecture) -> None:
    m.META_ARCHITECTURE = "PanopticFPN"
    m.SEM_SEG_HEAD.NUM_CLASSES = a.semantic_classes
    m.SEM_SEG_HEAD.CONVS_DIM = a.semantic_channels
    m.SEM_SEG_HEAD.NORM = NORMS[a.semantic_norm]
    m.SEM_SEG_HEAD.LOSS_WEIGHT = LOSS_WEIGHT
    m.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH = a.combine_overlap
    m.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = a.combine_stuff_px
    m.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = a.combine_score


def build_model(
    architecture: Architecture, device: torch.device, training: Mapping[str, Any] | None = None
) -> Any:
    """Return Detectron2's GeneralizedRCNN in evaluation mode, without weights.

    A backbone that Detectron2's configuration can name comes from its own ``build_model``; another
    one, a RegNet among them, is built from the same blocks.

    Args:
        architecture: The network and its test-time recipe.
        device: Where it computes.
        training: Configuration keys that only a training needs, with their values.

    Raises:
        UsageError: A box head that Detectron2's configuration cannot express.
        PrerequisiteError: The installed Detectron2 lacks a part of the network.
    """
    from detectron2.modeling import build_model as detectron2_build_model

    if len(set(architecture.box_fc_channels)) > 1:
        raise UsageError(
            "the detectron2 engine builds box heads whose layers are equally wide, not "
            f"{architecture.box_fc_channels}",
            hint="use --engine native for this model",
        )
    _require_parts(architecture)
    cfg = config_of(architecture, device)
    for key, value in (training or {}).items():
        cfg.merge_from_list([key, value])
    if _is_of_the_configuration(architecture):
        return detectron2_build_model(cfg).eval()
    backbone = backbone_of(architecture, NORMS)
    bottom_up = backbone.bottom_up if architecture.neck == "fpn" else backbone
    bottom_up.freeze(cfg.MODEL.BACKBONE.FREEZE_AT)
    make = retinanet_of if architecture.detector == "dense" else _on_regions
    return make(architecture, cfg, backbone).to(device).eval()


def _on_regions(architecture: Architecture, cfg: Any, backbone: Any) -> Any:
    """Return Detectron2's network on proposed regions, or one that only proposes them."""
    from detectron2.modeling import (
        GeneralizedRCNN,
        PanopticFPN,
        ProposalNetwork,
        build_proposal_generator,
        build_roi_heads,
        build_sem_seg_head,
    )

    shapes = backbone.output_shape()
    parts: dict[str, Any] = {
        "backbone": backbone,
        "proposal_generator": build_proposal_generator(cfg, shapes),
        "pixel_mean": architecture.pixel_mean,
        "pixel_std": architecture.pixel_std,
    }
    if architecture.detector == "rpn":
        return ProposalNetwork(**parts)
    parts |= {
        "roi_heads": build_roi_heads(cfg, shapes),
        "input_format": architecture.channel_order,
    }
    if not architecture.is_panoptic:
        return GeneralizedRCNN(**parts)
    return PanopticFPN(
        **parts,
        sem_seg_head=build_sem_seg_head(cfg, shapes),
        combine_overlap_thresh=architecture.combine_overlap,
        combine_stuff_area_thresh=architecture.combine_stuff_px,
        combine_instances_score_thresh=architecture.combine_score,
    )


def _require_parts(architecture: Architecture) -> None:
    """Check that the installed Detectron2 has every part of a network.

    Raises:
        PrerequisiteError: It was installed without its compiled part, which offers deformable
            convolutions.
    """
    if not any(architecture.deformable_stages):
        return
    try:
        from detectron2 import _C  # noqa: F401
    except ImportError as error:
        raise PrerequisiteError(
            f"this network has deformable convolutions, which the installed detectron2 lacks: it "
            f"is not compiled ({error})",
            hint="build detectron2 from its repository, or use --engine native",
        ) from None


def _is_of_the_configuration(architecture: Architecture) -> bool:
    a = architecture
    widths = (64, 128, 256, 512) if a.block == "basic" else (256, 512, 1024, 2048)
    known = a.backbone == "resnet" and (a.block, a.blocks_per_stage) in DEPTHS
    return known and a.stage_channels == widths and a.stem_channels == 64


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


def set_dense(model: Any, architecture: Architecture) -> None:
    """Set what a RetinaNet has otherwise than an R-CNN: configs/Base-RetinaNet.yaml.

    Args:
        model: ``MODEL`` of a configuration; it is changed.
        architecture: The network.
    """
    m, a = model, architecture
    m.META_ARCHITECTURE = "RetinaNet"
    m.BACKBONE.NAME = "build_retinanet_resnet_fpn_backbone"
    m.RESNETS.OUT_FEATURES = m.FPN.IN_FEATURES = [f"res{level}" for level in a.merged_levels]
    m.ANCHOR_GENERATOR.SIZES = [
        [size * scale for scale in a.anchor_scales] for size in a.anchor_sizes_px
    ]
    r = m.RETINANET
    r.NUM_CLASSES, r.NUM_CONVS = a.class_count, a.dense_conv_count
    r.SCORE_THRESH_TEST, r.NMS_THRESH_TEST = a.score_threshold, a.box_nms_iou
    r.TOPK_CANDIDATES_TEST = a.dense_candidates_per_level
    r.IOU_THRESHOLDS, r.IOU_LABELS = [0.4, 0.5], [0, -1, 1]
    r.SMOOTH_L1_LOSS_BETA = 0.0


def retinanet_of(architecture: Architecture, cfg: Any, backbone: Any) -> Any:
    """Return Detectron2's RetinaNet on a backbone of any widths and depths.

    Args:
        architecture: The network.
        cfg: Its configuration.
        backbone: Its backbone with the pyramid.
    """
    from detectron2.modeling import build_anchor_generator
    from detectron2.modeling.box_regression import Box2BoxTransform
    from detectron2.modeling.matcher import Matcher
    from detectron2.modeling.meta_arch.retinanet import RetinaNet, RetinaNetHead

    r = cfg.MODEL.RETINANET
    shapes = [backbone.output_shape()[name] for name in r.IN_FEATURES]
    return RetinaNet(
        backbone=backbone,
        head=RetinaNetHead(cfg, shapes),
        head_in_features=r.IN_FEATURES,
        anchor_generator=build_anchor_generator(cfg, shapes),
        box2box_transform=Box2BoxTransform(weights=r.BBOX_REG_WEIGHTS),
        anchor_matcher=Matcher(r.IOU_THRESHOLDS, r.IOU_LABELS, allow_low_quality_matches=True),
        num_classes=r.NUM_CLASSES,
        focal_loss_alpha=r.FOCAL_LOSS_ALPHA,
        focal_loss_gamma=r.FOCAL_LOSS_GAMMA,
        smooth_l1_beta=r.SMOOTH_L1_LOSS_BETA,
        box_reg_loss_type=r.BBOX_REG_LOSS_TYPE,
        test_score_thresh=r.SCORE_THRESH_TEST,
        test_topk_candidates=r.TOPK_CANDIDATES_TEST,
        test_nms_thresh=r.NMS_THRESH_TEST,
        max_detections_per_image=cfg.TEST.DETECTIONS_PER_IMAGE,
        pixel_mean=architecture.pixel_mean,
        pixel_std=architecture.pixel_std,
        input_format=architecture.channel_order,
    )
