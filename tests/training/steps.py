"""A trainer of the embedded model's network, at its first iteration."""

from __future__ import annotations

import torch

from harness.core.requests.training import TrainRequest
from harness.core.settings import replaced
from harness.nn.rcnn import RCNN
from harness.nn.slot_regions import RegionOperators
from harness.nn.targets import TrainingNumbers
from harness.training.plan import Schedule
from harness.training.processes import World
from harness.training.setup import place
from harness.training.step import Trainer
from harness.zoo.architectures import tiny
from tests.golden.losses import seeded_weights

NUMBERS = TrainingNumbers(rpn_post_nms=300, anchors_per_image=64, rois_per_image=96)
SCHEDULE = Schedule(
    iterations=9, batch_size=2, learning_rate=1e-3, steps=(), warmup=1, checkpoint_period=9
)


def trainer(
    device: torch.device,
    operators: RegionOperators | None,
    numbers: TrainingNumbers = NUMBERS,
) -> Trainer:
    """The state of a training with seeded weights, the stem and res2 frozen."""
    network = RCNN(tiny())
    network.load_state_dict(seeded_weights(tiny()))
    place(network, device, "fp32", frozen=2)
    return Trainer(
        network=network,
        config=replaced(TrainRequest(), precision="fp32"),
        schedule=SCHEDULE,
        numbers=numbers,
        device=device,
        world=World(),
        average=None,
        operators=operators,
    )
