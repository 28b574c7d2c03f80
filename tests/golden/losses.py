"""The losses and gradients of one training batch, by Detectron2 and by the native network.

Nothing is left to chance: the budgets are larger than what there is to sample from, so both train
on every anchor and every proposal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.architecture import Architecture
from harness.core.detections import Image
from harness.data.catalog import find_dataset
from harness.data.objects import AnnotatedImage, training_set
from harness.data.proposals import generated_proposals, moved_proposals
from harness.nn.losses import losses
from harness.nn.rcnn import RCNN
from harness.nn.targets import Targets, TrainingNumbers
from harness.training.augmentation import Augmentation, draw_change
from harness.training.optimizer import freeze
from harness.training.samples import Sample, make_sample
from harness.zoo.architectures import architecture_of
from harness.zoo.seeded import seeded_checkpoint

CASE = "losses_mask_rcnn_R_50_FPN"

#: Test size of the batch, px: large enough for boxes on every pyramid level.
SHORT_EDGE_PX = 256

EVERYTHING = TrainingNumbers(
    rpn_pre_nms_per_level=2000,
    rpn_post_nms=300,
    anchors_per_image=10**6,
    anchor_positive_share=1.0,
    rois_per_image=10**5,
    roi_positive_share=1.0,
)

#: The same by Detectron2's keys.
DETECTRON2_EVERYTHING = {
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": EVERYTHING.anchors_per_image,
    "MODEL.RPN.POSITIVE_FRACTION": EVERYTHING.anchor_positive_share,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": EVERYTHING.rpn_pre_nms_per_level,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": EVERYTHING.rpn_post_nms,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": EVERYTHING.rois_per_image,
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": EVERYTHING.roi_positive_share,
}

#: Parameters whose gradients are compared: one of each part, near and far from the losses.
NAMED = (
    "backbone.bottom_up.res3.0.conv1.weight",
    "backbone.fpn_output3.weight",
    "proposal_generator.rpn_head.conv.weight",
    "proposal_generator.rpn_head.anchor_deltas.bias",
    "roi_heads.box_head.fc1.weight",
    "roi_heads.box_predictor.cls_score.weight",
    "roi_heads.box_predictor.bbox_pred.bias",
    "roi_heads.mask_head.mask_fcn1.weight",
    "roi_heads.mask_head.predictor.bias",
)


def architecture() -> Architecture:
    """The zoo's network with as many classes as the generated scenes have."""
    return replace(architecture_of("mask_rcnn_R_50_FPN"), class_count=8)


@cache
def samples() -> tuple[Sample, ...]:
    """Two scenes with their polygons, one of them flipped."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = find_dataset(
            dataset="synthetic_val", annotations=None, images=None, root=Path(folder)
        )
        drawn = [polygons_only(one) for one in training_set(dataset, with_masks=True).images]
        return tuple(
            make_sample(
                image,
                dataset.images_dir,
                architecture(),
                draw_change(image.record, _still(flip=bool(number)), seed=0, ordinal=number),
                canvas=(0, 0),
                ordinal=number,
            )
            for number, image in enumerate([one for one in drawn if len(one.class_index) >= 4][:2])
        )


def _still(*, flip: bool) -> Augmentation:
    return Augmentation(
        short_edges_px=(SHORT_EDGE_PX,),
        long_edge_max_px=2 * SHORT_EDGE_PX,
        flip_probability=float(flip),
    )


def native_losses(
    numbers: Architecture | None = None, named: Sequence[str] = NAMED
) -> dict[str, Any]:
    """Losses, statistics and gradient samples of the native network."""
    batch_samples = samples()
    numbers = architecture() if numbers is None else numbers
    network = RCNN(numbers)
    network.load_state_dict(seeded_weights(numbers))
    network.train()
    freeze(network, 2)
    batch = network.batch([torch.from_numpy(one.pixels).permute(2, 0, 1) for one in batch_samples])
    targets = targets_of(batch_samples, given=numbers.given_proposals)
    found, statistics = losses(network, batch, targets, EVERYTHING)
    if named:
        torch.stack(list(found.values())).sum().backward()
    return content(found, statistics, network, named)


def proposals_for(sample: Sample) -> torch.Tensor:
    """(n, 4) boxes all over a sample, those that leave it cut, without the empty ones."""
    image = Image(image_id=sample.ordinal, pixels_bgr=sample.pixels)
    size = (image.height_px, image.width_px)
    return torch.from_numpy(moved_proposals(generated_proposals(image), size, size, most=300))


def targets_of(batch: Sequence[Sample], *, given: bool = False) -> list[Targets]:
    """The ground truth of each sample, with region proposals where the network is given some."""
    return [
        Targets(
            torch.from_numpy(one.boxes),
            torch.from_numpy(one.classes),
            one.masks,
            torch.Generator().manual_seed(one.ordinal),
            proposals=proposals_for(one) if given else None,
        )
        for one in batch
    ]


def detectron2_losses(
    numbers: Architecture | None = None, named: Sequence[str] = NAMED
) -> dict[str, Any]:
    """The same of Detectron2."""
    from detectron2.utils.events import EventStorage

    from harness.engines.detectron2_model import build_model

    numbers = architecture() if numbers is None else numbers
    model = build_model(numbers, torch.device("cpu"), training=DETECTRON2_EVERYTHING).train()
    counters = {key: value for key, value in model.state_dict().items() if "batches_tracked" in key}
    model.load_state_dict(counters | seeded_weights(numbers))
    with EventStorage() as storage:
        given = numbers.given_proposals
        found = model([detectron2_input(one, given=given) for one in samples()])
        statistics = {name: torch.tensor(value) for name, (value, _) in storage.latest().items()}
    if named:
        torch.stack(list(found.values())).sum().backward()
    return content(found, statistics, model, named)


def polygons_only(image: AnnotatedImage) -> AnnotatedImage:
    """Without what is partly hidden: its mask is run lengths, Detectron2 takes one kind a batch."""
    assert image.segmentations is not None
    keep = [isinstance(one, list) for one in image.segmentations]
    return replace(
        image,
        boxes_xyxy_px=image.boxes_xyxy_px[keep],
        class_index=image.class_index[keep],
        segmentations=tuple(one for one in image.segmentations if isinstance(one, list)),
    )


def seeded_weights(numbers: Architecture) -> dict[str, torch.Tensor]:
    """The generated weights of a network."""
    seeded = seeded_checkpoint(numbers)
    return {key: torch.from_numpy(value) for key, value in seeded.items()}


def detectron2_input(sample: Sample, *, given: bool = False) -> dict[str, Any]:
    """A sample as Detectron2's network takes it, with region proposals where it is given some."""
    from detectron2.structures import Boxes, Instances, PolygonMasks

    assert sample.masks is not None
    instances = Instances(sample.pixels.shape[:2])
    instances.gt_boxes = Boxes(torch.from_numpy(sample.boxes))
    instances.gt_classes = torch.from_numpy(sample.classes)
    instances.gt_masks = PolygonMasks([list(mask) for mask in sample.masks.masks])
    pixels = torch.from_numpy(np.ascontiguousarray(sample.pixels.transpose(2, 0, 1)))
    found = {"image": pixels, "instances": instances}
    if given:
        found["proposals"] = Instances(sample.pixels.shape[:2])
        found["proposals"].proposal_boxes = Boxes(proposals_for(sample))
        found["proposals"].objectness_logits = torch.zeros(len(found["proposals"].proposal_boxes))
    return found


def content(
    found: dict[str, torch.Tensor],
    statistics: dict[str, torch.Tensor],
    network: torch.nn.Module,
    named: Sequence[str],
) -> dict[str, Any]:
    """What is recorded: losses, statistics, and samples of the gradients of named parameters."""
    parameters = dict(network.named_parameters())
    return {
        "losses": {name: float(value.detach()) for name, value in sorted(found.items())},
        "statistics": {name: float(value) for name, value in sorted(statistics.items())},
        "gradients": {name: _sampled(parameters[name]) for name in named},
    }


def _sampled(parameter: torch.nn.Parameter) -> list[float]:
    """Two dozen elements of a gradient, and its norm."""
    assert parameter.grad is not None
    flat = parameter.grad.detach().double().numpy().ravel()
    places = np.random.Generator(np.random.PCG64(flat.size)).integers(flat.size, size=24)
    return [*flat[places].tolist(), float(np.linalg.norm(flat))]
