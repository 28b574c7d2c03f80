"""``harness bench --sweep``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from harness.cli import console
from harness.cli.options import inference_from, request_from
from harness.core.engine import MEMORY_FORMATS, PRECISIONS
from harness.core.errors import UsageError
from harness.core.requests.inference import BenchRequest, InferenceRequest, SweepAxes, SweepRequest

DEFAULT = SweepRequest()

#: What a bench asks for one setting with, and a sweep otherwise or not at all.
OF_ONE_SETTING = {
    "precision": "--precisions",
    "memory_format": "--memory-formats",
    "compile": "--compiled",
    "batch_size": "--batch-sizes",
}
NOT_SWEPT = {"profiling": "--profile", "require_reference": "--require-reference"}


class _OfSweep(argparse.Action):
    """Keeps the value, and that the option was given: without --sweep it means nothing."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)
        namespace.given_of_sweep = option_string


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    """--sweep, and the options that mean something only with it."""
    group = parser.add_argument_group("a sweep: many settings, each with its speed and its AP")
    group.add_argument("--sweep", action="store_true", help="measure all combinations of these:")
    group.add_argument(
        "--precisions",
        action=_OfSweep,
        type=_list_of("--precisions", {name: name for name in PRECISIONS}),
        default=DEFAULT.axes.precisions,
        metavar="P,…",
        help=f"default: {','.join(PRECISIONS)}; what the device cannot do is skipped",
    )
    group.add_argument(
        "--memory-formats",
        action=_OfSweep,
        type=_list_of("--memory-formats", {name: name for name in MEMORY_FORMATS}),
        default=DEFAULT.axes.memory_formats,
        metavar="F,…",
        help=f"default: {','.join(MEMORY_FORMATS)}",
    )
    group.add_argument(
        "--compiled",
        action=_OfSweep,
        type=_list_of("--compiled", {"no": False, "yes": True}),
        default=DEFAULT.axes.compiled,
        metavar="no,yes",
        help="default: both",
    )
    group.add_argument(
        "--batch-sizes",
        action=_OfSweep,
        type=_batch_sizes,
        metavar="N,…",
        help="default: 1,4 on a CPU, 1,2,4,8,16 on a GPU",
    )
    group.add_argument(
        "--ap-tolerance",
        action=_OfSweep,
        type=float,
        default=DEFAULT.ap_tolerance,
        help="AP points that a recommended setting may cost (default: 0.1)",
    )
    group.add_argument(
        "--resume",
        action=_OfSweep,
        nargs=0,
        const=True,
        default=False,
        help="continue an unfinished sweep with the settings that are missing",
    )


def require_sweep(arguments: argparse.Namespace) -> None:
    """Raise UsageError for options of a sweep without one."""
    given = getattr(arguments, "given_of_sweep", None)
    if given is not None and not arguments.sweep:
        raise UsageError(f"{given} means something only with --sweep", hint="add --sweep")


def run_sweep(arguments: argparse.Namespace) -> int:
    """Measure all settings, print the table and the recommendations."""
    from harness.report.sweep import sweep_parts
    from harness.workflows.benchmark.sweep import PICTURE, sweep
    from harness.workflows.runs.files import PAGE
    from harness.workflows.runs.folder import utc_now

    _require_no_single_setting(arguments)
    found, folder = sweep(
        request_from(
            SweepRequest,
            arguments,
            inference=inference_from(arguments),
            axes=request_from(SweepAxes, arguments),
        ),
        progress=console.TerminalProgress(),
        command=("harness", *sys.argv[1:]),
        now=utc_now(),
    )
    if arguments.json:
        console.answer_json(found)
        return 0
    console.answer(*sweep_parts(found, arguments.format or console.default_format()), "")
    files = [folder / name for name in (PAGE, PICTURE) if (folder / name).exists()]
    console.answer(*(f"written: {path}" for path in files))
    return 0


def _require_no_single_setting(arguments: argparse.Namespace) -> None:
    """Raise UsageError for options that a sweep would ignore."""
    asked = vars(arguments)
    defaults = {one.name: one.default for one in (*fields(InferenceRequest), *fields(BenchRequest))}
    for name, plural in OF_ONE_SETTING.items():
        if asked[name] != defaults[name]:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} is for one setting", hint=f"with --sweep: {plural}")
    for name, option in NOT_SWEPT.items():
        if asked[name] != defaults[name]:
            raise UsageError(f"{option} means nothing with --sweep", hint=f"leave out {option}")


def _list_of(option: str, known: Mapping[str, Any]) -> Callable[[str], tuple[Any, ...]]:
    """Words separated by commas → their values, each once; UsageError for any other word."""

    def parse(text: str) -> tuple[Any, ...]:
        words = text.split(",")
        for word in words:
            if word not in known:
                raise UsageError(
                    f"{option} does not know {word!r}; choose of {', '.join(known)}, "
                    "with commas in between"
                )
        return tuple(dict.fromkeys(known[word] for word in words))

    return parse


def _batch_sizes(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--batch-sizes must be numbers from 1 with commas between, got {text!r}")
    return tuple(dict.fromkeys(int(word) for word in words))
