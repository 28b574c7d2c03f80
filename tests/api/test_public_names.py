"""The names and signatures that programs rely on."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import harness
from harness import api
from harness.core.requests import signatures
from harness.core.settings import flat_settings

NAMES = [
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

#: What every function takes beside the settings of its request; * before what is keyword-only.
BESIDE = {
    "evaluate": "* progress command begun",
    "evaluate_share": "share * image_ids progress command begun",
    "benchmark": "* progress command begun",
    "sweep": "* progress command",
    "score": "run * command",
    "analyze": "run * progress",
    "diagnose": "run * progress begun",
    "write_report": "run * progress",
    "train": "* progress command begun checkpoint_signals",
    "plan_training": "* progress on_plan",
    "predict": "paths * progress command",
    "show": "run * progress",
    "compare": "first second * progress",
    "convert": "source * progress",
    "download": "* progress",
    "check_weights": "file *",
    "export_model": "* progress",
    "check_parity": "* progress",
    "load_model": "source *",
    "load_dataset": "dataset *",
    "draw": "image detections * channel_order",
}

#: Functions without a request of settings: the whole signature, without types.
WHOLE = {
    "list_models": "(*words, root=None)",
    "compare_several": "(*runs, plot=None, progress=False)",
    "track_run": "(folder, tracker)",
}


def test_names_are_complete_sorted_and_there() -> None:
    assert sorted(NAMES) == NAMES == harness.__all__
    assert set(harness._HOMES) == set(NAMES)
    for name in NAMES:
        assert getattr(harness, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = harness.nothing
    assert set(NAMES) <= set(dir(harness))


def test_the_package_of_the_functions_is_imported_with_a_star_too() -> None:
    assert sorted(api.__all__) == api.__all__ == sorted(api._HOMES)
    given: dict[str, object] = {}
    exec("from harness.api import *", given)
    assert {name for name in given if not name.startswith("__")} == set(api._HOMES)
    for name, home in api._HOMES.items():
        assert given[name].__module__ == home, name


@pytest.mark.parametrize("name", BESIDE)
def test_signatures_are_the_settings_of_the_request(name: str) -> None:
    found = inspect.signature(getattr(harness, name)).parameters
    positional, _, beside = (part.split() for part in BESIDE[name].partition("*"))
    kinds = {key: one.kind for key, one in found.items()}
    assert [key for key in kinds if kinds[key] is not inspect.Parameter.KEYWORD_ONLY] == positional
    settings = {
        one.name: one
        for one in flat_settings(signatures.REQUESTS[name])
        if one.name not in signatures.NOT_TAKEN.get(name, ())
    }
    assert set(found) == set(settings) | set(positional) | set(beside)
    for key, one in settings.items():
        expected = inspect.Parameter.empty if one.required else one.default
        assert found[key].default == expected, key


@pytest.mark.parametrize("name", BESIDE)
def test_help_describes_every_argument_once(name: str) -> None:
    function = getattr(harness, name)
    require_each_described_once(function)


@pytest.mark.parametrize("name", BESIDE)
def test_help_is_complete_where_docstrings_have_no_indentation(name: str) -> None:
    """Python 3.13 takes away what all lines share, before a decorator sees the docstring."""
    written = inspect.unwrap(getattr(harness, name))

    @wraps(written)
    def bare(**_: object) -> None:
        pytest.fail("it is not called")

    bare.__doc__ = f"{inspect.getdoc(written)}\n"
    assert "\n    **settings: " in bare.__doc__
    require_each_described_once(signatures.signed(bare))


def require_each_described_once(function: Callable[..., Any]) -> None:
    described = re.findall(r"^    (\w+): .", inspect.getdoc(function) or "", re.MULTILINE)
    raised = {"HarnessError"}
    assert sorted(set(described) - raised) == sorted(inspect.signature(function).parameters)
    assert len(described) == len(set(described))


@pytest.mark.parametrize("name", WHOLE)
def test_signatures_without_a_request(name: str) -> None:
    found = inspect.signature(getattr(harness, name))
    untyped = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()]
    assert str(inspect.Signature(untyped)) == WHOLE[name]


def test_every_function_has_its_signature_above() -> None:
    assert BESIDE.keys() == signatures.REQUESTS.keys()
    functions = {name for name in NAMES if inspect.isfunction(getattr(harness, name))}
    assert functions == BESIDE.keys() | WHOLE.keys()


def test_the_reference_site_has_every_function(repository: Path) -> None:
    program = _program(repository / "scripts" / "build_docs.py")
    shown = {
        f"{module}.{name}" for module in program.API_MODULES for name in program.functions(module)
    }
    found = {name: getattr(harness, name) for name in NAMES if name != "__version__"}
    named = {name: f"{one.__module__}.{one.__name__}" for name, one in found.items()}
    functions = {named[name] for name, one in found.items() if inspect.isfunction(one)}
    assert functions <= shown
    types = set(program.API_TYPES)
    for name in set(named.values()) - functions:
        assert {name, name.rpartition(".")[0]} & types, name


def _program(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


def test_import_is_light() -> None:
    probe = (
        "import sys, harness; print(sorted(name for name in sys.modules if name in "
        "('torch', 'numpy', 'PIL', 'pydantic', 'rich', 'harness.api')))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
