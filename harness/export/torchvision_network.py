"""A detector of torchvision as an exporter can trace it, between its resizing and its pasting.

The layers are torchvision's own, weights included. What stands between them there decides in
Python, and is written here as operations of the graph, as in ``harness.export.network``. Resizing
(bilinear, of floating-point pixels) and pasting stay outside: the engine of the file leaves both to
torchvision.

R regions, L labels with the background, S pooled side in cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import nms, roi_align

from harness.export.network import all_finite, at_most
from harness.nn.boxes import clip

#: Of a detection; smaller ones are dropped (``RoIHeads.postprocess_detections``).
SMALLEST_PX = 1e-2


class TraceableTorchvision(nn.Module):
    """One image → its results, for tracing.

    Attributes:
        class_of_label: (L,) int64, -1 for labels of no class.
        mean: (3, 1, 1), of pixels of 0 … 1.
        std: (3, 1, 1).

    Args:
        network: In evaluation mode; it computes one image here, after which torchvision knows the
            scales of its maps.
        labels: The label of each class, by class index.
    """

    class_of_label: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, labels: Sequence[int]) -> None:
        super().__init__()
        self.network: Any = network
        label_count = network.roi_heads.box_predictor.cls_score.out_features
        class_of_label = torch.full((label_count,), -1)
        class_of_label[list(labels)] = torch.arange(len(labels))
        self.register_buffer("class_of_label", class_of_label, persistent=False)
        transform = network.transform
        for name in ("mean", "std"):
            numbers = torch.tensor(getattr(transform, f"image_{name}"))
            self.register_buffer(name, numbers[:, None, None], persistent=False)
        edge = transform.min_size[-1]
        with torch.inference_mode():
            features = network.backbone(torch.zeros(1, 3, edge, edge))
            nothing = [torch.zeros(0, 4)]
            for pool in self._pools():
                pool(features, nothing, [(edge, edge)])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Results.

        Args:
            image: (H, W, 3) float32 of 0 … 1, RGB, resized.

        Returns:
            boxes (n, 4) float32 in px of ``image``, best score first · scores (n,) float32 ·
            classes (n,) int64 · finite () bool, false if any output of the network was NaN or
            infinite: then the rest is invalid · masks (n, M, M) float32 probabilities in the frame
            of each box.
        """
        network = self.network
        height, width, _ = image.shape
        pixels = (image.permute(2, 0, 1) - self.mean) / self.std
        divisor = network.transform.size_divisible
        padded = F.pad(pixels, (0, -width % divisor, 0, -height % divisor))[None]
        features = network.backbone(padded)
        logits, deltas = network.rpn.head(list(features.values()))
        anchors = self._anchors(padded, list(features.values()))
        proposals = self._proposals(logits, deltas, anchors, height, width)
        heads = network.roi_heads
        pooled = self._pooled(heads.box_roi_pool, features, proposals)
        class_logits, moves = heads.box_predictor(heads.box_head(pooled))
        boxes, scores, labels = self._detections(class_logits, moves, proposals, height, width)
        finite = torch.stack([all_finite(one) for one in (*logits, *deltas, class_logits, moves)])
        masks = (self._masks(features, boxes, labels),) if heads.has_mask() else ()
        return (boxes, scores, self.class_of_label[labels], finite.all(), *masks)

    def _pools(self) -> list[Any]:
        heads = self.network.roi_heads
        return [heads.box_roi_pool, *([heads.mask_roi_pool] if heads.has_mask() else [])]

    def _anchors(self, padded: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
        """(A, 4) of each map: ``AnchorGenerator``, whose strides follow from the sizes."""
        cells = self.network.rpn.anchor_generator.cell_anchors
        anchors = []
        for features, cell in zip(maps, cells, strict=True):
            height, width = features.shape[-2:]
            down = torch.arange(height) * (padded.shape[-2] // height)
            across = torch.arange(width) * (padded.shape[-1] // width)
            y, x = torch.meshgrid(down, across, indexing="ij")
            shifts = torch.stack((x.flatten(), y.flatten(), x.flatten(), y.flatten()), dim=1)
            anchors.append((shifts[:, None] + cell[None]).reshape(-1, 4))
        return anchors

    def _proposals(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        height: int,
        width: int,
    ) -> Tensor:
        """(R, 4), best first: ``RegionProposalNetwork.filter_proposals``, level by level."""
        rpn = self.network.rpn
        pre_nms, post_nms = rpn.pre_nms_top_n(), rpn.post_nms_top_n()
        boxes, scores = [], []
        for level, moves, places in zip(logits, deltas, anchors, strict=True):
            objectness = _flat(level, 1)[:, 0]
            count = torch.sym_min(objectness.shape[0], pre_nms)  # type: ignore[no-untyped-call]
            best, where = objectness.topk(count)
            moved = rpn.box_coder.decode_single(_flat(moves, 4)[where], places[where])
            moved = clip(moved.reshape(-1, 4), height, width)
            probable = best.sigmoid()
            good = _large(moved, rpn.min_size) & (probable >= rpn.score_thresh)
            (kept,) = torch.nonzero(good, as_tuple=True)
            kept = at_most(pre_nms, kept)
            moved, probable = moved[kept], probable[kept]
            kept = at_most(pre_nms, nms(moved, probable, rpn.nms_thresh))
            boxes.append(moved[kept])
            scores.append(probable[kept])
        best_first = torch.cat(scores).argsort(descending=True)[:post_nms]
        return torch.cat(boxes)[at_most(post_nms, best_first)]

    def _detections(
        self, logits: Tensor, deltas: Tensor, proposals: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (n, 4), scores and labels (n,): ``RoIHeads.postprocess_detections``.

        Labels of no class are dropped last, as they take part in what is kept.
        """
        heads = self.network.roi_heads
        most = self.network.rpn.post_nms_top_n() * (logits.shape[-1] - 1)
        scores = F.softmax(logits, -1)[:, 1:]  # (R, L - 1)
        regions, labels = torch.nonzero(scores > heads.score_thresh, as_tuple=True)
        regions = at_most(most, regions)
        found = scores[regions, labels]
        labels = labels + 1
        moves = deltas.view(-1, logits.shape[-1], 4)[regions, labels]
        boxes = heads.box_coder.decode_single(moves, proposals[regions]).reshape(-1, 4)
        boxes = clip(boxes, height, width)
        (kept,) = torch.nonzero(_large(boxes, SMALLEST_PX), as_tuple=True)
        kept = at_most(most, kept)
        boxes, found, labels = boxes[kept], found[kept], labels[kept]
        furthest = torch.cat((boxes.flatten(), boxes.new_zeros(1))).max()  # of no box at all: 0
        apart = boxes + (labels.to(boxes.dtype) * (furthest + 1))[:, None]
        best = nms(apart, found, heads.nms_thresh)[: heads.detections_per_img]
        best = at_most(heads.detections_per_img, best)
        (known,) = torch.nonzero(self.class_of_label[labels[best]] >= 0, as_tuple=True)
        best = best[at_most(heads.detections_per_img, known)]
        return boxes[best], found[best], labels[best]

    def _masks(self, features: Mapping[str, Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """(n, M, M) float32: ``maskrcnn_inference``."""
        heads = self.network.roi_heads
        pooled = self._pooled(heads.mask_roi_pool, features, boxes)
        logits: Tensor = heads.mask_predictor(heads.mask_head(pooled))  # (n, L, M, M)
        return logits.sigmoid()[torch.arange(labels.shape[0]), labels]

    def _pooled(self, pool: Any, features: Mapping[str, Tensor], boxes: Tensor) -> Tensor:
        """(R, C, S, S): ``MultiScaleRoIAlign`` without its loop over an unknown number of rows."""
        levels = pool.map_levels([boxes])
        rois = torch.cat((torch.zeros_like(boxes[:, :1]), boxes), dim=1)  # all of image 0
        maps = [features[name] for name in pool.featmap_names if name in features]
        parts, places = [], []
        for level, (one, scale) in enumerate(zip(maps, pool.scales, strict=True)):
            (where,) = torch.nonzero(levels == level, as_tuple=True)
            where = at_most(self.network.rpn.post_nms_top_n(), where)
            parts.append(roi_align(one, rois[where], pool.output_size, scale, pool.sampling_ratio))
            places.append(where)
        return torch.cat(parts)[torch.cat(places).argsort()]


def _flat(maps: Tensor, count: int) -> Tensor:
    """(H·W·A, count) of (1, A·count, H, W)."""
    height, width = maps.shape[-2:]
    return maps.view(-1, count, height, width).permute(2, 3, 0, 1).reshape(-1, count)


def _large(boxes: Tensor, smallest_px: float) -> Tensor:
    """(n,) bool: whether width and height of each box reach a size."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return (sides >= smallest_px).all(dim=1)
