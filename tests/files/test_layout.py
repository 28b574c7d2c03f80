"""Which folders are used when no option names one."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from harness.core.errors import UsageError
from harness.files import layout
from harness.files.layout import (
    LOCK_NAME,
    datasets_place,
    find_lock,
    results_place,
    runs_folder,
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_ROOT", raising=False)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)


@pytest.fixture
def installed(odd_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a user whose package is no checkout, but brings its lock along."""
    package = odd_tmp_path / "site-packages" / "harness"
    work = odd_tmp_path / "work"
    package.mkdir(parents=True)
    work.mkdir()
    (package / LOCK_NAME).touch()
    monkeypatch.setattr(layout, "PACKAGE", package)
    monkeypatch.chdir(work)
    return work


def test_a_checkout_has_its_own_folders(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (repository, repository / "docs", tmp_path):
        monkeypatch.chdir(folder)
        assert find_lock() == repository / LOCK_NAME
        assert datasets_place().path == repository / "datasets"
        assert results_place().path == repository / "results"


def test_a_project_below_the_working_folder_comes_before_the_checkout(
    odd_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (odd_tmp_path / LOCK_NAME).touch()
    (odd_tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(odd_tmp_path / "a" / "b")
    assert find_lock() == odd_tmp_path / LOCK_NAME
    assert datasets_place().path == odd_tmp_path / "datasets"
    assert runs_folder() == odd_tmp_path / "results" / "runs"
    assert str(odd_tmp_path) in datasets_place().reason


def test_installed_data_are_cached_and_results_are_here(installed: Path) -> None:
    assert find_lock() == layout.PACKAGE / LOCK_NAME
    cache = platformdirs.user_cache_path("coco-harness", appauthor=False)
    assert datasets_place().path == cache / "datasets"
    assert results_place().path == installed / "results"
    assert layout.PACKAGE.parent not in (*cache.parents, *results_place().path.parents)


def test_variables_choose(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_ROOT", str(installed / "mine"))
    assert datasets_place().path == installed / "mine" / "datasets"
    assert results_place().path == installed / "mine" / "results"
    assert "HARNESS_ROOT" in results_place().reason
    assert find_lock() == layout.PACKAGE / LOCK_NAME
    monkeypatch.setenv("DETECTRON2_DATASETS", "shared data")
    assert datasets_place().path == installed / "shared data"
    assert "DETECTRON2_DATASETS" in datasets_place().reason
    assert results_place().path == installed / "mine" / "results"
    (installed / "mine").mkdir()
    (installed / "mine" / LOCK_NAME).touch()
    assert find_lock() == installed / "mine" / LOCK_NAME


def test_an_empty_variable_is_none(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_ROOT", "")
    assert results_place().path == installed / "results"


@pytest.mark.parametrize("variable", ["HARNESS_ROOT", "DETECTRON2_DATASETS"])
def test_a_variable_that_names_a_file_is_refused(
    installed: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    (installed / "file").touch()
    monkeypatch.setenv(variable, str(installed / "file"))
    with pytest.raises(UsageError, match=f"{variable} names .*file, which is not a folder"):
        datasets_place()
