"""YAML with every scalar as text, and bounded in size, also where aliases multiply it.

YAML's own types would turn class names into something else: ``no`` into false, ``1:30`` into 90,
``2.10`` into 2.1. Aliases repeat what they stand for, so that a few lines can mean billions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.core.errors import IntegrityError
from harness.core.printable import shown
from harness.data.fields import whole_number_of
from harness.data.text_files import read_text

#: Bounds of a description of a data set: characters, values with aliases written out, nesting.
MOST_CHARACTERS = 2 << 20
MOST_VALUES = 200_000
DEEPEST = 50

#: How YAML writes nothing.
NOTHING = ("", "~", "null", "Null", "NULL")


def read_yaml(path: Path, *, encoding: str | None = None) -> Any:
    """The content of a YAML file: dicts, lists and text; None for nothing.

    Raises:
        IntegrityError: It is no YAML, larger than the bounds of this module, or has a key twice.
        UsageError: It cannot be read.
    """
    text = read_text(path, encoding=encoding)
    if len(text) > MOST_CHARACTERS:
        raise IntegrityError(
            f"{path} has {len(text):,} characters; a description of a data set has at most "
            f"{MOST_CHARACTERS:,}"
        )
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        raise IntegrityError(
            f"{path} is not YAML that can be read: it is nested too deeply"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise IntegrityError(f"{path} is not YAML: {_first_line(error)}") from None
    return None if node is None else _Plain(path).of(node, 0)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


class _Plain:
    """Plain values of the nodes of one file, counted on the way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def of(self, node: yaml.Node, depth: int) -> Any:
        """The value of a node.

        Args:
            node: Node of the file's tree.
            depth: Depth of the node, from 0.

        Raises:
            IntegrityError: The file is beyond the bounds.
        """
        self._count += 1
        if self._count > MOST_VALUES or depth > DEEPEST:
            raise IntegrityError(
                f"{self._path} stands for more than {MOST_VALUES:,} values, or nests deeper than "
                f"{DEEPEST}: its aliases (*name) repeat what they stand for",
                hint="write the names out as a plain list",
            )
        if isinstance(node, yaml.ScalarNode):
            is_nothing = node.style is None and node.value in NOTHING
            return None if is_nothing else str(node.value)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(one, depth + 1) for one in node.value]
        return self._mapping(node, depth)

    def _mapping(self, node: yaml.Node, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, value = self.of(key_node, depth + 1), self.of(value_node, depth + 1)
            if not isinstance(key, str):
                raise IntegrityError(f"{self._path} has a key that is not text: {shown(key)}")
            if key == "<<" and isinstance(value, dict):
                found = {**value, **found}
            elif key in found:
                raise IntegrityError(f"{self._path} has the key {shown(key)} twice")
            else:
                found[key] = value
        return found


def names_in(names: Any, source: Path) -> list[str]:
    """Class names in the order of their numbers, of a list or of a table by number.

    Raises:
        IntegrityError: Numbers leave gaps, or a name is not text.
    """
    if names is None:
        return []
    if isinstance(names, dict):
        try:
            numbered = {whole_number_of(key): name for key, name in names.items()}
        except ValueError as error:
            raise IntegrityError(f"{source}: a class has no number: {error}") from None
        if sorted(numbered) != list(range(len(names))):
            raise IntegrityError(
                f"{source}: the numbers of names leave gaps: {sorted(numbered)[:20]}"
            )
        names = [numbered[number] for number in sorted(numbered)]
    if isinstance(names, str):
        names = [names]
    # "- null" and "- ~" are names that look like nothing.
    found = ["null" if name is None else name for name in names]
    if not all(isinstance(name, str) for name in found):
        raise IntegrityError(f"{source}: a class name is not text: {shown(found)}")
    return found
