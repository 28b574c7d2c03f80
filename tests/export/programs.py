"""A small program as torch.export writes it, and archives with one thing changed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, export

from harness.export.torch_file import write_program
from harness.zoo.exported import ExportFacts
from harness.zoo.program_archive import GRAPH


class Small(nn.Module):
    """Some arithmetic with a weight, a buffer, a list of tensors and sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.register_buffer("shift", torch.arange(4.0), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        moved = self.layer(image.float()) + self.shift
        first, second = moved.split([1, 3], dim=-1)
        best, where = second.flatten().topk(torch.sym_min(image.shape[0], 5))
        grid = torch.meshgrid(best, where.float(), indexing="ij")
        return first.relu(), torch.stack(grid)


def write_small(path: Path, facts: Callable[[int, str], ExportFacts]) -> Small:
    """Write a program to ``path``; return the module it is of."""
    torch.manual_seed(0)
    module = Small().eval()
    with torch.no_grad():
        program = export(
            module, (torch.zeros(7, 9, 3, dtype=torch.uint8),), dynamic_shapes=({0: Dim.DYNAMIC},)
        )
    write_program(program, path, facts=facts)
    return module


def rewritten(path: Path, output: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Write an archive again, with other contents of its records; None leaves a record out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(output, "w") as new:
        for name in old.namelist():
            content = change(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return output


def with_graph(path: Path, output: Path, change: Callable[[Any], None]) -> Path:
    """Write an archive again, with its graph changed in place."""

    def record(name: str, content: bytes) -> bytes:
        if name != GRAPH:
            return content
        graph = json.loads(content)
        change(graph)
        return json.dumps(graph).encode()

    return rewritten(path, output, record)
