from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

from harness.measure.masks import encode_edges
from harness.nn.kernels.runs import characters

#: Of two images; a mask's places may end with the end of its image.
SIZES = [[20, 30], [3000, 4000]]


def masks_of(seed: int) -> list[list[np.ndarray]]:
    drawn = np.random.Generator(np.random.PCG64(seed))
    found = []
    for height, width in SIZES:
        end = height * width
        found.append(
            [
                np.sort(drawn.choice(end, size=70, replace=False)),
                np.array([], dtype=np.int64),
                np.array([0]),
                np.array([0, end]),
                np.array([5, 6, 7, 8, end - 1]),
                np.array([end // 2, end]),
            ]
        )
    return found


def test_the_text_is_that_of_the_encoder(device: torch.device) -> None:
    masks = masks_of(1)
    room = max(sum(map(len, one)) for one in masks) + 7
    places = torch.zeros((2, room), dtype=torch.int32)
    for image, one in enumerate(masks):
        whole = np.concatenate(one)
        places[image, : len(whole)] = torch.from_numpy(whole.astype(np.int32))
    counts = torch.tensor([[len(mask) for mask in one] for one in masks], dtype=torch.int32)
    kept = torch.ones_like(counts, dtype=torch.bool)
    sizes = torch.tensor(SIZES, dtype=torch.int32)
    given = [one.to(device) for one in (places, counts, kept, sizes)]
    text, lengths = characters(*given, 4096)
    for image, (height, width) in enumerate(SIZES):
        total = int(lengths[image].sum())
        whole = bytes(text[image, :total].cpu().tolist()).decode("ascii")
        start = 0
        for mask, length in zip(masks[image], lengths[image].tolist(), strict=True):
            expected = encode_edges(mask, height_px=height, width_px=width).counts
            assert whole[start : start + length] == expected
            start += length
    few, same = characters(*given, 40)
    assert torch.equal(same, lengths)
    assert torch.equal(few, text[:, :40])


def test_masks_that_do_not_count_have_no_text(device: torch.device) -> None:
    places = torch.zeros((1, 4), dtype=torch.int32)
    counts = torch.zeros((1, 2), dtype=torch.int32)
    kept = torch.tensor([[False, True]])
    sizes = torch.tensor([[4, 5]], dtype=torch.int32)
    given = [one.to(device) for one in (places, counts, kept, sizes)]
    text, lengths = characters(*given, 16)
    expected = encode_edges(np.array([], dtype=np.int64), height_px=4, width_px=5).counts
    assert lengths.tolist() == [[0, len(expected)]]
    assert bytes(text[0, : len(expected)].cpu().tolist()).decode("ascii") == expected
