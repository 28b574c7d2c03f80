"""Pickles of arrays, read without running them.

A pickle is a program for a small machine with a stack. Python's machine is not safe even when it
refuses all names but NumPy's: given the right state, NumPy's own constructors take bytes of the
file for pointers. So the machine here is another one. It knows the instructions that build dicts,
lists and tuples of text, numbers and arrays, and the few names arrays need stand for the small
classes below. Names of plain things that trainings keep beside their weights (options, dates,
devices) stand for nothing at all. Anything else is refused by name, and nothing is called that is
not in this package. What a file makes the machine allocate is bounded by a multiple of its size.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.core.errors import IntegrityError
from harness.core.printable import shown, shown_text

#: Types of numbers in NumPy's own spelling; whatever else an array can hold is not a weight.
NUMBER_CODES = ("b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")

#: Bytes that what is built may take: so many times the file's, and a little for the smallest files.
TIMES_FILE = 8
AT_LEAST_BYTES = 1 << 20

#: Dimensions an array has at most.
MOST_DIMENSIONS = 32

#: Instructions whose argument is the value itself.
VALUES = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
    + ("BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
    + ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
NO_EFFECT = frozenset(("PROTO", "FRAME", "STOP"))

#: What may be a key of a dict: hashing deeply nested tuples overflows Python's stack.
KEYS = (str, int, float, bytes, type(None))

#: Names of plain things beside weights. What they stand for is left out: nothing is called.
LEFT_OUT = frozenset(
    (
        "argparse Namespace",
        "types SimpleNamespace",
        "pathlib PosixPath",
        "pathlib PurePosixPath",
        "pathlib WindowsPath",
        "pathlib PureWindowsPath",
        "pathlib._local PosixPath",
        "pathlib._local WindowsPath",
        "datetime datetime",
        "datetime date",
        "datetime timedelta",
        "datetime timezone",
        "collections Counter",
        "collections deque",
        "builtins set",
        "builtins frozenset",
        "builtins complex",
        "builtins slice",
        "builtins range",
        "builtins list",
        "__builtin__ set",
        "__builtin__ frozenset",
        "decimal Decimal",
        "fractions Fraction",
        "uuid UUID",
        "yacs.config CfgNode",
        "fvcore.common.config CfgNode",
        "detectron2.config.config CfgNode",
        "omegaconf.dictconfig DictConfig",
        "omegaconf.listconfig ListConfig",
        "omegaconf.base ContainerMetadata",
        "omegaconf.base Metadata",
        "omegaconf.nodes AnyNode",
        "typing Any",
        "mmengine.logging.history_buffer HistoryBuffer",
        "mmengine.config.config ConfigDict",
        "addict.addict Dict",
        "easydict EasyDict",
        "lightning.fabric.utilities.data AttributeDict",
        "lightning_fabric.utilities.data AttributeDict",
        "lightning.pytorch.utilities.parsing AttributeDict",
        "pytorch_lightning.utilities.parsing AttributeDict",
    )
)


class LeftOut:
    """Stands for a plain thing beside weights that is not read; only its name is kept."""

    def __init__(self, name: str) -> None:
        self.name = name


class Budget:
    """Bytes that may still be allocated for one file."""

    def __init__(self, file_bytes: int) -> None:
        self._left_bytes = TIMES_FILE * file_bytes + AT_LEAST_BYTES

    def spend(self, count_bytes: int) -> None:
        """Take bytes off the budget.

        Args:
            count_bytes: Size of the next allocation.

        Raises:
            IntegrityError: They are more than a file of its size may need.
        """
        self._left_bytes -= count_bytes
        if self._left_bytes < 0:
            raise IntegrityError(
                f"refused to build more than {TIMES_FILE} times what the file holds",
                hint="no checkpoint needs this; the file may be made to exhaust memory",
            )


class Type:
    """Stands for ``numpy.dtype``: a type of numbers, whose byte order comes as its state."""

    def __init__(self, code: Any) -> None:
        if code not in NUMBER_CODES:
            raise IntegrityError(f"refused an array of {shown(code)}: weights are numbers")
        self.dtype = np.dtype(code)

    def restore(self, state: Sequence[Any]) -> None:
        """Set the byte order.

        Args:
            state: Version, byte order, three things only structured types have, sizes.

        Raises:
            IntegrityError: The state is not that of a type of numbers.
        """
        order, *structure = state[1:5]
        if order not in ("<", ">", "|", "=") or structure != [None, None, None]:
            raise IntegrityError("refused an array whose type has more parts than a number")
        self.dtype = self.dtype.newbyteorder(order)


class Array:
    """Stands for ``numpy.ndarray``: empty until its shape, type and bytes come as its state."""

    def __init__(self, budget: Budget) -> None:
        self.values: np.ndarray[Any, np.dtype[Any]] = np.empty(0)
        self._budget = budget

    def restore(self, state: Sequence[Any]) -> None:
        """Set shape, type and values.

        Args:
            state: Version, shape, type, whether columns come first, bytes.
        """
        _, shape, kind, columns_first, data = state
        self.fill(data, kind, shape, "F" if columns_first else "C")

    def fill(self, data: Any, kind: Any, shape: Any, order: Any) -> None:
        """Take the values from the bytes.

        Args:
            data: The bytes.
            kind: The type of the numbers.
            shape: Shape of the array.
            order: C for row by row, F for column by column.

        Raises:
            IntegrityError: They do not fit together, or are more than the budget.
        """
        held = isinstance(data, str | bytes | bytearray | memoryview)
        if not isinstance(kind, Type) or not held:
            raise IntegrityError("refused an array that is not of bytes and a type of numbers")
        require_shape(shape)
        # Python 2 wrote bytes as text, which the machine decodes as Latin-1.
        self._budget.spend(2 * len(data))
        flat = np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, kind.dtype)
        shaped = flat.reshape(shape, order="F" if order == "F" else "C")
        # A view of bytes that are a checkpoint's own map; a copy of what may not be written to.
        self.values = np.require(shaped, kind.dtype.newbyteorder("="), ("C", "W"))


def require_shape(shape: Any) -> None:
    """Check that a shape is a tuple of a few whole numbers.

    Raises:
        IntegrityError: It is not.
    """
    plain = isinstance(shape, tuple) and len(shape) <= MOST_DIMENSIONS
    if not plain or not all(type(side) is int and 0 <= side < 2**62 for side in shape):
        raise IntegrityError(f"refused an array of the shape {shown(shape)}")


def _type(_: Machine, code: Any = None, *_more: Any) -> Type:
    return Type(code)


def _empty_array(machine: Machine, *_: Any) -> Array:
    return Array(machine.budget)


def _array_of_buffer(machine: Machine, data: Any, kind: Any, shape: Any, order: Any) -> Array:
    array = Array(machine.budget)
    array.fill(data, kind, shape, order)
    return array


def _array_of_scalar(machine: Machine, kind: Any, data: Any) -> Array:
    return _array_of_buffer(machine, data, kind, (), "C")


def _encoded(machine: Machine, text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 spells bytes; the codecs module knows many more encodings."""
    if encoding != "latin1" or not isinstance(text, str):
        raise IntegrityError(f"refused the encoding {shown(encoding)}")
    machine.budget.spend(len(text))
    return text.encode("latin1")


def _no_bytes(_: Machine) -> bytes:
    return b""


def _table(machine: Machine, pairs: Any = ()) -> dict[Any, Any]:
    machine.budget.spend(64 * len(pairs))
    return table_of(pairs)


def _table_with_default(*_: Any) -> dict[Any, Any]:
    return {}


def table_of(pairs: Iterable[Sequence[Any]]) -> dict[Any, Any]:
    """A dict of keys and values.

    Raises:
        IntegrityError: A key is neither text nor a number.
    """
    table = {}
    for key, value in pairs:
        if isinstance(key, int) and key.bit_length() > 64:
            raise IntegrityError("refused a key that is an integer of more than 64 bits")
        if not isinstance(key, KEYS):
            raise IntegrityError(f"refused a key that is {type(key).__name__}, not text")
        table[key] = value
    return table


StandIn = Callable[..., Any]

#: Every name a checkpoint may use and what it stands for. NumPy 2 renamed its ``core``.
STAND_INS: dict[str, StandIn] = {
    "numpy ndarray": _empty_array,
    "numpy dtype": _type,
    "numpy.core.multiarray _reconstruct": _empty_array,
    "numpy._core.multiarray _reconstruct": _empty_array,
    "numpy.core.multiarray scalar": _array_of_scalar,
    "numpy._core.multiarray scalar": _array_of_scalar,
    "numpy.core.numeric _frombuffer": _array_of_buffer,
    "numpy._core.numeric _frombuffer": _array_of_buffer,
    "_codecs encode": _encoded,
    "__builtin__ bytes": _no_bytes,
    "builtins bytes": _no_bytes,
    "collections OrderedDict": _table,
    "collections defaultdict": _table_with_default,
}


class Machine:
    """The stack, its marks, and the memo by which a pickle refers to what it built before."""

    def __init__(
        self,
        names: Mapping[str, StandIn],
        budget: Budget,
        *,
        left_out: frozenset[str] = LEFT_OUT,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        """Make a machine with an empty stack.

        Args:
            names: Every name that stands for something; called with the machine first.
            budget: For what is built.
            left_out: Names of what is not read.
            persistent: What the identity of something kept elsewhere in the file stands for; None
                for files that keep nothing elsewhere.
        """
        self.names = names
        self.budget = budget
        self.left_out = left_out
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: Any) -> Any:
        """The content of the next pickle of an open file.

        Args:
            file: Has read, readline and tell.
        """
        for instruction, argument, _ in pickletools.genops(file):
            self.step(instruction.name, argument)
        return self.stack.pop()

    def step(self, name: str, argument: Any) -> None:
        """Run one instruction.

        Args:
            name: Name of the instruction, as ``pickletools`` has it.
            argument: Argument of the instruction; None where it has none.

        Raises:
            IntegrityError: Arrays do not need this instruction.
        """
        if name in VALUES:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in STEPS:
            STEPS[name](self, argument)
        elif name == "BINPERSID" and self.persistent is not None:
            self.stack.append(self.persistent(self.stack.pop()))
        elif name not in NO_EFFECT:
            raise _unneeded(name)

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
        """Put a value on the stack."""
        self.stack.append(value)

    def remember(self, index: Any) -> None:
        """Keep the last value for later."""
        self.memo[len(self.memo) if index is None else int(index)] = self.stack[-1]

    def recall(self, index: Any) -> None:
        """Put on the stack what was kept."""
        self.stack.append(self.memo[int(index)])

    def extend(self, items: Sequence[Any]) -> None:
        """Add to the list, or to what is left out, that is last on the stack."""
        if not isinstance(self.stack[-1], LeftOut):
            self.stack[-1].extend(items)

    def update(self, items: Sequence[Any]) -> None:
        """Add keys and values to the dict, or to what is left out, that is last on the stack."""
        if not isinstance(self.stack[-1], LeftOut):
            self.stack[-1].update(table_of(zip(items[::2], items[1::2], strict=True)))

    def name(self, name: str) -> None:
        """Put on the stack what a name stands for.

        Raises:
            IntegrityError: It stands for nothing.
        """
        if name in self.names:
            self.stack.append(self.names[name])
        elif name in self.left_out:
            self.stack.append(LeftOut(name))
        else:
            raise IntegrityError(
                f"refused to load {shown_text(name.replace(' ', '.'))}: "
                "a checkpoint may hold arrays and plain containers only",
                hint="reading it as its makers do would run code; of a model of your own save the "
                "weights alone: torch.save(model.state_dict(), FILE)",
            )

    def call(self) -> None:
        """Call what stands for a name.

        Raises:
            IntegrityError: It cannot be called.
        """
        function, arguments = self.last(2)
        if isinstance(function, LeftOut):
            self.stack.append(function)
            return
        if not callable(function) or function not in self.names.values():
            raise IntegrityError(f"refused to call {type(function).__name__}")
        self.stack.append(function(self, *arguments))

    def instance(self, instruction: str, count: int) -> None:
        """Put on the stack an instance of a class: only of one that is left out.

        Args:
            instruction: Its name, for errors.
            count: How many of the last values it is made of; the first is the class.

        Raises:
            IntegrityError: The class is any other.
        """
        kind = self.last(count)[0]
        if not isinstance(kind, LeftOut):
            raise _unneeded(instruction)
        self.stack.append(kind)

    def restore(self) -> None:
        """Give the last array or type its state; attributes of anything else are no weights."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Array | Type):
            self.stack[-1].restore(state)


def _unneeded(name: str) -> IntegrityError:
    return IntegrityError(f"refused the instruction {name}: arrays do not need it")


STEPS: dict[str, Callable[[Machine, Any], None]] = {
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "PUT": Machine.remember,
    "BINPUT": Machine.remember,
    "LONG_BINPUT": Machine.remember,
    "MEMOIZE": Machine.remember,
    "GET": Machine.recall,
    "BINGET": Machine.recall,
    "LONG_BINGET": Machine.recall,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.last(3)),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "APPEND": lambda machine, _: machine.extend(machine.last(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": lambda machine, _: machine.push(
        table_of(zip(*[iter(machine.since_mark())] * 2, strict=True))
    ),
    "SETITEM": lambda machine, _: machine.update(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    "GLOBAL": Machine.name,
    "STACK_GLOBAL": lambda machine, _: machine.name(" ".join(machine.last(2))),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.instance("NEWOBJ", 2),
    "NEWOBJ_EX": lambda machine, _: machine.instance("NEWOBJ_EX", 3),
    "BUILD": lambda machine, _: machine.restore(),
}


def unwrapped(value: Any, *, levels: int) -> Any:
    """A value with NumPy's arrays in place of their stand-ins, in a dict and the dicts inside it.

    Args:
        value: As returned by ``Machine.run``.
        levels: Levels of dicts to look into. A table of weights has few, and dicts that share dicts
            could be endless.
    """
    match value:
        case Array():
            return value.values
        case dict() if levels:
            return {key: unwrapped(one, levels=levels - 1) for key, one in value.items()}
        case _:
            return value
