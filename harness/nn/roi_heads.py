"""What happens to a proposal: pooling, the stages of the box head, and the mask head.

After Detectron2's ``modeling/roi_heads``. R regions, K classes, C channels, S pooled side in cells.
For a CPU without gradients RoIAlign (aligned, adaptive sampling) is one weighted gather:
torchvision's kernel runs on one CPU thread and reads each cell once a sample. The same sum, written
as one list of (cell, weight) a bin, is what PyTorch's embedding bag computes on all cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.core.architecture import Architecture
from harness.nn.boxes import apply_deltas, at_least_float32, clip, own_deltas, pyramid_levels
from harness.nn.heads import BoxHead, BoxPredictor, KeypointHead, MaskHead, located
from harness.nn.operators import batched_nms, roi_align
from harness.nn.resnet import make_stage


class RawDetections(NamedTuple):
    """One image's detections in the frame of the resized input, best first."""

    boxes: Tensor
    """(n, 4) float32, px."""

    scores: Tensor
    """(n,) float32, 0…1."""

    classes: Tensor
    """(n,) int64."""


class Stage(NamedTuple):
    """What one stage of the box head returns for the regions of all images."""

    boxes: list[Tensor]
    """Per image (n, 4), the boxes it pooled, px of the resized input."""

    logits: Tensor
    """(R, K + 1), the background last."""

    deltas: Tensor
    """(R, 4K), or (R, 4) where a box moves alike for all classes."""


def pool(
    maps: Sequence[Tensor],
    boxes: Sequence[Tensor],
    side: int,
    *,
    exact: bool = False,
    levels: tuple[int, ...] = (2, 3, 4, 5),
) -> Tensor:
    """Return pooled regions of all images' boxes, each from the level of its size (RoIAlign).

    Args:
        maps: One a level; more than there are levels are left (p6 is used for proposals only).
        boxes: Per image (n, 4), px of the resized input.
        side: Cells of a pooled region in each direction.
        exact: By torchvision's kernel everywhere, into a contiguous tensor, as Detectron2 does.
        levels: Levels of the maps, without a gap; a cell of level l is 2 ** l pixels of the input.

    Returns:
        (R, C, side, side). Reduced precisions are pooled in float32; float64 stays.
    """
    everything = torch.cat(list(boxes))  # (R, 4)
    image = torch.cat([one.new_full((len(one), 1), index) for index, one in enumerate(boxes)])
    rois = torch.cat((image, everything), dim=1)  # (R, 5)
    maps = [at_least_float32(features) for features in maps[: len(levels)]]
    if len(levels) == 1:
        rois = rois.to(maps[0].dtype)
        return pooled_regions(maps[0], rois, side, 2 ** levels[0], exact=exact)
    level = pyramid_levels(everything, levels[0], levels[-1])  # (R,)
    # The one wait for the device; torch.bincount would wait by itself, too.
    counts = torch.stack([(level == number).sum() for number in levels]).tolist()
    channels = maps[0].shape[1]
    # As the heads read them: channels last, unless the reference's layout is asked for, or a GPU
    # convolves contiguous maps.
    planes = exact or (maps[0].device.type != "cpu" and maps[0].is_contiguous())
    order = (0, 1, 2, 3) if planes else (0, 2, 3, 1)
    shape = (channels, side, side) if planes else (side, side, channels)
    pooled = maps[0].new_zeros((len(rois), *shape))
    by_level = level.argsort(stable=True).split(counts)
    for features, number, where in zip(maps, levels, by_level, strict=True):
        if len(where):
            level_rois = rois[where].to(features.dtype)
            regions = pooled_regions(features, level_rois, side, 2**number, exact=exact)
            pooled.index_copy_(0, where, regions.permute(order))
    return pooled if planes else pooled.permute(0, 3, 1, 2)  # (R, C, side, side)


class RoIHeads(nn.Module):
    """Everything that happens to a proposal.

    Attributes:
        exact: Whether it computes in the reference's own arithmetic.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.exact = False
        self.architecture = a = architecture
        channels = a.map_channels
        if a.neck == "c4":
            self.res5 = make_stage(a, 3)
            channels = a.stage_channels[3]
            self.box_predictor: nn.Module = BoxPredictor(a, channels)
        elif a.is_cascade:
            count = len(a.delta_weights)
            self.box_head: nn.Module = nn.ModuleList(BoxHead(a, channels) for _ in range(count))
            width = a.box_fc_channels[-1]
            self.box_predictor = nn.ModuleList(BoxPredictor(a, width) for _ in range(count))
        else:
            self.box_head = BoxHead(a, channels)
            self.box_predictor = BoxPredictor(a, a.box_fc_channels[-1])
        if a.has_masks:
            self.mask_head = MaskHead(a, channels)
        if a.keypoint_count:
            self.keypoint_head = KeypointHead(a)

    @property
    def stages(self) -> list[tuple[BoxHead | None, BoxPredictor]]:
        """Return head and predictor of each stage; with C4, res5 is in the head's place."""
        if isinstance(self.box_predictor, nn.ModuleList):
            heads = self.box_head.children()
            return list(zip(heads, self.box_predictor.children(), strict=True))  # type: ignore[arg-type]
        return [(getattr(self, "box_head", None), self.box_predictor)]  # type: ignore[list-item]

    @property
    def dtype(self) -> torch.dtype:
        """Return what the heads compute in."""
        return self.stages[0][1].cls_score.weight.dtype

    def pooled(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], side: int) -> Tensor:
        """Return the regions of all images' boxes, in the precision of the heads.

        With C4 they have gone through res5 already, which halves their side.

        Args:
            maps: What regions are proposed on.
            boxes: Per image (n, 4), px of the resized input.
            side: Cells of a pooled region in each direction.

        Returns:
            (R, C, S, S).
        """
        levels = self.architecture.pooled_levels
        pooled = pool(maps, boxes, side, exact=self.exact, levels=levels).to(self.dtype)
        return self.res5(pooled) if self.architecture.neck == "c4" else pooled

    def predicted(self, pooled: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        """Return logits (R, K + 1) and deltas of a stage for regions of `pooled`."""
        head, predictor = self.stages[stage]
        hidden = pooled.mean(dim=(2, 3)) if head is None else head(pooled)  # (R, C)
        answer: tuple[Tensor, Tensor] = predictor(hidden)
        return answer

    def classify(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], stage: int = 0
    ) -> Stage:
        """Return the outputs of one stage of the box head for the boxes of all images.

        Args:
            maps: What regions are proposed on.
            proposals: Per image (n, 4), px of the resized input.
            stage: Stage of a cascade.
        """
        pooled = self.pooled(maps, proposals, self.architecture.box_pool_px)
        return Stage(list(proposals), *self.predicted(pooled, stage))

    def refine(
        self,
        maps: Sequence[Tensor],
        proposals: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
    ) -> list[Stage]:
        """Return the outputs of all stages; each but the first starts from the boxes of the last.

        Args:
            maps: What regions are proposed on.
            proposals: Per image (n, 4), px of the resized input.
            sizes: (height, width) of each image before padding, px.
        """
        found: list[Stage] = []
        for stage in range(len(self.stages)):
            boxes = self.moved(found[-1], stage - 1, sizes) if found else proposals
            found.append(self.classify(maps, boxes, stage))
        return found

    def moved(self, answer: Stage, stage: int, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Return the boxes that a stage of a cascade leaves, (n, 4) an image, clipped.

        Empty ones stay, so that the rows of all stages are those of the same proposals.
        """
        weights = self.architecture.delta_weights[stage]
        boxes = apply_deltas(answer.deltas, torch.cat(answer.boxes), weights)
        parts = boxes.split([len(one) for one in answer.boxes])
        return [clip(one, *size) for one, size in zip(parts, sizes, strict=True)]

    def scores(self, stages: Sequence[Stage]) -> Tensor:
        """Return (R, K) probabilities: the mean over the stages."""
        every = [F.softmax(at_least_float32(one.logits), dim=-1) for one in stages]
        mean = every[0] if len(every) == 1 else sum(every) * (1.0 / len(every))
        return mean[:, :-1]  # type: ignore[index]

    def detect(
        self, scores: Tensor, deltas: Tensor, boxes: Tensor, size: tuple[int, int]
    ) -> RawDetections:
        """Return the detections of one image: score cut, class-wise NMS, best N.

        Only boxes that pass the score cut are decoded; decoding is element-wise, so the result is
        the same.

        Args:
            scores: (R, K), of `scores`.
            deltas: (R, 4K) or (R, 4), of the last stage.
            boxes: (R, 4), that it pooled, px of the resized input.
            size: (height, width) of the image before padding, px.
        """
        numbers = self.architecture
        regions, classes = torch.nonzero(scores > numbers.score_threshold, as_tuple=True)
        kept_scores = scores[regions, classes]  # (k,), pairs above the cut
        kept_deltas = own_deltas(deltas, regions, classes)  # (k, 4)
        moved = apply_deltas(kept_deltas, boxes[regions], numbers.delta_weights[-1])
        moved = clip(moved, *size)
        best = batched_nms(moved, kept_scores, classes, numbers.box_nms_iou)  # (survivors,)
        best = best[: numbers.max_detections]  # (n,)
        return RawDetections(moved[best], kept_scores[best], classes[best])

    def masks(self, maps: Sequence[Tensor], detections: Sequence[RawDetections]) -> list[Tensor]:
        """Return per image (n, M, M) float32 mask probabilities in the frame of each box."""
        boxes = [one.boxes for one in detections]
        side = self.architecture.mask_side_px
        if not sum(len(one) for one in boxes):
            return [one.new_zeros((0, side, side)) for one in boxes]
        classes = torch.cat([one.classes for one in detections])
        soft = self.soft_masks(maps, boxes, classes)  # (N, M, M)
        return list(soft.split([len(one) for one in boxes]))

    def soft_masks(
        self, maps: Sequence[Tensor], boxes: Sequence[Tensor], classes: Tensor
    ) -> Tensor:
        """Return (R, M, M) float32 probabilities of a mask of each box's own class.

        Args:
            maps: What regions are proposed on.
            boxes: Per image (n, 4), px of the resized input.
            classes: (R,) int64.
        """
        pooled = self.pooled(maps, boxes, self.architecture.mask_pool_px)
        return self.mask_head.probabilities(pooled, classes)

    def keypoints(
        self, pyramid: Sequence[Tensor], detections: Sequence[RawDetections]
    ) -> list[Tensor]:
        """Return per image (n, K, 3): x, y in px of the resized input, and score (``located``)."""
        boxes = [one.boxes for one in detections]
        counts = [len(one) for one in boxes]
        if not sum(counts):
            return [one.new_zeros((0, self.architecture.keypoint_count, 3)) for one in boxes]
        heat = self.keypoint_heat(pyramid, boxes)
        return list(located(heat, torch.cat(boxes)).split(counts))

    @property
    def heat_side(self) -> int:
        """Return M, the side of the heat in cells: the pooled one, doubled twice."""
        return 4 * self.architecture.keypoint_pool_px

    def keypoint_heat(self, pyramid: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Return (R, K, M, M) logits of the keypoints in all images' boxes."""
        heat: Tensor = self.keypoint_head(
            self.pooled(pyramid, boxes, self.architecture.keypoint_pool_px)
        )
        return heat


def pooled_regions(
    features: Tensor, rois: Tensor, side: int, stride_px: int, *, exact: bool = False
) -> Tensor:
    """Pooled regions of one level.

    Args:
        features: (B, C, H, W), float32 or float64.
        rois: (R, 5) of the same dtype: image index, and box in px of the input.
        side: Cells of a pooled region in each direction.
        stride_px: Pixels of the input in a cell of ``features``.
        exact: By torchvision's kernel on a CPU, too, which sums in the reference's order.

    Returns:
        (R, C, side, side) of the dtype of ``features``.
    """
    if exact or features.device.type != "cpu" or features.requires_grad:
        return roi_align(features, rois, side, 1 / stride_px)
    _, channels, height, width = features.shape
    # No copy when channels are last. Else, cells whose numbers lie apart are gathered far slower.
    cells = features.permute(0, 2, 3, 1).reshape(-1, channels).contiguous()
    image = rois[:, 0].to(torch.int64)
    boxes = rois[:, 1:] * (1 / stride_px) - 0.5
    rows, down = _weights(boxes[:, 1], boxes[:, 3], side, height)  # (R, side, K)
    columns, across = _weights(boxes[:, 0], boxes[:, 2], side, width)  # (R, side, L)
    rows = rows + image[:, None, None] * height
    index = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weight = down[:, :, None, :, None] * across[:, None, :, None, :]  # (R, side, side, K, L)
    terms = rows.shape[2] * columns.shape[2]
    bins = F.embedding_bag(
        index.reshape(-1, terms), cells, mode="sum", per_sample_weights=weight.reshape(-1, terms)
    )
    return bins.view(len(rois), side, side, channels).permute(0, 3, 1, 2)  # (R, C, side, side)


def _weights(start: Tensor, end: Tensor, side: int, length: int) -> tuple[Tensor, Tensor]:
    """Return what each bin takes of the cells of one axis.

    A bin is the mean of equally spaced samples at most one cell apart, each read by linear
    interpolation; samples more than a cell outside the axis count as zero (torchvision's
    ``roi_align_common.h``).

    Args:
        start: (R,) first end of the regions, in cells.
        end: (R,) their other end.
        side: Bins a region.
        length: Cells of the axis.

    Returns:
        Cells (R, side, K) int64, and their weights (R, side, K).
    """
    size = (end - start) / side  # of a bin, in cells
    count = size.ceil()  # samples a bin; none in a region without extent
    most = int(count.max()) if len(count) else 0
    bins = torch.arange(side, dtype=start.dtype)
    samples = torch.arange(most, dtype=start.dtype)
    first = start[:, None, None] + bins[:, None] * size[:, None, None]
    divisor = count.clamp(min=1)
    places = first + (samples + 0.5) * (size / divisor)[:, None, None]  # (R, side, most)
    counted = (samples < count[:, None, None]) & (places >= -1) & (places <= length)
    places = places.clamp(0, length - 1)
    lowest = first.clamp(0, length - 1).floor()
    reach = torch.arange(most + 2, dtype=start.dtype)
    cells = (lowest + reach).clamp(max=length - 1)  # (R, side, K)
    tents = (1 - (places[..., None] - (lowest + reach)[:, :, None]).abs()).clamp(min=0)
    weights = (tents * counted[..., None]).sum(dim=2) / divisor[:, None, None]
    return cells.to(torch.int64), weights
