"""Networks whose weights come from a file: built without drawing random ones first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Unfilled(TorchFunctionMode):
    """While it is entered, the functions of ``torch.nn.init`` leave tensors as they are.

    To draw the weights of an R50-FPN takes a third of a second, and a file replaces every one of
    them. Whoever builds a network so must load each tensor of its ``state_dict``.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def fill(tensors: Mapping[str, Tensor], values: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Copy arrays into tensors on the CPU, in place, each number once.

    Args:
        tensors: By name, such as a network's ``state_dict``.
        values: Of some of them or all; of the same shape and dtype.
    """
    for name, value in values.items():
        np.copyto(tensors[name].numpy(), value, casting="no")
