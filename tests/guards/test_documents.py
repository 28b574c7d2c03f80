"""What the documents say exists: links, commands, make targets, modules, the version."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

import harness
from harness.cli.main import COMMANDS, build_parser
from harness.core.model import GROUPS

SHELL_BLOCK = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE_COMMAND = re.compile(r"(?<!`)`((?:harness|make|bash) [^`\n]+)`(?!`)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def documents(repository: Path) -> list[Path]:
    folders = (".", "docs", "docs/decisions", "results", "slurm", "datasets", "benchmarks")
    return sorted(path for folder in folders for path in (repository / folder).glob("*.md"))


def blocks(repository: Path) -> Iterator[tuple[str, list[str]]]:
    """Where, and the words of every command line in a shell block, without prompt and comments."""
    for path in documents(repository):
        for block in SHELL_BLOCK.findall(path.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words:
                    yield f"{path.name}: {line.strip()}", words


def test_links_lead_somewhere(repository: Path) -> None:
    wrong = [
        f"{path.relative_to(repository)}: {target}"
        for path in documents(repository)
        for target in LINK.findall(path.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:|#", target)
        and not (path.parent / target.partition("#")[0]).exists()
    ]
    assert not wrong, "\n".join(wrong)


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one).lower() for one in headings]
    return {re.sub(r"[^\w\- ]", "", one).strip().replace(" ", "-") for one in plain}


def test_links_lead_to_headings_that_exist(repository: Path) -> None:
    wrong = []
    for path in documents(repository):
        for target in LINK.findall(path.read_text(encoding="utf-8")):
            file, _, anchor = target.partition("#")
            page = path.parent / file if file else path
            if not anchor or re.match(r"[a-z]+:", target) or page.suffix != ".md":
                continue
            if anchor not in anchors(page.read_text(encoding="utf-8")):
                wrong.append(f"{path.relative_to(repository)}: {target}")
    assert not wrong, "\n".join(wrong)


def test_command_lines_parse(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [(where, words[1:]) for where, words in blocks(repository) if words[0] == "harness"]
    assert lines, "the README shows no command"
    wrong = [f"{where}\n    {fault}" for where, argv in lines if (fault := refusal(argv, capsys))]
    assert not wrong, "\n".join(wrong)


def test_every_group_of_downloads_is_explained(repository: Path) -> None:
    page = (repository / "datasets" / "README.md").read_text(encoding="utf-8")
    assert not [group for group in GROUPS if f"`{group}`" not in page]


def test_models_in_commands_are_in_the_lock(repository: Path) -> None:
    lock = json.loads((repository / "model_zoo.lock.json").read_text(encoding="utf-8"))
    known = {entry["name"] for entry in lock["models"]}
    text = "\n".join(path.read_text(encoding="utf-8") for path in documents(repository))
    assert set(re.findall(r"--model ([\w.-]+)", text)) <= known


def test_inline_commands_name_real_options(repository: Path) -> None:
    wrong = []
    for path in documents(repository):
        for text in INLINE_COMMAND.findall(path.read_text(encoding="utf-8")):
            program, first, *rest = re.sub(r"[\[\]|]", " ", text).split()
            if program == "harness":
                known = {first} & set(COMMANDS) or first.startswith("-")
                unknown = {word for word in rest if word.startswith("--")} - options([first, *rest])
                if not known or unknown:
                    wrong.append(f"{path.name}: {text}: unknown {sorted(unknown) or first}")
    assert not wrong, "\n".join(wrong)


def test_make_targets_and_scripts_exist(repository: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text("utf-8"), re.MULTILINE)
    wrong = [
        where
        for where, words in blocks(repository)
        if (words[0] == "make" and words[1] not in targets)
        or (words[0] == "bash" and not (repository / words[1]).is_file())
    ]
    assert not wrong, "\n".join(wrong)


def test_architecture_has_a_paragraph_for_every_package(
    repository: Path, package: dict[str, ast.Module]
) -> None:
    text = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\*\*`([a-z_]+)`\*\*", text, re.MULTILINE))
    assert described == {path.split("/")[0] for path in package if "/" in path}


def test_version_is_the_top_of_the_changelog(repository: Path) -> None:
    text = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    top = re.search(r"^## \[(\d+\.\d+\.\d+)\]", text, re.MULTILINE)
    assert top
    assert top[1] == harness.__version__


def test_the_changelog_lists_capabilities(repository: Path) -> None:
    lines = (repository / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200, (
        "CHANGELOG.md says what a version offers: put a sentence below its capability, and look "
        "whether a merge has brought removed lines back"
    )


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says against ``argv``; empty when it is accepted."""
    stops = [index for index, word in enumerate(argv) if word in ("|", "&&", ">", ";")]
    argv = argv[: stops[0]] if stops else argv
    try:
        whole_parser().parse_args(argv)
    except SystemExit as leaving:
        said = capsys.readouterr().err.strip().splitlines()
        return said[-1] if leaving.code else ""
    return ""


@cache
def whole_parser() -> argparse.ArgumentParser:
    """The parser with the options of every command."""
    return build_parser(COMMANDS.__contains__)


def options(words: Sequence[str]) -> set[str]:
    """Every option string that ``harness`` knows after these words, commands of commands too."""
    parser = whole_parser()
    found: set[str] = set()
    for word in words:
        nested = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
        if not nested or word not in nested[0].choices:
            break
        parser = nested[0].choices[word]
        found |= {text for action in parser._actions for text in action.option_strings}
    return found


def test_every_page_is_on_the_site(repository: Path) -> None:
    text = (repository / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"^ +- (\S+\.md)$", text, re.MULTILINE))
    pages = {path.relative_to(repository).as_posix() for path in documents(repository)}
    unlisted = {page for page in pages - listed if not page.startswith("docs/decisions/0")}
    assert not unlisted, "add to nav in mkdocs.yml"
    assert {page for page in listed - pages if not page.startswith("docs/reference/")} == set()


def test_every_decision_is_in_the_index(repository: Path) -> None:
    folder = repository / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in sorted(folder.glob("0*.md")) if path.name not in index] == []


def test_every_benchmark_says_what_it_measures(repository: Path) -> None:
    listed = (repository / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert not [
        one.name for one in (repository / "benchmarks").glob("*.py") if one.name not in listed
    ]


def test_the_citation_has_the_version(repository: Path) -> None:
    text = (repository / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {harness.__version__}\n" in text


def test_hosted_checks_run_the_same_script(repository: Path) -> None:
    text = (repository / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert ".ci/run" in text
    steps = set(re.findall(r"^\(?.*?make ([a-z-]+)", (repository / ".ci/run").read_text(), re.M))
    assert {"check", "test", "test-slow", "test-attack", "docs", "eval"} <= steps


def test_every_make_target_is_explained(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    page = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert not [one for one in targets.split() if f"`make {one}" not in page]
