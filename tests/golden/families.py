"""Narrow networks of each family of the zoo, small enough for any CI."""

from __future__ import annotations

from dataclasses import replace

from harness.core.architecture import Architecture
from harness.zoo.architectures import architecture_of

#: An architecture of each family; every part of the zoo is in one of them.
FAMILIES = (
    "mask_rcnn_X_101_32x8d_FPN",
    "mask_rcnn_R_50_FPN_LSJ",
    "scratch_mask_rcnn_R_50_FPN_SyncBN",
    "mask_rcnn_R_50_C4",
    "faster_rcnn_R_50_C4",
    "mask_rcnn_R_50_DC5",
    "mask_rcnn_R_50_FPN_GN",
    "cascade_mask_rcnn_R_50_FPN",
    "mask_rcnn_R_50_FPN_dconv_c3-c5",
    "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv",
    "mask_rcnn_regnetx_4gf_LSJ",
    "mask_rcnn_regnety_4gf_LSJ",
    "fast_rcnn_R_50_FPN",
    "panoptic_fpn_R_50",
    "panoptic_fpn_R_101_dconv_cascade_gn",
    "rpn_R_50_FPN",
    "rpn_R_50_C4",
)

#: Those whose training losses are recorded; of Panoptic FPN they are in ``semantic_losses``, and an
#: RPN alone is not trained.
TRAINED = tuple(name for name in FAMILIES if not name.startswith(("panoptic", "rpn")))

#: Classes of the generated scenes, which the losses need.
CLASSES = 8


def narrow(name: str) -> Architecture:
    """An architecture with few blocks and channels; GroupNorm's 32 groups bound them from below."""
    a = architecture_of(name)
    regnet = a.backbone == "regnet"
    return replace(
        a,
        stem_channels=32,
        # res5 of C4's heads has three blocks in Detectron2, whatever the depth.
        blocks_per_stage=(1, 1, 2, 3 if a.neck == "c4" else 1),
        stage_channels=(64, 128, 192, 256) if regnet else (128, 256, 512, 1024),
        groups=1 if a.groups == 1 else 8,
        width_per_group=32 if a.groups == 1 else 4,
        fpn_channels=64,
        box_conv_channels=64,
        box_fc_channels=tuple(128 for _ in a.box_fc_channels),
        mask_conv_channels=64,
        mask_conv_count=min(a.mask_conv_count, 2),
        semantic_channels=32,
        combine_score=0.1,
        class_count=CLASSES,
        rpn_pre_nms_per_level=300,
        rpn_post_nms=60,
        rpn_post_nms_training=60,
        score_threshold=0.01,
        max_detections=20,
        short_edge_px=200,
        long_edge_max_px=333,
    )


def trained_parameters(architecture: Architecture) -> tuple[str, ...]:
    """Parameters whose gradients are compared: one of each part.

    Detectron2's deformable convolution has no gradient on a CPU: then there are none.
    """
    a = architecture
    if any(a.deformable_stages):
        return ()
    start = "backbone.bottom_up" if a.neck == "fpn" else "backbone"
    stage = "s3.b1.f.b" if a.backbone == "regnet" else "res4.0.conv2"
    rpn = "conv.conv1" if a.rpn_conv_count > 1 else "conv"
    predictors = ("box_predictor.0", "box_predictor.2") if a.is_cascade else ("box_predictor",)
    heads = {
        "res5.1.conv2.weight": a.neck == "c4",
        "mask_head.predictor.weight": a.has_masks,
        "box_head.conv2.norm.bias": a.box_conv_count > 0,
        "box_head.0.fc2.weight": a.is_cascade,
        **{f"{name}.bbox_pred.weight": True for name in predictors},
    }
    return (
        f"{start}.{stage}.weight",
        *(() if a.given_proposals else (f"proposal_generator.rpn_head.{rpn}.weight",)),
        *(f"roi_heads.{name}" for name, there in heads.items() if there),
    )
