"""``harness selftest shards``."""

from __future__ import annotations

import argparse

from harness.cli import console
from harness.cli.options import add_output_settings
from harness.core.requests.queries import SelftestRequest

DIFFERENT_EXIT_CODE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one sub-command for each claim."""
    claims = parser.add_subparsers(dest="claim", metavar="claim", required=True)
    shards = claims.add_parser(
        "shards", help="any number of workers gives the same predictions and metrics"
    )
    add_output_settings(shards, SelftestRequest)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate with each number of workers, print one row each; return 0 when all are equal."""
    from harness.report.tables import render
    from harness.workflows.selftest import differing, try_shards

    trials = try_shards(
        arguments.workers,
        engine=arguments.engine,
        device=arguments.device,
        root=arguments.root,
        progress=console.progress_of(arguments),
    )
    faults = differing(trials)
    if arguments.json:
        console.print_json({"identical": not faults, "faults": faults, "trials": trials})
        return DIFFERENT_EXIT_CODE if faults else 0
    columns = ("workers", "predictions", "sha256", "all devices img/s", "one device img/s")
    rows = [
        (
            str(trial.workers),
            str(trial.predictions),
            trial.predictions_sha256[:16],
            f"{trial.all_devices_fps:.1f}",
            f"{trial.one_device_fps:.1f}",
        )
        for trial in trials
    ]
    console.print_parts(render(columns, rows, arguments.format or console.default_format()), "")
    console.print_parts(*(faults or ["IDENTICAL: predictions byte for byte, and every metric"]))
    return DIFFERENT_EXIT_CODE if faults else 0
