"""A graph of torch.export is computed as torch does, and can do nothing but arithmetic."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.errors import IntegrityError, RunFailedError
from harness.engines.program import ATEN, ON_SIZES, TORCHVISION, Program, is_known
from harness.zoo.exported import is_as_exported, read_facts
from harness.zoo.program_archive import FACTS, TABLES, open_archive
from tests.export.programs import Small, rewritten, with_graph, write_small
from tests.zoo.test_exported import facts

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Small]:
    """A file and the module it is of."""
    path = tmp_path_factory.mktemp("program") / "small.pt2"
    return path, write_small(
        path, lambda count, digest: replace(facts(), graph_bytes=count, graph_sha256=digest)
    )


def opened(path: Path) -> Program:
    with open_archive(path) as archive:
        return Program(archive, CPU)


@pytest.mark.parametrize("rows", [7, 3, 1, 40])
def test_it_computes_what_the_module_computes(written: tuple[Path, Small], rows: int) -> None:
    path, module = written
    image = torch.randint(256, (rows, 9, 3), dtype=torch.uint8)
    found = opened(path)(image)
    for ours, theirs in zip(found, module(image), strict=True):
        assert torch.equal(ours, theirs)
    assert len(opened(path)(image, count=1)) == 1
    with pytest.raises(RunFailedError, match="takes 1 inputs, and 2 are there"):
        opened(path)(image, image)


def test_every_operator_that_is_known_exists() -> None:
    for space, names in ((torch.ops.aten, ATEN), (torch.ops.torchvision, TORCHVISION)):
        for name in names:
            operator, overload = name.split(".")
            assert getattr(getattr(space, operator), overload), name
    assert all(map(is_known, ON_SIZES))


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.os.system",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.higher_order.cond",
        "_operator.attrgetter",
        "builtins.eval",
        "torch.ops.aten.__class__.default",
        "",
    ],
)
def test_a_call_of_anything_else_is_refused(
    written: tuple[Path, Small], tmp_path: Path, target: str
) -> None:
    def change(graph: Any) -> None:
        graph["graph_module"]["graph"]["nodes"][1]["target"] = target

    with pytest.raises(IntegrityError, match="networks of harness do not"):
        opened(with_graph(written[0], tmp_path / "a.pt2", change))


def _version(graph: Any) -> None:
    graph["schema_version"]["major"] = 99


def _no_graph(graph: Any) -> None:
    del graph["graph_module"]["graph"]


def _an_input_twice(graph: Any) -> None:
    specs = graph["graph_module"]["signature"]["input_specs"]
    specs.append(specs[-1])


def _subgraph(graph: Any) -> None:
    node = graph["graph_module"]["graph"]["nodes"][1]
    node["inputs"][0]["arg"] = {"as_graph": {"name": "a", "graph": {}}}


@pytest.mark.parametrize("change", [_version, _no_graph, _an_input_twice, _subgraph])
def test_another_graph_is_refused(
    written: tuple[Path, Small], tmp_path: Path, change: Callable[[Any], None]
) -> None:
    with pytest.raises(IntegrityError, match=r"a\.pt2 cannot be run"):
        opened(with_graph(written[0], tmp_path / "a.pt2", change))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("strides", [{"as_int": 1000}, {"as_int": 1}]),
        ("strides", [{"as_int": -3}, {"as_int": 1}]),
        ("sizes", [{"as_int": 4}, {"as_int": 1 << 60}]),
        ("storage_offset", {"as_int": 1 << 40}),
        ("dtype", 99),
    ],
)
def test_a_tensor_outside_its_bytes_is_refused(
    written: tuple[Path, Small], tmp_path: Path, key: str, value: Any
) -> None:
    def record(name: str, content: bytes) -> bytes:
        if name != TABLES[0]:
            return content
        table = json.loads(content)
        table["config"]["layer.weight"]["tensor_meta"][key] = value
        return json.dumps(table).encode()

    with pytest.raises(IntegrityError, match=r"a\.pt2 cannot be run"):
        opened(rewritten(written[0], tmp_path / "a.pt2", record))


def test_an_operator_that_fails_is_named(written: tuple[Path, Small], tmp_path: Path) -> None:
    def change(graph: Any) -> None:
        for node in graph["graph_module"]["graph"]["nodes"]:
            if "topk" in node["target"]:
                node["inputs"][1]["arg"] = {"as_int": 1 << 40}

    program = opened(with_graph(written[0], tmp_path / "a.pt2", change))
    with pytest.raises(RunFailedError, match=r"torch\.ops\.aten\.topk\.default failed"):
        program(torch.zeros(7, 9, 3, dtype=torch.uint8))


def _division(nodes: list[Any]) -> None:
    for node in nodes:
        if node["target"] == "torch.sym_min":
            node["target"] = "_operator.floordiv"
            node["inputs"][1]["arg"] = {"as_int": 0}


def _list_for_a_tensor(nodes: list[Any]) -> None:
    nodes[-1]["target"] = "torch.ops.aten.unbind.int"
    nodes[-1]["inputs"] = nodes[-1]["inputs"][:1]
    nodes[-1]["inputs"][0] |= {"name": "self", "arg": {"as_tensor": {"name": "image"}}}


def _size_for_a_tensor(nodes: list[Any]) -> None:
    nodes[-1] |= {"target": "_operator.add"}
    nodes[-1]["inputs"] = [
        {"name": name, "kind": 1, "arg": {"as_int": 1}} for name in ("first", "second")
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_division, r"_operator\.floordiv failed: .*zero"),
        (_list_for_a_tensor, "its output .* is (list|tuple), not a tensor"),
        (_size_for_a_tensor, "its output .* is int, not a tensor"),
    ],
)
def test_what_a_forged_graph_comes_to_is_an_error_of_its_file(
    written: tuple[Path, Small],
    tmp_path: Path,
    change: Callable[[list[Any]], None],
    says: str,
) -> None:
    def forged(graph: Any) -> None:
        change(graph["graph_module"]["graph"]["nodes"])

    program = opened(with_graph(written[0], tmp_path / "a.pt2", forged))
    with pytest.raises(RunFailedError, match=says):
        program(torch.zeros(7, 9, 3, dtype=torch.uint8))


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "record",
    [
        "data/sample_inputs/model.pt",
        "data/weights/model.pt",
        "data/constants/model.pt",
        "data/constants/custom_obj_0",
        "data/aotinductor/model/a.so",
        "models/other.json",
        "../outside",
    ],
)
def test_a_record_that_may_hold_code_is_not_opened(
    written: tuple[Path, Small], tmp_path: Path, record: str
) -> None:
    fuse, path = tmp_path / "exploded", tmp_path / "a.pt2"
    rewritten(written[0], path, lambda name, content: None if name == record else content)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"archive/{record}", pickle.dumps(Bomb(fuse)))
    for read in (opened, read_facts):
        with pytest.raises(IntegrityError, match="may hold code"):
            read(path)
    assert not fuse.exists()


def test_a_pickled_tensor_is_not_opened(written: tuple[Path, Small], tmp_path: Path) -> None:
    def record(name: str, content: bytes) -> bytes:
        return content.replace(b'"use_pickle": false', b'"use_pickle": true')

    with pytest.raises(IntegrityError, match="it is pickled"):
        opened(rewritten(written[0], tmp_path / "a.pt2", record))


def test_compressed_records_are_refused(written: tuple[Path, Small], tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    with zipfile.ZipFile(written[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name), compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(IntegrityError, match="compressed or encrypted"):
        read_facts(path)


def test_a_file_cut_anywhere_is_no_whole_one(written: tuple[Path, Small], tmp_path: Path) -> None:
    whole = written[0].read_bytes()
    path = tmp_path / "a.pt2"
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:size])
        with pytest.raises(IntegrityError, match=r"a\.pt2 is not a \.pt2 file of harness"):
            read_facts(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"PK\x03\x04", b"<html>404</html>", b"\xff" * 40]
)
def test_another_file_is_no_exported_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pt2"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"not a \.pt2 file of harness"):
        read_facts(path)


def test_its_facts_come_back_and_a_change_is_seen(
    written: tuple[Path, Small], tmp_path: Path
) -> None:
    path = written[0]
    stated = read_facts(path)
    assert stated.model == "tiny"
    assert is_as_exported(path, stated)

    def change(name: str, content: bytes) -> bytes:
        return bytes(len(content)) if name.endswith("weight_0") else content

    assert not is_as_exported(rewritten(path, tmp_path / "a.pt2", change), stated)
    without = rewritten(
        path, tmp_path / "b.pt2", lambda name, content: None if name == FACTS else content
    )
    with pytest.raises(IntegrityError, match="its metadata lacks everything"):
        read_facts(without)


def test_a_size_that_grows_without_end_is_refused(
    written: tuple[Path, Small], tmp_path: Path
) -> None:
    """Sixty squarings of a number would fill the memory with its digits."""

    def change(graph: Any) -> None:
        nodes = graph["graph_module"]["graph"]["nodes"]
        given: dict[str, Any] = {"as_int": 1000}
        for number in range(60):
            arguments = [{"name": "", "kind": 1, "arg": {"as_sym_int": given}} for _ in range(2)]
            output = {"as_sym_int": {"as_name": f"grown{number}"}}
            nodes.append({"target": "_operator.mul", "inputs": arguments, "outputs": [output]})
            given = {"as_name": f"grown{number}"}

    program = opened(with_graph(written[0], tmp_path / "a.pt2", change))
    with pytest.raises(RunFailedError, match="not a 64-bit number"):
        program(torch.zeros(7, 9, 3, dtype=torch.uint8))


def test_an_output_that_nothing_computes_is_refused(
    written: tuple[Path, Small], tmp_path: Path
) -> None:
    def change(graph: Any) -> None:
        specs = graph["graph_module"]["signature"]["output_specs"]
        specs[0]["user_output"]["arg"] = {"as_tensor": {"name": "nowhere"}}

    with pytest.raises(IntegrityError, match="no step computes the output nowhere"):
        opened(with_graph(written[0], tmp_path / "a.pt2", change))
