"""Files of ``torch.save``, read without torch and without running them.

Two formats: since torch 1.6 a zip whose ``data.pkl`` names tensors that are files of their own
beside it, before that several pickles and then the numbers of all tensors, one after the other.
Tensors, and long bytes in a pickle, are views of the file as it is on the disk until they are
copied.
"""

from __future__ import annotations

import math
import mmap
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import IntegrityError
from harness.core.printable import shown, shown_text
from harness.zoo.bytes_as_files import Bytes, Stream
from harness.zoo.pickles import (
    LEFT_OUT,
    STAND_INS,
    Budget,
    LeftOut,
    Machine,
    require_shape,
    unwrapped,
)

Values = np.ndarray[Any, np.dtype[Any]]

#: What a zip begins with, and the number that the older format begins with, as a pickle.
ZIP = b"PK\x03\x04"
MAGIC = 0x1950A86A20F9469CFC6C

#: Levels of a file of predictions: images, their tables, instances, and lists of masks.
TABLE_LEVELS = 6

#: What an entry of a list or dict takes.
ENTRY_BYTES = 64

#: NumPy's code for the numbers of each of torch's storages; "bf16" is the first half of an f4.
STORAGES = {
    "Float": "f4",
    "Double": "f8",
    "Half": "f2",
    "BFloat16": "bf16",
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "b1",
}

#: torch's own constants, which trainings keep beside weights; they are never called.
CONSTANTS = (
    "float16 float32 float64 bfloat16 half float double long int short int8 int16 int32 int64 "
    "uint8 bool complex64 complex128 strided contiguous_format preserve_format channels_last "
    "float8_e4m3fn float8_e5m2"
)

TORCH_LEFT_OUT = LEFT_OUT | frozenset(
    ("torch device", "torch._C Generator", *(f"torch {name}" for name in CONSTANTS.split()))
)


class Kind:
    """Stands for a class of storages: the type of their numbers."""

    def __init__(self, code: str) -> None:
        self.code = code

    @property
    def item_bytes(self) -> int:
        """Bytes of one number."""
        return 2 if self.code == "bf16" else np.dtype(self.code).itemsize


class Storage:
    """Numbers somewhere in the file; of the older format they come last."""

    def __init__(self, kind: Kind, count: int) -> None:
        self.kind = kind
        self.count = count
        self.data: memoryview | None = None

    def numbers(self) -> Values:
        """The numbers as they are in the file; of bf16 the 16 bits.

        Returns:
            (count,) read-only view.

        Raises:
            IntegrityError: The file has no such numbers: it is cut off.
        """
        if self.data is None:
            raise IntegrityError("a tensor's numbers are missing: the file is cut off")
        code = "u2" if self.kind.code == "bf16" else self.kind.code
        return np.frombuffer(self.data, np.dtype(code).newbyteorder("<"), self.count)


class Tensor:
    """A view of a storage, not yet made."""

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any) -> None:
        if not isinstance(storage, Storage) or type(offset) is not int or offset < 0:
            raise IntegrityError("refused a tensor that is not a view of numbers in the file")
        require_shape(size)
        require_shape(stride)
        if len(size) != len(stride):
            raise IntegrityError("refused a tensor of more sizes than strides")
        last = sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        if math.prod(size) and offset + last >= storage.count:
            raise IntegrityError("refused a tensor that leaves its numbers")
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def values(self, budget: Budget) -> Values:
        """The tensor as an array; bf16 as float32, which holds it exactly.

        Args:
            budget: For what is copied.
        """
        item = self.storage.kind.item_bytes
        budget.spend(max(item, 4) * math.prod(self.size))
        flat = self.storage.numbers()[self.offset :] if math.prod(self.size) else np.empty(0)
        flat = flat.astype(self._dtype(), copy=False) if not len(flat) else flat
        strides = [step * flat.itemsize for step in self.stride]
        view: Values = np.lib.stride_tricks.as_strided(flat, self.size, strides, writeable=False)
        if self.storage.kind.code != "bf16":
            return view
        whole: Values = (view.astype(np.uint32) << 16).view(np.float32)
        shaped: Values = whole.reshape(self.size)
        return shaped

    def _dtype(self) -> np.dtype[Any]:
        return np.dtype("u2" if self.storage.kind.code == "bf16" else self.storage.kind.code)


def read_torch(path: Path) -> Any:
    """The content of a file of ``torch.save``, tensors as arrays.

    Raises:
        IntegrityError: Names what was refused.
        Exception: Any error of reading a file that is cut off or of another kind.
    """
    data = _mapped(path)
    budget = Budget(len(data))
    return _arrays(_read(data, budget), budget, levels=2)


def read_tables(path: Path) -> Any:
    """The same of predictions: tables of tensors in lists, of ``torch.save`` or a plain pickle.

    Raises:
        IntegrityError: Names what was refused.
        Exception: Any error of reading a file that is cut off or of another kind.
    """
    data = _mapped(path)
    budget = Budget(len(data))
    return _filled(_read(data, budget), budget, TABLE_LEVELS, {})


def _mapped(path: Path) -> memoryview:
    """The bytes of a file; arrays are views of the map, which lives as long as they do.

    What is written to such an array is in this process alone. A map that can be written to counts
    as memory of the process; where a limit leaves too little, the map cannot, and what is written
    to is copied. A file that another one replaces stays what it was; one that is changed in place
    does not.
    """
    with path.open("rb") as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        except OSError:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _read(data: memoryview, budget: Budget, depth: int = 0) -> Any:
    return _read_zip(data, budget) if data[:4] == ZIP else _read_stream(data, budget, depth)


def _read_zip(data: memoryview, budget: Budget) -> Any:
    with zipfile.ZipFile(Bytes(data)) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if any("/code/" in name for name in names):
            raise IntegrityError(
                "it is a program of TorchScript, not a table of weights",
                hint="save the weights alone: torch.save(model.state_dict(), FILE)",
            )
        if len(pickles) != 1:
            raise IntegrityError("it is a zip without the one data.pkl of torch's files")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") == b"big":
            raise IntegrityError("its numbers are big-endian; save it on a usual machine")
        entries = {
            entry.filename.removeprefix(f"{root}data/"): entry for entry in archive.infolist()
        }
        storages: dict[str, Storage] = {}

        def persistent(identity: Any) -> Storage:
            kind, key, count = _storage_identity(identity)
            if key not in storages:
                storages[key] = Storage(kind, count)
                entry = entries.get(key)
                found = None if entry is None else _stored(data, entry)
                if found is None or len(found) != count * kind.item_bytes:
                    raise IntegrityError(f"the numbers {shown_text(key)} are not in the file")
                storages[key].data = found
            return _same(storages[key], kind, count)

        text = _stored(data, archive.getinfo(pickles[0]))
    machine = Machine(NAMES, budget, left_out=TORCH_LEFT_OUT, persistent=persistent)
    return machine.run(Bytes(text))


def _stored(data: memoryview, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of an entry, in place; IntegrityError for one that is compressed or elsewhere."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise IntegrityError("its parts are compressed; torch's are not")
    header = data[entry.header_offset : entry.header_offset + 30]
    if len(header) < 30 or header[:4] != ZIP:
        raise IntegrityError("a part of it is missing: the file is cut off or damaged")
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
    start = entry.header_offset + 30 + name_bytes + extra_bytes
    found = data[start : start + entry.file_size]
    if len(found) < entry.file_size:
        raise IntegrityError("a part of it is missing: the file is cut off or damaged")
    return found


def _read_stream(data: memoryview, budget: Budget, depth: int) -> Any:
    """Pickles one after the other: three of the format, the content, the order of its numbers."""
    file = Stream(data)
    storages: dict[str, Storage] = {}

    def persistent(identity: Any) -> Storage:
        kind, key, count = _storage_identity(identity)
        if len(identity) > 5 and identity[5] is not None:
            raise IntegrityError("refused a storage that is a view of another")
        return _same(storages.setdefault(key, Storage(kind, count)), kind, count)

    names = {**NAMES, "torch.storage _load_from_bytes": _nested(depth)}
    machine = Machine(names, budget, left_out=TORCH_LEFT_OUT, persistent=persistent)
    first = machine.run(file)
    if first != MAGIC:
        return first  # a pickle of something else, of tensors perhaps
    for _ in ("protocol", "facts of the machine"):
        Machine({}, budget).run(file)
    content = machine.run(file)
    for key in Machine({}, budget).run(file):
        storage = storages.get(key)
        if storage is None:
            raise IntegrityError(f"the numbers {shown(key)} are of no tensor")
        position = file.tell()
        (count,) = struct.unpack("<q", data[position : position + 8])
        end = position + 8 + count * storage.kind.item_bytes
        if count != storage.count or end > len(data):
            raise IntegrityError("a tensor's numbers are missing: the file is cut off or damaged")
        storage.data = data[position + 8 : end]
        file.seek(end)
    return content


def _nested(depth: int) -> Callable[..., Any]:
    """What a pickle of tensors keeps their numbers in: a file in the file, of one storage."""

    def load(machine: Machine, data: Any) -> Any:
        if depth or not isinstance(data, bytes | bytearray | memoryview):
            raise IntegrityError("refused a file in a file in a file")
        machine.budget.spend(len(data))
        return _read(memoryview(data), machine.budget, depth + 1)

    return load


def _storage_identity(identity: Any) -> tuple[Kind, str, int]:
    """Type, key and count of ("storage", type, key, place, count, …)."""
    match identity:
        case ("storage", Kind() as kind, str() as key, _, int() as count, *_) if count >= 0:
            return kind, key, count
        case _:
            raise IntegrityError(
                "refused a reference (BINPERSID) to something that is not a storage of numbers"
            )


def _same(storage: Storage, kind: Kind, count: int) -> Storage:
    if storage.kind.code != kind.code or storage.count != count:
        raise IntegrityError("refused numbers that are two things at once")
    return storage


def _tensor(machine: Machine, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    machine.budget.spend(64)
    return Tensor(storage, offset, size, stride)


def _tensor_of_bytes(*arguments: Any) -> Tensor:
    """A tensor of a type newer than torch's storages, which comes seventh."""
    dtype = arguments[7]
    name = dtype.name.removeprefix("torch ") if isinstance(dtype, LeftOut) else shown(dtype)
    raise IntegrityError(f"refused a tensor of {shown_text(name)}: no weight is")


def _refused(what: str) -> Callable[..., Any]:
    """What stands for tensors that are not plain arrays."""

    def refuse(*_: Any) -> Any:
        raise IntegrityError(f"refused {what}: weights are plain arrays of numbers")

    return refuse


def _parameter(_: Machine, value: Any, *_more: Any) -> Any:
    return value


def _of_subclass(machine: Machine, function: Any, _: Any, arguments: Any, *_more: Any) -> Any:
    """A tensor with attributes of its own, which are left out."""
    if function not in (_tensor, _parameter):
        raise IntegrityError("refused a tensor of a class of its own")
    return function(machine, *arguments)


def _size(_: Machine, sides: Any = ()) -> Any:
    return sides


NAMES: Mapping[str, Any] = {
    **STAND_INS,
    **{
        f"{module} {name}Storage": Kind(code)
        for name, code in STORAGES.items()
        for module in ("torch", "torch.cuda")
    },
    "torch.storage UntypedStorage": Kind("u1"),
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_qtensor": _refused("a quantised tensor"),
    "torch._utils _rebuild_sparse_tensor": _refused("a sparse tensor"),
    "torch._utils _rebuild_meta_tensor_no_storage": _refused("a tensor without numbers"),
    "torch._utils _rebuild_wrapper_subclass": _refused("a tensor of a class of its own"),
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_tensor_v3": _tensor_of_bytes,
    "torch._utils _rebuild_parameter": _parameter,
    "torch._utils _rebuild_parameter_with_state": _parameter,
    "torch._tensor _rebuild_from_type_v2": _of_subclass,
    "torch.nn.parameter Parameter": Kind("parameter"),
    "torch Tensor": Kind("tensor"),
    "torch Size": _size,
}


def _arrays(value: Any, budget: Budget, *, levels: int) -> Any:
    """``value`` with arrays for tensors, in a dict and the dicts inside it."""
    if isinstance(value, Tensor):
        return value.values(budget)
    if isinstance(value, dict) and levels:
        return {key: _arrays(one, budget, levels=levels - 1) for key, one in value.items()}
    return unwrapped(value, levels=0)


def _filled(value: Any, budget: Budget, levels: int, made: dict[int, Any]) -> Any:
    """``value`` with arrays for tensors, in lists and tuples, too.

    Args:
        value: As returned by ``_read``.
        budget: For what is copied, and for what a reader meets again.
        levels: Levels of lists and dicts to look into.
        made: What was made of each, by its id: lists that share lists could be endless.
    """
    key = id(value)
    if isinstance(value, Tensor):
        return value.values(budget)
    if key in made:
        _charge(made[key], budget, levels)
    elif not isinstance(value, list | dict | tuple) or not levels:
        made[key] = _arrays(value, budget, levels=0)
    else:
        made[key] = (
            {name: _filled(one, budget, levels - 1, made) for name, one in value.items()}
            if isinstance(value, dict)
            else type(value)(_filled(one, budget, levels - 1, made) for one in value)
        )
    return made[key]


def _charge(value: Any, budget: Budget, levels: int) -> None:
    """Take off the budget what stands in the file once and is met in another place, too.

    A few bytes of a pickle repeat a list of a million rows; whoever reads them makes all of them.

    Args:
        value: As returned by ``_filled``.
        budget: For what is built of the file.
        levels: Levels of lists and dicts to look into.

    Raises:
        IntegrityError: It is used up.
    """
    match value:
        case str() | bytes():
            budget.spend(len(value))
        case int():
            budget.spend(value.bit_length() // 8)
        case np.ndarray():
            budget.spend(value.nbytes)
        case list() | dict() | tuple() if levels:
            budget.spend(ENTRY_BYTES * len(value))
            for one in value.values() if isinstance(value, dict) else value:
                _charge(one, budget, levels - 1)
