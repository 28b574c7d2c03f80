"""Pickles of arrays: what NumPy writes is read, what an attacker writes never runs."""

from __future__ import annotations

import builtins
import collections
import errno
import io
import mmap
import os
import pickle
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from harness.core.errors import IntegrityError
from harness.zoo.bytes_as_files import LONG_BYTES
from harness.zoo.pickles import NUMBER_CODES
from harness.zoo.torch_files import read_torch
from harness.zoo.weights import read_checkpoint

PROTOCOLS = (2, 3, 4, 5)

ARRAYS = st.tuples(st.sampled_from(NUMBER_CODES), st.sampled_from("<>")).flatmap(
    lambda kind: numpy_strategies.arrays(
        np.dtype(kind[0]).newbyteorder(kind[1]),
        numpy_strategies.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for pickles; one for the module, because hypothesis calls a test many times."""
    return tmp_path_factory.mktemp("pickles") / "model.pkl"


def reread(file: Path, data: bytes) -> Any:
    file.write_bytes(data)
    return read_torch(file)


# -- what must be read -----------------------------------------------------------------------------


@given(array=ARRAYS, protocol=st.sampled_from(PROTOCOLS), columns_first=st.booleans())
def test_arrays_come_back(file: Path, array: Any, protocol: int, columns_first: bool) -> None:
    written = np.asfortranarray(array) if columns_first and array.ndim else array
    found = reread(file, pickle.dumps({"model": {"weight": written}}, protocol))["model"]["weight"]
    assert found.shape == array.shape
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_and_plain_values_come_back(file: Path, protocol: int) -> None:
    content = {
        "model": {"a": np.float32(2.5), "b": [1, -2, 2**40, 2**2000, 1e300, None]},
        "__author__": "Zoë",
        "flags": (True, False, (), {}, ("one",), (1, 2, 3, 4)),
        "ordered": collections.OrderedDict(first=1, second=2),
    }
    found = reread(file, pickle.dumps(content, protocol))
    assert found == {**content, "ordered": {"first": 1, "second": 2}}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_array_under_two_keys_comes_back_twice(file: Path, protocol: int) -> None:
    array = np.arange(6.0)
    found = reread(file, pickle.dumps({"a": array, "b": array, "c": array[::2]}, protocol))
    for key, expected in (("a", array), ("b", array), ("c", array[::2])):
        np.testing.assert_array_equal(found[key], expected)


def test_the_spelling_of_python_2_is_read(file: Path) -> None:
    """The zoo's files: byte strings for keys, types and data, memoised as cPickle did."""
    values = np.array([[1.5, -2.0], [255.25, 1e-9]], dtype="<f4")
    data = (
        b"\x80\x02}q\x01(U\x05modelq\x02}q\x03U\x0bconv.weightq\x04"
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87R"
        b"q\x07(K\x01K\x02K\x02\x86cnumpy\ndtype\nq\x08U\x02f4K\x00K\x01\x87Rq\x09"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x10" + values.tobytes() + b"tbs"
        b"U\n__author__q\x0aU\x0aDetectron2q\x0bu."
    )
    # Python's own reader, with NumPy to call, agrees on what this file says.
    genuine = pickle.loads(data, encoding="latin1")
    found = reread(file, data)
    assert found.keys() == genuine.keys()
    assert found["__author__"] == "Detectron2"
    np.testing.assert_array_equal(found["model"]["conv.weight"], values)
    np.testing.assert_array_equal(genuine["model"]["conv.weight"], values)


def _in_python_2(values: Any) -> bytes:
    """A file of one array, whose numbers are the text of Python 2."""
    data = values.tobytes()
    return (
        b"\x80\x02}(U\x05model}(U\x0bconv.weightcnumpy.core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01J" + struct.pack("<i", len(values)) + b"\x85"
        b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<I", len(data)) + data + b"tbuu."
    )


@pytest.mark.parametrize("protocol", ["Python 2", *PROTOCOLS])
def test_many_numbers_are_read_in_place_and_may_be_written_to(file: Path, protocol: Any) -> None:
    """As those of the zoo's files are; a small array is a copy."""
    values = np.arange(LONG_BYTES // 4 + 3, dtype="<f4")
    written = {"model": {"conv.weight": values}}
    data = _in_python_2(values) if protocol == "Python 2" else pickle.dumps(written, protocol)
    expected = pickle.loads(data, encoding="latin1")["model"]["conv.weight"]
    found = reread(file, data)["model"]["conv.weight"]
    np.testing.assert_array_equal(found, expected)
    # Protocol 2 of Python 3 spells bytes as text of another length; 5 makes a bytearray of them.
    assert isinstance(_owner(found), mmap.mmap) == (protocol in ("Python 2", 3, 4))
    found[:] = 0
    assert file.read_bytes() == data


def test_a_file_larger_than_the_memory_left_is_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map that can be written to is refused by a limit of memory, one for reading is not."""
    real = mmap.mmap

    def limited(number: int, length: int, *, access: int) -> mmap.mmap:
        if access == mmap.ACCESS_COPY:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return real(number, length, access=access)

    monkeypatch.setattr(mmap, "mmap", limited)
    values = np.arange(LONG_BYTES, dtype="<f4")
    found = reread(file, pickle.dumps({"model": {"conv.weight": values}}, 4))
    np.testing.assert_array_equal(found["model"]["conv.weight"], values)
    found["model"]["conv.weight"][:] = 0


def _owner(array: Any) -> Any:
    """What holds the numbers of an array in the end."""
    base = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return base.obj if isinstance(base, memoryview) else base


@pytest.mark.parametrize("kept", [0, 10, LONG_BYTES // 2])
def test_many_numbers_that_are_cut_off_are_refused(file: Path, kept: int) -> None:
    data = _in_python_2(np.arange(LONG_BYTES, dtype="<f4"))
    file.write_bytes(data[: data.index(struct.pack("<I", 4 * LONG_BYTES)) + 4 + kept])
    with pytest.raises(IntegrityError, match="cut off or damaged"):
        read_checkpoint(file)


def test_attributes_of_an_ordered_dict_are_left_out(file: Path) -> None:
    """What torch calls a state dict carries ``_metadata``."""
    table = collections.OrderedDict(weight=np.ones(2))
    table._metadata = {"version": 1}  # type: ignore[attr-defined]
    found = reread(file, pickle.dumps({"model": table}))
    np.testing.assert_array_equal(found["model"]["weight"], np.ones(2))


# -- what must not run -----------------------------------------------------------------------------


class Calling:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def hostile(marker: Path) -> dict[str, tuple[Any, str]]:
    """Payloads that leave ``marker`` when they run, and the name that must be refused."""
    code = f"open({str(marker)!r}, 'w').close()"
    inner = pickle.dumps(Calling(builtins.exec, code))
    return {
        "os.system": (Calling(os.system, f"touch '{marker}'"), "posix.system:"),
        "eval": (Calling(builtins.eval, code), ".eval:"),
        "exec": (Calling(builtins.exec, code), ".exec:"),
        "process": (Calling(subprocess.Popen, ["touch", str(marker)]), ".Popen:"),
        "method": (Calling(Path.touch, marker), "getattr|pathlib"),
        "pickle in a pickle": (Calling(pickle.loads, inner), "ickle.loads"),
        "numpy.load": (
            Calling(np.load, io.BytesIO(b"\x93NUMPY"), None, True),
            "numpy.load|numpy.lib",
        ),
        "in a list": ([1, {"deep": (Calling(builtins.exec, code),)}], ".exec:"),
        "in an argument": (
            Calling(collections.OrderedDict, [["key", Calling(builtins.exec, code)]]),
            ".exec:",
        ),
        "as a weight": ({"model": {"weight": Calling(builtins.exec, code)}}, ".exec:"),
        "in an object array": (
            {"model": {"weight": np.array([Calling(builtins.exec, code)], dtype=object)}},
            "an array of 'O8'",
        ),
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", hostile(Path("marker")))
def test_a_hostile_pickle_is_refused_and_never_runs(
    tmp_path: Path, name: str, protocol: int
) -> None:
    marker = tmp_path / "it ran"
    payload, refused = hostile(marker)[name]
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(payload, protocol))
    with pytest.raises(IntegrityError, match="refused") as caught:
        read_checkpoint(path)
    assert re.search(refused, caught.value.message)
    assert str(path) in caught.value.message
    assert not marker.exists()


def test_the_payloads_would_run(tmp_path: Path) -> None:
    """The control: under Python's own reader the same files do what they say."""
    for name in ("os.system", "eval", "exec", "pickle in a pickle", "in an object array"):
        marker = tmp_path / name.replace(" ", "-")
        pickle.loads(pickle.dumps(hostile(marker)[name][0], 2))
        assert marker.exists()


#: ``numpy.dtype("O8")`` told by its state that its values are no objects, and an array of it whose
#: pointers are bytes of the file. NumPy's own constructors end in a segmentation fault.
FORGED_POINTERS = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNK\x08K\x08K\x00tb"
    b"\x89U\x10AAAAAAAAAAAAAAAAtb."
)
DTYPE = b"\x80\x02cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
TRICKS = {
    "forged pointers": (FORGED_POINTERS, "an array of 'O8'"),
    "fields in a state": (DTYPE + b"(K\x03U\x01|NU\x01xNJ\xff\xff\xff\xffK\x00K\x00tb.", "parts"),
    "a text type": (DTYPE.replace(b"U\x02f4", b"U\x02U8") + b".", "'U8'"),
    "memory of the process": (b"\x80\x02cnumpy\nndarray\nM\xe8\x03\x85\x85R.", "no table|cannot"),
    "a scalar that is an object": (
        b"\x80\x02cnumpy.core.multiarray\nscalar\n"
        + DTYPE[2:].replace(b"f4", b"O8")
        + b"U\x00\x86R.",
        "'O8'",
    ),
    "attributes of a name": (
        b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__N\x85s\x86b.",
        "cannot|key|no table",
    ),
    "a dotted name": (
        b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__reduce__\x93.",
        "numpy.ndarray.__reduce__",
    ),
    "a name with a space": (b"\x80\x02cnumpy dtype\n\n.", "refused|cannot"),
    "another encoding": (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aU\x03hex\x86R.", "'hex'"),
    "an instance": (b"(S'true'\nios\nsystem\n.", "STRING"),
    "an instance of a class": (b"\x80\x02cnumpy\ndtype\n)\x81.", "NEWOBJ"),
    "a reference to elsewhere": (b"\x80\x02U\x01aQ.", "BINPERSID"),
    "a copyreg extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "a set": (b"\x80\x04\x8f(K\x01\x90.", "EMPTY_SET"),
    "a call of a value": (b"\x80\x02U\x04evil)R.", "call str"),
    "nested tuples for a key": (b"\x80\x02})" + b"\x85" * 100_000 + b"Ns.", "key that is tuple"),
    "nested tuples in pairs": (
        b"\x80\x02ccollections\nOrderedDict\n])" + b"\x85" * 100_000 + b"N\x86a\x85R.",
        "key that is tuple",
    ),
    "a dict in itself": (b"\x80\x02}q\x00U\x01ah\x00s.", "not a tensor"),
    "a memo without an end": (b"\x80\x02Nr\xff\xff\xff\x7f.", "no table"),
    "more dimensions than arrays have": (
        DTYPE + b"q\x00cnumpy.core.numeric\n_frombuffer\n(U\x04abcdh\x00(" + b"K\x01" * 65 + b"t"
        b"U\x01CtR.",
        "cannot",
    ),
    "a size that overflows": (
        DTYPE + b"q\x00cnumpy.core.numeric\n_frombuffer\n(U\x04abcdh\x00\x8a\x09"
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x85U\x01CtR.",
        "cannot",
    ),
    "a length beyond the file": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a.", "cannot"),
    "nothing on the stack": (b"\x80\x02.", "cannot"),
    "no mark": (b"\x80\x02Nt.", "cannot"),
}


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_end_in_an_error_that_names_them(file: Path, name: str) -> None:
    data, said = TRICKS[name]
    file.write_bytes(data)
    with pytest.raises(IntegrityError, match=said):
        read_checkpoint(file)


# -- what is damaged -------------------------------------------------------------------------------


@given(data=st.binary(max_size=400))
def test_any_bytes_end_in_an_integrity_error(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(IntegrityError):
        read_checkpoint(file)


@given(
    protocol=st.sampled_from(PROTOCOLS),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=6)), max_size=4),
    length=st.floats(0, 1),
)
def test_a_damaged_pickle_is_read_or_refused(
    file: Path, protocol: int, edits: list[tuple[float, bytes]], length: float
) -> None:
    table = {"weight": np.arange(3, dtype=">f4"), "bias": np.ones((2, 1), dtype="<f8")}
    data = bytearray(pickle.dumps({"model": table, "__author__": "nobody"}, protocol))
    for place, new in edits:
        start = int(place * len(data))
        data[start : start + len(new)] = new
    file.write_bytes(data[: round(length * len(data))])
    try:
        found = read_checkpoint(file)
    except IntegrityError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())
