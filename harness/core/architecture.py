"""The network and its test-time recipe as one frozen record of named numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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

    torchvision: the function of torchvision that builds the network; None for networks of our own.
    With it, only the test-time recipe (PROTOCOL_FIELDS), ``class_count``, ``has_masks`` and
    ``mask_threshold`` are read from here; every other number is torchvision's.
    """

    torchvision: TorchvisionBuilder | None = None

    # -- input ---------------------------------------------------------------------------------
    channel_order: ChannelOrder = "BGR"  # INPUT.FORMAT
    pixel_mean: tuple[float, float, float] = (103.530, 116.280, 123.675)  # MODEL.PIXEL_MEAN
    pixel_std: tuple[float, float, float] = (1.0, 1.0, 1.0)  # MODEL.PIXEL_STD
    short_edge_px: int = 800  # INPUT.MIN_SIZE_TEST
    long_edge_max_px: int = 1333  # INPUT.MAX_SIZE_TEST

    # -- backbone --------------------------------------------------------------------------------
    backbone: Backbone = "resnet"
    block: Block = "bottleneck"  # of a ResNet
    blocks_per_stage: tuple[int, int, int, int] = (3, 4, 6, 3)  # of a ResNet: RESNETS.DEPTH 50
    stem_channels: int = 64  # RESNETS.STEM_OUT_CHANNELS
    stage_channels: tuple[int, int, int, int] = (256, 512, 1024, 2048)  # RES2_OUT_CHANNELS ×2
    batch_norm_eps: float = 1e-5  # layers/batch_norm.py FrozenBatchNorm2d

    # -- neck: FPN -------------------------------------------------------------------------------
    fpn_channels: int = 256  # FPN.OUT_CHANNELS

    # -- region proposals ------------------------------------------------------------------------
    anchor_sizes_px: tuple[int, ...] = (32, 64, 128, 256, 512)  # ANCHOR_GENERATOR.SIZES
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # ANCHOR_GENERATOR.ASPECT_RATIOS
    rpn_pre_nms_per_level: int = 1000  # RPN.PRE_NMS_TOPK_TEST
    rpn_nms_iou: float = 0.7  # RPN.NMS_THRESH
    rpn_post_nms: int = 1000  # RPN.POST_NMS_TOPK_TEST, over all levels

    # -- box head --------------------------------------------------------------------------------
    class_count: int = 80  # ROI_HEADS.NUM_CLASSES
    box_pool_px: int = 7  # ROI_BOX_HEAD.POOLER_RESOLUTION
    box_fc_channels: tuple[int, ...] = (1024, 1024)  # ROI_BOX_HEAD.NUM_FC, FC_DIM
    box_delta_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    score_threshold: float = 0.05  # ROI_HEADS.SCORE_THRESH_TEST
    box_nms_iou: float = 0.5  # ROI_HEADS.NMS_THRESH_TEST
    max_detections: int = 100  # TEST.DETECTIONS_PER_IMAGE

    # -- mask head -------------------------------------------------------------------------------
    has_masks: bool = True  # MODEL.MASK_ON
    mask_pool_px: int = 14  # ROI_MASK_HEAD.POOLER_RESOLUTION
    mask_conv_count: int = 4  # ROI_MASK_HEAD.NUM_CONV
    mask_conv_channels: int = 256  # ROI_MASK_HEAD.CONV_DIM
    mask_threshold: float = 0.5  # postprocessing.py detector_postprocess

    @property
    def tasks(self) -> tuple[Literal["bbox", "segm"], ...]:
        """COCO tasks whose numbers this network has."""
        return ("bbox", "segm") if self.has_masks else ("bbox",)


#: Fields of the test-time recipe; a number measured with another value is not comparable.
PROTOCOL_FIELDS = (
    "channel_order",
    "short_edge_px",
    "long_edge_max_px",
    "score_threshold",
    "box_nms_iou",
    "max_detections",
)
