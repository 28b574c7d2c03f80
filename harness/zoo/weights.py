"""Checkpoints read without running them, and every tensor accounted for.

A ``.pkl`` of the zoo is a pickle, and a pickle is a program. The reader here knows the few names
that rebuilding NumPy arrays needs; any other name ends in an error before it is looked up.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import IntegrityError, UsageError
from harness.files.atomic import replacing

Array = np.ndarray[Any, np.dtype[Any]]

#: The only globals a checkpoint may name: what NumPy's own pickles of arrays use, in its spelling
#: before and after 2.0, and OrderedDict.
ALLOWED_GLOBALS = {
    ("collections", "OrderedDict"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),  # how protocol 2 spells the bytes of an array
}

#: Keys Detectron2 stores that are constants of the architecture, not weights.
CONSTANT_KEYS = re.compile(
    r"^(pixel_mean|pixel_std|proposal_generator\.anchor_generator\.cell_anchors\.\d+"
    r"|.*\.num_batches_tracked)$"
)


def read_checkpoint(path: Path) -> dict[str, Array]:
    """Every tensor of a ``.pkl``, ``.pth`` or ``.safetensors`` file by key.

    Raises UsageError when the file is absent or of another kind, IntegrityError when it is cut
    off, hostile, or holds something that is not a table of tensors.
    """
    if not path.is_file():
        raise UsageError(f"no such checkpoint: {path}")
    match path.suffix:
        case ".pkl":
            content = _read_pickle(path)
        case ".pth" | ".pt":
            content = _read_torch(path)
        case ".safetensors":
            content = _read_safetensors(path)
        case _:
            raise UsageError(
                f"{path} has an unknown ending", hint="known are .pkl, .pth, .pt and .safetensors"
            )
    return _tensors(content, path)


def account_for(
    found: Mapping[str, Array], expected: Mapping[str, tuple[int, ...]], *, where: str
) -> dict[str, Array]:
    """``found`` as float32, when its keys and shapes are exactly the expected ones.

    Constants of the architecture (CONSTANT_KEYS) may be there and are left out. One IntegrityError
    lists every missing, unexpected and wrongly shaped key, and every tensor that is not finite.
    """
    weights = {key: value for key, value in found.items() if not CONSTANT_KEYS.match(key)}
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    misshapen = [
        f"{key}: expected {expected[key]}, found {weights[key].shape}"
        for key in expected
        if key in weights and weights[key].shape != expected[key]
    ]
    broken = [key for key, value in weights.items() if not np.isfinite(value).all()]
    lines = [
        f"{len(keys)} {kind}: {_shortened(keys)}"
        for kind, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
            ("not finite", broken),
        )
        if keys
    ]
    if lines:
        raise IntegrityError(
            f"{where} does not fit the model:\n  " + "\n  ".join(lines),
            hint=_explanation(missing, unexpected, misshapen),
        )
    return {key: np.ascontiguousarray(weights[key], dtype=np.float32) for key in expected}


def write_checkpoint(path: Path, tensors: Mapping[str, Array]) -> None:
    """``tensors`` as ``.pkl`` (the zoo's own layout) or ``.safetensors``, by the ending."""
    match path.suffix:
        case ".pkl":
            content = {"model": dict(tensors), "__author__": "harness"}
            data = pickle.dumps(content, protocol=2)
        case ".safetensors":
            from safetensors.numpy import save

            data = save({key: np.ascontiguousarray(value) for key, value in tensors.items()})
        case _:
            raise UsageError(f"cannot write {path}: its ending must be .pkl or .safetensors")
    with replacing(path) as temporary:
        temporary.write_bytes(data)


class _ArrayUnpickler(pickle.Unpickler):
    """A pickle reader to which nothing but arrays and plain containers exists."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in ALLOWED_GLOBALS:
            raise IntegrityError(
                f"refused to load {module_name}.{global_name}: "
                "a checkpoint may hold arrays and plain containers only",
                hint="do not open this file with other tools; it may run code",
            )
        if module_name == "_codecs":
            return _encode_latin1
        return super().find_class(module_name, global_name)


def _encode_latin1(text: str, encoding: str) -> bytes:
    """``text`` as bytes; stands in for codecs.encode, which knows many more encodings."""
    if encoding != "latin1":
        raise IntegrityError(f"refused the encoding {encoding!r} in a checkpoint")
    return text.encode("latin1")


def _read_pickle(path: Path) -> Any:
    data = path.read_bytes()
    try:
        # The zoo's files were written by Python 2: byte strings are array data.
        return _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}", hint=error.hint) from None
    except Exception as error:
        raise _unreadable(path, data[:16], error) from error


def _read_torch(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        with path.open("rb") as file:
            raise _unreadable(path, file.read(16), error) from error


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        with path.open("rb") as file:
            raise _unreadable(path, file.read(16), error) from error


def _tensors(content: Any, path: Path) -> dict[str, Array]:
    """The table of tensors inside a checkpoint, whatever it is wrapped in."""
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content:
        raise IntegrityError(f"{path} holds no table of tensors but {type(content).__name__}")
    tensors = {}
    for key, value in content.items():
        array = value.numpy() if hasattr(value, "numpy") else value
        if isinstance(array, np.generic):
            array = np.asarray(array)
        if not isinstance(key, str) or not isinstance(array, np.ndarray):
            raise IntegrityError(f"{path}: {key!r} is {type(value).__name__}, not a tensor")
        if array.dtype.kind not in "fiub":
            raise IntegrityError(f"{path}: {key} holds {array.dtype}, not numbers")
        tensors[key] = array
    return tensors


def _unreadable(path: Path, head: bytes, error: Exception) -> IntegrityError:
    looks = "cut off or damaged"
    if head.lstrip()[:1] == b"<":
        looks = "a web page saved in its place"
    elif head[:4] == b"PK\x03\x04" and path.suffix == ".pkl":
        looks = "a torch or zip file with the wrong ending"
    elif not head:
        looks = "empty"
    return IntegrityError(
        f"{path} is no readable checkpoint ({looks}): {type(error).__name__}: {error}",
        hint="fetch it again: harness download --only checkpoints",
    )


def _shortened(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, … and {len(names) - limit} more"


def _explanation(missing: list[str], unexpected: list[str], misshapen: list[str]) -> str:
    if missing and all(".mask_head." in key for key in missing) and not unexpected:
        return "this is a box-only checkpoint and the model has masks: wrong checkpoint or model"
    if unexpected and all(".mask_head." in key for key in unexpected) and not missing:
        return "this checkpoint has masks and the model is box-only: wrong checkpoint or model"
    if any(".res4." in key for key in missing + unexpected):
        return "the backbone has another depth: is this the checkpoint of another model?"
    if any("box_predictor" in line for line in misshapen):
        return "the checkpoint was trained for another number of classes"
    return "is this the checkpoint of another model? see: harness models"
