"""``harness parity``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_output_settings, settings_from
from harness.core.printable import counted
from harness.core.requests.zoo import ParityRequest

if TYPE_CHECKING:
    from harness.engines.parity.bits import ExactProof
    from harness.engines.parity.comparison import ParityReport
    from harness.engines.parity.rounding import FastProof
    from harness.workflows.parity import ParityProofs

NO_PARITY_EXIT_CODE = 1

#: Images from which on a stage's distance is hardly one of chance. Chosen: of 1,370 random cases of
#: one to three images 15 were above the limit.
MANY_IMAGES = 8

#: Differences without a decision that are shown at most; ``--json`` has all.
MOST_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of ParityRequest."""
    add_output_settings(parser, ParityRequest)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print one row a stage; return 0, or 1 where a stage differs."""
    from harness import api
    from harness.engines.parity.comparison import ParityReport

    report = api.check_parity(
        **settings_from(ParityRequest, arguments), progress=console.progress_of(arguments)
    )
    if arguments.json:
        console.print_json(report)
    elif isinstance(report, ParityReport):
        print_parity(report, arguments)
    else:
        print_proofs(report, arguments)
    ok = report.first_failing is None if isinstance(report, ParityReport) else report.ok
    return 0 if ok else NO_PARITY_EXIT_CODE


def print_proofs(proofs: ParityProofs, arguments: argparse.Namespace) -> None:
    """Print both: a row a stage, what differs and why, and a sentence each."""
    from harness.report.tables import render

    style = arguments.format or console.default_format()
    if proofs.fast is not None:
        rows = [
            (
                row.stage,
                _short(row.ours),
                _short(row.reference),
                _short(row.ratio, ".2f"),
                "pass" if row.ok else "fail",
            )
            for row in proofs.fast.stages
        ]
        columns = ("stage", "ours to float64", "reference to float64", "ratio", "status")
        console.print_parts(render(columns, rows, style), "")
        kinds = [(kind, str(count)) for kind, count in sorted(proofs.fast.explained.items())]
        if kinds:
            console.print_parts(render(("detections differ by", "count"), kinds, style), "")
        unexplained = _unexplained(proofs.fast)
        if unexplained:
            heads = ("unexplained in image", "difference", "class index", "score")
            console.print_parts(render(heads, unexplained[:MOST_SHOWN], style), "")
    if proofs.exact is not None:
        console.print_parts(_exact_sentence(proofs.exact))
    if proofs.fast is not None:
        console.print_parts(_fast_sentence(proofs.fast))


def _short(value: float | None, digits: str = ".2e") -> str:
    from harness.report.tables import ABSENT

    return ABSENT if value is None else f"{value:{digits}}"


def _unexplained(proof: FastProof) -> list[tuple[str, str, str, str]]:
    """Return a row for each difference without a decision; of a whole image, without a score."""
    return [
        (
            str(one.image_id),
            one.what,
            "" if one.score is None else str(one.class_index),
            "" if one.score is None else f"{one.score:.6f}",
        )
        for one in proof.differences
        if one.decision is None
    ]


def _exact_sentence(proof: ExactProof) -> str:
    seen = counted(proof.images, "image")
    if proof.ok:
        return f"EXACT: all {proof.detections} detections of {seen} have Detectron2's bits"
    return (
        f"NOT EXACT: {proof.equal} of {proof.detections} detections of {seen} have Detectron2's "
        f"bits; the first other one: {proof.first_difference}"
    )


def _fast_sentence(proof: FastProof) -> str:
    seen = f"{proof.detections} detections of {counted(proof.images, 'image')}"
    differences = counted(len(proof.differences), "difference")
    summary = f"{differences} from the reference, unexplained: {proof.unexplained}"
    if proof.ok and proof.detections == 0:
        return f"FAST, but over {seen}: boxes and masks were not put to the test"
    if proof.ok:
        return f"FAST: rounding only; in {seen} {summary}"
    failing = next((stage for stage in proof.stages if not stage.ok), None)
    stage = ""
    if failing is not None and None in (failing.ours, failing.reference):
        stage = f"; the first stage with numbers that are not finite: {failing.stage}"
    elif failing is not None:
        stage = f"; the first stage too far from float64: {failing.stage}"
        if not proof.unexplained and proof.images < MANY_IMAGES:
            stage += "; over so few images that can be chance: give more"
    return f"NO PARITY: in {seen} {summary}{stage}"


def print_parity(report: ParityReport, arguments: argparse.Namespace) -> None:
    """Print one row a stage, and the sentence that sums them up.

    Args:
        report: Report of the comparison.
        arguments: The parsed command line.
    """
    from harness.report.tables import render

    rows = [
        (
            row.stage,
            _short(row.max_absolute),
            _short(row.max_relative),
            "" if row.share is None else f"{100 * row.share:.3f} %",
            row.tolerance,
            "pass" if row.ok else "fail",
        )
        for row in report.stages
    ]
    columns = ("stage", "max |Δ|", "relative", "within", "tolerance", "status")
    console.print_parts(render(columns, rows, arguments.format or console.default_format()))
    console.print_parts("", _sentence(report))


def _sentence(report: ParityReport) -> str:
    seen = f"{counted(report.images, 'image')} with {report.agreement.detections} detections"
    if report.first_failing is not None:
        return f"NO PARITY: over {seen}, the first stage that differs is: {report.first_failing}"
    if report.agreement.detections == 0:
        return f"PARITY, but over {seen}: boxes and masks were not put to the test"
    return f"PARITY: the engines agree on {seen} in every stage"
