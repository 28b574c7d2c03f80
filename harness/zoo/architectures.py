"""The networks of the zoo, one plain function each; every number is an argument or a default."""

from __future__ import annotations

from collections.abc import Callable

from harness.core.architecture import Architecture, TorchvisionBuilder
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
                hint="its published numbers are listed all the same; which models can be computed "
                "says: harness models",
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


def mask_rcnn_r50_fpn() -> Architecture:
    """configs/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_{1x,3x}.yaml."""
    return Architecture()


def mask_rcnn_r101_fpn() -> Architecture:
    """configs/COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.yaml."""
    return Architecture(blocks_per_stage=(3, 4, 23, 3))


def faster_rcnn_r50_fpn() -> Architecture:
    """configs/COCO-Detection/faster_rcnn_R_50_FPN_{1x,3x}.yaml: the same without masks."""
    return Architecture(has_masks=False)


def faster_rcnn_r101_fpn() -> Architecture:
    """configs/COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml."""
    return Architecture(blocks_per_stage=(3, 4, 23, 3), has_masks=False)


def keypoint_rcnn_r50_fpn() -> Architecture:
    """configs/COCO-Keypoints/keypoint_rcnn_R_50_FPN_{1x,3x}.yaml: persons and 17 keypoints."""
    return Architecture(has_masks=False, class_count=1, keypoint_count=17)


def keypoint_rcnn_r101_fpn() -> Architecture:
    """configs/COCO-Keypoints/keypoint_rcnn_R_101_FPN_3x.yaml."""
    return Architecture(
        blocks_per_stage=(3, 4, 23, 3), has_masks=False, class_count=1, keypoint_count=17
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
    )


#: Functions of the native networks, by the ``architecture`` field of a model entry.
BY_NAME: dict[str, Callable[[], Architecture]] = {
    "mask_rcnn_R_50_FPN": mask_rcnn_r50_fpn,
    "mask_rcnn_R_101_FPN": mask_rcnn_r101_fpn,
    "faster_rcnn_R_50_FPN": faster_rcnn_r50_fpn,
    "faster_rcnn_R_101_FPN": faster_rcnn_r101_fpn,
    "keypoint_rcnn_R_50_FPN": keypoint_rcnn_r50_fpn,
    "keypoint_rcnn_R_101_FPN": keypoint_rcnn_r101_fpn,
    "mask_rcnn_mobilenet_v2_fpn_lite": mask_rcnn_mobilenet_v2_fpn_lite,
    "tiny": tiny,
}
