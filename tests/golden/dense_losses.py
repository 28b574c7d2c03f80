"""The losses and gradients of one training batch of a RetinaNet, by Detectron2 and natively.

Nothing is sampled there: every anchor that is not ignored takes part.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from harness.core.architecture import Architecture
from harness.nn.losses import losses
from harness.nn.rcnn import RCNN
from harness.training.optimizer import freeze
from harness.zoo.architectures import retinanet_r50_fpn, tiny
from harness.zoo.seeded import seeded_checkpoint
from tests.golden.losses import EVERYTHING, content, detectron2_input, samples, targets_of

CASE = "losses_small_retinanet"

#: Steps: the second one is divided by an average that remembers the first.
STEPS = 2

#: Parameters whose gradients are compared.
NAMED = (
    "backbone.bottom_up.res4.0.conv1.weight",
    "backbone.fpn_output3.weight",
    "backbone.top_block.p7.weight",
    "head.cls_subnet.0.weight",
    "head.cls_score.bias",
    "head.bbox_pred.weight",
)


def architecture() -> Architecture:
    """The small network with a dense head in place of its others."""
    dense = retinanet_r50_fpn()
    return replace(
        tiny(),
        detector=dense.detector,
        anchor_scales=dense.anchor_scales,
        dense_conv_count=2,
        has_masks=False,
    )


def native_losses() -> dict[str, Any]:
    """Losses, statistics and gradient samples of the native network."""
    batch_samples = samples()
    network = RCNN(architecture())
    network.load_state_dict(_weights())
    network.train()
    freeze(network, 2)
    batch = network.batch([torch.from_numpy(one.pixels).permute(2, 0, 1) for one in batch_samples])
    for _ in range(STEPS):
        network.zero_grad()
        found, statistics = losses(network, batch, targets_of(batch_samples), EVERYTHING)
        torch.stack(list(found.values())).sum().backward()
    return content(found, statistics, network, NAMED)


def detectron2_losses() -> dict[str, Any]:
    """The same of Detectron2."""
    from detectron2.utils.events import EventStorage

    from harness.engines.detectron2_model import build_model

    model = build_model(architecture(), torch.device("cpu")).train()
    model.load_state_dict(_weights())
    with EventStorage() as storage:
        for _ in range(STEPS):
            model.zero_grad()
            found = model([detectron2_input(one) for one in samples()])
            torch.stack(list(found.values())).sum().backward()
        statistics = {name: torch.tensor(value) for name, (value, _) in storage.latest().items()}
    return content(found, statistics, model, NAMED)


def _weights() -> dict[str, torch.Tensor]:
    seeded = seeded_checkpoint(architecture())
    return {key: torch.from_numpy(value) for key, value in seeded.items()}
