"""The compiled operators of torchvision that the networks need, without the package around them.

``import torchvision`` also imports every model it has, and with its RoIAlign torch's compiler: as
long again as torch itself takes. Its operators are in one library that torch can load by itself.
What torchvision adds to them in Python is there once the package is imported: their gradients,
shapes without data, autocasting, and a RoIAlign of its own for deterministic algorithms on a GPU.
Whatever needs one of these goes through the package's own functions (``_needs_package``), so no
gradient is lost silently. The numbers are the same on either way: it is the same library.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

#: Name of the package, and of its library of operators, which has another one since 0.29.
PACKAGE, LIBRARIES = "torchvision", ("_C", "_C_stable")

#: Up to how many numbers of boxes torchvision suppresses all groups in one call, on a CPU and
#: elsewhere (``torchvision.ops.boxes.batched_nms``). Detectron2 calls it, so its choice counts.
ONE_CALL_CPU, ONE_CALL_ELSEWHERE = 4_000, 100_000


@cache
def register_operators() -> None:
    """Register torchvision's operators with torch, by its library alone where that can be loaded.

    Elsewhere the package is imported, which reports what is wrong with it.
    """
    library = _library()
    if library is not None:
        try:
            torch.ops.load_library(str(library))
        except OSError:
            library = None
    if library is None or not _same_cuda():
        register_everything()


@cache
def register_everything() -> None:
    """Import torchvision: its operators then have gradients, and shapes without data.

    To be called before a network is compiled. Everything else that needs it comes to it by itself.
    """
    importlib.import_module(PACKAGE)


def _library() -> Path | None:
    """Return the library of operators beside the package, which is not imported; None if absent."""
    spec = find_spec(PACKAGE)
    folders = (spec and spec.submodule_search_locations) or ()
    candidates = (
        Path(folder) / f"{name}{suffix}"
        for folder in folders
        for name in LIBRARIES
        for suffix in EXTENSION_SUFFIXES
    )
    return next((path for path in candidates if path.is_file()), None)


def _same_cuda() -> bool:
    """Return whether torch and the operators were built for the same major version of CUDA."""
    built_for: int = torch.ops.torchvision._cuda_version()  # -1 without CUDA, 12060 for 12.6
    own = torch.version.cuda
    return built_for < 0 or own is None or built_for // 1000 == int(own.partition(".")[0])


def nms(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Return rows of boxes, best first, none of which overlaps a better one by more than ``iou``.

    Args:
        boxes: (n, 4) float32 or float64.
        scores: (n,) of the same dtype.
        iou: Up to which both are kept.

    Returns:
        (m,) int64.
    """
    register_operators()
    found: Tensor = torch.ops.torchvision.nms(boxes, scores, iou)
    return found


def batched_nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float) -> Tensor:
    """Return what `nms` keeps when boxes of different groups do not suppress each other.

    Few boxes are moved apart by group, and suppressed in one call; many, group by group. The two
    round differently, and which one computes is torchvision's choice.

    Args:
        boxes: (n, 4).
        scores: (n,).
        groups: (n,) int64, from 0.
        iou: As in `nms`.

    Returns:
        (m,) int64, best first.
    """
    if not len(boxes):
        return groups.new_empty(0, dtype=torch.int64)
    if in_one_call(boxes):
        return nms(moved_apart(boxes, groups), scores, iou)
    kept = torch.zeros_like(groups, dtype=torch.bool)
    sizes = torch.unique(groups, return_counts=True)[1].tolist()
    for rows in groups.argsort(stable=True).split(sizes):
        kept[rows[nms(boxes[rows], scores[rows], iou)]] = True
    rows = kept.nonzero()[:, 0]
    return rows[scores[rows].argsort(descending=True)]


def in_one_call(boxes: Tensor) -> bool:
    """Return whether `batched_nms` suppresses all groups of these boxes (n, 4) in one call."""
    most = ONE_CALL_CPU if boxes.device.type == "cpu" else ONE_CALL_ELSEWHERE
    return boxes.numel() <= most


def moved_apart(boxes: Tensor, groups: Tensor) -> Tensor:
    """Return boxes (n, 4), at least one, moved so that no two of different groups (n,) overlap."""
    return boxes + (groups.to(boxes.dtype) * (boxes.max() + 1))[:, None]


def roi_align(features: Tensor, rois: Tensor, side: int, spatial_scale: float = 1.0) -> Tensor:
    """Return regions pooled by torchvision's kernel: aligned, as many samples as a bin has cells.

    Args:
        features: (B, C, H, W), float32 or float64.
        rois: (R, 5) of the same dtype: image index, and box in the frame before scaling.
        side: Cells of a pooled region in each direction.
        spatial_scale: Cells of ``features`` in a unit of the boxes.

    Returns:
        (R, C, side, side).
    """
    if _needs_package(features, rois):
        from torchvision.ops import roi_align as of_package

        return of_package(features, rois, side, spatial_scale, aligned=True)
    register_operators()
    adaptive = -1
    return torch.ops.torchvision.roi_align(
        features, rois, spatial_scale, side, side, adaptive, True
    )


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """Return a convolution whose samples are moved by offsets, without modulation.

    Args:
        x: (B, C_in, H, W).
        offset: (B, 2 · groups · kernel height · kernel width, H', W'), in cells, down and right.
        weight: (C, C_in / weight groups, kernel height, kernel width).
        bias: (C,), or None.
        stride: Down and right, as the next two.
        padding: Zeros on each side.
        dilation: Distance of two samples.

    Returns:
        (B, C, H', W').
    """
    given = (x, offset, weight) if bias is None else (x, offset, weight, bias)
    if _needs_package(*given):
        from torchvision.ops import deform_conv2d as of_package

        return of_package(x, offset, weight, bias, stride, padding, dilation)
    register_operators()
    unmodulated = x.new_zeros((len(x), 1))
    bias = x.new_zeros(len(weight)) if bias is None else bias
    groups = x.shape[1] // weight.shape[1]
    offset_groups = offset.shape[1] // (2 * weight.shape[2] * weight.shape[3])
    sizes = (*stride, *padding, *dilation, groups, offset_groups, False)
    return torch.ops.torchvision.deform_conv2d(x, weight, offset, unmodulated, bias, *sizes)


def _needs_package(*given: Tensor) -> bool:
    """Return whether a call on these tensors needs what torchvision registers in Python."""
    plain = all(one.device.type in ("cpu", "cuda") and type(one) in PLAIN for one in given)
    return (
        not plain
        or torch.compiler.is_compiling()
        or (torch.is_grad_enabled() and any(one.requires_grad for one in given))
        or any(torch.is_autocast_enabled(one.device.type) for one in given)
        or (torch.are_deterministic_algorithms_enabled() and given[0].device.type != "cpu")
    )


#: Tensors that hold numbers of their own; subclasses are what a tracer or a mode computes with.
PLAIN = (Tensor, torch.nn.Parameter)
