"""The checksums of a run's files."""

from __future__ import annotations

from pathlib import Path

from harness.workflows.runs.checksums import add_sums, read_sums

OLD, NEW = "0" * 64, "1" * 64


def test_entries_are_added_and_replaced(tmp_path: Path) -> None:
    add_sums(tmp_path, {"record.json": OLD, "shards/0000.jsonl": OLD})
    add_sums(tmp_path, {"record.json": NEW})
    assert read_sums(tmp_path) == {"record.json": NEW, "shards/0000.jsonl": OLD}


def test_a_shard_that_is_no_longer_there_leaves_no_entry(tmp_path: Path) -> None:
    """`sha256sum -c` and the next --resume would go on missing it."""
    add_sums(tmp_path, {"record.json": OLD, "shards/0000.jsonl": OLD, "shards/0003.jsonl": OLD})
    add_sums(tmp_path, {"shards/0000.jsonl": NEW}, below="shards")
    assert read_sums(tmp_path) == {"record.json": OLD, "shards/0000.jsonl": NEW}
