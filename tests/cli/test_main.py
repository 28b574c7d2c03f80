"""The command line's contract: exit codes, guesses, and nobody left to tell."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import __version__
from harness.__main__ import SPIN_COUNT, share_cores
from harness.cli import data, submit, weights
from harness.cli.main import COMMANDS, _nested, parser_for, run
from harness.core.errors import UsageError
from harness.files.layout import LOCK_NAME, find_lock
from harness.workflows.comparison.images import write_page


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["evla"], "unknown command 'evla'; did you mean eval?"),
        (["frobnicate"], "unknown command 'frobnicate'\n"),
        (["eval", "--modle", "tiny"], "does not know '--modle'; did you mean --model?"),
        (["eval", "--batchsize=2"], "does not know '--batchsize=2'; did you mean --batch-size?"),
        (["bench", "--limt", "3"], "does not know '--limt'; did you mean --limit?"),
        (["eval", "--qqqqqqq"], "does not know '--qqqqqqq'\n"),
        (["eval", "leftover"], "does not know 'leftover'"),
        (
            ["data", "split", "a.json", "--fraction", "0.5,0.5"],
            "harness data split does not know '--fraction'; did you mean --fractions?\n"
            "  see: harness data split --help",
        ),
        # Another action has --same-names.
        (["data", "split", "a.json", "--same-name"], "'--same-name'; did you mean --names?"),
    ],
)
def test_unknown_words_are_refused_with_a_guess(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert "--help" in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["--model=tiny", "eval"], "eval --model"),
        (["--json", "models"], "models --json"),
        (["weights", "--model=tiny", "check", "x"], "weights check --model"),
        (["weights", "--model", "check", "x"], "weights check --model"),
        (["submit", "--limit=2", "eval"], "submit eval --limit"),
    ],
)
def test_an_option_is_never_the_guess_for_itself(
    argv: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv) == 2
    err = capsys.readouterr().err
    assert "did you mean" not in err
    assert (
        f"in front of the command that it belongs to\n  give it after the name: harness {name}"
        in err
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["eval", "--limit", "many"], "--limit: invalid int value: 'many'"),
        (["eval", "--engine", "natve"], "invalid choice: 'natve'"),
        (["eval", "--limi", "3", "--model"], "--model: expected one argument"),
        (["submit"], "required: work"),
        (["submit", "evla"], "invalid choice: 'evla'"),
        (["--frobnicate"], "required: command"),
    ],
)
def test_values_argparse_refuses_are_one_message(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv) == 2
    output = capsys.readouterr()
    assert output.err.startswith("error: harness")
    assert said in output.err
    assert output.err.count("\n") == 2, "one line that says it, one that says where to read on"
    assert output.out == ""


@pytest.mark.parametrize(
    ("option", "value"),
    [("--html", "page.html"), ("--resamples", "7"), ("--annotations", "a"), ("--threshold", "0.7")],
)
@pytest.mark.parametrize("several", [["c"], ["--plot", "plot.png"]])
def test_several_runs_are_not_compared_like_two(
    option: str, value: str, several: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "a", "b", *several, option, value]) == 2
    assert f"{option} belongs to a comparison of two runs" in capsys.readouterr().err


def test_options_are_never_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    """An option added later would change what the abbreviation means."""
    assert run(["eval", "--limi", "3"]) == 2
    assert "did you mean --limit?" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_help_lists_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(argv)
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_help_has_the_real_place_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_ROOT", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        run(["eval", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert f"run folder (default: {tmp_path}/results/runs/<run id>)" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"harness {__version__}\n"


def test_a_working_folder_that_was_removed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(["models", "tiny"]) == 2
    assert "the working folder does not exist any more" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)


LONG = "x" * 5000
DATA = ("--train-annotations", "a.json", "--train-images", "a", "--val-annotations", "a.json")


@pytest.mark.parametrize(
    "argv",
    [
        ("train", *DATA, "--val-images", LONG),
        ("eval", "--annotations", LONG, "--images", "a"),
        ("eval", "--annotations", "a.json", "--images", LONG),
        ("eval", "--weights", LONG),
        ("eval", "--output", LONG),
        ("score", LONG),
        ("score", "--predictions", LONG, "--annotations", "a.json"),
        ("diagnose", "--predictions", "a.json", "--annotations", LONG),
        ("analyze", LONG),
        ("report", LONG),
        ("compare", LONG, LONG),
        ("show", LONG),
        ("predict", LONG),
        ("weights", "check", LONG),
        ("data", "check", LONG, "--images", LONG),
        ("status", LONG),
        ("logs", LONG),
    ],
    ids=lambda argv: " ".join(word[:20] for word in argv if word not in DATA),
)
def test_a_path_that_the_system_takes_from_nothing_is_an_error_of_its_user(
    argv: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(find_lock(), tmp_path / LOCK_NAME)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert run(argv) in (2, 4)
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "xxxxx" in said
    assert "Traceback" not in said


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "harness", "models", "--json"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 0


def test_compute_threads_sleep_unless_the_user_says_otherwise() -> None:
    unset: dict[str, str] = {}
    share_cores(unset)
    assert unset == {"GOMP_SPINCOUNT": SPIN_COUNT}
    for own in ({"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}):
        kept = dict(own)
        share_cores(kept)
        assert kept == own


def test_a_compiled_module_that_a_full_disk_cut_off(tmp_path: Path) -> None:
    """Python before 3.12.8 leaves it in place; newer ones write it whole or not at all."""
    package = tmp_path / "harness"
    shutil.copytree(Path(__file__).parents[2] / "harness", package)
    shutil.copy(find_lock(), tmp_path / LOCK_NAME)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "harness", "models"]
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=tmp_path)
    (compiled,) = (package / "cli" / "__pycache__").glob("models.*.pyc")
    compiled.write_bytes(compiled.read_bytes()[:500])
    again = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert again.returncode == 3
    assert f"{compiled} is damaged" in again.stderr
    assert "-delete" in again.stderr
    assert "Traceback" not in again.stderr


AGE = """
from pathlib import Path
import harness.__main__ as program
program.LONGEST_READING_S = 0.0
print(program.age_of_process_s(), *Path("/proc/self/schedstat").read_text().split()[:2])
"""


def test_what_a_shell_waited_for_before_is_no_part_of_the_start() -> None:
    """A shell hands its process over to the last program of a script, and with it its age."""
    done = subprocess.run(
        ["sh", "-c", 'sleep 1; exec "$1" -c "$2"', "sh", sys.executable, AGE],
        capture_output=True,
        text=True,
        check=True,
    )
    age_s, on_core_ns, ready_ns = map(float, done.stdout.split())
    assert 0 < age_s <= (on_core_ns + ready_ns) / 1e9


ALL_COMMANDS = [
    *([name] for name in COMMANDS if name not in ("data", "weights", "submit", "selftest", "help")),
    *(["data", name] for name in data.ACTIONS),
    *(["weights", name] for name in weights.ACTIONS),
    *(["submit", name] for name in submit.WORK),
    ["selftest", "shards"],
]


@pytest.mark.parametrize("words", ALL_COMMANDS, ids=" ".join)
def test_each_help_says_what_the_command_does_in_80_columns(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        run([*words, "--help"])
    usage, says, *_ = capsys.readouterr().out.split("\n\n")
    assert usage.startswith(f"usage: harness {' '.join(words)}")
    assert says[0].islower() or says.startswith("AP "), says
    assert ":\n" not in says, "the first section follows at once"


@pytest.mark.parametrize("no_color", ["", "1"])
@pytest.mark.parametrize("words", ALL_COMMANDS, ids=" ".join)
def test_a_usage_line_has_brackets_around_what_may_be_left_out_and_nothing_else(
    words: list[str],
    no_color: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", no_color)
    with pytest.raises(SystemExit):
        run([*words, "--help"])
    usage = " ".join(capsys.readouterr().out.split("\n\n")[0].split())
    parser: argparse.ArgumentParser = parser_for(words)
    for part in words:
        parser = _nested(parser)[part]
    for one in parser.get_default("settings") or ():
        word = "{" + ",".join(one.choices) + "}" if one.choices else one.name
        name = (one.metavar or word) if one.positional else one.flag
        bare = re.search(rf"(?<![\w\[-]){re.escape(name)}(?![\w-])", usage)
        if one.required:
            assert bare, (usage, name)
            assert not re.search(rf"\[{re.escape(name)}\]", usage)
        elif one.positional:
            assert re.search(rf"\[{re.escape(name)}[ \]]", usage), (usage, name)
        elif not (one.item is bool and not one.many):
            assert f"[{name}" in usage or any(f"[{other}" in usage for other in one.aliases), usage


@pytest.mark.parametrize(
    "argv",
    [
        ["compare", "first", "second", "--html="],
        ["eval", "--output="],
        ["eval", "--annotations=", "--images="],
        ["data", "check", ""],
        ["data", "subset", "in.json", "--output="],
        ["weights", "seeded", "--model", "tiny", "--output="],
        ["nightly", "--results="],
    ],
)
def test_an_empty_word_is_not_the_working_folder(
    argv: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(argv) == 2
    assert "must name a file or folder, got an empty text" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("page", [".", "..", "/"])
def test_a_page_that_can_only_be_a_folder_is_refused(page: str) -> None:
    with pytest.raises(UsageError, match="is a folder, not a file"):
        write_page(None, Path(), Path(), Path(page), threshold=0.5, progress=None)  # type: ignore[arg-type]
