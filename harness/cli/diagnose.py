"""``harness diagnose``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.core.clock import utc_now
from harness.core.printable import counted
from harness.core.requests.inference import DiagnoseRequest

if TYPE_CHECKING:
    from harness.diagnosis.findings import Finding
    from harness.workflows.diagnose import Against, Diagnosis, StageOf

COLUMNS = ("what was found", "AP", "undone", "gain", "why", "fix")
#: How stages differ whose rows are those of the detections before them.
OF_PARTS = {
    "pasted masks": "in pixels of some of them",
    "keypoints": "in the places or scores of some of them",
    "maps of segments": "in the segments of some pixels",
}

REFERENCE_COLUMNS = ("metric", "delta", "95 % of resamples", "these are")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of DiagnoseRequest."""
    add_output_settings(parser, DiagnoseRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; return 0: a fault of the predictions is a result."""
    from harness import api

    running = timedelta(seconds=time.monotonic() - arguments.begun)
    found = api.diagnose(
        **settings_from(DiagnoseRequest, arguments),
        progress=console.progress_of(arguments),
        begun=utc_now() - running,  # the start of the program counts
    )
    if arguments.json:
        console.print_json(found)
    else:
        _print(found, arguments)
    return 0


def _print(found: Diagnosis, arguments: argparse.Namespace) -> None:
    from harness.report.tables import decimal, render

    style = arguments.format or console.default_format()
    for sentence in _head(found):
        console.print_parts(sentence)
    if found.diagnosed.findings:
        rows = [
            (
                one.fault,
                decimal(one.before),
                decimal(one.after),
                _gain(one),
                one.details,
                one.fix,
            )
            for one in found.diagnosed.findings
        ]
        console.print_parts("", render(COLUMNS, rows, style), "")
    for sentence in _tail(found):
        console.print_parts(sentence)
    if found.reference is not None:
        _print_reference(found.reference, style)


def _gain(found: Finding) -> str:
    from harness.diagnosis.catalogue import BY_NAME

    if found.before is not None and found.after is not None:
        return f"{found.gain:+.2f}"
    return "no time to measure it" if BY_NAME[found.name].undone else "cannot be undone"


def _head(found: Diagnosis) -> Iterator[str]:
    from harness.report.tables import decimal

    known = found.diagnosed
    name = "mask AP" if known.task == "segm" else "box AP"
    yield f"{counted(found.row_count, 'prediction')}, {counted(found.image_count, 'image')}"
    if found.refused is not None:
        yield f"harness score refuses {found.refused}"
    elif found.score_assumes:
        yield f"harness score assumes: {'; '.join(found.score_assumes)}"
    if not found.row_count:
        yield "there is no prediction: nothing can be found out about it"
    elif known.ap is None:
        yield "no AP: there is no object to find"
    elif known.findings:
        after = decimal(known.ap_undone)
        yield f"{name} {decimal(known.ap)}; {after} with everything undone that was found"
    else:
        looked_for = "" if not known.not_reached else " that there was time to look for"
        yield f"{name} {decimal(known.ap)}; none of the known faults{looked_for} was found"


def _tail(found: Diagnosis) -> Iterator[str]:
    known = found.diagnosed
    yield from (f"note: {sentence}" for sentence in known.notes)
    if known.measured_images < found.image_count:
        yield f"APs are of {known.measured_images} of {found.image_count} images"
    if known.not_reached:
        yield f"not reached in time: {', '.join(known.not_reached)}"
        yield "more time: --time-limit SECONDS"


def _print_reference(reference: Against, style: str) -> None:
    from harness.report.tables import render

    if reference.metrics:
        rows = [
            (name, f"{one.difference:+.3f}", f"{one.low:+.3f} … {one.high:+.3f}", one.meaning)
            for name, one in reference.metrics.items()
        ]
        console.print_parts("", render(REFERENCE_COLUMNS, rows, style), "")  # type: ignore[arg-type]
    if reference.first_differing is None:
        console.print_parts("the predictions are those of the reference")
    else:
        console.print_parts(
            f"{counted(reference.differing_images, 'image differs', 'images differ')} from the "
            f"reference, the first is {reference.first_differing}"
        )
    if reference.stage is not None:
        console.print_parts(_stage_sentence(reference.stage))
    for note in reference.notes:
        console.print_parts(f"note: {note}")


def _stage_sentence(stage: StageOf) -> str:
    everywhere = stage.stage == "resized input"  # any network has it
    how = {
        "values": "in values that are not finite"
        if stage.max_absolute is None
        else f"by up to {stage.max_absolute:g}",
        "shape": "in its shape" + ("" if everywhere else ", or in that only the reference has it"),
        "rows": OF_PARTS.get(stage.stage, "in some of its rows, or in how many there are"),
    }
    return f"on it the first stage that differs is {stage.stage}, {how[stage.differs]}"
