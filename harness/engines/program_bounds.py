"""How large a graph from a file may make its numbers and tensors.

A forged graph of a few bytes could ask for terabytes, or square a number until the machine stands
still. What an operator is about to make is estimated from its arguments before it is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

#: Elements of one tensor: 1 GiB of float32. The largest that a network of the zoo makes for an
#: image of 1333 px has a tenth of it.
MOST_ELEMENTS = 1 << 28

#: Of a convolution's, a pooling's or a region's window: size, stride, padding, dilation, in cells.
LARGEST_WINDOW = 256

#: Sizes are 64-bit numbers in torch.
LARGEST_NUMBER = float(1 << 63)

OF_SIZES = frozenset(
    ("empty", "full", "zeros", "ones", "new_empty", "new_full", "new_ones", "new_zeros")
)
OF_RANGES = frozenset(("arange", "linspace"))
JOINED = frozenset(("cat", "concat", "stack"))
RESIZED = frozenset(("upsample_bilinear2d", "upsample_nearest2d"))

#: Operators with a window, and the position of the one number that is none of it: the groups.
OF_WINDOWS = {
    **dict.fromkeys(("conv2d", "conv_transpose2d"), 6),
    **dict.fromkeys(("max_pool2d", "adaptive_avg_pool2d", "roi_align", "deform_conv2d"), -1),
}

#: Operators of whose result torch knows the shape before it computes it.
FORESEEN = frozenset((*OF_WINDOWS, "index", "index_select"))

#: Endings of operators whose tensors are made one shape; the names are some without such an ending.
BROADCAST_ENDS = (".Tensor", ".other", ".self")
BROADCAST = frozenset(("maximum", "minimum", "logical_and", "logical_or", "pow"))
PICKED = frozenset(("index", "split"))  # endings like those above, of something else


def require_bounded(target: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Check that what an operator of torch makes of its arguments can be held.

    Args:
        target: Its name in the graph, ``torch.ops.aten.zeros.default``.
        arguments: As it will get them.
        named: The same, by name.

    Raises:
        ValueError: It would be too large.
    """
    name = target.split(".")[-2]
    if name in OF_WINDOWS:
        groups = OF_WINDOWS[name]
        window = [one for number, one in enumerate(arguments) if number != groups]
        window += [one for key, one in named.items() if key != "groups"]
        widest = max(map(abs, _numbers(window)), default=0)
        if widest > LARGEST_WINDOW:
            raise ValueError(f"a window of {widest:g} cells, at most {LARGEST_WINDOW} are computed")
        return
    _require_held(_elements(target, name, [*arguments, *named.values()]))


class _Form(NamedTuple):
    """What of a tensor decides how large a result is."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def require_bounded_result(
    call: Callable[..., Any], target: str, arguments: Sequence[Any], named: Mapping[str, Any]
) -> None:
    """Check that the result of an operator with a window or with indices can be held.

    A kernel of a few bytes has thousands of channels, each of them as large as the image.

    Args:
        call: The operator.
        target: Its name in the graph; of another operator nothing is checked.
        arguments: As it will get them.
        named: The same, by name.

    Raises:
        ValueError: It would be too large.
    """
    if target.split(".")[-2] in FORESEEN:
        pairs = tuple((key, _form(one)) for key, one in named.items())
        _require_held(_made(call, tuple(map(_form, arguments)), pairs))


@lru_cache(maxsize=1024)
def _made(
    call: Callable[..., Any], arguments: tuple[Any, ...], named: tuple[tuple[str, Any], ...]
) -> float:
    """Return the elements of a result, 0 where torch refuses: nothing is computed."""
    try:
        found = call(*map(_empty, arguments), **{key: _empty(one) for key, one in named})
    except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AssertionError):
        return 0.0  # the operator says so itself
    return float(found.numel()) if isinstance(found, Tensor) else 0.0


def _form(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _Form(tuple(value.shape), value.dtype)
    return tuple(map(_form, value)) if isinstance(value, list) else value


def _empty(value: Any) -> Any:
    if isinstance(value, _Form):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    return tuple(map(_empty, value)) if isinstance(value, tuple) else value


def require_held(found: Any) -> None:
    """Check the tensors that came out: one that repeats itself needs memory later.

    Raises:
        ValueError: One has too many elements.
    """
    for one in found if isinstance(found, list | tuple) else (found,):
        if isinstance(one, Tensor):
            _require_held(one.numel())


def _require_held(count: float) -> None:
    if count > MOST_ELEMENTS:
        raise ValueError(f"a tensor of {count:.3g} elements, at most {MOST_ELEMENTS} are computed")


def require_number(value: Any) -> None:
    """Check a result of arithmetic on sizes.

    Raises:
        ValueError: It is not a number, or none that a size can be.
    """
    if not isinstance(value, int | float) or not abs(value) < LARGEST_NUMBER:
        raise ValueError("a size that is not a 64-bit number")


def _elements(target: str, name: str, values: Sequence[Any]) -> float:
    """Return how many elements a result may have; 0 where it is no larger than its arguments."""
    tensors, numbers = _tensors(values), _numbers(values)
    count = float(tensors[0].numel()) if tensors else 1.0
    if name in OF_SIZES:
        return _product(next((one for one in values if isinstance(one, list | tuple)), ()))
    if name in OF_RANGES:
        step = abs(numbers[2]) if name == "arange" and len(numbers) > 2 else 1.0
        return sum(map(abs, numbers)) / step if step else math.inf
    if name in JOINED:
        return float(sum(one.numel() for one in values[0]))
    if name in RESIZED:
        sizes = next((one for one in values if isinstance(one, list | tuple)), ())
        whole = all(isinstance(one, int) for one in sizes)
        return _product((*tensors[0].shape[:2], *sizes)) if whole else count * _product(sizes)
    if name == "pad":
        return _padded(tensors[0], values)
    if name == "repeat":
        return count * _product(numbers)
    if name == "repeat_interleave":
        return count * abs(numbers[0])
    if name == "one_hot":
        given = numbers[0] if numbers and numbers[0] >= 0 else float(tensors[0].max()) + 1
        return count * abs(given)
    return _combined(target, name, tensors)


def _combined(target: str, name: str, tensors: Sequence[Tensor]) -> float:
    """Return how many elements a result of several tensors may have; 0 where it is not more."""
    if name in ("matmul", "bmm", "linear") and min(one.dim() for one in tensors[:2]) > 1:
        left, right = tensors[:2]
        return _product(left.shape[:-1]) * right.shape[0 if name == "linear" else -1]
    meet = name in BROADCAST or (target.endswith(BROADCAST_ENDS) and name not in PICKED)
    if not meet or _product([one.numel() for one in tensors]) <= MOST_ELEMENTS:
        return 0.0
    try:
        shapes = [one.shape for one in tensors]
        return _product(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]
    except RuntimeError:
        return 0.0  # the operator says so itself


def _padded(given: Tensor, values: Sequence[Any]) -> float:
    """Return the elements of a tensor with a border: pairs of widths, the last dimension first."""
    widths = next((one for one in values if isinstance(one, list | tuple)), ())
    sizes = [float(one) for one in given.shape]
    for number, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True)):
        sizes[-1 - number] += max(before, 0) + max(after, 0)
    return _product(sizes)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    return [one for one in values if isinstance(one, Tensor)]


def _numbers(values: Sequence[Any]) -> list[float]:
    """Return the numbers among arguments and in their lists; truths are none."""
    lists = (one if isinstance(one, list | tuple) else (one,) for one in values)
    flat = (one for many in lists for one in many)
    return [one for one in flat if isinstance(one, int | float) and not isinstance(one, bool)]


def _product(sizes: Sequence[float]) -> float:
    """Return the product of sizes, without their signs, as a float: its digits do not grow."""
    made = 1.0
    for size in sizes:
        made *= abs(float(size)) if abs(size) < LARGEST_NUMBER else math.inf
    return made
