"""The losses of one batch of a keypoint network, by Detectron2 and by the native network.

As in ``tests.golden.losses``, both train on every anchor and every proposal.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.architecture import Architecture
from harness.core.dataset import Category
from harness.data.catalog import find_dataset
from harness.data.objects import training_set
from harness.nn.losses import losses
from harness.nn.rcnn import RCNN
from harness.nn.targets import Targets
from harness.training.augmentation import Augmentation, draw_change
from harness.training.samples import Sample, make_sample
from harness.zoo.architectures import tiny
from harness.zoo.seeded import seeded_checkpoint
from tests.golden.losses import DETECTRON2_EVERYTHING, EVERYTHING

CASE = "losses_tiny_keypoints"
NAMES = ("left_a", "right_a", "b", "left_c", "right_c")

#: One parameter of each part.
NAMED = (
    "backbone.fpn_output3.weight",
    "roi_heads.box_head.fc1.weight",
    "roi_heads.box_predictor.bbox_pred.bias",
    "roi_heads.keypoint_head.conv_fcn1.weight",
    "roi_heads.keypoint_head.score_lowres.weight",
)


def architecture() -> Architecture:
    """The embedded network with a small keypoint head instead of masks."""
    return replace(
        tiny(),
        has_masks=False,
        class_count=1,
        keypoint_count=5,
        keypoint_conv_channels=(32, 32),
        box_smooth_l1_beta=0.5,
    )


def with_keypoints(content: dict[str, Any]) -> None:
    """Give every annotation five keypoints, some hidden, some not labelled, some at the border."""
    random = np.random.Generator(np.random.PCG64(5))
    content["categories"] = [{"id": 1, "name": "shape", "keypoints": list(NAMES)}]
    for row in content["annotations"]:
        x, y, width, height = row["bbox"]
        flags = random.integers(0, 3, len(NAMES))
        shares = random.choice([0.0, 0.3, 0.55, 0.8, 1.0], (len(NAMES), 2))
        points = np.concatenate(
            (np.floor([x, y] + shares * [width, height]), flags[:, None]), axis=1
        )
        points[flags == 0] = 0
        row |= {
            "category_id": 1,
            "keypoints": points.ravel().tolist(),
            "num_keypoints": int((flags > 0).sum()),
        }


def samples() -> list[Sample]:
    """Two scenes, the second one flipped."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = find_dataset(
            dataset="synthetic_val", annotations=None, images=None, root=Path(folder)
        )
        with_keypoints(dataset.ground_truth)
        dataset = replace(
            dataset, categories=(Category(1, "shape", NAMES),), keypoint_count=len(NAMES)
        )
        images = training_set(dataset, with_masks=False, with_keypoints=True).images
        chosen = [one for one in images if len(one.class_index) >= 4][:2]
        return [
            make_sample(
                image,
                dataset.images_dir,
                architecture(),
                draw_change(
                    image.record,
                    Augmentation(
                        short_edges_px=(224,),
                        long_edge_max_px=448,
                        flip_probability=float(number),
                    ),
                    seed=0,
                    ordinal=number,
                ),
                canvas=(0, 0),
                ordinal=number,
            )
            for number, image in enumerate(chosen)
        ]


def native_losses() -> dict[str, Any]:
    """Losses, statistics and norms of gradients of the native network."""
    batch_samples = samples()
    network = RCNN(architecture())
    network.load_state_dict(_weights())
    network.train()
    batch = network.batch([torch.from_numpy(one.pixels).permute(2, 0, 1) for one in batch_samples])
    targets = [
        Targets(
            torch.from_numpy(one.boxes),
            torch.from_numpy(one.classes),
            None,
            torch.Generator().manual_seed(one.ordinal),
            None if one.keypoints is None else torch.from_numpy(one.keypoints),
        )
        for one in batch_samples
    ]
    found, statistics = losses(network, batch, targets, EVERYTHING)
    torch.stack(list(found.values())).sum().backward()
    return _content(found, statistics, network)


def detectron2_losses() -> dict[str, Any]:
    """The same of Detectron2."""
    from detectron2.structures import Boxes, Instances, Keypoints
    from detectron2.utils.events import EventStorage

    from harness.engines.detectron2_model import build_model

    keys = {**DETECTRON2_EVERYTHING, "MODEL.BACKBONE.FREEZE_AT": 0}
    model = build_model(architecture(), torch.device("cpu"), training=keys).train()
    model.load_state_dict(_weights())
    inputs = []
    for one in samples():
        instances = Instances(one.pixels.shape[:2])
        instances.gt_boxes = Boxes(torch.from_numpy(one.boxes))
        instances.gt_classes = torch.from_numpy(one.classes)
        instances.gt_keypoints = Keypoints(one.keypoints)
        pixels = torch.from_numpy(np.ascontiguousarray(one.pixels.transpose(2, 0, 1)))
        inputs.append({"image": pixels, "instances": instances})
    with EventStorage() as storage:
        found = model(inputs)
        statistics = {name: torch.tensor(value) for name, (value, _) in storage.latest().items()}
    torch.stack(list(found.values())).sum().backward()
    return _content(found, statistics, model)


def _weights() -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(one) for key, one in seeded_checkpoint(architecture()).items()}


def _content(
    found: dict[str, torch.Tensor], statistics: dict[str, torch.Tensor], network: torch.nn.Module
) -> dict[str, Any]:
    gradients = {name: one.grad for name, one in network.named_parameters() if name in NAMED}
    return {
        "losses": {name: float(value.detach()) for name, value in sorted(found.items())},
        "statistics": {name: float(value) for name, value in sorted(statistics.items())},
        "gradients": {
            name: float(one.norm()) for name, one in gradients.items() if one is not None
        },
    }
