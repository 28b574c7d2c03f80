"""``harness export``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.cli.parity import NO_PARITY_EXIT_CODE, print_parity
from harness.core.requests.zoo import ExportRequest

if TYPE_CHECKING:
    from harness.workflows.export import Export


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of ExportRequest."""
    add_output_settings(parser, ExportRequest)


def run(arguments: argparse.Namespace) -> int:
    """Export, compare, print one row a stage; return 1 when the file computes something else."""
    from harness import api

    found = api.export_model(
        **settings_from(ExportRequest, arguments), progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.print_json(found)
    else:
        print_parity(found.parity, arguments)
        console.print_parts(*_sentences(found))
    return 0 if found.parity.first_failing is None else NO_PARITY_EXIT_CODE


def _sentences(found: Export) -> tuple[str, ...]:
    agreement = found.parity.agreement
    largest = f"largest difference: {agreement.max_box_px:.1e} px, score {agreement.max_score:.1e}"
    version = "" if found.opset is None else f", opset {found.opset}"
    size = f"{found.bytes / 1e6:.1f} MB{version}, {found.seconds:.0f} s"
    return largest, f"wrote {found.path}: {size}"
