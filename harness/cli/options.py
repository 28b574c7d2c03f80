"""Options that several commands share, and the way from parsed flags to a request."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from harness.core.drawing import BACKGROUNDS, COLOURS_BY, DrawingStyle
from harness.core.engine import ENGINE_NAMES, MEMORY_FORMATS, PRECISIONS
from harness.core.requests.inference import EMBEDDED_MODEL, InferenceRequest
from harness.report.tables import FORMATS

T = TypeVar("T")


def add_inference_options(parser: argparse.ArgumentParser) -> None:
    """One option for each field of InferenceRequest."""
    add_subject_options(parser)
    add_engine_options(parser)


def add_subject_options(parser: argparse.ArgumentParser) -> None:
    """Which network, on which images."""
    what = parser.add_argument_group("what to run")
    what.add_argument("--model", default=EMBEDDED_MODEL, help="model entry; see: harness models")
    what.add_argument("--dataset", help="known data set; default: the one of the model's numbers")
    what.add_argument("--annotations", type=Path, help="COCO annotation file of your own")
    what.add_argument("--images", type=Path, help="folder of its images")
    what.add_argument("--weights", type=Path, help="checkpoint instead of the pinned one")
    what.add_argument("--limit", type=int, help="only the first N images (not comparable)")
    what.add_argument(
        "--root", type=Path, help="where data sets and checkpoints lie (default: datasets)"
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """How a network is run, and its test recipe."""
    how = parser.add_argument_group("how to run it")
    how.add_argument("--engine", choices=ENGINE_NAMES, help="default: the model's own")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    how.add_argument("--precision", choices=PRECISIONS, default="fp32", help="verdicts need fp32")
    how.add_argument(
        "--memory-format", choices=MEMORY_FORMATS, help="of feature maps; default: the engine's own"
    )
    how.add_argument("--compile", action="store_true", help="by torch.compile, at the first image")
    how.add_argument("--batch-size", type=int, default=1)
    how.add_argument("--loaders", type=int, default=2, help="threads that decode and resize ahead")
    how.add_argument("--threads", type=int, help="CPU threads of the network; default: all cores")
    recipe = parser.add_argument_group("test recipe (a change makes numbers not comparable)")
    recipe.add_argument("--score-threshold", type=float)
    recipe.add_argument("--max-detections", type=int)
    recipe.add_argument("--short-edge", dest="short_edge_px", type=int, metavar="PX")
    recipe.add_argument("--long-edge-max", dest="long_edge_max_px", type=int, metavar="PX")
    recipe.add_argument("--channel-order", choices=("BGR", "RGB"))


def add_drawing_options(parser: argparse.ArgumentParser) -> None:
    """One option for each field of DrawingStyle."""
    group = parser.add_argument_group("how it is drawn")
    group.add_argument(
        "--threshold", type=float, default=0.5, help="lowest score that is drawn and counted"
    )
    group.add_argument(
        "--background", choices=BACKGROUNDS, default="colour", help="grey: all that is no object"
    )
    group.add_argument("--colour-by", choices=COLOURS_BY, default="instance")
    group.add_argument("--opacity", type=float, default=0.5, help="of masks, 0 to 1")
    group.add_argument("--no-boxes", dest="boxes", action="store_false")
    group.add_argument("--no-labels", dest="labels", action="store_false")
    group.add_argument("--scale", type=float, default=1.0, help="of the picture against the image")


def add_answer_options(parser: argparse.ArgumentParser) -> None:
    """How the answer is printed."""
    group = parser.add_argument_group("the answer")
    group.add_argument("--json", action="store_true", help="print the record and nothing else")
    group.add_argument("--format", choices=FORMATS, help="default: rich on a terminal, else plain")


def request_from(kind: type[T], arguments: argparse.Namespace, **extra: Any) -> T:
    """A request whose fields are the options of the same name."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in vars(arguments).items() if name in names}
    return kind(**{**given, **extra})


def inference_from(arguments: argparse.Namespace) -> InferenceRequest:
    """The shared part of a request; the root defaults to the project's data-set folder."""
    from harness.files.layout import datasets_folder

    root = arguments.root or datasets_folder()
    return request_from(InferenceRequest, arguments, root=root)


def style_from(arguments: argparse.Namespace) -> DrawingStyle:
    """The style that the drawing options say."""
    return request_from(DrawingStyle, arguments)
