"""Which network a table of tensors is of, in words, read from names and shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping

Shape = tuple[int, ...]

#: What finds objects, by a piece that a key has; the first that is there is taken.
HEADS = (
    ("head.cls_subnet.", "RetinaNet"),
    ("sem_seg_head.", "Panoptic FPN"),
    ("roi_heads.keypoint_head.", "Keypoint R-CNN"),
    ("roi_heads.box_predictor.0.", "Cascade R-CNN"),
    ("roi_heads.mask_head.", "Mask R-CNN"),
    ("roi_heads.", "Faster R-CNN"),
    ("proposal_generator.", "RPN"),
)

#: Depth of a ResNet by the number of its blocks in res4.
DEPTHS = {2: 18, 6: 50, 23: 101, 36: 152}


def family_of(shapes: Mapping[str, Shape]) -> str | None:
    """A network in words, such as ``Mask R-CNN R50-C4``; None for one that is not known.

    Args:
        shapes: Shapes of its tensors, by key.
    """
    if "roi_heads.box_predictor.cls_score.weight" in shapes and any(
        key.startswith("backbone.body.") for key in shapes
    ):
        return _of_torchvision(shapes)
    kind = next((name for piece, name in HEADS if any(piece in key for key in shapes)), None)
    if kind is None or not any(key.startswith("backbone.") for key in shapes):
        return None
    if kind == "Faster R-CNN" and not any(key.startswith("proposal_gen") for key in shapes):
        kind = "Fast R-CNN"
    if kind == "Cascade R-CNN" and any(".mask_head." in key for key in shapes):
        kind = "Cascade Mask R-CNN"
    backbone = _backbone(shapes)
    if backbone is None:
        return None
    extras = [
        word
        for word, found in (
            ("deformable", any(".conv2_offset." in key for key in shapes)),
            (_normalisation(shapes), True),
            ("LSJ", any(".rpn_head.conv.conv1." in key for key in shapes)),
        )
        if found and word
    ]
    return " ".join([kind, backbone, *extras])


def _of_torchvision(shapes: Mapping[str, Shape]) -> str:
    kind = "Mask" if any(".mask_predictor." in key for key in shapes) else "Faster"
    is_resnet = any(key.startswith("backbone.body.layer4.") for key in shapes)
    backbone = "R50-FPN" if is_resnet else "MobileNetV3-FPN"
    second = " v2" if any(key.startswith("rpn.head.conv.1.") for key in shapes) else ""
    return f"torchvision's {kind} R-CNN {backbone}{second}"


def _backbone(shapes: Mapping[str, Shape]) -> str | None:
    regnet = [key for key in shapes if re.match(r"backbone\.bottom_up\.s\d\.", key)]
    if regnet:
        return f"RegNet{'Y' if any('.se.' in key for key in regnet) else 'X'}-FPN"
    blocks = {
        match[2]
        for key in shapes
        if (match := re.match(r"backbone\.(bottom_up\.)?res4\.(\d+)\.", key))
    }
    if not blocks:
        return None
    neck = "FPN"
    if not any(".fpn_lateral" in key for key in shapes):
        neck = "C4" if any(key.startswith("roi_heads.res5.") for key in shapes) else "DC5"
        if not any(key.startswith("backbone.res5.") for key in shapes):
            neck = "C4"  # also of a network that only proposes regions
    if len(blocks) not in DEPTHS:
        return f"{neck} with {len(blocks)} blocks in res4"
    return f"{'X' if _is_grouped(shapes) else 'R'}{DEPTHS[len(blocks)]}-{neck}"


def _is_grouped(shapes: Mapping[str, Shape]) -> bool:
    """Whether the 3×3 convolutions of the first stage have groups: a ResNeXt."""
    pattern = re.compile(r"backbone\.(bottom_up\.)?res2\.0\.conv2\.weight")
    found = next((shape for key, shape in shapes.items() if pattern.fullmatch(key)), (1, 1))
    return len(found) == 4 and found[0] != found[1]


def _normalisation(shapes: Mapping[str, Shape]) -> str:
    """The normalisation of the pyramid, which is what tells the usual networks apart."""
    normed = [key for key in shapes if re.match(r"backbone\.fpn_output\d\.norm\.", key)]
    if not normed:
        return ""
    return "SyncBN" if any("running_" in key for key in normed) else "GN"
