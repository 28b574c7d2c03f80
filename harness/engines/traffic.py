"""Bytes that the operators of a computation read and write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Operators that write their first argument without reading it.
OVERWRITING = ("aten::copy_", "aten::fill_", "aten::zero_")

#: Operators that reserve memory and leave it as it is; and a view that does not call itself one.
UNTOUCHING = (
    *("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty"),
    "aten::_unsafe_view",
)


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's is untyped
    """While active, adds up the bytes of every operator's tensors, read and written once each.

    An operator that returns a view of its argument moves nothing; neither does one that only
    reserves memory. Not seen: what a kernel reads twice or keeps to itself, and NumPy.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's is untyped
        self.moved_bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator, and count its tensors."""
        given = dict(kwargs or {})
        with self:  # an operator made of others, as inference mode passes them on, is its parts
            answer = func.decompose(*args, **given)
        if answer is not NotImplemented:
            return answer
        answer = func(*args, **given)
        if not _moves_nothing(func):
            given.pop("out", None)
            read = args[1:] if func._schema.name in OVERWRITING else args
            self.moved_bytes += _bytes((read, given)) + _bytes(answer)
        return answer


def _moves_nothing(func: Any) -> bool:
    """Return whether memory is only reserved, or the result is a view of an argument."""
    returned = func._schema.returns
    is_view = any(one.alias_info is not None and not one.alias_info.is_write for one in returned)
    return is_view or func._schema.name in UNTOUCHING


def _bytes(tree: Any) -> int:
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
