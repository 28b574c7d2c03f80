"""The zoo and data sets: list, fetch, check, load and export models; load and convert data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.calls import Shown, shown_by
from harness.api.settings import composed, public_with_settings
from harness.core.clock import utc_now
from harness.core.requests.data import ConvertRequest
from harness.core.requests.loading import DatasetRequest, LoadRequest
from harness.core.requests.zoo import (
    CheckWeightsRequest,
    DownloadRequest,
    ExportRequest,
    ParityRequest,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from harness.core.dataset import Dataset
    from harness.core.requests import keywords
    from harness.engines.parity.comparison import ParityReport
    from harness.workflows.datasets.convert import ConvertReport
    from harness.workflows.export import Export
    from harness.workflows.model import Model
    from harness.workflows.parity import ParityProofs
    from harness.workflows.weights import CheckedWeights
    from harness.zoo.download import Outcome


@public_with_settings
def download(
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.DownloadSettings],
) -> tuple[Outcome, ...]:
    """Fetch and prove data sets and checkpoints, as ``harness download``.

    Args:
        progress: As in `evaluate`.
        **settings: Those of `DownloadRequest`.

    Returns:
        What became of each artefact of the lock that was asked for.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.files.fetch import FetchOptions
    from harness.zoo.download import download
    from harness.zoo.lock import read_lock

    request = composed("download", DownloadRequest, settings)
    return tuple(
        download(
            read_lock(),
            request,
            options=FetchOptions(progress=shown_by(progress), jobs=request.jobs),
            now=utc_now,
        )
    )


@public_with_settings
def check_weights(
    file: str | Path,
    **settings: Unpack[keywords.CheckWeightsSettings],
) -> CheckedWeights:
    """Account for every tensor of a checkpoint, as ``harness weights check``.

    Args:
        file: The checkpoint.
        **settings: Those of `CheckWeightsRequest`.

    Returns:
        Which model entries it fits, and whether it is a pinned one.

    Raises:
        HarnessError: As `evaluate`; an `IntegrityError` where it fits none.
    """
    from harness.workflows.weights import check_weights

    return check_weights(composed("check_weights", CheckWeightsRequest, {"file": file, **settings}))


@public_with_settings
def export_model(
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.ExportModelSettings],
) -> Export:
    """Write a model as an ONNX or .pt2 file and compare it with its network, as ``harness export``.

    Args:
        progress: As in `evaluate`.
        **settings: Those of `ExportRequest`.

    Returns:
        The file, and what differs from the network: ``parity.first_failing`` is None where they
        agree. A file that differs is no error; it stays, for a closer look.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.export import export

    return export(composed("export_model", ExportRequest, settings), progress=shown_by(progress))


@public_with_settings
def check_parity(
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.CheckParitySettings],
) -> ParityReport | ParityProofs:
    """Compare two implementations of a network stage by stage, as ``harness parity``.

    Args:
        progress: As in `evaluate`.
        **settings: Those of `ParityRequest`; ``images`` is needed.

    Returns:
        The proofs, with ``ok``; of an exported file the differences of every stage, whose
        ``first_failing`` is None where there is none. A difference is no error.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.parity import check_parity

    request = composed("check_parity", ParityRequest, settings)
    return check_parity(request, progress=shown_by(progress))


@public_with_settings
def load_model(
    source: str | Path | None = None,
    **settings: Unpack[keywords.LoadModelSettings],
) -> Model:
    """Load a model that finds objects in images.

    Args:
        source: A model entry (``R_50_FPN_3x``), a run folder, or a checkpoint file; None for the
            embedded model.
        **settings: Those of `LoadRequest`.

    Returns:
        The model; use it in a ``with`` block, or close it.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.model import load

    given = {} if source is None else {"source": str(source)}
    return load(composed("load_model", LoadRequest, {**given, **settings}))


@public_with_settings
def load_dataset(
    dataset: str | None = None,
    **settings: Unpack[keywords.LoadDatasetSettings],
) -> Dataset:
    """Load and validate a data set: images, categories and annotations, not the pixels.

    Args:
        dataset: A known name, such as ``coco_2017_val``; or give ``annotations`` and ``images``.
            Without either it is the embedded one.
        **settings: Those of `DatasetRequest`.

    Returns:
        The data set; `Dataset.ground_truth` is the parsed annotation file.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.data.catalog import requested_dataset

    return requested_dataset(
        composed("load_dataset", DatasetRequest, {"dataset": dataset, **settings})
    )


@public_with_settings
def convert(
    source: str | Path,
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.ConvertSettings],
) -> ConvertReport:
    """Convert annotations of a labelling program to a COCO file, as ``harness data convert``.

    Args:
        source: File or folder of annotations.
        progress: As in `evaluate`.
        **settings: Those of `ConvertRequest`; ``output`` is needed.

    Returns:
        What was read, written, left out, and why.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.datasets.convert import convert

    request = composed("convert", ConvertRequest, {"source": source, **settings})
    return convert(request, shown_by(progress))
