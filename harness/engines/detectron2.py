"""The reference implementation behind the Engine protocol: Detectron2's own model and transforms.

Detectron2 is not on the package index; where it is missing, opening this engine says how to get
it. Its model-zoo module is not imported (it needs ``pkg_resources``, which new setuptools dropped),
and its checkpoint loader is not used (it unpickles without restriction).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.architecture import Architecture
from harness.core.detections import Detections, Image, Rle
from harness.core.engine import EngineInfo, Precision, Stopwatch
from harness.core.errors import PrerequisiteError, UsageError
from harness.engines.devices import apply_precision, apply_threads, device_class, find_device
from harness.zoo.weights import account_for, read_checkpoint

#: The commit this engine is tested with.
TESTED_COMMIT = "02b5c4e295e990042a714712c21dc79b731e8833"

#: RESNETS.DEPTH by (block, blocks per stage).
DEPTHS = {
    ("basic", (2, 2, 2, 2)): 18,
    ("basic", (3, 4, 6, 3)): 34,
    ("bottleneck", (3, 4, 6, 3)): 50,
    ("bottleneck", (3, 4, 23, 3)): 101,
}


def open_detectron2(
    *,
    architecture: Architecture,
    weights: Path,
    device: str = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
) -> Detectron2Engine:
    """Detectron2's model with the checkpoint ``weights``, ready for inference.

    PrerequisiteError when detectron2 cannot be imported; UsageError for a reduced precision, which
    it does not offer at inference, or a backbone it cannot build.
    """
    require_detectron2()
    import detectron2

    if precision not in ("fp32", "tf32"):
        raise UsageError(
            f"the detectron2 engine computes in fp32 or tf32, not {precision}",
            hint="choose --precision fp32, or --engine native",
        )
    place = find_device(device)
    apply_precision(precision, place)
    thread_count = apply_threads(threads)
    model = build_model(architecture, place)
    load_weights(model, weights)
    info = EngineInfo(
        name="detectron2",
        version=detectron2.__version__,
        device=str(place),
        device_class=device_class(place),
        precision=precision,
        threads=thread_count,
        architecture=architecture,
    )
    return Detectron2Engine(model, info, place)


def require_detectron2() -> None:
    """PrerequisiteError, with how to get it, unless detectron2 can be imported."""
    try:
        import detectron2  # noqa: F401
    except ImportError as error:
        raise PrerequisiteError(
            f"the detectron2 engine needs the detectron2 package ({error})",
            hint="it is not on the package index; install it from its repository: "
            "pip install --no-build-isolation "
            f"git+https://github.com/facebookresearch/detectron2@{TESTED_COMMIT}, "
            "or use --engine native, which needs nothing more",
        ) from None


def config_of(architecture: Architecture, device: torch.device) -> Any:
    """Detectron2's configuration node for ``architecture``."""
    from detectron2.config import get_cfg

    a = architecture
    depth = _resnet_depth(a)
    cfg = get_cfg()
    m = cfg.MODEL
    m.DEVICE = str(device)
    m.WEIGHTS = ""
    m.META_ARCHITECTURE = "GeneralizedRCNN"
    m.BACKBONE.NAME = "build_resnet_fpn_backbone"
    m.PIXEL_MEAN, m.PIXEL_STD = list(a.pixel_mean), list(a.pixel_std)
    m.RESNETS.DEPTH = depth
    m.RESNETS.STEM_OUT_CHANNELS = a.stem_channels
    m.RESNETS.RES2_OUT_CHANNELS = a.stage_channels[0]
    m.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    m.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    m.FPN.OUT_CHANNELS = a.fpn_channels
    m.ANCHOR_GENERATOR.SIZES = [[size] for size in a.anchor_sizes_px]
    m.ANCHOR_GENERATOR.ASPECT_RATIOS = [list(a.anchor_ratios)]
    m.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    m.RPN.PRE_NMS_TOPK_TEST = a.rpn_pre_nms_per_level
    m.RPN.POST_NMS_TOPK_TEST = a.rpn_post_nms
    m.RPN.NMS_THRESH = a.rpn_nms_iou
    m.ROI_HEADS.NAME = "StandardROIHeads"
    m.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    m.ROI_HEADS.NUM_CLASSES = a.class_count
    m.ROI_HEADS.SCORE_THRESH_TEST = a.score_threshold
    m.ROI_HEADS.NMS_THRESH_TEST = a.box_nms_iou
    m.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    m.ROI_BOX_HEAD.NUM_FC = len(a.box_fc_channels)
    m.ROI_BOX_HEAD.FC_DIM = a.box_fc_channels[0]
    m.ROI_BOX_HEAD.POOLER_RESOLUTION = a.box_pool_px
    m.ROI_BOX_HEAD.BBOX_REG_WEIGHTS = a.box_delta_weights
    m.MASK_ON = a.has_masks
    m.ROI_MASK_HEAD.NAME = "MaskRCNNConvUpsampleHead"
    m.ROI_MASK_HEAD.NUM_CONV = a.mask_conv_count
    m.ROI_MASK_HEAD.CONV_DIM = a.mask_conv_channels
    m.ROI_MASK_HEAD.POOLER_RESOLUTION = a.mask_pool_px
    cfg.TEST.DETECTIONS_PER_IMAGE = a.max_detections
    cfg.INPUT.FORMAT = a.channel_order
    cfg.INPUT.MIN_SIZE_TEST = a.short_edge_px
    cfg.INPUT.MAX_SIZE_TEST = a.long_edge_max_px
    return cfg


def _resnet_depth(architecture: Architecture) -> int:
    """Layers of the backbone; UsageError when Detectron2 has no name for it."""
    a = architecture
    depth = DEPTHS.get((a.block, a.blocks_per_stage))
    zoo_widths = (64, 128, 256, 512) if a.block == "basic" else (256, 512, 1024, 2048)
    if depth is None or a.stage_channels != zoo_widths or len(set(a.box_fc_channels)) != 1:
        raise UsageError(
            "the detectron2 engine builds the zoo's ResNet-18/34/50/101 backbones only, not "
            f"{a.block} {a.blocks_per_stage} with {a.stage_channels} channels",
            hint="use --engine native for this model",
        )
    return depth


def build_model(architecture: Architecture, device: torch.device) -> Any:
    """Detectron2's GeneralizedRCNN for ``architecture``, in evaluation mode, without weights."""
    from detectron2.modeling import build_model as detectron2_build_model

    return detectron2_build_model(config_of(architecture, device)).eval()


def load_weights(model: Any, weights: Path) -> None:
    """Every tensor of ``weights`` put into ``model``, none missing, none left over."""
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    tensors = account_for(read_checkpoint(weights), expected, where=str(weights))
    model.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})


class Detectron2Engine:
    """An opened Detectron2 model."""

    def __init__(self, model: Any, info: EngineInfo, device: torch.device) -> None:
        from detectron2.data.transforms import ResizeShortestEdge

        numbers = info.architecture
        self.model = model
        self.info = info
        self.device = device
        self.resize = ResizeShortestEdge(numbers.short_edge_px, numbers.long_edge_max_px)

    def prepare(self, image: Image, stopwatch: Stopwatch) -> dict[str, Any]:
        """Detectron2's model input: ``image`` (3, h, w) uint8, and the original size."""
        with stopwatch.phase("resize"):
            pixels = image.pixels_bgr
            if self.info.architecture.channel_order == "RGB":
                pixels = pixels[:, :, ::-1]
            pixels = self.resize.get_transform(pixels).apply_image(pixels)
            tensor = torch.as_tensor(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return {
            "image": tensor,
            "image_id": image.image_id,
            "height": image.height_px,
            "width": image.width_px,
        }

    @torch.inference_mode()
    def infer(self, prepared: Sequence[dict[str, Any]], stopwatch: Stopwatch) -> list[Detections]:
        """Detections of each image, in order; transfer and paste are inside ``forward``."""
        with stopwatch.phase("forward"):
            outputs = self.model(list(prepared))
        with stopwatch.phase("encode"):
            return [
                _detections(one["image_id"], output["instances"].to("cpu"))
                for one, output in zip(prepared, outputs, strict=True)
            ]

    def settle(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_memory_bytes(self) -> int | None:
        """Peak bytes torch allocated on the GPU; None on a CPU."""
        if self.device.type != "cuda":
            return None
        return int(torch.cuda.max_memory_allocated(self.device))

    def close(self) -> None:
        """Give the device's memory back."""
        del self.model
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _detections(image_id: int, instances: Any) -> Detections:
    masks = None
    if instances.has("pred_masks"):
        masks = tuple(_encode(mask) for mask in instances.pred_masks.numpy())
    return Detections(
        image_id=image_id,
        boxes_xyxy_px=instances.pred_boxes.tensor.numpy(),
        scores=instances.scores.numpy(),
        class_index=instances.pred_classes.numpy(),
        masks=masks,
    )


def _encode(mask: np.ndarray[Any, Any]) -> Rle:
    """A full-size (H, W) bool mask, encoded as Detectron2's COCOEvaluator does."""
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return Rle(mask.shape[0], mask.shape[1], encoded["counts"].decode("ascii"))
