"""Pickles of arrays, read without running them.

A pickle is a program for a small machine with a stack. Python's machine is not safe even when it
refuses all names but NumPy's: given the right state, NumPy's own constructors take bytes of the
file for pointers. So the machine here is another one. It knows the instructions that build dicts,
lists and tuples of text, numbers and arrays, and the few names arrays need stand for the small
classes below. Anything else is refused by name, and nothing is called that is not in this file.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import IntegrityError

#: Types of numbers in NumPy's own spelling; whatever else an array can hold is no weight.
NUMBER_CODES = ("b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")

#: Instructions whose argument is the value itself.
VALUES = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT")
    + ("BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
    + ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
NO_EFFECT = frozenset(("PROTO", "FRAME", "STOP"))


def read_pickle(path: Path) -> Any:
    """The content of ``path``: dicts, lists and tuples of text, numbers and native-endian arrays.

    Raises IntegrityError that names what was refused. A file that is cut off, or no pickle at all,
    raises whatever its reading ends in.
    """
    machine = _Machine()
    with path.open("rb") as file:
        for instruction, argument, _ in pickletools.genops(file):
            machine.step(instruction.name, argument)
    return _unwrapped(machine.stack.pop(), levels=2)


class _Type:
    """Stands for ``numpy.dtype``: a type of numbers, whose byte order comes as its state."""

    def __init__(self, code: str, align: int = 0, copy: int = 1) -> None:
        if code not in NUMBER_CODES:
            raise IntegrityError(f"refused an array of {code!r}: weights are numbers")
        self.dtype = np.dtype(code)

    def restore(self, state: Sequence[Any]) -> None:
        """state: version, byte order, three things only structured types have, sizes."""
        order, *structure = state[1:5]
        if order not in ("<", ">", "|", "=") or structure != [None, None, None]:
            raise IntegrityError("refused an array whose type has more parts than a number")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for ``numpy.ndarray``: empty until its shape, type and bytes come as its state."""

    def __init__(self) -> None:
        self.values: np.ndarray[Any, np.dtype[Any]] = np.empty(0)

    def restore(self, state: Sequence[Any]) -> None:
        """state: version, shape, type, whether columns come first, bytes."""
        _, shape, kind, columns_first, data = state
        self.fill(data, kind, shape, "F" if columns_first else "C")

    def fill(self, data: str | bytes, kind: _Type, shape: tuple[int, ...], order: str) -> None:
        # Python 2 wrote bytes as text, which the machine decodes as Latin-1.
        flat = np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, kind.dtype)
        shaped = flat.reshape(shape, order="F" if order == "F" else "C")
        self.values = np.array(shaped, dtype=kind.dtype.newbyteorder("="), order="C")


def _empty_array(*_: Any) -> _Array:
    return _Array()


def _array_of_buffer(data: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.fill(data, kind, shape, order)
    return array


def _array_of_scalar(kind: _Type, data: bytes) -> _Array:
    return _array_of_buffer(data, kind, (), "C")


def _encoded(text: str, encoding: str) -> bytes:
    """How protocol 2 spells bytes; the codecs module knows many more encodings."""
    if encoding != "latin1":
        raise IntegrityError(f"refused the encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _table(pairs: Iterable[Sequence[Any]] = ()) -> dict[str, Any]:
    """A dict; its keys are text, because hashing deeply nested tuples overflows Python's stack."""
    table = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise IntegrityError(f"refused a key that is {type(key).__name__}, not text")
        table[key] = value
    return table


#: Every name a checkpoint may use and what it stands for. NumPy 2 renamed its ``core``.
STAND_INS: dict[str, Callable[..., Any]] = {
    "numpy ndarray": _empty_array,
    "numpy dtype": _Type,
    "numpy.core.multiarray _reconstruct": _empty_array,
    "numpy._core.multiarray _reconstruct": _empty_array,
    "numpy.core.multiarray scalar": _array_of_scalar,
    "numpy._core.multiarray scalar": _array_of_scalar,
    "numpy.core.numeric _frombuffer": _array_of_buffer,
    "numpy._core.numeric _frombuffer": _array_of_buffer,
    "_codecs encode": _encoded,
    "__builtin__ bytes": _no_bytes,
    "collections OrderedDict": _table,
}


class _Machine:
    """The stack, its marks, and the memo by which a pickle refers to what it built before."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """One instruction; IntegrityError for those that arrays do not need."""
        if name in VALUES:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in STEPS:
            STEPS[name](self, argument)
        elif name not in NO_EFFECT:
            raise IntegrityError(f"refused the instruction {name}: arrays do not need it")

    def since_mark(self) -> list[Any]:
        """Everything pushed since the last mark, popped."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def last(self, count: int) -> tuple[Any, ...]:
        """The last ``count`` values, popped."""
        return tuple(reversed([self.stack.pop() for _ in range(count)]))

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def remember(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def extend(self, items: Sequence[Any]) -> None:
        self.stack[-1].extend(items)

    def update(self, items: Sequence[Any]) -> None:
        self.stack[-1].update(_table(zip(items[::2], items[1::2], strict=True)))

    def name(self, name: str) -> None:
        if name not in STAND_INS:
            raise IntegrityError(
                f"refused to load {name.replace(' ', '.')}: "
                "a checkpoint may hold arrays and plain containers only",
                hint="do not open this file with other tools; it may run code",
            )
        self.stack.append(STAND_INS[name])

    def call(self) -> None:
        function, arguments = self.last(2)
        if function not in STAND_INS.values():
            raise IntegrityError(f"refused to call {type(function).__name__}")
        self.stack.append(function(*arguments))

    def restore(self) -> None:
        """Give the last array or type its state; attributes of an OrderedDict are no weights."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], _Array | _Type):
            self.stack[-1].restore(state)


STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember,
    "BINGET": lambda machine, index: machine.push(machine.memo[index]),
    "LONG_BINGET": lambda machine, index: machine.push(machine.memo[index]),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.last(3)),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "APPEND": lambda machine, _: machine.extend(machine.last(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "SETITEM": lambda machine, _: machine.update(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": lambda machine, _: machine.name(" ".join(machine.last(2))),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.restore(),
}


def _unwrapped(value: Any, *, levels: int) -> Any:
    """``value`` with NumPy's arrays for their stand-ins, in a dict and the dicts inside it.

    No deeper: a table of weights is not, and dicts that share dicts could go on for ever.
    """
    match value:
        case _Array():
            return value.values
        case dict() if levels:
            return {key: _unwrapped(one, levels=levels - 1) for key, one in value.items()}
        case _:
            return value
