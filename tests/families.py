"""The families of the zoo, by what tests call them: one entry of each, and what it covers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row of the table in ``docs/zoo.md``."""

    title: str
    """As the table calls it."""

    entry: str
    """The model entry that stands for it, at its full width."""

    network: str
    """Its narrow network: a name of ``tests.golden.families``, ``retinanet`` or
    ``keypoint_rcnn``; of torchvision's detectors the builder.
    """

    architectures: tuple[str, ...] = ()
    """Every architecture of the lock that belongs to it, where that is not ``network`` alone."""

    torchvision: bool = False
    """Whether torchvision computes it, and Detectron2 does not know it."""

    @property
    def members(self) -> tuple[str, ...]:
        """Every architecture of the lock that belongs to it."""
        return self.architectures or (self.network,)


def both(pattern: str) -> tuple[str, str]:
    """The Mask R-CNN and the Faster R-CNN of a pattern."""
    return f"mask_rcnn_{pattern}", f"faster_rcnn_{pattern}"


ALL = (
    Family(
        title="FPN",
        entry="R_50_FPN_3x",
        network="mask_rcnn_R_50_FPN",
        architectures=(*both("R_50_FPN"), *both("R_101_FPN")),
    ),
    Family(
        title="ResNeXt",
        entry="mask_rcnn_X_101_32x8d_FPN_3x",
        network="mask_rcnn_X_101_32x8d_FPN",
        architectures=both("X_101_32x8d_FPN"),
    ),
    Family(
        title="LSJ",
        entry="mask_rcnn_R_50_FPN_100ep_LSJ",
        network="mask_rcnn_R_50_FPN_LSJ",
        architectures=("mask_rcnn_R_50_FPN_LSJ", "mask_rcnn_R_101_FPN_LSJ"),
    ),
    Family(
        title="SyncBN",
        entry="scratch_mask_rcnn_R_50_FPN_9x_syncbn",
        network="scratch_mask_rcnn_R_50_FPN_SyncBN",
        architectures=("mask_rcnn_R_50_FPN_SyncBN", "scratch_mask_rcnn_R_50_FPN_SyncBN"),
    ),
    Family(
        title="C4",
        entry="mask_rcnn_R_50_C4_3x",
        network="mask_rcnn_R_50_C4",
        architectures=(*both("R_50_C4"), *both("R_101_C4")),
    ),
    Family(
        title="DC5",
        entry="mask_rcnn_R_50_DC5_3x",
        network="mask_rcnn_R_50_DC5",
        architectures=(*both("R_50_DC5"), *both("R_101_DC5")),
    ),
    Family(
        title="GroupNorm",
        entry="mask_rcnn_R_50_FPN_3x_gn",
        network="mask_rcnn_R_50_FPN_GN",
        architectures=(
            "mask_rcnn_R_50_FPN_GN",
            "scratch_mask_rcnn_R_50_FPN_GN",
            "scratch_mask_rcnn_R_50_FPN_9x_GN",
        ),
    ),
    Family(
        title="Cascade",
        entry="cascade_mask_rcnn_R_50_FPN_3x",
        network="cascade_mask_rcnn_R_50_FPN",
    ),
    Family(
        title="Deformable",
        entry="mask_rcnn_R_50_FPN_3x_dconv_c3-c5",
        network="mask_rcnn_R_50_FPN_dconv_c3-c5",
    ),
    Family(
        title="RetinaNet",
        entry="retinanet_R_50_FPN_3x",
        network="retinanet",
        architectures=("retinanet_R_50_FPN", "retinanet_R_101_FPN"),
    ),
    Family(
        title="RegNetX",
        entry="mask_rcnn_regnetx_4gf_dds_FPN_100ep_LSJ",
        network="mask_rcnn_regnetx_4gf_LSJ",
    ),
    Family(
        title="RegNetY",
        entry="mask_rcnn_regnety_4gf_dds_FPN_100ep_LSJ",
        network="mask_rcnn_regnety_4gf_LSJ",
    ),
    Family(
        title="Keypoint R-CNN",
        entry="keypoint_rcnn_R_50_FPN_3x",
        network="keypoint_rcnn",
        architectures=(
            "keypoint_rcnn_R_50_FPN",
            "keypoint_rcnn_R_101_FPN",
            "keypoint_rcnn_X_101_32x8d_FPN",
        ),
    ),
    Family(
        title="Panoptic FPN",
        entry="panoptic_fpn_R_50_3x",
        network="panoptic_fpn_R_50",
        architectures=("panoptic_fpn_R_50", "panoptic_fpn_R_101"),
    ),
    Family(
        title="RPN, FPN",
        entry="rpn_R_50_FPN_1x",
        network="rpn_R_50_FPN",
    ),
    Family(
        title="RPN, C4",
        entry="rpn_R_50_C4_1x",
        network="rpn_R_50_C4",
    ),
    Family(
        title="Fast R-CNN",
        entry="fast_rcnn_R_50_FPN_1x",
        network="fast_rcnn_R_50_FPN",
    ),
    Family(
        title="X152, cascade, deformable, GN",
        entry="cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv",
        network="cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv",
    ),
    Family(
        title="Panoptic R101, cascade, deformable, GN",
        entry="panoptic_fpn_R_101_dconv_cascade_gn_3x",
        network="panoptic_fpn_R_101_dconv_cascade_gn",
    ),
    *(
        Family(
            title=f"torchvision {name}",
            entry=f"torchvision_{name}",
            network=name,
            torchvision=True,
        )
        for name in (
            "maskrcnn_resnet50_fpn",
            "maskrcnn_resnet50_fpn_v2",
            "fasterrcnn_resnet50_fpn",
            "fasterrcnn_mobilenet_v3_large_fpn",
        )
    ),
)
