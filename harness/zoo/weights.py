"""Checkpoints read without running them, and every tensor accounted for."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import IntegrityError, UsageError
from harness.files.atomic import replacing, unwritable
from harness.zoo.pickles import read_pickle

Array = np.ndarray[Any, np.dtype[Any]]

#: Keys that checkpoints of Detectron2 may hold and that are no weights, each with the reason.
CONSTANT_KEYS = re.compile(
    r"pixel_mean|pixel_std"  # numbers of the architecture, in files of older versions
    r"|proposal_generator\.anchor_generator\.cell_anchors\.\d+"  # computed from sizes and ratios
    r"|.*\.num_batches_tracked"  # a counter of training, which inference does not use
)

#: Under which key a file may keep its table of tensors: Detectron2's and torchvision's trainings,
#: Caffe2, and many trainings of one's own.
TABLE_KEYS = ("model", "blobs", "state_dict")

#: Of the files that ``read_checkpoint`` reads.
ENDINGS = (".pkl", ".pth", ".pt", ".safetensors")


def require_known_ending(path: Path) -> None:
    """Raise UsageError for a file that its name says is no checkpoint."""
    if path.suffix not in ENDINGS:
        known = f"known are {', '.join(ENDINGS)}"
        hint = "exported files are for --engine onnx" if path.suffix == ".onnx" else known
        raise UsageError(f"{path} has an unknown ending", hint=hint)


def read_checkpoint(path: Path) -> dict[str, Array]:
    """Every tensor of a ``.pkl``, ``.pth`` or ``.safetensors`` file by key.

    Raises UsageError when the file cannot be opened or is of another kind, IntegrityError when it
    is cut off, hostile, or holds something that is not a table of tensors.
    """
    require_known_ending(path)
    readers = dict(
        zip(ENDINGS, (read_pickle, _read_torch, _read_torch, _read_safetensors), strict=True)
    )
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise UsageError(f"cannot open the checkpoint {path}: {error.strerror}") from error
    try:
        content = readers[path.suffix](path)
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}", hint=error.hint) from None
    except Exception as error:  # three libraries, and whatever damaged bytes make of them
        raise _unreadable(path, head, error) from error
    return _tensors(content, path)


def account_for(
    found: Mapping[str, Array], expected: Mapping[str, tuple[int, ...]], *, where: str
) -> dict[str, Array]:
    """``found`` as float32, when its keys and shapes are exactly the expected ones.

    Constants of the architecture (CONSTANT_KEYS) may be there and are left out. One IntegrityError
    lists every missing, unexpected and wrongly shaped key, and every tensor that is not of finite
    floating-point numbers.
    """
    weights = {key: value for key, value in found.items() if not CONSTANT_KEYS.fullmatch(key)}
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    misshapen = [
        f"{key}: expected {expected[key]}, found {weights[key].shape}"
        for key in expected
        if key in weights and weights[key].shape != expected[key]
    ]
    whole = [key for key, value in weights.items() if value.dtype.kind != "f"]
    broken = [key for key, value in weights.items() if not np.isfinite(value).all()]
    lines = [
        f"{len(keys)} {kind}: {_shortened(keys)}"
        for kind, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
            ("not floating-point", whole),
            ("not finite", broken),
        )
        if keys
    ]
    if lines:
        raise IntegrityError(
            f"{where} does not fit the model:\n  " + "\n  ".join(lines),
            hint=_explanation(missing, unexpected, misshapen),
        )
    return {key: np.asarray(weights[key], dtype=np.float32, order="C") for key in expected}


def write_checkpoint(path: Path, tensors: Mapping[str, Array]) -> None:
    """``tensors`` as ``.pkl`` (the zoo's own layout) or ``.safetensors``, by the ending."""
    if path.suffix not in (".pkl", ".safetensors"):
        raise UsageError(f"cannot write {path}: its ending must be .pkl or .safetensors")
    # Native byte order, row by row, as safetensors wants it; a scalar stays a scalar.
    plain = {
        key: np.asarray(value, dtype=value.dtype.newbyteorder("="), order="C")
        for key, value in tensors.items()
    }
    if path.suffix == ".pkl":
        data = pickle.dumps({"model": plain, "__author__": "harness"}, protocol=4)
    else:
        from safetensors.numpy import save

        data = save(plain)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise unwritable(path, error) from error


def _read_torch(path: Path) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> Any:
    from safetensors.numpy import load_file

    return load_file(path)


def _tensors(content: Any, path: Path) -> dict[str, Array]:
    """The table of tensors inside a checkpoint, whatever it is wrapped in."""
    if isinstance(content, Mapping):
        tables = [content[key] for key in TABLE_KEYS if isinstance(content.get(key), Mapping)]
        content = tables[0] if tables else content
    if not isinstance(content, Mapping) or not content:
        raise IntegrityError(f"{path} holds no table of tensors but {type(content).__name__}")
    tensors = {}
    for key, value in content.items():
        array = _array(value)
        if not isinstance(key, str) or array is None:
            raise IntegrityError(f"{path}: {key!r} is {type(value).__name__}, not a tensor")
        tensors[key] = array
    return tensors


def _array(value: Any) -> Array | None:
    """An array of numbers, a tensor of torch as one; None for anything else."""
    if hasattr(value, "detach"):
        try:
            value = value.detach()
            short = value.is_floating_point() and value.element_size() < 4
            value = (value.float() if short else value).numpy()  # NumPy has no bfloat16
        except (TypeError, RuntimeError):  # sparse or quantised
            return None
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" else None


def _unreadable(path: Path, head: bytes, error: Exception) -> IntegrityError:
    if not head:
        looks = "it is empty"
    elif head.lstrip().startswith(b"<"):
        looks = "it looks like a web page saved in its place"
    elif head.startswith(b"PK\x03\x04") and path.suffix not in (".pth", ".pt"):
        looks = "it looks like a file of torch, or another zip, with the wrong ending"
    elif head.startswith(b"version https://git-lfs"):
        looks = "it is a pointer of Git LFS, not the file itself"
    else:
        looks = "it is cut off or damaged"
    reason = str(error).partition("\n")[0]
    return IntegrityError(
        f"cannot read {path} as a checkpoint: {looks} ({type(error).__name__}: {reason})",
        hint="take a whole copy; those of the zoo come with: harness download --only checkpoints",
    )


def _shortened(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, … and {len(names) - limit} more"


def _explanation(missing: list[str], unexpected: list[str], misshapen: list[str]) -> str:
    if missing and all(".mask_head." in key for key in missing) and not unexpected:
        return "this is a box-only checkpoint and the model has masks: wrong checkpoint or model"
    if unexpected and all(".mask_head." in key for key in unexpected) and not missing:
        return "this checkpoint has masks and the model is box-only: wrong checkpoint or model"
    if "conv1_w" in unexpected:
        return "these are Caffe2's names: a backbone to start training from, not a whole model"
    if any(key.startswith("backbone.body.") for key in missing + unexpected):
        return "one of them is torchvision's, the other is not: see the names in harness models"
    if any(".res4." in key for key in missing + unexpected):
        return "the backbone has another depth: is this the checkpoint of another model?"
    if any("box_predictor" in line for line in misshapen):
        return "the checkpoint was trained for another number of classes"
    return "is this the checkpoint of another model? see: harness models"
