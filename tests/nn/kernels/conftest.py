"""Where the kernels run: on a GPU as they are, else in Triton's interpreter (`tests.conftest`)."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
