"""Detectron2's RetinaNet for an Architecture with a dense head."""

from __future__ import annotations

from typing import Any

from harness.core.architecture import Architecture


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
