"""The networks of the zoo, one plain function each; every number is an argument or a default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.core.architecture import Architecture, Norm, TorchvisionBuilder
from harness.core.errors import PrerequisiteError


def architecture_of(name: str) -> Architecture:
    """The architecture of a name.

    Args:
        name: The ``architecture`` field of a model entry.

    Raises:
        PrerequisiteError: This version has none of this name.
    """
    match name:
        case "maskrcnn_resnet50_fpn" | "maskrcnn_resnet50_fpn_v2":
            return of_torchvision(name, has_masks=True)
        case "fasterrcnn_resnet50_fpn" | "fasterrcnn_mobilenet_v3_large_fpn":
            return of_torchvision(name, has_masks=False)
        case _ if name in BY_NAME:
            return BY_NAME[name]()
        case _:
            raise PrerequisiteError(
                f"this version cannot compute the network {name!r} yet",
                hint="its published numbers are listed all the same, and the models that cannot be "
                "computed are marked: harness models",
            )


def is_known(name: str) -> bool:
    """Whether there is an architecture of a name.

    Args:
        name: The ``architecture`` field of a model entry.
    """
    try:
        architecture_of(name)
    except PrerequisiteError:
        return False
    return True


#: Blocks of res2 … res5 of the deeper ResNets (``modeling/backbone/resnet.py``).
R101 = (3, 4, 23, 3)
R152 = (3, 8, 36, 3)

#: Standard deviations of ImageNet's pixels, BGR. The MSRA weights have them absorbed.
IMAGENET_STD = (57.375, 57.120, 58.395)


def mask_rcnn_r50_fpn() -> Architecture:
    """configs/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_{1x,3x}.yaml."""
    return Architecture()


def mask_rcnn_r101_fpn() -> Architecture:
    """configs/COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.yaml."""
    return Architecture(blocks_per_stage=R101)


def faster_rcnn_r50_fpn() -> Architecture:
    """configs/COCO-Detection/faster_rcnn_R_50_FPN_{1x,3x}.yaml: the same network without masks."""
    return Architecture(has_masks=False)


def faster_rcnn_r101_fpn() -> Architecture:
    """configs/COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml."""
    return Architecture(blocks_per_stage=R101, has_masks=False)


def fast_rcnn_r50_fpn() -> Architecture:
    """configs/COCO-Detection/fast_rcnn_R_50_FPN_1x.yaml: regions come from a file.

    Of a training 2000 an image (DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN).
    """
    return Architecture(has_masks=False, given_proposals=True, rpn_post_nms_training=2000)


def mask_rcnn_x101_fpn() -> Architecture:
    """configs/COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x.yaml: ResNeXt, 32 × 8."""
    return Architecture(
        pixel_std=IMAGENET_STD,
        blocks_per_stage=R101,
        groups=32,
        width_per_group=8,
        stride_in_1x1=False,
    )


def faster_rcnn_x101_fpn() -> Architecture:
    """configs/COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml."""
    return replace(mask_rcnn_x101_fpn(), has_masks=False)


def normed(norm: Norm) -> Architecture:
    """R50-FPN with a normalisation everywhere, and four convolutions in the box head.

    SyncBN: configs/Misc/mask_rcnn_R_50_FPN_3x_syncbn.yaml.
    """
    return Architecture(
        backbone_norm=norm, fpn_norm=norm, head_norm=norm, box_conv_count=4, box_fc_channels=(1024,)
    )


def scratch_syncbn() -> Architecture:
    """configs/Misc/scratch_mask_rcnn_R_50_FPN_9x_syncbn.yaml."""
    return replace(normed("bn"), pixel_std=IMAGENET_STD, stride_in_1x1=False)


def lsj() -> Architecture:
    """configs/new_baselines/mask_rcnn_R_50_FPN_{100,200,400}ep_LSJ.py: two convolutions in the RPN.

    The backbone is that of configs/common/models/mask_rcnn_fpn.py, with the stride in the 1×1.
    """
    return replace(normed("bn"), rpn_conv_count=2)


def lsj_r101() -> Architecture:
    """configs/new_baselines/mask_rcnn_R_101_FPN_{100,200,400}ep_LSJ.py."""
    return replace(lsj(), blocks_per_stage=R101)


def lsj_regnet_x() -> Architecture:
    """configs/new_baselines/mask_rcnn_regnetx_4gf_dds_FPN_{100,200,400}ep_LSJ.py.

    Blocks and channels are what ``modeling/backbone/regnet.py`` makes of depth 23, w_a 38.65,
    w_0 96, w_m 2.43 and groups of 40 channels.
    """
    return replace(
        lsj(),
        pixel_std=IMAGENET_STD,
        backbone="regnet",
        stem_channels=32,
        blocks_per_stage=(2, 5, 14, 2),
        stage_channels=(80, 240, 560, 1360),
        width_per_group=40,
    )


def lsj_regnet_y() -> Architecture:
    """configs/new_baselines/mask_rcnn_regnety_4gf_dds_FPN_{100,200,400}ep_LSJ.py.

    Blocks and channels are what ``modeling/backbone/regnet.py`` makes of depth 22, w_a 31.41,
    w_0 96, w_m 2.24 and groups of 64 channels.
    """
    return replace(
        lsj_regnet_x(),
        blocks_per_stage=(2, 6, 12, 2),
        stage_channels=(128, 192, 512, 1088),
        width_per_group=64,
        squeeze_ratio=0.25,
    )


def mask_rcnn_r50_c4() -> Architecture:
    """configs/COCO-InstanceSegmentation/mask_rcnn_R_50_C4_{1x,3x}.yaml, Base-RCNN-C4.yaml.

    What these do not name comes from detectron2/config/defaults.py.
    """
    return Architecture(
        neck="c4",
        rpn_pre_nms_per_level=6000,
        rpn_post_nms_training=2000,
        box_pool_px=14,
        box_fc_channels=(),
        mask_conv_count=0,
    )


def mask_rcnn_r50_dc5() -> Architecture:
    """configs/COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_{1x,3x}.yaml, Base-RCNN-DilatedC5.yaml.

    What these do not name comes from detectron2/config/defaults.py.
    """
    return Architecture(neck="dc5", rpn_pre_nms_per_level=6000, rpn_post_nms_training=2000)


def mask_rcnn_gn() -> Architecture:
    """configs/Misc/mask_rcnn_R_50_FPN_3x_gn.yaml, and its scratch_ variant of the same network."""
    return replace(normed("gn"), stride_in_1x1=False)


def scratch_gn_9x() -> Architecture:
    """configs/Misc/scratch_mask_rcnn_R_50_FPN_9x_gn.yaml: it also divides the pixels."""
    return replace(mask_rcnn_gn(), pixel_std=IMAGENET_STD)


#: MODEL.ROI_BOX_CASCADE_HEAD of detectron2/config/defaults.py, without the first stage's numbers,
#: which are those of a box head alone.
CASCADE = {
    "cascade_delta_weights": ((20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
    "cascade_ious": (0.6, 0.7),
    "rpn_post_nms_training": 2000,
}


def cascade_mask_rcnn_r50_fpn() -> Architecture:
    """configs/Misc/cascade_mask_rcnn_R_50_FPN_{1x,3x}.yaml."""
    return replace(Architecture(), **CASCADE)  # type: ignore[arg-type]


def mask_rcnn_r50_fpn_dconv() -> Architecture:
    """configs/Misc/mask_rcnn_R_50_FPN_{1x,3x}_dconv_c3-c5.yaml."""
    return Architecture(deformable_stages=(False, True, True, True))


def cascade_mask_rcnn_x152_fpn() -> Architecture:
    """configs/Misc/cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv.yaml."""
    return replace(
        cascade_mask_rcnn_r50_fpn(),
        blocks_per_stage=R152,
        groups=32,
        width_per_group=8,
        stride_in_1x1=False,
        deformable_stages=(False, True, True, True),
        box_conv_count=4,
        box_fc_channels=(1024,),
        mask_conv_count=8,
        head_norm="gn",
    )


def on_keypoints(network: Architecture) -> Architecture:
    """configs/COCO-Keypoints/Base-Keypoint-RCNN-FPN.yaml: 17 keypoints of persons, no masks."""
    return replace(
        network,
        has_masks=False,
        class_count=1,
        keypoint_count=17,
        rpn_post_nms_training=1500,
        box_smooth_l1_beta=0.5,
    )


def keypoint_rcnn_r50_fpn() -> Architecture:
    """configs/COCO-Keypoints/keypoint_rcnn_R_50_FPN_{1x,3x}.yaml: persons and 17 keypoints."""
    return on_keypoints(Architecture())


def keypoint_rcnn_r101_fpn() -> Architecture:
    """configs/COCO-Keypoints/keypoint_rcnn_R_101_FPN_3x.yaml."""
    return replace(keypoint_rcnn_r50_fpn(), blocks_per_stage=R101)


def keypoint_rcnn_x101_fpn() -> Architecture:
    """configs/COCO-Keypoints/keypoint_rcnn_X_101_32x8d_FPN_3x.yaml."""
    return on_keypoints(mask_rcnn_x101_fpn())


#: SEM_SEG_HEAD.NUM_CLASSES of detectron2/config/defaults.py: COCO's 53 kinds of stuff, and things.
COCO_SEMANTIC_CLASSES = 54


def panoptic_fpn_r50() -> Architecture:
    """configs/COCO-PanopticSegmentation/panoptic_fpn_R_50_{1x,3x}.yaml, Base-Panoptic-FPN.yaml."""
    return Architecture(semantic_classes=COCO_SEMANTIC_CLASSES)


def panoptic_fpn_r101() -> Architecture:
    """configs/COCO-PanopticSegmentation/panoptic_fpn_R_101_3x.yaml."""
    return replace(panoptic_fpn_r50(), blocks_per_stage=R101)


def panoptic_fpn_r101_dconv_cascade_gn() -> Architecture:
    """configs/Misc/panoptic_fpn_R_101_dconv_cascade_gn_3x.yaml; no convolution in the box head."""
    return replace(
        cascade_mask_rcnn_r50_fpn(),
        blocks_per_stage=R101,
        stride_in_1x1=False,
        backbone_norm="gn",
        fpn_norm="gn",
        head_norm="gn",
        deformable_stages=(False, True, True, True),
        semantic_classes=COCO_SEMANTIC_CLASSES,
    )


def retinanet_r50_fpn() -> Architecture:
    """configs/COCO-Detection/retinanet_R_50_FPN_{1x,3x}.yaml, Base-RetinaNet.yaml."""
    return Architecture(
        detector="dense",
        has_masks=False,
        anchor_scales=(1.0, 2 ** (1.0 / 3), 2 ** (2.0 / 3)),
    )


def retinanet_r101_fpn() -> Architecture:
    """configs/COCO-Detection/retinanet_R_101_FPN_3x.yaml."""
    return replace(retinanet_r50_fpn(), blocks_per_stage=R101)


def rpn_r50_fpn() -> Architecture:
    """configs/COCO-Detection/rpn_R_50_FPN_1x.yaml."""
    return Architecture(detector="rpn", has_masks=False, rpn_post_nms=2000)


def rpn_r50_c4() -> Architecture:
    """configs/COCO-Detection/rpn_R_50_C4_1x.yaml."""
    return replace(
        mask_rcnn_r50_c4(),
        detector="rpn",
        has_masks=False,
        rpn_pre_nms_per_level=12000,
        rpn_post_nms=2000,
    )


#: What torchvision's ImageNet weights expect of an image of 0 … 255 (``ImageClassification``).
TORCHVISION_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
TORCHVISION_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


def mask_rcnn_mobilenet_v2_fpn_lite() -> Architecture:
    """MobileNetV2 with a pyramid of 128 channels: about a third of the multiplications of R50-FPN.

    Levels, their channels and the pyramid's: youngwanLEE/vovnet-detectron2@b81c813
    ``vovnet/mobilenet.py`` and ``configs/*_Mv2_FPNLite_3x.yaml``. Pixels are normalised as
    torchvision's ImageNet weights want it, which the backbone begins with.
    """
    return Architecture(
        channel_order="RGB",
        pixel_mean=TORCHVISION_MEAN,
        pixel_std=TORCHVISION_STD,
        backbone="mobilenet_v2",
        stem_channels=32,
        stage_channels=(24, 32, 96, 320),
        fpn_channels=128,
    )


def of_torchvision(builder: TorchvisionBuilder, *, has_masks: bool) -> Architecture:
    """A network of torchvision, tested as ``torchvision.models.detection`` does by default.

    Its test recipe has Detectron2's numbers, and RGB.

    Args:
        builder: torchvision's function of the network.
        has_masks: It has a mask head.
    """
    return Architecture(torchvision=builder, channel_order="RGB", has_masks=has_masks)


def tiny() -> Architecture:
    """A network of under a million parameters for the embedded synthetic scenes.

    Chosen, not published: basic blocks, an eighth of the zoo's width, anchors and test size halved
    twice to fit scenes of about 320 × 240.
    """
    return Architecture(
        pixel_std=(58.0, 58.0, 58.0),
        block="basic",
        blocks_per_stage=(1, 1, 1, 1),
        stem_channels=16,
        stage_channels=(16, 32, 64, 128),
        fpn_channels=48,
        anchor_sizes_px=(16, 32, 64, 128, 256),
        box_fc_channels=(128, 128),
        mask_conv_count=2,
        mask_conv_channels=48,
        class_count=8,
        short_edge_px=288,
        long_edge_max_px=504,
        rpn_pre_nms_per_level=300,
        rpn_post_nms=300,
        rpn_post_nms_training=300,
    )


def with_depth(
    make: Callable[[], Architecture], *, masks: bool, deep: bool = False
) -> Callable[[], Architecture]:
    """The same network with or without masks, and with 50 or 101 layers."""
    blocks = R101 if deep else make().blocks_per_stage
    return lambda: replace(make(), blocks_per_stage=blocks, has_masks=masks)


#: The function of each architecture that the lock may name.
BY_NAME: dict[str, Callable[[], Architecture]] = {
    "mask_rcnn_R_50_FPN": mask_rcnn_r50_fpn,
    "mask_rcnn_R_101_FPN": mask_rcnn_r101_fpn,
    "faster_rcnn_R_50_FPN": faster_rcnn_r50_fpn,
    "faster_rcnn_R_101_FPN": faster_rcnn_r101_fpn,
    "fast_rcnn_R_50_FPN": fast_rcnn_r50_fpn,
    "mask_rcnn_X_101_32x8d_FPN": mask_rcnn_x101_fpn,
    "faster_rcnn_X_101_32x8d_FPN": faster_rcnn_x101_fpn,
    "mask_rcnn_R_50_FPN_LSJ": lsj,
    "mask_rcnn_R_101_FPN_LSJ": lsj_r101,
    "mask_rcnn_R_50_FPN_SyncBN": lambda: normed("bn"),
    "scratch_mask_rcnn_R_50_FPN_SyncBN": scratch_syncbn,
    "mask_rcnn_R_50_C4": mask_rcnn_r50_c4,
    "mask_rcnn_R_101_C4": with_depth(mask_rcnn_r50_c4, masks=True, deep=True),
    "faster_rcnn_R_50_C4": with_depth(mask_rcnn_r50_c4, masks=False),
    "faster_rcnn_R_101_C4": with_depth(mask_rcnn_r50_c4, masks=False, deep=True),
    "mask_rcnn_R_50_DC5": mask_rcnn_r50_dc5,
    "mask_rcnn_R_101_DC5": with_depth(mask_rcnn_r50_dc5, masks=True, deep=True),
    "faster_rcnn_R_50_DC5": with_depth(mask_rcnn_r50_dc5, masks=False),
    "faster_rcnn_R_101_DC5": with_depth(mask_rcnn_r50_dc5, masks=False, deep=True),
    "mask_rcnn_R_50_FPN_GN": mask_rcnn_gn,
    "scratch_mask_rcnn_R_50_FPN_GN": mask_rcnn_gn,
    "scratch_mask_rcnn_R_50_FPN_9x_GN": scratch_gn_9x,
    "cascade_mask_rcnn_R_50_FPN": cascade_mask_rcnn_r50_fpn,
    "mask_rcnn_R_50_FPN_dconv_c3-c5": mask_rcnn_r50_fpn_dconv,
    "mask_rcnn_regnetx_4gf_LSJ": lsj_regnet_x,
    "mask_rcnn_regnety_4gf_LSJ": lsj_regnet_y,
    "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv": cascade_mask_rcnn_x152_fpn,
    "keypoint_rcnn_R_50_FPN": keypoint_rcnn_r50_fpn,
    "keypoint_rcnn_R_101_FPN": keypoint_rcnn_r101_fpn,
    "keypoint_rcnn_X_101_32x8d_FPN": keypoint_rcnn_x101_fpn,
    "panoptic_fpn_R_50": panoptic_fpn_r50,
    "panoptic_fpn_R_101": panoptic_fpn_r101,
    "panoptic_fpn_R_101_dconv_cascade_gn": panoptic_fpn_r101_dconv_cascade_gn,
    "rpn_R_50_FPN": rpn_r50_fpn,
    "rpn_R_50_C4": rpn_r50_c4,
    "retinanet_R_50_FPN": retinanet_r50_fpn,
    "retinanet_R_101_FPN": retinanet_r101_fpn,
    "mask_rcnn_mobilenet_v2_fpn_lite": mask_rcnn_mobilenet_v2_fpn_lite,
    "tiny": tiny,
}
