"""The Python API: what the command line does, as functions; `harness` exports them.

Settings are keywords with the names, checks and defaults of the command line; each is defined once,
as a field of a request (`harness.core.requests`). What is positional on the command line may be
positional here. A module is imported when one of its functions is first used: listing models does
not wait for the settings of a training.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api.listing import list_models as list_models
    from harness.api.measuring import analyze as analyze
    from harness.api.measuring import benchmark as benchmark
    from harness.api.measuring import compare as compare
    from harness.api.measuring import compare_several as compare_several
    from harness.api.measuring import diagnose as diagnose
    from harness.api.measuring import evaluate as evaluate
    from harness.api.measuring import evaluate_share as evaluate_share
    from harness.api.measuring import score as score
    from harness.api.measuring import sweep as sweep
    from harness.api.measuring import track_run as track_run
    from harness.api.measuring import write_report as write_report
    from harness.api.models import check_parity as check_parity
    from harness.api.models import check_weights as check_weights
    from harness.api.models import convert as convert
    from harness.api.models import download as download
    from harness.api.models import export_model as export_model
    from harness.api.models import load_dataset as load_dataset
    from harness.api.models import load_model as load_model
    from harness.api.pictures import draw as draw
    from harness.api.pictures import predict as predict
    from harness.api.pictures import show as show
    from harness.api.training import follow_training as follow_training
    from harness.api.training import plan_training as plan_training
    from harness.api.training import train as train

#: Function → the module it is in.
_HOMES = {
    "analyze": "harness.api.measuring",
    "benchmark": "harness.api.measuring",
    "check_parity": "harness.api.models",
    "check_weights": "harness.api.models",
    "compare": "harness.api.measuring",
    "compare_several": "harness.api.measuring",
    "convert": "harness.api.models",
    "diagnose": "harness.api.measuring",
    "download": "harness.api.models",
    "draw": "harness.api.pictures",
    "evaluate": "harness.api.measuring",
    "evaluate_share": "harness.api.measuring",
    "export_model": "harness.api.models",
    "follow_training": "harness.api.training",
    "list_models": "harness.api.listing",
    "load_dataset": "harness.api.models",
    "load_model": "harness.api.models",
    "plan_training": "harness.api.training",
    "predict": "harness.api.pictures",
    "score": "harness.api.measuring",
    "show": "harness.api.pictures",
    "sweep": "harness.api.measuring",
    "track_run": "harness.api.measuring",
    "train": "harness.api.training",
    "write_report": "harness.api.measuring",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Import a function when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'harness.api' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The functions, for completion."""
    return sorted(_HOMES)
