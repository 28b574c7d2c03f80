"""`harness completion`: what a shell offers, asked of a real bash."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli.completion import script
from harness.cli.main import build_parser

MODELS = ["tiny", "R_50_FPN_3x"]
PATIENCE_S = 20.0

OFFERED = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_harness harness "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def of_shell(shell: str) -> str:
    return script(build_parser(lambda _: True), shell, MODELS)


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    path = tmp_path_factory.mktemp("completion") / "harness.bash"
    path.write_text(of_shell("bash"), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ev"], {"eval"}),
        (["eval", "--me"], {"--memory-format"}),
        (["eval", "--model", "t"], {"tiny"}),
        (["eval", "--precision", "fp"], {"fp32", "fp16"}),
        (["sweep", "--precisions", "b"], {"bf16"}),
        (["download", "--only", "ann"], {"annotations"}),
        (["data", "convert", "--from", "v"], {"voc"}),
        (["submit", "eval", "--sh"], {"--shards", "--short-edge"}),
        (["help", "sw"], {"sweep"}),
        (["eval", "--weights", "model"], {""}),  # left to readline, which knows files
    ],
)
def test_bash_offers(bash: Path, words: list[str], offered: set[str]) -> None:
    asked = ["bash", "--norc", "-c", OFFERED, "bash", str(bash), "harness", *words]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert set(found.stdout.removesuffix("\n").split("\n")) == offered


@pytest.fixture
def terminal(bash: Path, tmp_path: Path) -> Iterator[int]:
    """A bash at a terminal, in a folder with one file, with the script read."""
    (tmp_path / "my weights.pkl").touch()
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve(
            shutil.which("bash") or "bash",
            ["bash", "--norc", "--noprofile", "-i"],
            {"PATH": os.environ["PATH"], "PS1": "$ ", "TERM": "dumb", "HISTFILE": ""},
        )
    os.write(terminal, f"source '{bash}'\n".encode())
    yield terminal
    os.close(terminal)  # its SIGHUP ends the shell
    os.waitpid(child, 0)


def test_bash_completes_the_names_of_files(terminal: int) -> None:
    os.write(terminal, b"harness eval --weights my\t")
    shown, end = b"", time.monotonic() + PATIENCE_S
    while rb"my\ weights.pkl " not in shown:
        assert time.monotonic() < end, shown
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536)


def test_zsh_and_fish_complete_files_and_models() -> None:
    zsh, fish = of_shell("zsh").splitlines(), of_shell("fish")
    assert any(line.strip().endswith(':WEIGHTS:_files"') for line in zsh)
    assert any(line.strip().endswith(':MODEL:(tiny R_50_FPN_3x)"') for line in zsh)
    assert '-l model -xka "tiny R_50_FPN_3x"' in fish
    assert '-l weights -xka "(__fish_complete_path' in fish
