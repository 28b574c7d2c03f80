"""``harness export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import console
from harness.cli.options import add_answer_options, request_from
from harness.cli.parity import NO_PARITY_EXIT_CODE, answer_parity
from harness.core.requests.inference import EMBEDDED_MODEL
from harness.core.requests.zoo import OPSETS, ExportRequest

if TYPE_CHECKING:
    from harness.workflows.export import Export


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ExportRequest."""
    what = parser.add_argument_group("what to export")
    what.add_argument("--model", default=EMBEDDED_MODEL, help="model entry; see: harness models")
    what.add_argument("--weights", type=Path, help="checkpoint instead of the pinned one")
    what.add_argument(
        "--annotations", type=Path, help="COCO file that lists the classes of your own weights"
    )
    what.add_argument(
        "--root", type=Path, help="where data sets and checkpoints lie (default: datasets)"
    )
    how = parser.add_argument_group("the file")
    how.add_argument(
        "--output", type=Path, help="ending .onnx; default: <root>/exported/<model>.onnx"
    )
    how.add_argument(
        "--opset", type=int, default=OPSETS[0], help=f"of ONNX, {OPSETS[0]} to {OPSETS[-1]}"
    )
    how.add_argument("--score-threshold", type=float, help="in the graph; default: the model's own")
    how.add_argument("--max-detections", type=int, help="in the graph; default: the model's own")
    proof = parser.add_argument_group("the proof")
    proof.add_argument(
        "--images", type=Path, help="folder to try it on; default: the model's own data set"
    )
    proof.add_argument("--limit", type=int, default=4, help="only the first N images by name")
    proof.add_argument("--threads", type=int, help="CPU threads; default: all cores")
    add_answer_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Export, compare, print one row a stage; 1 when the file computes something else."""
    from harness.files.layout import datasets_folder
    from harness.workflows.export import export

    root = arguments.root or datasets_folder()
    found = export(
        request_from(ExportRequest, arguments, root=root), progress=console.TerminalProgress()
    )
    if arguments.json:
        console.answer_json(found)
    else:
        answer_parity(found.parity, arguments)
        console.answer(*_sentences(found))
    return 0 if found.parity.first_failing is None else NO_PARITY_EXIT_CODE


def _sentences(found: Export) -> tuple[str, ...]:
    agreement = found.parity.agreement
    largest = f"largest difference: {agreement.max_box_px:.1e} px, score {agreement.max_score:.1e}"
    size = f"{found.bytes / 1e6:.1f} MB, opset {found.opset}, {found.seconds:.0f} s"
    return largest, f"wrote {found.path}: {size}"
