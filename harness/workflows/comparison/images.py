"""The images that changed most between two runs, drawn side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.drawing import DrawingStyle
from harness.core.errors import HarnessError
from harness.core.progress import Progress
from harness.core.run_files import PREDICTIONS
from harness.data.coco import dataset_of
from harness.data.images import load_image
from harness.data.predictions import read_predictions
from harness.files.atomic import require_file_name, write_text
from harness.files.failures import disk_errors
from harness.report.page import comparison_page
from harness.visualization.canvas import paint
from harness.visualization.image_files import write_picture
from harness.visualization.panels import side_by_side
from harness.visualization.truth import predicted_objects
from harness.workflows.comparison.runs import Comparison, metric_rows
from harness.workflows.runs.files import read_run
from harness.workflows.runs.same_data import annotations_of_run, replaced_images

#: The same category has the same colour on both sides.
STYLE = DrawingStyle(colour_by="class")


def draw_changed(
    comparison: Comparison,
    first: Path,
    second: Path,
    folder: Path,
    *,
    threshold: float,
    progress: Progress,
) -> dict[int, str]:
    """File names below ``folder``, by image id, of pictures of the images that changed most.

    An image that cannot be read, or whose data set is missing, has none, and that is reported: a
    comparison does not need its images.
    """
    ids = [image for image, _ in comparison.images]
    if not ids:
        return {}
    try:
        facts = read_run(first).dataset
        content = annotations_of_run(first, facts, "compare without images: leave out --output")
        dataset = dataset_of(
            content, Path(facts.annotations_path), Path(facts.images_dir), digest=facts.digest
        )
        sides = [(path.name, _by_image(path, content, threshold)) for path in (first, second)]
    except HarnessError as error:
        progress.notice(f"no pictures: {error.message}")
        return {}
    records = {record.image_id: record for record in dataset.images}
    names = {one.category_id: one.name for one in dataset.categories}
    drawn: dict[int, str] = {}
    seen = [records[image] for image in ids]
    replaced = replaced_images(first, dataset.images_dir, seen, notice=progress.notice)
    for image in ids:
        if image in replaced:
            progress.notice(f"no picture: {replaced[image]}")
            continue
        try:
            pixels = load_image(records[image], dataset.images_dir).pixels_bgr
        except HarnessError as error:
            progress.notice(f"no picture: {error.message}")
            continue
        panels = [
            (name, paint(pixels, predicted_objects(records[image], rows[image], names, STYLE)))
            for name, rows in sides
        ]
        with disk_errors(folder):
            write_picture(folder / f"{image}.jpg", side_by_side(panels), small=None)
        drawn[image] = f"{image}.jpg"
    return drawn


def write_page(
    comparison: Comparison,
    first: Path,
    second: Path,
    page: Path,
    *,
    threshold: float,
    progress: Progress,
) -> None:
    """The comparison as a page, and beside it a folder of the images that changed most.

    Raises:
        UsageError: The page cannot be written there.
    """
    require_file_name(page)
    folder = page.with_name(f"{page.stem}-pictures")
    drawn = draw_changed(comparison, first, second, folder, threshold=threshold, progress=progress)
    pictures = {image: f"{folder.name}/{name}" for image, name in drawn.items()}
    write_text(
        page, comparison_page(comparison, metric_rows(comparison.metrics), pictures, threshold)
    )


def _by_image(
    run: Path, content: Mapping[str, Any], threshold: float
) -> Mapping[int, list[dict[str, Any]]]:
    """The predictions of a run that are drawn."""
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in read_predictions(run / PREDICTIONS, content):
        if row["score"] >= threshold:
            rows[row["image_id"]].append(row)
    return rows
