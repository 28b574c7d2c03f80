"""Whether the nodes of a cluster see a folder, checked before a job is queued."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from harness.core.errors import UsageError
from harness.files.readable import resolved
from harness.launch.cluster_profile import Profile

#: File systems that exist on one machine only.
IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs", "overlay")

#: Disks of one machine, which may still be exported to the others.
ON_DISK = ("ext2", "ext3", "ext4", "xfs", "btrfs")


def require_shared(
    folder: Path,
    needed: Sequence[Path],
    profile: Profile,
    *,
    nodes: Collection[str],
    notice: Callable[[str], None],
) -> None:
    """Check that the nodes can see a run folder and the other paths a job needs.

    Where the profile names shared folders, everything must be in one of them. Otherwise the kind of
    the run folder's file system decides, unless all nodes are this machine.

    Args:
        folder: Folder of the run.
        needed: Other paths that a job reads.
        profile: Profile of the cluster.
        nodes: Names of the nodes' machines; empty where they are not known.
        notice: Called with a sentence in case of doubt.

    Raises:
        UsageError: The nodes cannot see one of them.
    """
    require_below_shared(profile, [folder, *needed])
    if profile.shared:
        return
    kind = file_system_of(folder)
    if kind not in (*IN_MEMORY, *ON_DISK) or _are_here(nodes):
        return
    if kind in IN_MEMORY:
        raise UsageError(
            f"the nodes cannot see {folder}: it is on {kind}, which is this machine's alone",
            hint="choose an --output on a shared file system; name those in the profile: shared",
        )
    notice(
        f"{folder} is on a disk of this machine ({kind}); do the nodes see it? "
        "Name shared folders in the profile, and this is checked"
    )


def require_below_shared(profile: Profile, paths: Sequence[Path]) -> None:
    """Check that all paths are in the shared folders that the profile names, if any.

    Raises:
        UsageError: A path is in none of them.
    """
    roots = [resolved(root) for root in profile.shared]
    for path in paths:
        if roots and not any(resolved(path).is_relative_to(root) for root in roots):
            raise UsageError(
                f"the nodes cannot see {path}: it is in none of the profile's shared folders",
                hint=f"shared folders: {', '.join(str(root) for root in profile.shared)}",
            )


def file_system_of(path: Path) -> str:
    """The type of the file system of a path that exists or will; ``unknown`` where none is
    mounted.
    """
    place = resolved(path)
    best, kind = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, source = line.partition(" - ")
        mounted = fields.split()[4].encode().decode("unicode_escape")  # a space is \\040
        if place.is_relative_to(mounted) and len(mounted) >= len(best):
            best, kind = mounted, source.split()[0]
    return kind


def _are_here(nodes: Collection[str]) -> bool:
    host = socket.gethostname()
    return bool(nodes) and set(nodes) <= {host, host.partition(".")[0]}
