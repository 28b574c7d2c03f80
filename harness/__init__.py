"""Whether the COCO numbers of the Detectron2 model zoo reproduce on this machine, and if not, why.

The names below are the Python API; each is imported when it is first used, so that ``import
harness`` loads nothing else. See ``docs/python-api.md``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import analyze as analyze
    from harness.api import benchmark as benchmark
    from harness.api import check_parity as check_parity
    from harness.api import check_weights as check_weights
    from harness.api import compare as compare
    from harness.api import compare_several as compare_several
    from harness.api import convert as convert
    from harness.api import diagnose as diagnose
    from harness.api import download as download
    from harness.api import draw as draw
    from harness.api import evaluate as evaluate
    from harness.api import evaluate_share as evaluate_share
    from harness.api import export_model as export_model
    from harness.api import list_models as list_models
    from harness.api import load_dataset as load_dataset
    from harness.api import load_model as load_model
    from harness.api import plan_training as plan_training
    from harness.api import predict as predict
    from harness.api import score as score
    from harness.api import show as show
    from harness.api import sweep as sweep
    from harness.api import track_run as track_run
    from harness.api import train as train
    from harness.api import write_report as write_report
    from harness.core.dataset import Category as Category
    from harness.core.dataset import Dataset as Dataset
    from harness.core.detections import Detections as Detections
    from harness.core.errors import HarnessError as HarnessError
    from harness.core.errors import IntegrityError as IntegrityError
    from harness.core.errors import Interrupted as Interrupted
    from harness.core.errors import PrerequisiteError as PrerequisiteError
    from harness.core.errors import RunFailedError as RunFailedError
    from harness.core.errors import UsageError as UsageError
    from harness.core.progress import Progress as Progress
    from harness.core.record import RunRecord as RunRecord
    from harness.core.results import RunResult as RunResult
    from harness.workflows.model import Model as Model

__version__ = "0.1.0"

#: Public name → the module it is in.
_HOMES = {
    "Category": "harness.core.dataset",
    "Dataset": "harness.core.dataset",
    "Detections": "harness.core.detections",
    "HarnessError": "harness.core.errors",
    "IntegrityError": "harness.core.errors",
    "Interrupted": "harness.core.errors",
    "Model": "harness.workflows.model",
    "PrerequisiteError": "harness.core.errors",
    "Progress": "harness.core.progress",
    "RunFailedError": "harness.core.errors",
    "RunRecord": "harness.core.record",
    "RunResult": "harness.core.results",
    "UsageError": "harness.core.errors",
    "analyze": "harness.api",
    "benchmark": "harness.api",
    "check_parity": "harness.api",
    "check_weights": "harness.api",
    "compare": "harness.api",
    "compare_several": "harness.api",
    "convert": "harness.api",
    "diagnose": "harness.api",
    "download": "harness.api",
    "draw": "harness.api",
    "evaluate": "harness.api",
    "evaluate_share": "harness.api",
    "export_model": "harness.api",
    "list_models": "harness.api",
    "load_dataset": "harness.api",
    "load_model": "harness.api",
    "plan_training": "harness.api",
    "predict": "harness.api",
    "score": "harness.api",
    "show": "harness.api",
    "sweep": "harness.api",
    "track_run": "harness.api",
    "train": "harness.api",
    "write_report": "harness.api",
}

__all__ = [
    "Category",
    "Dataset",
    "Detections",
    "HarnessError",
    "IntegrityError",
    "Interrupted",
    "Model",
    "PrerequisiteError",
    "Progress",
    "RunFailedError",
    "RunRecord",
    "RunResult",
    "UsageError",
    "analyze",
    "benchmark",
    "check_parity",
    "check_weights",
    "compare",
    "compare_several",
    "convert",
    "diagnose",
    "download",
    "draw",
    "evaluate",
    "evaluate_share",
    "export_model",
    "list_models",
    "load_dataset",
    "load_model",
    "plan_training",
    "predict",
    "score",
    "show",
    "sweep",
    "track_run",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for completion."""
    return [*__all__, "__version__"]
