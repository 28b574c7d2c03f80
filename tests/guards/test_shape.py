"""Size, names and manners of the source: what review would otherwise have to repeat."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.guards.conftest import nodes_of

FILE_LINES = 500
FUNCTION_LINES = 50

#: Arguments that a call may give without their names.
POSITIONAL = 5

#: Arithmetic on tensors, with the signatures of the operators that it stands for.
OPERATORS = ("nn/", "engines/parity/")

#: Words that say nothing about what a thing is.
EMPTY_WORDS = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "handler"}
EMPTY_STARTS = ("base_", "do_", "process_")

CONSOLE = "cli/console.py"
DOOR = "__main__.py"


def test_files_are_short(repository: Path, package: dict[str, ast.Module]) -> None:
    wrong = [
        f"harness/{path}: {count} lines, at most {FILE_LINES}"
        for path in package
        if (count := len((repository / "harness" / path).read_text("utf-8").splitlines()))
        > FILE_LINES
    ]
    assert not wrong, "\n".join(wrong)


def test_functions_are_short(package: dict[str, ast.Module]) -> None:
    wrong = [
        f"harness/{path}:{node.lineno} {node.name}: {count} lines, at most {FUNCTION_LINES}"
        for path, node in definitions(package)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (count := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]
    assert not wrong, "\n".join(wrong)


def test_a_call_names_what_its_many_arguments_are(package: dict[str, ast.Module]) -> None:
    wrong = [
        f"harness/{path}:{node.lineno} {node.name}: {count} arguments by position, at most "
        f"{POSITIONAL}: put a * before those that a reader of the call would mistake"
        for path, node in definitions(package)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not path.startswith(OPERATORS)
        and (count := positional_count(node)) > POSITIONAL
    ]
    assert not wrong, "\n".join(wrong)


def positional_count(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many arguments of a function may be given by position, without ``self`` and ``cls``."""
    given = (*node.args.posonlyargs, *node.args.args)
    return sum(one.arg not in ("self", "cls") for one in given)


def test_names_say_something(repository: Path, package: dict[str, ast.Module]) -> None:
    names = [(f"harness/{path}:{node.lineno}", node.name) for path, node in definitions(package)]
    for folder in ("harness", "tests", "benchmarks", "scripts"):
        found = (repository / folder).rglob("*.*")
        names += [(path.relative_to(repository).as_posix(), path.stem) for path in found]
    wrong = [f"{where} {name}" for where, name in names if is_empty(name)]
    assert not wrong, "\n".join(wrong)


def test_only_the_console_prints(package: dict[str, ast.Module]) -> None:
    wrong = [
        f"harness/{path}:{call.lineno} calls print"
        for path, call, name in calls(package)
        if name == "print" and path != CONSOLE
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_door_exits(package: dict[str, ast.Module]) -> None:
    wrong = [
        f"harness/{path}:{call.lineno} calls {name}"
        for path, call, name in calls(package)
        if name in ("sys.exit", "os._exit", "exit", "quit", "SystemExit") and path != DOOR
    ]
    assert not wrong, "\n".join(wrong)


def is_empty(name: str) -> bool:
    """True for a name built on one of the empty words, in snake or camel case."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")
    return snake.startswith(EMPTY_STARTS) or bool(EMPTY_WORDS & set(snake.split("_")))


def definitions(
    package: dict[str, ast.Module],
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    for path, tree in package.items():
        for node in nodes_of(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield path, node


def calls(package: dict[str, ast.Module]) -> Iterator[tuple[str, ast.Call, str]]:
    for path, tree in package.items():
        for node in nodes_of(tree):
            if isinstance(node, ast.Call):
                yield path, node, dotted(node.func)


def dotted(called: ast.expr) -> str:
    """A name, with those before its dots; what is no name is empty."""
    if isinstance(called, ast.Name):
        return called.id
    return f"{dotted(called.value)}.{called.attr}" if isinstance(called, ast.Attribute) else ""


def test_images_are_opened_as_what_they_may_be(package: dict[str, ast.Module]) -> None:
    """Pillow alone would start a program for some files: `data.image_files` has the formats."""
    careless = [
        f"{path}:{call.lineno}"
        for path, call, name in calls(package)
        if name in ("Image.open", "PillowImage.open", "PIL.Image.open")
        and "formats" not in {one.arg for one in call.keywords}
    ]
    assert not careless
