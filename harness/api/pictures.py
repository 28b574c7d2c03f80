"""Look at results: predict and draw images, show data and runs, compare evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.calls import Shown, now, public, shown_by
from harness.api.settings import composed, public_with_settings, typed
from harness.core.errors import UsageError
from harness.core.requests.loading import DrawRequest
from harness.core.requests.pictures import CompareRequest, PredictRequest, ShowRequest

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from harness.core.architecture import ChannelOrder
    from harness.core.detections import Detections
    from harness.core.predicted import PredictReport
    from harness.core.requests import keywords
    from harness.data.given_images import ImageLike, Picture
    from harness.workflows.comparison.compare import Comparison
    from harness.workflows.comparison.several import SeveralRuns
    from harness.workflows.pictures.show_subject import ShowReport


@public_with_settings
def predict(
    paths: str | Path | Iterable[str | Path],
    *,
    progress: Shown = False,
    command: Sequence[str] | None = None,
    **settings: Unpack[keywords.PredictSettings],
) -> PredictReport:
    """Find objects in images, and leave drawings, predictions and a page, as ``harness predict``.

    For detections in memory there is `load_model`.

    Args:
        paths: Image files, folders of them, or globs; one or several.
        progress: As in `evaluate`.
        command: As in `evaluate`.
        **settings: Those of `PredictRequest`.

    Returns:
        The folder, what was found in it, and the files that are no images: the others are done.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.pictures.predict import predict

    several = (paths,) if isinstance(paths, str | Path) else tuple(paths)
    asked = {"paths": tuple(map(str, several)), **settings}
    request = composed("predict", PredictRequest, asked)
    command = typed(command, "predict", request)
    return predict(request, progress=shown_by(progress), command=command, now=now())


@public_with_settings
def show(
    run: str | Path | None = None,
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.ShowSettings],
) -> ShowReport:
    """Draw a data set, or predictions beside the truth, worst first, as ``harness show``.

    Args:
        run: Run folder of an evaluation; None with ``annotations`` and ``images``.
        progress: As in `evaluate`.
        **settings: Those of `ShowRequest`.

    Returns:
        Where the page is, what was counted, and the images that could not be read: the others are
        drawn.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.pictures.show import show

    request = composed("show", ShowRequest, {"run": run, **settings})
    return show(request, progress=shown_by(progress))


@public_with_settings
def compare(
    first: str | Path,
    second: str | Path,
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.CompareSettings],
) -> Comparison:
    """Compare two evaluations of the same images, as ``harness compare``.

    Args:
        first: Run folder of an evaluation or a training, which is its best evaluation then; or a
            file of predictions, with ``annotations``.
        second: Another one.
        progress: As in `evaluate`.
        **settings: Those of `CompareRequest`.

    Returns:
        What differs in settings, metrics (with what resampling says of noise), categories and
        images; the second against the first.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.comparison.compare import compare_runs
    from harness.workflows.comparison.files import are_files, compare_files
    from harness.workflows.comparison.images import write_page
    from harness.workflows.runs.folder import evaluation_of

    shown = shown_by(progress)
    request = composed("compare", CompareRequest, {"first": first, "second": second, **settings})
    draws = request.resamples
    runs = (request.first, request.second)
    if are_files(*runs):
        classes = request.foreign.class_ids
        found = compare_files(
            *runs, request.annotations, resamples=draws, progress=shown, classes=classes
        )
    elif request.annotations is not None:
        raise UsageError(
            "two runs are compared on the annotations that they were evaluated on",
            hint="leave out --annotations, or name the files: RUN/predictions.json",
        )
    else:
        request.foreign.require_none()
        runs = (evaluation_of(request.first), evaluation_of(request.second))
        found = compare_runs(*runs, resamples=draws, progress=shown)
    if request.html is not None:
        write_page(found, *runs, request.html, request.threshold, shown)
    return found


@public
def compare_several(
    *runs: str | Path, plot: str | Path | None = None, progress: Shown = False
) -> SeveralRuns:
    """Put several evaluations of the same images into one table, as ``harness compare A B C``.

    Args:
        *runs: Folders of evaluations, or of trainings, of which the best evaluation counts.
        plot: PNG of AP over time and size of the networks; None for none.
        progress: As in `evaluate`.

    Returns:
        AP, size, parameters, arithmetic and time of each.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.comparison.several import compare_several

    if len(runs) < 2:
        raise UsageError("give two or more runs to compare")
    return compare_several(
        [Path(run) for run in runs],
        plot=None if plot is None else Path(plot),
        progress=shown_by(progress),
    )


@public_with_settings
def draw(
    image: ImageLike | None,
    detections: Detections,
    *,
    channel_order: ChannelOrder | None = None,
    **settings: Unpack[keywords.DrawSettings],
) -> Picture:
    """Draw detections on their image, as ``harness predict`` does.

    Args:
        image: The file, array or Pillow image that was predicted; None for the file that
            `Detections.source` names.
        detections: As returned by `Model.predict`.
        channel_order: RGB or BGR, of an array.
        **settings: Those of `DrawRequest`.

    Returns:
        A Pillow image, RGB.

    Raises:
        HarnessError: The image cannot be decoded, or is not that of the detections.
    """
    from harness.visualization.overlays import picture_of

    style = composed("draw", DrawRequest, settings).style
    return picture_of(image, detections, style, channel_order=channel_order)
