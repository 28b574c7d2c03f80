"""Plain technical English: phrases that say less than their usual words, in documents and code."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guards.test_documents import documents

#: Pattern → what to say. CONTRIBUTING.md, "Words", has the concepts.
INSTEAD = {
    r"\b(lies|lie|lay) (in|at|there|where|beside|under|around|between|outside)\b": "is in",
    r"\b(nobody|anybody)\b": "no user, no process, not measured",
    r"\btold\b": "reported, printed, given",
    r"\bby heart\b": "built in",
    r"\b(deal(s|t|ing)?|dealt) out\b": "split, distribute",
    r"\bcannot be meant\b": "invalid",
    r"\bstraight lines?\b": "workflow",
    r"\bwithout a word\b": "without reporting an error",
    r"\bfor ever\b": "always, without end",
    r"\bput(s|ting)? .{0,20}\bright\b": "correct",
    r"\banew\b": "again",
    r"\bgoes on\b": "continues",
    r"\bphotographs?\b": "image",
    r"\bof ours\b": "name it",
    r"\bvanish(es|ed)?\b": "is lost",
    r"\b(?!https?\b)[a-z]{2,}\(s\)": "harness.core.printable.counted",
}

#: Tokens that have words; from Python 3.12 on an f-string is several.
TEXTS = (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1))


def faults(text: str) -> Iterator[str]:
    """Each banned phrase in a text, with what to say instead."""
    for pattern, instead in INSTEAD.items():
        for match in re.finditer(pattern, text, re.IGNORECASE):
            yield f"{match[0]!r}; say: {instead}"


def test_documents_are_plain(repository: Path) -> None:
    wrong = [
        f"{path.relative_to(repository)}:{number}: {fault}"
        for path in documents(repository)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for fault in faults(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_code_is_plain(repository: Path, package: dict[str, ast.Module]) -> None:
    wrong = []
    for path in package:
        source = repository / "harness" / path
        if not any(faults(source.read_text(encoding="utf-8"))):
            continue  # as almost always: what the whole text does not have no part of it has
        with source.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type in TEXTS:
                    where = f"harness/{path}:{token.start[0]}"
                    wrong += [f"{where}: {fault}" for fault in faults(token.string)]
    assert not wrong, "\n".join(wrong)


#: Names of variables and functions that say nothing of what they hold.
NAMES = re.compile(r"_?(told|telling|dealt|deal|goodness|patience|plates)")


def test_names_are_plain(package: dict[str, ast.Module]) -> None:
    wrong = []
    for path, tree in package.items():
        for node in ast.walk(tree):
            name = getattr(node, "id", None) or getattr(node, "arg", None)
            name = name or getattr(node, "attr", None) or getattr(node, "name", None)
            if isinstance(name, str) and NAMES.fullmatch(name):
                wrong.append(f"harness/{path}:{getattr(node, 'lineno', 0)}: {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "is_wrong"),
    [("The file lies in results.", True), ("an image on its side", False), ("Nobody did.", True)],
)
def test_the_guard_sees_what_it_is_for(text: str, is_wrong: bool) -> None:
    assert bool(list(faults(text))) == is_wrong
