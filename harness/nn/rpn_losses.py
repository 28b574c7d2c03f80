"""Losses of the region proposals (Detectron2 ``modeling/proposal_generator/rpn.py``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.nn.boxes import delta_targets
from harness.nn.matching import NEGATIVE, POSITIVE, match, pairwise_iou, sample
from harness.nn.rpn import DELTA_WEIGHTS
from harness.nn.targets import Losses, Targets, TrainingNumbers


def rpn_losses(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    targets: Sequence[Targets],
    numbers: TrainingNumbers,
) -> Losses:
    """Objectness over sampled anchors of all levels, localisation over the positive ones.

    Both are divided by the budget of anchors, whether it was used up or not.
    """
    every_anchor = torch.cat(list(anchors))  # (N, 4)
    every_logit = torch.cat(list(logits), dim=1).float()  # (B, N)
    every_delta = torch.cat(list(deltas), dim=1).float()  # (B, N, 4)
    objectness, wanted_objectness, moves, wanted_moves = [], [], [], []
    for index, target in enumerate(targets):
        positive, negative, truth = _sampled_anchors(every_anchor, target, numbers)
        objectness.append(every_logit[index, torch.cat((positive, negative))])
        wanted_objectness.append(torch.ones_like(positive, dtype=torch.float32))
        wanted_objectness.append(torch.zeros_like(negative, dtype=torch.float32))
        moves.append(every_delta[index, positive])
        wanted_moves.append(
            delta_targets(every_anchor[positive], target.boxes[truth], DELTA_WEIGHTS)
        )
    divisor = numbers.anchors_per_image * len(targets)
    classification = F.binary_cross_entropy_with_logits(
        torch.cat(objectness), torch.cat(wanted_objectness), reduction="sum"
    )
    localisation = (torch.cat(moves) - torch.cat(wanted_moves)).abs().sum()
    positives = sum(map(len, moves))
    counts = (positives, sum(map(len, objectness)) - positives)
    return (
        {"loss_rpn_cls": classification / divisor, "loss_rpn_loc": localisation / divisor},
        {
            f"rpn/num_{kind}_anchors": torch.tensor(count / len(targets))
            for kind, count in zip(("pos", "neg"), counts, strict=True)
        },
    )


@torch.no_grad()
def _sampled_anchors(
    anchors: Tensor, target: Targets, numbers: TrainingNumbers
) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of positive and negative anchors (p,), (q,), and the ground truth (p,) of the first.

    Anchors that reach over the border take part as well (RPN.BOUNDARY_THRESH −1).
    """
    matches = match(
        pairwise_iou(target.boxes, anchors),
        negative_below=numbers.anchor_negative_below,
        positive_from=numbers.anchor_positive_from,
        rescue=True,
    )
    positive, negative = sample(
        matches.label == POSITIVE,
        matches.label == NEGATIVE,
        budget=numbers.anchors_per_image,
        positive_share=numbers.anchor_positive_share,
        generator=target.generator,
    )
    return positive, negative, matches.truth[positive]
