"""Look at results: predict and draw images, show data and runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.calls import Shown, shown_by
from harness.api.settings import composed, public_with_settings, typed
from harness.core.clock import utc_now
from harness.core.detections import Detections
from harness.core.errors import UsageError
from harness.core.requests.loading import DrawRequest
from harness.core.requests.pictures import PredictRequest, ShowRequest

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from harness.core.architecture import ChannelOrder
    from harness.core.requests import keywords
    from harness.core.results import PredictReport
    from harness.data.given_images import ImageLike, Picture
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
    return predict(request, progress=shown_by(progress), command=command, now=utc_now())


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

    if not isinstance(detections, Detections):
        raise UsageError(
            f"expected Detections to draw, got {type(detections).__name__}",
            hint="those of one image: for found in model.predict(…): harness.draw(None, found)",
        )
    style = composed("draw", DrawRequest, settings).style
    return picture_of(image, detections, style, channel_order=channel_order)
