"""Docstrings have Google's form: sections instead of prose, and one for each dataclass field."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.guards.conftest import nodes_of

#: A section ends where a line begins at the margin again.
SECTION = re.compile(
    r"^(Args|Returns|Yields|Raises|Attributes|Example|Examples|Note):\n(?:(?: +[^\n]*)?\n)*",
    re.MULTILINE,
)

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def documented(package: dict[str, ast.Module]) -> Iterator[tuple[str, Documented, str]]:
    """Where, the definition and its docstring, of every definition in the package."""
    for path, tree in package.items():
        for node in nodes_of(tree):
            if isinstance(node, Documented):
                yield f"harness/{path}:{node.lineno} {node.name}", node, text_of(node)


@cache
def text_of(node: Documented) -> str:
    return (ast.get_docstring(node) or "") + "\n"


def test_arguments_and_errors_are_in_sections(package: dict[str, ast.Module]) -> None:
    wrong = []
    for where, node, text in documented(package):
        prose = SECTION.sub("", text)
        if re.search(r"\bRaises \w*(Error|Interrupted)\b", prose):
            wrong.append(f"{where}: needs a section Raises:")
        if not isinstance(node, ast.ClassDef):
            found = [name for name in arguments(node) if is_explained(name, prose)]
            wrong += [f"{where}: {name} belongs into a section Args:" for name in found]
    assert not wrong, "\n".join(wrong)


def test_sections_name_what_there_is(package: dict[str, ast.Module]) -> None:
    wrong = []
    for where, node, text in documented(package):
        section = re.search(r"^Args:\n((?:(?: +[^\n]*)?\n)*)", text, re.MULTILINE)
        if section and not isinstance(node, ast.ClassDef):
            named = re.findall(r"^ {4}\*{0,2}(\w+): ", section[1], re.MULTILINE)
            unknown = [name for name in named if name not in arguments(node)]
            wrong += [f"{where}: there is no argument {name}" for name in unknown]
    assert not wrong, "\n".join(wrong)


def test_every_field_of_a_dataclass_has_a_docstring(package: dict[str, ast.Module]) -> None:
    wrong = []
    for where, node, text in documented(package):
        if isinstance(node, ast.ClassDef) and is_dataclass(node):
            bare = list(undocumented(node))
            wrong += [f"{where}.{name}: no docstring under it" for name in bare]
            prose = [name for name in fields(node) if is_explained(name, text)]
            wrong += [f"{where}: {name} belongs under the field" for name in prose]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('def f(a):\n    """Do.\n\n    a: how often. b: not.\n    """\n', "section Args"),
        ('def f(a):\n    """Do. Raises UsageError when it is late."""\n', "section Raises"),
        ('@dataclass\nclass F:\n    """A thing."""\n    a: int\n', None),
    ],
)
def test_the_guard_sees_what_it_is_for(source: str, fault: str | None) -> None:
    tree = {"new/module.py": ast.parse(source)}
    if fault is None:
        with pytest.raises(AssertionError, match="no docstring under it"):
            test_every_field_of_a_dataclass_has_a_docstring(tree)
    else:
        with pytest.raises(AssertionError, match=fault):
            test_arguments_and_errors_are_in_sections(tree)


def is_explained(name: str, text: str) -> bool:
    """Whether a text says of a name what it is."""
    # Most texts do not have the name at all, and compiling a pattern for each takes seconds.
    return f"{name}: " in text and re.search(rf"\b{name}: [^:]", text) is not None


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of all arguments, without the ones that need no word."""
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    every += [one for one in (given.vararg, given.kwarg) if one is not None]
    return [one.arg for one in every if one.arg not in ("self", "cls")]


def is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(one) for one in node.decorator_list)


def fields(node: ast.ClassDef) -> list[str]:
    return [
        one.target.id
        for one in node.body
        if isinstance(one, ast.AnnAssign)
        and isinstance(one.target, ast.Name)
        and "ClassVar" not in ast.unparse(one.annotation)
    ]


def undocumented(node: ast.ClassDef) -> Iterator[str]:
    """Fields without a string under them; a setting has its help instead."""
    for one, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(one, ast.AnnAssign) or ast.unparse(one.target) not in fields(node):
            continue
        if one.value is not None and re.match(r"(setting|part)\(", ast.unparse(one.value)):
            continue
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if not (is_text and isinstance(after.value.value, str)):
            yield ast.unparse(one.target)
