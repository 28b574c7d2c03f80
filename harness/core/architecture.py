"""The network and its test-time recipe as one frozen record of named numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.core.dataset import Category
from harness.core.tasks import Task

Backbone = Literal["resnet", "mobilenet_v2"]
Block = Literal["basic", "bottleneck"]
ChannelOrder = Literal["BGR", "RGB"]

#: Functions of torchvision.models.detection that build a whole network.
TorchvisionBuilder = Literal[
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Every number of a Faster/Mask R-CNN with a feature pyramid, and how it is tested.

    The defaults are those of Detectron2's COCO FPN models; each comment names the key of
    ``detectron2/config/defaults.py`` or ``configs/Base-RCNN-FPN.yaml`` (commit 02b5c4e2) that the
    value comes from. Sizes in px are pixels of the resized input unless said otherwise.
    """

    torchvision: TorchvisionBuilder | None = None
    """Function of torchvision that builds the network; None for the native networks. With it, only
    the test-time recipe (PROTOCOL_FIELDS), ``class_count``, ``has_masks`` and ``mask_threshold``
    are read from here; every other number is that of torchvision.
    """

    # -- input ---------------------------------------------------------------------------------
    channel_order: ChannelOrder = "BGR"  # INPUT.FORMAT
    """Order of the colour channels of the input."""

    pixel_mean: tuple[float, float, float] = (103.530, 116.280, 123.675)  # MODEL.PIXEL_MEAN
    """Subtracted from each channel, in channel order, 0-255."""

    pixel_std: tuple[float, float, float] = (1.0, 1.0, 1.0)  # MODEL.PIXEL_STD
    """Each channel is divided by it afterwards."""

    short_edge_px: int = 800  # INPUT.MIN_SIZE_TEST
    """Length the short edge is resized to."""

    long_edge_max_px: int = 1333  # INPUT.MAX_SIZE_TEST
    """Upper bound of the long edge; the short edge gets smaller for it."""

    # -- backbone --------------------------------------------------------------------------------
    backbone: Backbone = "resnet"
    """Kind of the backbone."""

    block: Block = "bottleneck"  # of a ResNet
    """Kind of residual block; only of a ResNet."""

    blocks_per_stage: tuple[int, int, int, int] = (3, 4, 6, 3)  # of a ResNet: RESNETS.DEPTH 50
    """Blocks in res2 … res5; only of a ResNet."""

    stem_channels: int = 64  # RESNETS.STEM_OUT_CHANNELS
    """Output channels of the first convolution."""

    stage_channels: tuple[int, int, int, int] = (256, 512, 1024, 2048)  # RES2_OUT_CHANNELS ×2
    """Output channels of res2 … res5."""

    batch_norm_eps: float = 1e-5  # layers/batch_norm.py FrozenBatchNorm2d
    """Added to the variance in frozen BatchNorm."""

    # -- neck: FPN -------------------------------------------------------------------------------
    fpn_channels: int = 256  # FPN.OUT_CHANNELS
    """Channels of every level of the pyramid."""

    # -- region proposals ------------------------------------------------------------------------
    anchor_sizes_px: tuple[int, ...] = (32, 64, 128, 256, 512)  # ANCHOR_GENERATOR.SIZES
    """Square root of the area of the anchors, one a level p2 … p6."""

    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # ANCHOR_GENERATOR.ASPECT_RATIOS
    """Height over width of the anchors at each position."""

    rpn_pre_nms_per_level: int = 1000  # RPN.PRE_NMS_TOPK_TEST
    """Candidates kept on each level before NMS."""

    rpn_nms_iou: float = 0.7  # RPN.NMS_THRESH
    """IoU above which a proposal is suppressed, within a level."""

    rpn_post_nms: int = 1000  # RPN.POST_NMS_TOPK_TEST, over all levels
    """Proposals kept in total."""

    # -- box head --------------------------------------------------------------------------------
    class_count: int = 80  # ROI_HEADS.NUM_CLASSES
    """Number of classes, without the background."""

    box_pool_px: int = 7  # ROI_BOX_HEAD.POOLER_RESOLUTION
    """Height and width of the pooled features of a box."""

    box_fc_channels: tuple[int, ...] = (1024, 1024)  # ROI_BOX_HEAD.NUM_FC, FC_DIM
    """Channels of the fully connected layers of the box head."""

    box_delta_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    """Scales of dx, dy, dw, dh of the box head."""

    score_threshold: float = 0.05  # ROI_HEADS.SCORE_THRESH_TEST
    """Detections must score more than this."""

    box_nms_iou: float = 0.5  # ROI_HEADS.NMS_THRESH_TEST
    """IoU above which a detection is suppressed, within a class."""

    max_detections: int = 100  # TEST.DETECTIONS_PER_IMAGE
    """Detections kept for an image."""

    # -- mask head -------------------------------------------------------------------------------
    has_masks: bool = True  # MODEL.MASK_ON
    """Whether there is a mask head."""

    mask_pool_px: int = 14  # ROI_MASK_HEAD.POOLER_RESOLUTION
    """Height and width of the pooled features of a mask."""

    mask_conv_count: int = 4  # ROI_MASK_HEAD.NUM_CONV
    """3×3 convolutions of the mask head."""

    mask_conv_channels: int = 256  # ROI_MASK_HEAD.CONV_DIM
    """Channels of these convolutions."""

    mask_threshold: float = 0.5  # postprocessing.py detector_postprocess
    """Probability from which a pixel belongs to a mask."""

    # -- keypoint head ---------------------------------------------------------------------------
    keypoint_count: int = 0  # ROI_KEYPOINT_HEAD.NUM_KEYPOINTS; 0 is MODEL.KEYPOINT_ON False
    """Keypoints of an object; 0 for a network without a keypoint head."""

    keypoint_pool_px: int = 14  # ROI_KEYPOINT_HEAD.POOLER_RESOLUTION
    """Height and width of the pooled features of keypoints."""

    keypoint_conv_channels: tuple[int, ...] = (512,) * 8  # ROI_KEYPOINT_HEAD.CONV_DIMS
    """Channels of each 3×3 convolution of the keypoint head."""

    def fitted_to(self, categories: Sequence[Category]) -> Architecture:
        """Return the same with as many classes and, in a keypoint head, keypoints as categories.

        Args:
            categories: Of the data set that own weights were trained on. Names of keypoints that
                they do not have leave the number of keypoints as it is.
        """
        points = max((len(one.keypoints) for one in categories), default=0)
        return replace(
            self,
            class_count=len(categories),
            keypoint_count=(points or self.keypoint_count) if self.keypoint_count else 0,
        )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks whose numbers this network has."""
        has: dict[Task, bool] = {
            "bbox": True,
            "segm": self.has_masks,
            "keypoints": self.keypoint_count > 0,
        }
        return tuple(task for task, there in has.items() if there)


#: Fields of the test-time recipe; a number measured with another value is not comparable.
PROTOCOL_FIELDS = (
    "channel_order",
    "short_edge_px",
    "long_edge_max_px",
    "score_threshold",
    "box_nms_iou",
    "max_detections",
)
