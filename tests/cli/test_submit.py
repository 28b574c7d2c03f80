"""``harness submit`` and those that ask later, as far as they go without SLURM."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.main import run


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    profile = tmp_path / "cluster.toml"
    profile.write_text('partition = "gpu"\n', encoding="utf-8")
    return ["submit", "eval", "--engine", "fake", "--cluster", str(profile)]


def test_a_dry_run_needs_no_cluster_and_leaves_nothing(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    output = tmp_path / "run"
    assert run([*words, "--dry-run", "--shards", "5", "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert said.count("#!/bin/bash") == 2
    assert "#SBATCH --array=0-4%5\n" in said
    assert "#SBATCH --dependency=afterany:ARRAY_ID\n" in said
    assert f"#SBATCH --output={output}/jobs/" in said
    assert not output.exists()


def test_without_slurm_it_is_a_missing_prerequisite(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run([*words, "--output", str(tmp_path / "run")]) == 3
    assert "this machine has no sbatch" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_typo_in_the_profile(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cluster.toml").write_text("partion = 'gpu'\n", encoding="utf-8")
    assert run([*words, "--dry-run"]) == 2
    assert "unknown fields: partion (did you mean partition?)" in capsys.readouterr().err


def test_a_dry_run_finds_a_folder_that_the_nodes_cannot_see(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = tmp_path / "project"
    (tmp_path / "cluster.toml").write_text(f'shared = ["{shared}"]\n', encoding="utf-8")
    assert run([*words, "--dry-run", "--output", str(shared / "run")]) == 0
    assert run([*words, "--dry-run", "--output", str(tmp_path / "run")]) == 2
    assert f"the nodes cannot see {tmp_path / 'run'}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "logs", "cancel", "wait"])
def test_a_run_that_was_not_submitted(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, str(tmp_path)]) == 2
    assert f"{tmp_path} was not submitted to SLURM" in capsys.readouterr().err
