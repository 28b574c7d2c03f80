"""Archives of torch.export that were damaged: named, whatever byte it is."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import IntegrityError
from harness.zoo.exported import read_facts
from harness.zoo.program_archive import FACTS, TABLES, open_archive

META = {"dtype": 7, "sizes": [{"as_int": 1}], "strides": [{"as_int": 1}]}


def written(path: Path, records: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in records.items():
            file.writestr(f"model/{name}", json.dumps(content))
    return path


def test_any_damaged_byte_is_named_or_does_no_harm(tmp_path: Path) -> None:
    path = written(tmp_path / "model.pt2", {"byteorder": "little", FACTS: {"model": "tiny"}})
    content = path.read_bytes()
    refused = []
    for place in range(len(content)):
        for value in (0x00, 0x08, 0x80, 0xFF):
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                with open_archive(path) as archive:
                    archive.digest()
                    archive.text(FACTS)
            except IntegrityError as error:
                refused.append(error.message)
    assert len(refused) > len(content)
    assert all("model.pt2 is not a .pt2 file of harness" in message for message in refused)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dtype", float("inf")),
        ("dtype", None),
        ("sizes", [{"as_int": float("inf")}]),
        ("sizes", [{"as_int": float("nan")}]),
        ("strides", [{}]),
        ("storage_offset", {"as_int": float("-inf")}),
    ],
)
def test_what_is_no_number_of_a_tensor_is_named(tmp_path: Path, key: str, value: Any) -> None:
    meta = {**META, "storage_offset": {"as_int": 0}, key: value}
    row = {"path_name": "weight_0", "use_pickle": False, "tensor_meta": meta}
    tables = {name: {"config": {"a": row}} for name in TABLES}
    with (
        pytest.raises(IntegrityError, match="tensor 'a' is not plain"),
        open_archive(written(tmp_path / "model.pt2", tables)) as archive,
    ):
        list(archive.tensors())


@pytest.mark.parametrize("text", ["[" * 100_000, "1e400", "9" * 5000, "{}", "null", '"'])
def test_facts_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    names = ("architecture", "class_names", "checkpoint_pinned", "graph_bytes")
    facts = dict.fromkeys((*names, "harness_version", "model"), text)
    facts |= dict.fromkeys(("checkpoint_sha256", "graph_sha256"), text)
    with pytest.raises(IntegrityError, match=r"the metadata of .*model\.pt2"):
        read_facts(written(tmp_path / "model.pt2", {FACTS: facts}))
