"""The engine of torch's files answers as the native engine does, and as torch's own loader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.core.errors import RunFailedError, UsageError
from harness.core.requests.inference import EngineOptions
from harness.engines.exported import ExportedEngine
from harness.engines.opening import default_batch_sizes, require_settings
from harness.engines.pt2 import open_pt2, require_pt2_settings
from harness.export.program import quiet
from harness.measure.timing import NULL_STOPWATCH
from harness.zoo.architectures import tiny
from tests.export.programs import rewritten
from tests.golden.cases import pictures


@pytest.fixture
def engine(exported_pt2: Path) -> Iterator[ExportedEngine]:
    opened = open_pt2(architecture=tiny(), weights=exported_pt2, device="cpu", threads=1)
    yield opened
    opened.close()


@pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")
def test_torch_loads_the_file_and_computes_the_same_bits(
    engine: ExportedEngine, exported_pt2: Path
) -> None:
    with quiet():
        module = torch.export.load(exported_pt2).module(check_guards=False)
    for picture in pictures()[:2]:
        pixels = engine.prepare(picture, NULL_STOPWATCH).pixels
        ours = engine.network.values(pixels)
        theirs = module(torch.from_numpy(np.ascontiguousarray(pixels)))
        for name, expected in zip(ours, theirs, strict=False):
            np.testing.assert_array_equal(ours[name], expected.numpy(), err_msg=name)
        assert len(ours["scores"]) >= 3


def test_output_that_is_not_finite_is_an_error_and_no_empty_image(
    exported_pt2: Path, tmp_path: Path
) -> None:
    def huge(name: str, content: bytes) -> bytes:
        numbers = len(content) // 4
        return np.full(numbers, 3e38, np.float32).tobytes() if "weight_" in name else content

    path = rewritten(exported_pt2, tmp_path / "bad.pt2", huge)
    bad = open_pt2(architecture=tiny(), weights=path, device="cpu", threads=1)
    with pytest.raises(RunFailedError, match=r"image 1: .*not finite"):
        bad.infer([bad.prepare(pictures()[0], NULL_STOPWATCH)], NULL_STOPWATCH)


def test_nothing_of_this_machine_is_in_the_file(exported_pt2: Path, repository: Path) -> None:
    content = exported_pt2.read_bytes()
    assert str(repository).encode() not in content
    assert b'File "' not in content


def test_settings_it_does_not_have() -> None:
    with pytest.raises(UsageError, match="computes in fp32, not in bf16"):
        require_pt2_settings("cpu", "bf16")
    with pytest.raises(UsageError, match="pt2 engine is not compiled"):
        require_settings("pt2", EngineOptions(device="cpu", compile=True))
    assert default_batch_sizes("pt2", "cpu") == (1,)
