"""The losses of one batch of a network with a semantic head, by Detectron2 and by the native one.

As in ``tests.golden.losses``, both train on every anchor and every proposal.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.architecture import Architecture
from harness.data.catalog import find_dataset
from harness.data.objects import AnnotatedImage, training_set
from harness.nn.losses import losses
from harness.nn.rcnn import RCNN
from harness.nn.targets import Targets
from harness.training.augmentation import Augmentation, draw_change
from harness.training.optimizer import freeze
from harness.training.samples import Sample, make_sample
from tests.golden.families import narrow
from tests.golden.losses import (
    DETECTRON2_EVERYTHING,
    EVERYTHING,
    content,
    detectron2_input,
    polygons_only,
    seeded_weights,
)
from tests.panoptic_data import write_panoptic_data

CASE = "losses_panoptic_fpn"

#: Narrow networks, and the parameters whose gradients are compared. Detectron2's deformable
#: convolution has no gradient on a CPU.
NETWORKS: dict[str, tuple[str, ...]] = {
    "panoptic_fpn_R_50": (
        "backbone.bottom_up.res4.0.conv2.weight",
        "backbone.fpn_output2.weight",
        "proposal_generator.rpn_head.conv.weight",
        "roi_heads.mask_head.predictor.weight",
        "sem_seg_head.p5.0.weight",
        "sem_seg_head.p5.4.norm.bias",
        "sem_seg_head.p2.0.weight",
        "sem_seg_head.predictor.weight",
        "sem_seg_head.predictor.bias",
    ),
    "panoptic_fpn_R_101_dconv_cascade_gn": (),
}


def network(name: str) -> Architecture:
    """A narrow network with COCO's classes, which the data have."""
    return replace(narrow(name), class_count=80)


@cache
def samples() -> tuple[Sample, ...]:
    """Two scenes of different sizes with their stuff, the second one flipped."""
    architecture = network("panoptic_fpn_R_50")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images_dir = write_panoptic_data(folder, images=12, root=folder / "data")
        dataset = find_dataset(
            dataset=None,
            annotations=folder / "instances.json",
            images=images_dir,
            root=folder,
            panoptic=folder / "panoptic.json",
        )
        found = training_set(dataset, with_masks=True, with_semantics=True).images
        chosen = [one for one in found if len(one.class_index) >= 4][:2]
        return tuple(
            _sample(polygons_only(one), number, images_dir, architecture)
            for number, one in enumerate(chosen)
        )


def _sample(
    image: AnnotatedImage, number: int, images_dir: Path, architecture: Architecture
) -> Sample:
    still = Augmentation(
        short_edges_px=(200 - 40 * number,),
        long_edge_max_px=333,
        flip_probability=float(number),
    )
    change = draw_change(image.record, still, seed=0, ordinal=number)
    return make_sample(image, images_dir, architecture, change, canvas=(0, 0), ordinal=number)


def native_losses(name: str) -> dict[str, Any]:
    """Losses, statistics and gradient samples of the native network."""
    numbers, named = network(name), NETWORKS[name]
    model = RCNN(numbers)
    model.load_state_dict(seeded_weights(numbers))
    model.train()
    freeze(model, 2)
    batch = model.batch([torch.from_numpy(one.pixels).permute(2, 0, 1) for one in samples()])
    targets = [
        Targets(
            torch.from_numpy(one.boxes),
            torch.from_numpy(one.classes),
            one.masks,
            torch.Generator().manual_seed(one.ordinal),
            semantic=None if one.semantic is None else torch.from_numpy(one.semantic),
        )
        for one in samples()
    ]
    found, statistics = losses(model, batch, targets, EVERYTHING)
    if named:
        torch.stack(list(found.values())).sum().backward()
    return content(found, statistics, model, named)


def detectron2_losses(name: str) -> dict[str, Any]:
    """The same of Detectron2."""
    from detectron2.utils.events import EventStorage

    from harness.engines.detectron2_model import build_model

    numbers, named = network(name), NETWORKS[name]
    model = build_model(numbers, torch.device("cpu"), training=DETECTRON2_EVERYTHING).train()
    model.load_state_dict(seeded_weights(numbers))
    inputs = []
    for one in samples():
        assert one.semantic is not None
        semantic = torch.from_numpy(one.semantic.astype(np.int64))
        inputs.append(detectron2_input(one) | {"sem_seg": semantic})
    with EventStorage() as storage:
        found = model(inputs)
        statistics = {name: torch.tensor(value) for name, (value, _) in storage.latest().items()}
    if named:
        torch.stack(list(found.values())).sum().backward()
    return content(found, statistics, model, named)
