"""The network and its test-time recipe as one frozen record of named numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.core.dataset import Category
from harness.core.tasks import PANOPTIC, PROPOSALS, Task

Backbone = Literal["resnet", "mobilenet_v2", "regnet"]
Block = Literal["basic", "bottleneck"]

#: How a convolution's output is normalised. ``frozen_bn`` is BatchNorm whose numbers never change,
#: ``bn`` one that a training updates, ``gn`` GroupNorm of 32 groups; with ``none`` the convolution
#: has a bias instead.
Norm = Literal["frozen_bn", "bn", "gn", "none"]

#: Which maps regions are proposed on and pooled from: the levels of a pyramid; the output of res4,
#: with res5 computed on each region; or the output of a res5 that is dilated instead of strided.
Neck = Literal["fpn", "c4", "dc5"]
Four = tuple[float, float, float, float]
ChannelOrder = Literal["BGR", "RGB"]

#: Longest edge that images may be resized to, px: what asks for or states more is a mistake, or
#: damaged, or made to fill the memory. Chosen: no network is trained on images of half of it.
LONGEST_EDGE_PX = 20_000

#: What finds objects: heads on proposed regions, or one dense head on every cell of the pyramid;
#: or nothing does, and the proposals are the result.
Detector = Literal["rcnn", "dense", "rpn"]

#: Functions of torchvision.models.detection that build a whole network.
TorchvisionBuilder = Literal[
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Every number of a Faster/Mask R-CNN, which parts it is made of, and how it is tested.

    The defaults are those of Detectron2's COCO FPN models; each comment names the key of
    ``detectron2/config/defaults.py`` or ``configs/Base-RCNN-FPN.yaml`` (commit 02b5c4e2) that the
    value comes from. Sizes in px are pixels of the resized input unless said otherwise.
    """

    torchvision: TorchvisionBuilder | None = None
    """Function of torchvision that builds the network; None for the native networks. With it, only
    the test-time recipe (PROTOCOL_FIELDS), ``class_count``, ``has_masks`` and ``mask_threshold``
    are read from here; every other number is that of torchvision.
    """

    detector: Detector = "rcnn"  # MODEL.META_ARCHITECTURE
    """What finds objects. Of a dense one, the numbers of proposals and of the heads on regions have
    no meaning.
    """

    given_proposals: bool = False  # MODEL.LOAD_PROPOSALS, PROPOSAL_GENERATOR.NAME
    """Whether regions come with each image, from a file: a Fast R-CNN. Then the numbers of region
    proposals have no meaning, but for how many are kept.
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
    """Blocks in res2 … res5; of a ResNet or a RegNet."""

    stem_channels: int = 64  # RESNETS.STEM_OUT_CHANNELS
    """Output channels of the first convolution."""

    stage_channels: tuple[int, int, int, int] = (256, 512, 1024, 2048)  # RES2_OUT_CHANNELS ×2
    """Output channels of res2 … res5."""

    groups: int = 1  # RESNETS.NUM_GROUPS
    """Groups of the 3×3 convolution of a bottleneck; more than one make a ResNeXt."""

    width_per_group: int = 64  # RESNETS.WIDTH_PER_GROUP
    """Channels of each of these groups in res2, twice as many in each later stage; in a RegNet the
    same number in all stages, and ``groups`` follows from it.
    """

    stride_in_1x1: bool = True  # RESNETS.STRIDE_IN_1X1
    """Whether a bottleneck's stride is in its first 1×1 convolution, and not in its 3×3 one."""

    deformable_stages: tuple[bool, bool, bool, bool] = (False, False, False, False)
    """Whether the 3×3 convolutions of res2 … res5 are deformable (RESNETS.DEFORM_ON_PER_STAGE)."""

    squeeze_ratio: float = 0.0  # backbone/regnet.py RegNet se_ratio
    """Channels of a RegNet's squeeze-and-excitation, as a share of its block's; 0 for none."""

    backbone_norm: Norm = "frozen_bn"  # RESNETS.NORM
    """Normalisation of the backbone's convolutions."""

    batch_norm_eps: float = 1e-5  # layers/batch_norm.py FrozenBatchNorm2d
    """Added to the variance in BatchNorm."""

    # -- neck ------------------------------------------------------------------------------------
    neck: Neck = "fpn"  # BACKBONE.NAME, ROI_HEADS.NAME
    """What regions are proposed on and pooled from."""

    fpn_channels: int = 256  # FPN.OUT_CHANNELS
    """Channels of every level of the pyramid."""

    fpn_norm: Norm = "none"  # FPN.NORM
    """Normalisation of the pyramid's convolutions."""

    # -- region proposals ------------------------------------------------------------------------
    anchor_sizes_px: tuple[int, ...] = (32, 64, 128, 256, 512)  # ANCHOR_GENERATOR.SIZES
    """Square root of the area of the anchors: one a level p2 … p6, or all at each position of the
    only map.
    """

    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # ANCHOR_GENERATOR.ASPECT_RATIOS
    """Height over width of the anchors at each position."""

    rpn_conv_count: int = 1  # RPN.CONV_DIMS
    """3×3 convolutions of the head that proposes regions."""

    rpn_pre_nms_per_level: int = 1000  # RPN.PRE_NMS_TOPK_TEST
    """Candidates kept on each level before NMS."""

    rpn_nms_iou: float = 0.7  # RPN.NMS_THRESH
    """IoU above which a proposal is suppressed, within a level."""

    rpn_post_nms: int = 1000  # RPN.POST_NMS_TOPK_TEST, over all levels
    """Proposals kept in total; of given ones DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST."""

    rpn_post_nms_training: int = 1000  # RPN.POST_NMS_TOPK_TRAIN
    """Proposals kept in total while training; of given ones PRECOMPUTED_PROPOSAL_TOPK_TRAIN."""

    # -- dense head ------------------------------------------------------------------------------
    anchor_scales: tuple[float, ...] = (1.0,)  # Base-RetinaNet.yaml ANCHOR_GENERATOR.SIZES
    """Each size of anchor is also there in these multiples; only of a dense head."""

    dense_conv_count: int = 4  # RETINANET.NUM_CONVS
    """3×3 convolutions of each of its two towers."""

    dense_candidates_per_level: int = 1000  # RETINANET.TOPK_CANDIDATES_TEST
    """Pairs of an anchor and a class that are kept on each level before NMS."""

    # -- box head --------------------------------------------------------------------------------
    box_smooth_l1_beta: float = 0.0  # ROI_BOX_HEAD.SMOOTH_L1_BETA
    """Distance below which the box loss of a training is quadratic; 0 for L1."""

    class_count: int = 80  # ROI_HEADS.NUM_CLASSES
    """Number of classes, without the background."""

    box_pool_px: int = 7  # ROI_BOX_HEAD.POOLER_RESOLUTION
    """Height and width of the pooled features of a box."""

    box_conv_count: int = 0  # ROI_BOX_HEAD.NUM_CONV
    """3×3 convolutions of the box head."""

    box_conv_channels: int = 256  # ROI_BOX_HEAD.CONV_DIM
    """Channels of these convolutions."""

    box_fc_channels: tuple[int, ...] = (1024, 1024)  # ROI_BOX_HEAD.NUM_FC, FC_DIM
    """Channels of the fully connected layers of the box head."""

    head_norm: Norm = "none"  # ROI_BOX_HEAD.NORM, ROI_MASK_HEAD.NORM
    """Normalisation of the convolutions of the box head and the mask head."""

    box_delta_weights: Four = (10.0, 10.0, 5.0, 5.0)
    """Scales of dx, dy, dw, dh of the box head; of a cascade, those of its first stage."""

    cascade_delta_weights: tuple[Four, ...] = ()  # ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS
    """The same of each later stage of a cascade, which refines the boxes of the one before; all
    stages then move a box alike for all classes.
    """

    cascade_ious: tuple[float, ...] = ()  # ROI_BOX_CASCADE_HEAD.IOUS
    """IoU from which a box is an object, for the training of each later stage of a cascade."""

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

    # -- semantic head, and how its map is combined with the masks ---------------------------------
    semantic_classes: int = 0  # SEM_SEG_HEAD.NUM_CLASSES; 0 is no semantic head
    """Classes of a pixel: 0 for things of any kind, then each kind of stuff; 0 for a network
    without a semantic head.
    """

    semantic_channels: int = 128  # SEM_SEG_HEAD.CONVS_DIM
    """Channels of the convolutions of the semantic head."""

    semantic_norm: Norm = "gn"  # SEM_SEG_HEAD.NORM
    """Normalisation of these convolutions."""

    combine_overlap: float = 0.5  # PANOPTIC_FPN.COMBINE.OVERLAP_THRESH
    """Share of a mask that better ones cover, above which it is left out."""

    combine_stuff_px: int = 4096  # PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT
    """Pixels that a kind of stuff must have in an image."""

    combine_score: float = 0.5  # PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH
    """Score from which a detection is part of the map."""

    def fitted_to(
        self, categories: Sequence[Category], stuff: Sequence[Category] = ()
    ) -> Architecture:
        """Return the same with as many classes and, in a keypoint head, keypoints as categories.

        Args:
            categories: Categories of the data set that own weights were trained on. Names of
                keypoints that they do not have leave the number of keypoints as it is.
            stuff: Its kinds of stuff; none leave the semantic head as it is.
        """
        points = max((len(one.keypoints) for one in categories), default=0)
        classes = len(stuff) + 1 if stuff else self.semantic_classes
        return replace(
            self,
            class_count=len(categories),
            keypoint_count=(points or self.keypoint_count) if self.keypoint_count else 0,
            semantic_classes=classes if self.is_panoptic else 0,
        )

    def resized_to(self, short_edge_px: int) -> Architecture:
        """Return the same for images of another size, whose longest edge is in proportion.

        Args:
            short_edge_px: Length that the shorter edge is resized to.
        """
        longest = round(self.long_edge_max_px * short_edge_px / self.short_edge_px)
        return replace(self, short_edge_px=short_edge_px, long_edge_max_px=longest)

    @property
    def strides_px(self) -> tuple[int, ...]:
        """Pixels of the input in a cell of each map that regions are proposed on."""
        if self.detector == "dense":
            return (8, 16, 32, 64, 128)
        return (4, 8, 16, 32, 64) if self.neck == "fpn" else (16,)

    @property
    def map_names(self) -> tuple[str, ...]:
        """Names of these maps: of a pyramid by their level."""
        if len(self.strides_px) == 1:
            return ("map",)
        return tuple(f"p{stride.bit_length() - 1}" for stride in self.strides_px)

    @property
    def merged_levels(self) -> tuple[int, ...]:
        """Levels of a pyramid that are made of a stage of the backbone; others are above them."""
        return (3, 4, 5) if self.detector == "dense" else (2, 3, 4, 5)

    @property
    def map_channels(self) -> int:
        """Channels of these maps."""
        return {"fpn": self.fpn_channels, "c4": self.stage_channels[2]}.get(
            self.neck, self.stage_channels[3]
        )

    @property
    def pooled_levels(self) -> tuple[int, ...]:
        """Levels that regions are pooled from; a cell of level l is 2 ** l pixels of the input."""
        return (2, 3, 4, 5) if self.neck == "fpn" else (4,)

    @property
    def size_divisor_px(self) -> int:
        """Both sides of the padded input are multiples of this."""
        return 32 if self.neck == "fpn" else 1  # Backbone.size_divisibility

    @property
    def anchors_per_cell(self) -> int:
        """Anchors at each position of a map."""
        sizes = 1 if self.neck == "fpn" else len(self.anchor_sizes_px)
        return sizes * len(self.anchor_ratios) * len(self.anchor_scales)

    @property
    def delta_weights(self) -> tuple[Four, ...]:
        """Scales of dx, dy, dw, dh of each stage of the box head."""
        return (self.box_delta_weights, *self.cascade_delta_weights)

    @property
    def is_cascade(self) -> bool:
        """Whether boxes are refined in several stages."""
        return bool(self.cascade_delta_weights)

    @property
    def is_panoptic(self) -> bool:
        """Whether every pixel of an image becomes part of a segment."""
        return self.semantic_classes > 0

    @property
    def mask_side_px(self) -> int:
        """Height and width of a mask before it is pasted."""
        return self.mask_pool_px if self.neck == "c4" else 2 * self.mask_pool_px

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks whose numbers this network has."""
        if self.detector == "rpn":
            return (PROPOSALS,)
        has: dict[Task, bool] = {
            "bbox": True,
            "segm": self.has_masks,
            "keypoints": self.keypoint_count > 0,
            PANOPTIC: self.is_panoptic,
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
