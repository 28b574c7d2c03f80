"""The request that each function of the Python API composes, and the signature it gives it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any, TypeVar

from harness.core.requests.data import ConvertRequest
from harness.core.requests.inference import (
    BenchRequest,
    DiagnoseRequest,
    EvalRequest,
    ScoreRequest,
    ShareRequest,
    SweepRequest,
)
from harness.core.requests.loading import DatasetRequest, DrawRequest, LoadRequest
from harness.core.requests.pictures import CompareRequest, PredictRequest, ShowRequest
from harness.core.requests.reports import AnalyzeRequest, ReportRequest
from harness.core.requests.training import TrainRequest
from harness.core.requests.zoo import (
    CheckWeightsRequest,
    DownloadRequest,
    ExportRequest,
    ParityRequest,
)
from harness.core.setting_fields import Setting
from harness.core.settings import flat_settings, flatten, signature_of

Function = TypeVar("Function", bound=Callable[..., Any])

#: How the entry of the settings begins in the docstring of a function.
SETTINGS = "**settings: "

#: What a request of each function is made of; `train` has a function of its own for the dry run.
REQUESTS: Mapping[str, type[Any]] = {
    "evaluate": EvalRequest,
    "evaluate_share": ShareRequest,
    "benchmark": BenchRequest,
    "sweep": SweepRequest,
    "score": ScoreRequest,
    "analyze": AnalyzeRequest,
    "write_report": ReportRequest,
    "diagnose": DiagnoseRequest,
    "train": TrainRequest,
    "plan_training": TrainRequest,
    "predict": PredictRequest,
    "show": ShowRequest,
    "compare": CompareRequest,
    "convert": ConvertRequest,
    "download": DownloadRequest,
    "check_weights": CheckWeightsRequest,
    "export_model": ExportRequest,
    "check_parity": ParityRequest,
    "load_model": LoadRequest,
    "load_dataset": DatasetRequest,
    "draw": DrawRequest,
}

#: Settings of a request that its function does not take.
NOT_TAKEN: Mapping[str, tuple[str, ...]] = {
    "evaluate_share": ("share", "workers", "resume"),
    "train": ("dry_run",),
    "plan_training": ("dry_run",),
    "compare": ("others", "plot"),
}


def keywords_of(function: str, request: Any) -> dict[str, Any]:
    """Return the settings of a request as keywords of the function that composes it again.

    Args:
        function: Name of the function, such as ``evaluate``.
        request: Request of the class that the function composes.
    """
    without = NOT_TAKEN.get(function, ())
    return {name: value for name, value in flatten(request).items() if name not in without}


def signed(function: Function) -> Function:
    """Give a function the signature and the description of its settings.

    They are for ``help()``, notebooks and the reference: the source has ``**settings`` alone.
    """
    name = function.__name__
    without = NOT_TAKEN.get(name, ())
    positional = {one.name for one in flat_settings(REQUESTS[name]) if one.positional}
    source = Signature.from_callable(function).parameters
    written = source.values()
    settings = [
        # Texts are taken for paths, and one for several: as the function says itself.
        one.replace(
            kind=Parameter.POSITIONAL_OR_KEYWORD,
            annotation=source[one.name].annotation if one.name in source else one.annotation,
        )
        if one.name in positional
        else one
        for one in signature_of(REQUESTS[name]).parameters.values()
        if one.name not in without
    ]
    own = [
        one
        for one in written
        if one.kind is not Parameter.VAR_KEYWORD
        and one.name not in {each.name for each in settings}
    ]
    ordered = sorted((*settings, *own), key=lambda one: one.kind)
    returned = Signature.from_callable(function).return_annotation
    function.__signature__ = Signature(  # type: ignore[attr-defined]
        ordered, return_annotation=returned
    )
    described = {one.name for one in written}
    function.__doc__ = _with_settings(
        function.__doc__ or "",
        [
            one
            for one in flat_settings(REQUESTS[name])
            if one.name not in without and one.name not in described
        ],
    )
    return function


def _with_settings(text: str, settings: Sequence[Setting]) -> str:
    """Return a docstring in which each setting has an entry behind that of ``**settings``.

    Since Python 3.13 the indentation that all lines share is not in a docstring any longer.
    """
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if line.lstrip().startswith(SETTINGS)]
    if not starts:
        return text
    indent = lines[starts[0]].partition(SETTINGS)[0]
    end = starts[0] + 1
    while end < len(lines) and lines[end].startswith(indent + " "):
        end += 1
    entries = [
        textwrap.fill(
            f"{one.name}: {one.description[0].upper()}{one.description[1:]}.",
            width=100,
            initial_indent=indent,
            subsequent_indent=indent + "    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for one in settings
    ]
    return "\n".join([*lines[:end], *entries, *lines[end:]])
