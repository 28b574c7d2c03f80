"""``harness compare``: two runs or two files of predictions, and the page of what changed."""

from __future__ import annotations

from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.core.requests.pictures import CompareRequest
from harness.workflows.comparison.files import are_files, compare_files
from harness.workflows.comparison.images import write_page
from harness.workflows.comparison.runs import Comparison, compare_runs
from harness.workflows.runs.folder import evaluation_of


def compare(request: CompareRequest, progress: Progress) -> Comparison:
    """Compare two evaluations of the same images, and write a page where one is asked for.

    Args:
        request: The settings.
        progress: Receives progress.

    Raises:
        UsageError: Settings of files are given for runs, or the two cannot be compared.
        IntegrityError: A file is damaged, or is no longer what a run was evaluated on.
    """
    pair = (request.first, request.second)
    draws = request.resamples
    if are_files(*pair):
        classes = request.foreign.class_ids
        found = compare_files(
            *pair, request.annotations, resamples=draws, progress=progress, classes=classes
        )
    elif request.annotations is not None:
        raise UsageError(
            "two runs are compared on the annotations that they were evaluated on",
            hint="leave out --annotations, or name the files: RUN/predictions.json",
        )
    else:
        request.foreign.require_none()
        pair = (evaluation_of(request.first), evaluation_of(request.second))
        found = compare_runs(*pair, resamples=draws, progress=progress)
    if request.html is not None:
        write_page(found, *pair, request.html, request.threshold, progress)
    return found
