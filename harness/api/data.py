"""Data sets: load one, and convert annotations of labelling programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.calls import Shown, composed, shown_by
from harness.core.requests.data import ConvertRequest
from harness.core.requests.loading import DatasetRequest
from harness.core.requests.signatures import signed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from harness.core.dataset import Dataset
    from harness.core.requests import keywords
    from harness.workflows.datasets.convert import ConvertReport


@signed
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


@signed
def convert(
    source: str | Path,
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.ConvertSettings],
) -> ConvertReport:
    """Convert annotations of a labelling program to a COCO file, as ``harness data convert``.

    Args:
        source: File or folder of annotations.
        progress: As of `evaluate`.
        **settings: Those of `ConvertRequest`; ``output`` is needed.

    Returns:
        What was read, written, left out, and why.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.datasets.convert import convert

    request = composed("convert", ConvertRequest, {"source": source, **settings})
    return convert(request, shown_by(progress))
