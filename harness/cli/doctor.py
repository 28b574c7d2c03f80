"""``harness doctor``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings
from harness.core.printable import counted
from harness.core.requests.queries import DoctorRequest

if TYPE_CHECKING:
    from harness.workflows.doctor import Finding

BROKEN_EXIT_CODE = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the places to look for data."""
    add_output_settings(parser, DoctorRequest)


def run(arguments: argparse.Namespace) -> int:
    """Print every finding with its fix; return 3 when something that every run needs is broken."""
    from harness.report.checklist import CHECKLIST_COLUMNS, checklist
    from harness.report.tables import render
    from harness.workflows.doctor import diagnose

    findings = diagnose(arguments.root)
    if arguments.json:
        console.print_json(findings)
    else:
        rows = [(one.subject, one.status, one.found, one.fix) for one in findings]
        style = arguments.format or console.default_format()
        if style == "rich":
            console.print_parts(*checklist(rows))
        else:
            console.print_parts(render(CHECKLIST_COLUMNS, rows, style))
        console.print_parts("", _summary(findings))
    broken = any(one.status == "fail" for one in findings)
    return BROKEN_EXIT_CODE if broken else 0


def _summary(findings: Sequence[Finding]) -> str:
    """What the list comes to, in a sentence."""
    failed = [one.subject for one in findings if one.status == "fail"]
    if failed:
        return f"NOT READY: every run needs what failed: {', '.join(failed)}"
    warned = sum(one.status == "warn" for one in findings)
    rest = f"; {counted(warned, 'warning')}, each only for what it names" if warned else ""
    return f"READY: harness eval runs the embedded model without a download{rest}"
