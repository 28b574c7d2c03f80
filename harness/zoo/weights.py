"""Checkpoints read without running them, and every tensor accounted for."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.engine import EXPORT_FORMATS
from harness.core.errors import IntegrityError, UsageError
from harness.core.printable import shown, shown_text
from harness.files.atomic import replacing
from harness.files.failures import unwritable
from harness.files.readable import require_end
from harness.files.safetensors_header import looks_like_safetensors
from harness.zoo.families import family_of
from harness.zoo.pickles import LeftOut
from harness.zoo.safetensors_files import read_safetensors, safetensors_bytes
from harness.zoo.torch_files import read_torch

Array = np.ndarray[Any, np.dtype[Any]]

#: Keys that checkpoints of Detectron2 may hold and that are no weights, each with the reason.
CONSTANT_KEYS = re.compile(
    r"pixel_mean|pixel_std"  # numbers of the architecture, in files of older versions
    r"|(proposal_generator\.)?anchor_generator\.cell_anchors\.\d+"  # computed from sizes and ratios
    r"|.*\.num_batches_tracked"  # a counter of training, which inference does not use
)

#: Under which key a file may keep its table of tensors: Detectron2's and torchvision's trainings,
#: Caffe2, Lightning, and trainings of one's own. The first that is there is taken.
TABLE_KEYS = (
    "model",
    "blobs",
    "state_dict",
    "model_state_dict",
    "model_state",
    "net",
    "network",
    "weights",
    "params",
    "ema",
    "model_ema",
    "ema_state_dict",
    "ema_model",
    "module",
)

#: What wrappers of a network put before the name of every tensor: DataParallel, torch.compile,
#: Lightning, an average of weights.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "ema_model.", "_forward_module.")

#: What a wrapper keeps beside the tensors of its network, and which is not a weight.
WRAPPER_KEYS = ("n_averaged",)

#: Of the files that ``read_checkpoint`` reads, in small letters. Other contents under these names
#: are read for what they are.
ENDINGS = (".pkl", ".pth", ".pt", ".safetensors", ".bin", ".ckpt", ".pth.tar")

#: The file that lists which tensors are in which of several .safetensors files.
INDEX = ".safetensors.index.json"

#: Bytes of an index at most: a name and a file for each tensor.
LARGEST_INDEX_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The content of a file of weights."""

    tensors: dict[str, Array]
    """By name."""
    notes: tuple[str, ...]
    """What was left out or chosen when it was read, a sentence each."""


def require_known_ending(path: Path) -> None:
    """Check that the name of a file is that of a checkpoint.

    Raises:
        UsageError: Its ending is none of a checkpoint.
    """
    name = path.name.lower()
    if not name.endswith((*ENDINGS, INDEX)):
        known = f"known endings: {', '.join((*ENDINGS, INDEX))}"
        formats = [kind for kind in EXPORT_FORMATS if name.endswith(f".{kind}")]
        hint = f"exported files are for --engine {formats[0]}" if formats else known
        raise UsageError(f"{path} has an unknown ending", hint=hint)


def read_checkpoint(path: Path) -> dict[str, Array]:
    """Every tensor of a file of weights by name.

    Raises:
        UsageError: As in ``open_checkpoint``.
        IntegrityError: As in ``open_checkpoint``.
    """
    return open_checkpoint(path).tensors


def open_checkpoint(path: Path) -> Checkpoint:
    """Every tensor of a file of weights, and what was done to find them.

    The content decides how it is read: a pickle of arrays, a file of torch, or safetensors; an
    index is read with the files that it names. Nothing in it is run, and memory is bounded by a
    multiple of its size.

    Raises:
        UsageError: The file cannot be opened or is of another kind.
        IntegrityError: It is cut off, hostile, or has something that is not a table of tensors.
    """
    require_known_ending(path)
    if path.name.lower().endswith(INDEX):
        return _read_index(path)
    notes: list[str] = []
    tensors = _table(_content(path), path, notes)
    return _named(tensors, path, notes)


def files_of(path: Path) -> list[Path]:
    """The files that a checkpoint is made of: itself, and those that an index names."""
    if not path.name.lower().endswith(INDEX):
        return [path]
    return [path, *(path.parent / name for name in sorted(set(_places(path).values())))]


def _content(path: Path) -> Any:
    """What is in a file, by what it begins with."""
    require_end(path)
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise UsageError(f"cannot open the checkpoint {path}: {error.strerror}") from error
    try:
        if looks_like_safetensors(head) or path.suffix.lower() == ".safetensors":
            return read_safetensors(path)
        return read_torch(path)
    except IntegrityError as error:
        known = foreign_content(path, head)
        message = error.message if known is None else f"{known} ({error.message})"
        hint = error.hint or (_ALONE if message.startswith("refused") else _WHOLE_COPY)
        raise IntegrityError(f"cannot read {path} as a checkpoint: {message}", hint=hint) from None
    except Exception as error:  # whatever damaged bytes make of the readers
        looks = foreign_content(path, head) or "it is cut off or damaged"
        reason = shown_text(str(error).partition("\n")[0], 200)
        raise IntegrityError(
            f"cannot read {path} as a checkpoint: {looks} ({type(error).__name__}: {reason})",
            hint=_WHOLE_COPY,
        ) from error


_ALONE = "of a model of your own save the weights alone: torch.save(model.state_dict(), FILE)"
_WHOLE_COPY = "take a whole copy; those of the zoo come with: harness download --only checkpoints"


def foreign_content(path: Path, head: bytes) -> str | None:
    """What a file is by its first bytes, where these are no checkpoint's."""
    if not head:
        return "it is empty"
    if head.lstrip().startswith(b"<"):
        return "it looks like a web page saved in its place"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself"
    if head.startswith(b"PK\x03\x04") and path.suffix.lower() == ".safetensors":
        return "it looks like a file of torch, or another zip, with the wrong ending"
    return None


def _places(path: Path) -> dict[str, str]:
    """The file of each tensor, as an index lists them; all are beside it."""
    require_end(path)
    try:
        if path.stat().st_size > LARGEST_INDEX_BYTES:
            raise IntegrityError(f"{path} is too long for an index of weights")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot open the checkpoint {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} is not an index of weights; not JSON: {error}") from error
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not all(isinstance(one, str) for one in places.values()):
        raise IntegrityError(f"{path} is not an index of weights: it has no table weight_map")
    for name in sorted(set(places.values())):
        is_beside = Path(name).name == name and "\0" not in name
        if not is_beside or not name.lower().endswith(".safetensors"):
            raise IntegrityError(f"{path} names {shown(name)}, which is not a file beside it")
    return places


def _read_index(path: Path) -> Checkpoint:
    """The tensors of all files that an index names; each must be where the index lists it."""
    places = _places(path)
    tensors: dict[str, Array] = {}
    for name in sorted(set(places.values())):
        found = _table(_content(path.parent / name), path.parent / name, [])
        wrong = [key for key in found if places.get(key) != name]
        if wrong:
            raise IntegrityError(
                f"{path.parent / name} holds {_shortened(wrong)}, which {path.name} puts elsewhere"
            )
        tensors.update(found)
    lacking = [key for key in places if key not in tensors]
    if lacking:
        raise IntegrityError(
            f"{path} names tensors that its files do not hold: {_shortened(lacking)}",
            hint="use a complete copy of all files",
        )
    return _named(tensors, path, [])


def account_for(
    found: Mapping[str, Array], expected: Mapping[str, tuple[int, ...]], *, where: str
) -> dict[str, Array]:
    """The tensors of a network, float32, when keys and shapes are exactly the expected ones.

    Constants of the architecture (CONSTANT_KEYS) may be there and are left out.

    Args:
        found: Tensors by name.
        expected: Shapes by name.
        where: Name of the file in errors.

    Returns:
        The expected tensors, in their order, contiguous by rows.

    Raises:
        IntegrityError: Lists every missing, unexpected and wrongly shaped key, and every tensor of
            the model that is not of finite numbers.
    """
    weights = {key: value for key, value in found.items() if not CONSTANT_KEYS.fullmatch(key)}
    weights |= missing_statistics(weights, expected)
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    misshapen = [
        f"{key}: expected {expected[key]}, found {weights[key].shape}"
        for key in expected
        if key in weights and weights[key].shape != expected[key]
    ]
    whole = [key for key, value in weights.items() if value.dtype.kind != "f"]
    broken = [  # looked at only where there are as many numbers as the model has
        key
        for key, shape in expected.items()
        if key in weights and weights[key].shape == shape and not np.isfinite(weights[key]).all()
    ]
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
        hint = named_apart(weights, expected)
        hint = hint or _explanation(missing, unexpected, misshapen, where)
        raise IntegrityError("\n  ".join((f"{where} does not fit the model:", *lines)), hint=hint)
    return {key: np.asarray(weights[key], dtype=np.float32, order="C") for key in expected}


def missing_statistics(
    found: Mapping[str, Array], expected: Mapping[str, tuple[int, ...]]
) -> dict[str, Array]:
    """The statistics of frozen BatchNorm that files of Detectron2's first versions lack.

    These kept its scale and shift alone; a mean of 0 and a variance of 1 belong to them
    (``layers/batch_norm.py``, FrozenBatchNorm2d before version 2). A file that has some statistics
    is not of this kind, and what it lacks is missing.

    Args:
        found: Tensors by name.
        expected: Shapes by name.

    Returns:
        Every statistic that is expected, or nothing where the file is of another kind.
    """
    kept = ("running_mean", "running_var")
    wanted = [key for key in expected if key.endswith(kept)]
    scales = [f"{key.rpartition('.')[0]}.weight" for key in wanted]
    stems = (f"backbone.{below}stem.conv1.norm.weight" for below in ("bottom_up.", ""))
    if not any(stem in found for stem in stems) or any(key.endswith(kept) for key in found):
        return {}
    if not all(key in found for key in scales) or any(".fpn_" in key for key in wanted):
        return {}  # BatchNorm of a pyramid was trained, and its statistics are its own
    return {
        key: (np.zeros if key.endswith("mean") else np.ones)(expected[key], dtype=np.float32)
        for key in wanted
    }


def write_checkpoint(
    path: Path, tensors: Mapping[str, Array], statement: str | None = None
) -> None:
    """Write tensors as ``.pkl`` (the zoo's own layout) or ``.safetensors``, by the ending.

    Args:
        path: The file.
        tensors: By name.
        statement: What a training says of them (``harness.data.trained_weights``); None for
            nothing. The zoo's own layout has no place for it.

    Raises:
        UsageError: The ending is another one, or the file cannot be written.
    """
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
        data = safetensors_bytes(plain, statement)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise unwritable(path, error) from error


def _table(content: Any, path: Path, notes: list[str]) -> dict[str, Array]:
    """The table of tensors inside a checkpoint, whatever it is wrapped in.

    Args:
        content: Content of the file.
        path: The file, for messages.
        notes: Is appended to.

    Raises:
        IntegrityError: There is none.
    """
    table = _found_table(content, path, notes)
    if not isinstance(table, Mapping) or not table:
        found = type(content).__name__
        if isinstance(content, Mapping) and content:
            found = f"{found} of {_shortened([str(key) for key in content])}"
        raise IntegrityError(f"{path} holds no table of tensors but {found}")
    tensors = {}
    for key, value in table.items():
        array = _array(value)
        if not isinstance(key, str) or array is None:
            what = value.name if isinstance(value, LeftOut) else type(value).__name__
            raise IntegrityError(f"{path}: {shown(key)} is {shown_text(what)}, not a tensor")
        tensors[key] = array
    return tensors


def _found_table(content: Any, path: Path, notes: list[str]) -> Any:
    """The first table of tensors below TABLE_KEYS, one in another perhaps; else the content."""
    for _ in range(2):
        tables = [
            key
            for key in TABLE_KEYS
            if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)
        ]
        if not tables:
            break
        if len(tables) > 1:
            notes.append(f"{path.name}: of {', '.join(tables)} the first is taken")
        content = content[tables[0]]
    return content


def _named(tensors: dict[str, Array], path: Path, notes: list[str]) -> Checkpoint:
    """The tensors under their own names, without what wrappers put before all of them."""
    for _ in PREFIXES:
        own = {key: value for key, value in tensors.items() if key not in WRAPPER_KEYS}
        prefix = next(
            (one for one in PREFIXES if own and all(k.startswith(one) for k in own)), None
        )
        if prefix is None:
            break
        tensors = {key.removeprefix(prefix): value for key, value in own.items()}
        notes.append(f"{path.name}: {prefix!r} left out before {len(tensors)} names")
    return Checkpoint(tensors=tensors, notes=tuple(notes))


def _array(value: Any) -> Array | None:
    """An array of numbers; None for anything else."""
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" else None


def _shortened(names: Sequence[str], limit: int = 5) -> str:
    few = ", ".join(shown_text(name, 100) for name in names[:limit])
    return few if len(names) <= limit else f"{few}, … and {len(names) - limit} more"


def named_apart(found: Mapping[str, Array], expected: Mapping[str, tuple[int, ...]]) -> str:
    """What the checkpoint and the model are, where both are known and not the same; else empty.

    Args:
        found: Tensors by name.
        expected: Shapes by name.
    """
    theirs = family_of({key: value.shape for key, value in found.items()})
    ours = family_of(expected)
    if theirs is None or ours is None or theirs == ours:
        return ""
    return (
        f"this is a checkpoint of {theirs}, and the model is {ours}: wrong checkpoint or model; "
        "see: harness models"
    )


def _explanation(
    missing: list[str], unexpected: list[str], misshapen: list[str], where: str
) -> str:
    if re.search(r"-\d{5}-of-\d{5}\.safetensors$", where):
        return "this is one of several files: give the one that ends in .safetensors.index.json"
    if missing and all(".mask_head." in key for key in missing) and not unexpected:
        return "this is a box-only checkpoint and the model has masks: wrong checkpoint or model"
    if unexpected and all(".mask_head." in key for key in unexpected) and not missing:
        return "this checkpoint has masks and the model is box-only: wrong checkpoint or model"
    if caffe2 := named_by_caffe2(unexpected):
        return caffe2
    if any(".res4." in key for key in missing + unexpected):
        return "the backbone has another depth: is this the checkpoint of another model?"
    if any("box_predictor" in line for line in misshapen):
        return "the checkpoint was trained for another number of classes"
    return "is this the checkpoint of another model? see: harness models"


#: How the layers of a whole detector begin in files of Detectron, which computed in Caffe2.
DETECTOR_OF_CAFFE2 = ("cls_score_", "rpn_", "retnet_")


def named_by_caffe2(names: Collection[str]) -> str:
    """What a file with Caffe2's names is and what to do; empty for one with others.

    Args:
        names: Names of its tensors.
    """
    if "conv1_w" not in names:
        return ""
    if not any(name.startswith(DETECTOR_OF_CAFFE2) for name in names):
        return (
            "these are Caffe2's names: a backbone to start training from, not a whole model; the "
            "pinned one is taken by: harness train --init imagenet"
        )
    return (
        "these are Caffe2's names: a detector of Detectron, the predecessor of Detectron2, whose "
        "boxes end a pixel further and which pools regions without the half pixel: no entry here "
        "computes it; the checkpoints of Detectron2 are those of: harness models"
    )
