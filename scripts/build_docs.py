"""Collect the pages of the reference site, generate the command line's, and build the site.

Run by ``make docs``. The pages keep their places in the repository, so that a link that works in a
checkout works on the site; what a page links to is copied along. Any warning ends the build.
"""

from __future__ import annotations

import argparse
import html
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = REPOSITORY / "build" / "docs" / "pages"
PAGE_FOLDERS = (".", "docs", "docs/decisions", "slurm", "datasets", "results", "benchmarks")
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")

#: Modules with the functions of the Python API, in the order of the page.
API_MODULES = (
    "harness.api.measuring",
    "harness.api.training",
    "harness.api.listing",
    "harness.api.models",
    "harness.api.pictures",
)

#: What they return, take and raise.
API_TYPES = (
    "harness.core.results.RunResult",
    "harness.core.record",
    "harness.workflows.model.Model",
    "harness.workflows.model.ModelInfo",
    "harness.core.detections",
    "harness.core.dataset",
    "harness.core.progress.Progress",
    "harness.core.errors",
)


def main() -> int:
    """Build the site and return the exit code of the site generator."""
    shutil.rmtree(PAGES.parent, ignore_errors=True)
    for page in pages():
        copy(page)
        for linked in links(page):
            copy(linked)
    write("docs/reference/command-line.md", command_line_page())
    write("docs/reference/python-api.md", api_page())
    # Material prints an advertisement of MkDocs 2 unless this is set.
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=REPOSITORY, env=quiet).returncode


def pages() -> list[Path]:
    """Return all hand-written pages."""
    return sorted(path for folder in PAGE_FOLDERS for path in (REPOSITORY / folder).glob("*.md"))


def links(page: Path) -> Iterator[Path]:
    """Yield the files of the repository that a page links to."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve()
        if path.is_file() and path.is_relative_to(REPOSITORY):
            yield path


def copy(path: Path) -> None:
    """Copy a file of the repository to its place among the pages."""
    target = PAGES / path.relative_to(REPOSITORY)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def write(name: str, text: str) -> None:
    """Write a generated page."""
    path = PAGES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def api_page() -> str:
    """Return the page of the Python API: directives that mkdocstrings fills in, and settings."""
    parts = ["# Python API\n"]
    for name in API_MODULES:
        parts.append(f"## {name.rpartition('.')[2]}\n\n{importlib.import_module(name).__doc__}\n")
        parts += [block for function in functions(name) for block in described(name, function)]
    parts.append("## Types\n")
    parts += [directive(name) for name in API_TYPES]
    return "\n".join(parts)


def functions(module: str) -> list[str]:
    """Return the names of the public functions of a module, in the order of its source."""
    found = vars(importlib.import_module(module)).items()
    return [
        name
        for name, one in found
        if inspect.isfunction(one) and one.__module__ == module and not name.startswith("_")
    ]


def described(module: str, function: str) -> Iterator[str]:
    """Yield a function of the API, and the table of its settings."""
    from write_configuration import table

    from harness.core.requests.signatures import NOT_TAKEN, REQUESTS
    from harness.core.settings import flat_settings

    yield directive(f"{module}.{function}")
    if function in REQUESTS:
        without = NOT_TAKEN.get(function, ())
        taken = (one for one in flat_settings(REQUESTS[function]) if one.name not in without)
        yield "\n".join(["Settings:\n", *table(taken)]) + "\n"


def directive(name: str) -> str:
    """Return what mkdocstrings replaces by the documentation of a name."""
    return f"::: {name}\n    options:\n      heading_level: 3\n      show_root_full_path: false\n"


def command_line_page() -> str:
    """Return the page of all commands and their options, from the command line's own parsers."""
    from harness.cli.main import COMMANDS, parser_for

    parts = ["# Command line\n"]
    for name in COMMANDS:
        parser = nested(parser_for([name]))[name]
        parts.extend(sections(f"harness {name}", parser, level=2))
    return "\n".join(parts)


def sections(title: str, parser: argparse.ArgumentParser, *, level: int) -> Iterator[str]:
    """Yield the Markdown of a command, and of the commands in it."""
    yield f"{'#' * level} {title}\n"
    if parser.description:
        yield f"{text(parser.description)}\n"
    for group in parser._action_groups:
        rows = [row(parser, action) for action in group._group_actions if shown(action)]
        if rows:
            yield (
                f"| {text(group.title or 'options')} | |\n| --- | --- |\n" + "\n".join(rows) + "\n"
            )
    for name, inner in nested(parser).items():
        yield from sections(f"{title} {name}", inner, level=level + 1)


def shown(action: argparse.Action) -> bool:
    """Return whether an option belongs on the page."""
    unwanted = (argparse._HelpAction, argparse._SubParsersAction)
    return action.help is not argparse.SUPPRESS and not isinstance(action, unwanted)


def row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return the table row of an option, with its help as the command line prints it."""
    formatter = parser._get_formatter()
    value = formatter._format_args(action, action.dest.upper())
    words = [", ".join(action.option_strings), value] if action.option_strings else [value]
    meaning = formatter._expand_help(action) if action.help else ""
    return f"| `{' '.join(filter(None, words))}` | {text(meaning)} |".replace(str(Path.home()), "~")


def text(words: str) -> str:
    """Return words as text in a table cell: nothing in them is markup."""
    plain = html.escape(" ".join(words.split()), quote=False)
    return re.sub(r"([|*_`\[\]\\])", r"\\\1", plain)


def nested(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands of a parser by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


if __name__ == "__main__":
    sys.exit(main())
