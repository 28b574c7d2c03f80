"""The engine around an exported file of one of torchvision's networks: torchvision's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from harness.core.architecture import Architecture
from harness.core.engine import EngineInfo
from harness.engines.torchvision import TorchvisionEngine

if TYPE_CHECKING:
    from harness.engines.exported import ExportedNetwork


class ExportedDetector:
    """A file in the place of torchvision's network.

    Args:
        file: What runs it.
        architecture: With the size images are resized to.
    """

    def __init__(self, file: ExportedNetwork, architecture: Architecture) -> None:
        self.file = file
        # The file normalises; the numbers here are not used.
        self._transform = GeneralizedRCNNTransform(
            architecture.short_edge_px, architecture.long_edge_max_px, [0.0] * 3, [1.0] * 3
        ).eval()

    def __call__(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Return what torchvision's network returns, computed one image after the other.

        Raises:
            FloatingPointError: The output is not finite.
        """
        return [self._found(image) for image in images]

    def resized(self, image: Tensor) -> Tensor:
        """Return an image (3, H, W) of 0 … 1 as the file takes it: (H', W', 3)."""
        resized: Tensor = self._transform.resize(image)[0]
        return resized.permute(1, 2, 0).contiguous()

    def _found(self, image: Tensor) -> dict[str, Tensor]:
        given = self.resized(image)
        found = self.file.values(given.numpy())
        if not found["finite"]:
            raise FloatingPointError("the network's output is not finite")
        names = {"boxes": "boxes", "scores": "scores", "classes": "labels", "masks": "masks"}
        output = {ours: torch.tensor(found[key]) for key, ours in names.items() if key in found}
        if "masks" in output:
            output["masks"] = output["masks"][:, None]  # (n, 1, M, M)
        sizes = [(int(given.shape[0]), int(given.shape[1]))]
        originals = [(int(image.shape[-2]), int(image.shape[-1]))]
        (result,) = self._transform.postprocess([output], sizes, originals)
        return dict(result)


def exported_torchvision(
    file: ExportedNetwork, info: EngineInfo, notes: Sequence[str] = ()
) -> TorchvisionEngine:
    """Return torchvision's engine with a file in the place of its network."""
    numbers = info.architecture
    return TorchvisionEngine(
        ExportedDetector(file, numbers),
        info,
        torch.device("cpu"),
        tuple(range(numbers.class_count)),
        notes,
    )
