"""Folders that nodes cannot see are found out before a job waits."""

from __future__ import annotations

import socket
from collections.abc import Collection
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.launch.cluster_profile import Profile
from harness.launch.shared_folders import file_system_of, require_shared

PLAIN = Profile()


def required(
    folder: Path, *needed: Path, profile: Profile = PLAIN, nodes: Collection[str] = ("far-away",)
) -> list[str]:
    notices: list[str] = []
    require_shared(folder, needed, profile, nodes=nodes, notice=notices.append)
    return notices


def test_everything_must_lie_in_a_shared_folder(tmp_path: Path) -> None:
    profile = Profile(shared=(tmp_path / "home", tmp_path / "project"))
    assert required(tmp_path / "home" / "run", tmp_path / "project" / "data", profile=profile) == []
    with pytest.raises(UsageError, match=r"cannot see .*/scratch/data") as caught:
        required(tmp_path / "home" / "run", tmp_path / "scratch" / "data", profile=profile)
    assert str(tmp_path / "project") in (caught.value.hint or "")


def test_a_link_out_of_a_shared_folder_is_followed(tmp_path: Path) -> None:
    for name in ("home", "local"):
        (tmp_path / name).mkdir()
    (tmp_path / "home" / "runs").symlink_to(tmp_path / "local")
    with pytest.raises(UsageError, match="none of the profile's shared folders"):
        required(tmp_path / "home" / "runs", profile=Profile(shared=(tmp_path / "home",)))


def test_memory_is_no_place_for_a_run_unless_all_nodes_are_here() -> None:
    memory = Path("/dev/shm/run")
    if file_system_of(memory) != "tmpfs":
        pytest.skip("/dev/shm is no tmpfs here")
    with pytest.raises(UsageError, match="is on tmpfs, which is this machine's alone"):
        required(memory)
    assert required(memory, nodes={socket.gethostname()}) == []


def test_file_systems_of_mounted_and_unmounted_places(tmp_path: Path) -> None:
    assert file_system_of(Path("/proc/self")) == "proc"
    assert file_system_of(tmp_path / "not" / "there") == file_system_of(tmp_path)
