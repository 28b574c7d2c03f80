"""The command that installs an optional part never depends on what an index calls harness."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.files import extras, layout
from harness.files.extras import install_command, packages_of
from harness.files.toml import read_table

SOURCE_SUFFIXES = {".py", ".md", ".toml", ".sh", ".yml", ".cff", ".sbatch"}

#: An installation of what is called ``harness`` on an index.
OWN_NAME = re.compile(r"""pip3? install [^\n(]*(?<=[\s'"])harness(?![-\w/])[^\n]*""")


def test_in_the_checkout_the_extra_is_named(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    assert install_command("serve") == "pip install '.[serve]'"
    monkeypatch.chdir(tmp_path)
    assert install_command("serve") == f"pip install '{repository}[serve]'"


def test_installed_the_packages_are_named(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metadata of an installed wheel, written as a build writes them."""
    project = read_table(repository / "pyproject.toml", what="file")["project"]
    folder = tmp_path / "coco_harness-0.dist-info"
    folder.mkdir()
    lines = ["Metadata-Version: 2.4", "Name: coco-harness", "Version: 0"]
    lines += [
        f"Requires-Dist: {package}; extra == '{extra}'"
        for extra, packages in project["optional-dependencies"].items()
        for package in packages
    ]
    (folder / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(extras, "checkout_folder", lambda: None)
    for extra in ("serve", "onnx", "plots"):
        assert packages_of(extra) == tuple(project["optional-dependencies"][extra])
    assert install_command("plots") == "pip install 'matplotlib>=3.8'"
    assert packages_of("serv") == ()


def test_nothing_installs_what_others_publish_under_this_name(repository: Path) -> None:
    wrong = []
    for folder in ("harness", "docs", "slurm", "scripts", "datasets", "results", "benchmarks", "."):
        paths = (repository / folder).glob("*" if folder == "." else "**/*")
        for path in paths:
            if path.suffix in SOURCE_SUFFIXES and path.is_file():
                text = path.read_text(encoding="utf-8")
                found = OWN_NAME.findall(text)
                wrong += [f"{path.relative_to(repository)}: {line}" for line in found]
    assert not wrong, "\n".join(wrong)


def test_names_are_one(repository: Path) -> None:
    project = read_table(repository / "pyproject.toml", what="file")["project"]
    assert project["name"] == extras.DISTRIBUTION == layout.CACHE_NAME
