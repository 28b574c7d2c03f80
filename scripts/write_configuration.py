"""Writes docs/configuration.md: the settings of every command, from their definitions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.cli.main import build_parser
from harness.core.settings import Setting, bounds_text

HEAD = """# Configuration

Every setting is an option of a command, a key of a configuration file, and a keyword of the Python
API, with the same default. `make configuration` writes this page from the definitions.

```bash
harness eval --config my-run.toml --limit 100
```

takes the settings of the file; options win over it. A file has the keys of the tables below, at the
top level:

```toml
command = "eval"
model = "R_50_FPN_3x"
annotations = "data/instances.json"
images = "data/images"
```

- An unknown key is an error that names the nearest known one. So is a value that is not allowed.
- A relative path is relative to the folder of the file, whatever the working folder is.
- `command` may be left out. Where it is given, another command refuses the file; `harness submit
  eval` also takes that of `harness eval`.
- What is not in the file has its default. TOML has no null, and none is needed.
- A switch that a file turns on is turned off by its option with `--no-`, such as `--no-compile`.

Every run leaves a `config.toml` in its folder, with all its settings but those that name only this
run (`output`, `resume`); so do the folders of a scoring, of drawings, and of a night, which has a
copy of its matrix. It repeats the run:

```bash
harness eval --config results/runs/RUN_ID/config.toml
```

A table `sha256` in it has the hash of the weights that it names. Where that file has other contents
now, as the last weights of a training that went on, the run is refused (exit code 4), unless one of
the two files of weights that a training keeps is what it was; `--weights FILE` takes it as it is.
Data are not fixed like that: the record of a run has the hash of its annotation file.

Every command also has `--config`, `--quiet` and `--verbose`; those that answer with a table have
`--json` and `--format` (`rich`, `markdown`, `plain`). The tables below leave these out.
"""

#: What the text above says for all commands.
SAID = {"config", "quiet", "verbose", "json", "format"}


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for name, parser in commands(build_parser(lambda _: True)):
        settings: tuple[Setting, ...] = parser.get_default("settings") or ()
        if settings:
            parts.append(f"## harness {name}\n\n" + "\n".join(table(settings)) + "\n")
    return "\n".join(parts)


def commands(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command and sub-command that has options of its own."""
    nested = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not nested:
        yield name.strip(), parser
    for action in nested:
        for word, inner in action.choices.items():
            yield from commands(inner, f"{name} {word}")


def table(settings: Iterable[Setting]) -> Iterator[str]:
    """Yield the lines of a Markdown table, a row a setting."""
    yield "| key | option | value | default | |"
    yield "| --- | --- | --- | --- | --- |"
    for one in (each for each in settings if each.name not in SAID):
        option = (one.metavar or one.name).upper() if one.positional else one.flag
        default = "(needed)" if one.required else one.default_text or "off"
        cells = (f"`{one.name}`", f"`{option}`", value(one), default, one.help)
        yield "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


def value(one: Setting) -> str:
    """Return what a setting may be."""
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
    words = ", ".join(f"`{word}`" for word in one.choices)
    text = words or names[one.item]
    limits = bounds_text(one)
    if limits != "a finite number":
        text += f", {limits}"
    if one.unit is not None:
        text += f", in {one.unit}"
    return f"list: {text}" if one.many else text


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
