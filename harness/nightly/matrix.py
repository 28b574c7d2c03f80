"""What a night measures: the matrix of a TOML file, and each of its cells as a run of its own."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from harness.core.engine import require_device_word
from harness.core.errors import UsageError
from harness.core.nightly import Cell, Matrix
from harness.core.requests.inference import (
    DataSpec,
    EngineOptions,
    InferenceRequest,
    ModelSpec,
)
from harness.core.settings import check_settings
from harness.data.catalog import require_known
from harness.engines.opening import own_engine, require_network
from harness.files.toml import read_table, read_toml
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_model, read_lock

#: A folder for requests of which only the settings are looked at.
DATA_ROOT = Path("datasets")


def read_matrix(path: Path | None) -> Matrix:
    """Read the matrix of a TOML file; without one, the embedded model on its scenes.

    Raises:
        UsageError: The file does not exist, or has unknown keys or values.
    """
    if path is None:
        return Matrix()
    matrix, lock = read_toml(Matrix, path), read_lock()
    if "block" not in read_table(path, what="file") or not cells_of(matrix):
        raise UsageError(
            f"{path} has nothing to measure: a night without a cell would pass",
            hint='it takes blocks such as: [[block]] with models = ["R_50_FPN_3x"] below; without '
            "--matrix the embedded model is measured",
        )
    for cell in cells_of(matrix):
        _require_possible(cell, path)
    for block in matrix.block:
        for name, engine in product(block.models, block.engines):
            # An invalid matrix is not a failed cell.
            architecture = architecture_of(find_model(lock, name).architecture)
            own = own_engine(architecture)
            repair = f'{name} needs a block of its own with engines = ["{own}"]'
            require_network(engine, architecture, repair=repair)
    return matrix


def _require_possible(cell: Cell, path: Path) -> None:
    """Check what is known of a cell before the night: an invalid matrix is not a failed cell.

    Raises:
        UsageError: A value is not allowed, or a name is unknown.
    """
    try:
        check_settings(inference_of(cell, DATA_ROOT))
        require_device_word(cell.device)
        if cell.dataset is not None:
            require_known(cell.dataset)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from error


def cells_of(matrix: Matrix) -> list[Cell]:
    """Return every combination, in the order of the file, each once."""
    cells = [
        Cell(
            model=model,
            engine=engine,
            precision=precision,
            device=device,
            dataset=block.dataset,
            batch_size=block.batch_size,
            limit=block.limit,
            bench=block.bench,
        )
        for block in matrix.block
        for model, engine, precision, device in product(
            block.models, block.engines, block.precisions, block.devices
        )
    ]
    return list(dict.fromkeys(cells))


def inference_of(cell: Cell, root: Path) -> InferenceRequest:
    """Return what a cell runs."""
    return InferenceRequest(
        network=ModelSpec(model=cell.model, root=root),
        data=DataSpec(dataset=cell.dataset, limit=cell.limit),
        options=EngineOptions(
            engine=cell.engine,
            precision=cell.precision,
            device=cell.device,
            batch_size=cell.batch_size,
        ),
    )


def command_of(name: str, cell: Cell, root: Path) -> tuple[str, ...]:
    """Return the command that measures a cell on its own, as hints name it."""
    words = ["harness", name, "--model", cell.model, "--engine", cell.engine]
    words += ["--precision", cell.precision, "--device", cell.device, "--root", str(root)]
    words += [] if cell.dataset is None else ["--dataset", cell.dataset]
    words += [] if cell.batch_size == 1 else ["--batch-size", str(cell.batch_size)]
    words += [] if cell.limit is None else ["--limit", str(cell.limit)]
    return tuple(words)
