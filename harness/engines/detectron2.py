"""The reference implementation behind the Engine protocol: Detectron2's own model and transforms.

Detectron2 is not on the package index; where it is missing, opening this engine says how to get
it. Its model-zoo module is not imported (it needs ``pkg_resources``, which new setuptools dropped),
and its checkpoint loader is not used (it unpickles without restriction).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.architecture import Architecture
from harness.core.detections import Detections, Image
from harness.core.engine import EngineInfo, Precision, Stopwatch
from harness.core.errors import PrerequisiteError
from harness.core.panoptic import PanopticMap, Segment
from harness.core.run_lengths import Rle
from harness.data.images import resize_shape
from harness.data.proposals import proposals_of
from harness.engines.detectron2_model import build_model
from harness.engines.device_memory import fitting
from harness.engines.devices import (
    OnDevice,
    apply_precision,
    apply_threads,
    device_class,
    find_device,
    give_memory_back,
    notes_on,
    require_single_precision,
)
from harness.measure.masks import mask_library
from harness.zoo.weights import CONSTANT_KEYS, account_for, read_checkpoint

#: The commit this engine is tested with.
TESTED_COMMIT = "02b5c4e295e990042a714712c21dc79b731e8833"


#: What inference imports of it, beside its configuration.
MODULES = ("detectron2.modeling", "detectron2.data.transforms", "detectron2.structures")


def open_detectron2(
    *,
    architecture: Architecture,
    weights: Path,
    device: str = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
) -> Detectron2Engine:
    """Return Detectron2's model with a checkpoint, ready for inference.

    Args:
        architecture: The network and its test-time recipe.
        weights: A checkpoint of it.
        device: As in ``find_device``.
        precision: fp32 or tf32.
        threads: CPU threads; None for ``devices.usable_threads``.

    Raises:
        PrerequisiteError: detectron2 cannot be imported, or the device is not there.
        UsageError: A reduced precision, or a network that Detectron2 cannot build.
        IntegrityError: The checkpoint is not of this network.
    """
    require_detectron2(*MODULES)
    import detectron2

    require_single_precision("detectron2", precision)
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
        memory_format="contiguous",
    )
    return Detectron2Engine(model, info, place, notes_on(device))


def require_detectron2(*modules: str) -> None:
    """Check that detectron2 can be imported.

    Args:
        modules: Names of its modules, those that will be used; they import what it depends on, and
            torch.

    Raises:
        PrerequisiteError: It cannot; the error says how to get it, or what it lacks.
    """
    try:
        import detectron2  # noqa: F401
    except ImportError as error:
        raise PrerequisiteError(
            f"the detectron2 engine needs the detectron2 package ({error})",
            hint="it is not on the package index; install it from its repository: "
            "pip install --no-build-isolation "
            f"git+https://github.com/facebookresearch/detectron2@{TESTED_COMMIT}, "
            "or take the native engine, which needs nothing more",
        ) from None
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            lacking = (error.name or "").partition(".")[0]
            known = isinstance(error, ModuleNotFoundError) and lacking not in ("", "detectron2")
            raise PrerequisiteError(
                f"the installed detectron2 cannot be used: {module} cannot be imported ({error})",
                hint=(f"install the package it lacks: {lacking}" if known else "install it again")
                + ", or take the native engine, which needs nothing more",
            ) from None


def load_weights(model: Any, weights: Path) -> None:
    """Copy every tensor of a checkpoint into a model.

    Raises:
        IntegrityError: One is missing, left over, or of another shape.
    """
    own = model.state_dict()
    constants = {key: value for key, value in own.items() if CONSTANT_KEYS.fullmatch(key)}
    expected = {key: tuple(value.shape) for key, value in own.items() if key not in constants}
    tensors = account_for(read_checkpoint(weights), expected, where=str(weights))
    loaded = {key: torch.tensor(value) for key, value in tensors.items()}
    model.load_state_dict(constants | loaded)


class Detectron2Engine(OnDevice):
    """An opened Detectron2 model."""

    def __init__(
        self, model: Any, info: EngineInfo, device: torch.device, notes: Sequence[str] = ()
    ) -> None:
        from detectron2.data.transforms import ResizeShortestEdge

        numbers = info.architecture
        self.model = model
        self.info = info
        self.device = device
        self.notes = tuple(notes)
        self.resize = ResizeShortestEdge(numbers.short_edge_px, numbers.long_edge_max_px)

    def prepare(self, image: Image, stopwatch: Stopwatch) -> dict[str, Any]:
        """Return Detectron2's model input: ``image`` (3, h, w) uint8, and the original size.

        Raises:
            IntegrityError: The image is so narrow that a resize leaves nothing of it.
        """
        numbers = self.info.architecture
        resize_shape(
            image.height_px, image.width_px, numbers.short_edge_px, numbers.long_edge_max_px
        )
        with stopwatch.phase("resize"):
            pixels = image.pixels_bgr
            if self.info.architecture.channel_order == "RGB":
                pixels = pixels[:, :, ::-1]
            transform = self.resize.get_transform(pixels)
            pixels = transform.apply_image(pixels)
            tensor = torch.as_tensor(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
            given = self._proposals(image, transform, pixels.shape[:2])
        return {
            "image": tensor,
            "image_id": image.image_id,
            "height": image.height_px,
            "width": image.width_px,
            **given,
        }

    def _proposals(self, image: Image, transform: Any, size: tuple[int, int]) -> dict[str, Any]:
        """Return ``proposals``, as its DatasetMapper makes them of a file's; none for others."""
        if not self.info.architecture.given_proposals:
            return {}
        from detectron2.data.detection_utils import transform_proposals
        from detectron2.data.transforms import TransformList
        from detectron2.structures import BoxMode

        boxes = proposals_of(image)
        given = {
            "proposal_boxes": boxes,
            "proposal_bbox_mode": BoxMode.XYXY_ABS,
            # They are sorted already, and nothing else depends on their objectness.
            "proposal_objectness_logits": -np.arange(len(boxes), dtype=np.float32),
        }
        most = self.info.architecture.rpn_post_nms
        transform_proposals(given, size, TransformList([transform]), proposal_topk=most)
        return given

    @torch.inference_mode()
    def infer(self, prepared: Sequence[dict[str, Any]], stopwatch: Stopwatch) -> list[Detections]:
        """Return detections of each image, in order; transfer and paste are inside ``forward``.

        Raises:
            RunFailedError: The images need more memory than the device has.
        """
        apply_precision(self.info.precision, self.device)  # another engine may have computed since
        with fitting([one["image_id"] for one in prepared], self.info):
            with stopwatch.phase("forward"):
                outputs = self.model(list(prepared))
            with stopwatch.phase("encode"):
                return [
                    _detections(one["image_id"], _instances(output).to("cpu"), _panoptic(output))
                    for one, output in zip(prepared, outputs, strict=True)
                ]

    def close(self) -> None:
        """Free the device's memory."""
        del self.model
        give_memory_back(self.device)


def _instances(output: Any) -> Any:
    """Return what was found; proposals as objects of one class, with the score of an object."""
    if "proposals" not in output:
        return output["instances"]
    found = output["proposals"]
    found.pred_boxes = found.proposal_boxes
    found.scores = found.objectness_logits.sigmoid()
    found.pred_classes = torch.zeros_like(found.scores, dtype=torch.int64)
    return found


def _panoptic(output: Any) -> PanopticMap | None:
    """Return the map of segments; None of a network that makes none."""
    if "panoptic_seg" not in output:
        return None
    ids, segments = output["panoptic_seg"]
    return PanopticMap(
        ids=ids.cpu().numpy(),
        segments=tuple(
            Segment(
                segment_id=one["id"],
                is_thing=one["isthing"],
                class_index=one["category_id"],
                score=one.get("score"),
            )
            for one in segments
        ),
        classes=output["sem_seg"].argmax(dim=0).to(torch.uint8).cpu().numpy(),
    )


def _detections(image_id: int, instances: Any, panoptic: PanopticMap | None) -> Detections:
    masks = None
    if instances.has("pred_masks"):
        masks = tuple(_encode(mask) for mask in instances.pred_masks.numpy())
    return Detections(
        image_id=image_id,
        boxes_xyxy_px=instances.pred_boxes.tensor.numpy(),
        scores=instances.scores.numpy(),
        class_index=instances.pred_classes.numpy(),
        masks=masks,
        keypoints=instances.pred_keypoints.numpy() if instances.has("pred_keypoints") else None,
        panoptic=panoptic,
    )


def _encode(mask: np.ndarray[Any, Any]) -> Rle:
    """Return a full-size (H, W) bool mask, encoded as Detectron2's COCOEvaluator does."""
    library = mask_library(*mask.shape)
    encoded = library.encode(np.asfortranarray(mask.astype(np.uint8)))
    return Rle(mask.shape[0], mask.shape[1], encoded["counts"].decode("ascii"))
