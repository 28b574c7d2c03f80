"""What an exported file says about itself is read from it, and a change of its graph is seen."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.dataset import Category
from harness.core.errors import IntegrityError, PrerequisiteError
from harness.zoo.architectures import mask_rcnn_r50_fpn, tiny
from harness.zoo.exported import (
    END_OF_OWN,
    SEAL,
    ExportFacts,
    find_exported,
    is_as_exported,
    metadata_of,
    proven_export,
    read_facts,
    require_match,
)
from harness.zoo.lock import find_model, read_lock

onnx = pytest.importorskip("onnx", reason="needs the packages of the extra onnx")

#: A message of every wire type: a varint, eight bytes, four bytes, and text.
GRAPH = b"\x08\x96\x01" + b"\x11" + bytes(8) + b"\x1d" + bytes(4) + b"\x3a\x03abc"


def facts(graph: bytes = GRAPH) -> ExportFacts:
    return ExportFacts(
        harness_version="0.1.0",
        model="tiny",
        architecture=tiny(),
        class_names=("naïve", "two\nlines", '"quoted"'),
        checkpoint_sha256="ab" * 32,
        checkpoint_pinned=True,
        graph_bytes=len(graph),
        graph_sha256=hashlib.sha256(graph).hexdigest(),
    )


def write(path: Path, told: dict[str, str], graph: bytes = GRAPH) -> Path:
    entries = [onnx.StringStringEntryProto(key=key, value=told[key]) for key in told]
    path.write_bytes(graph + onnx.ModelProto(metadata_props=entries).SerializeToString())
    return path


def test_facts_come_back_as_they_were(odd_tmp_path: Path) -> None:
    path = write(odd_tmp_path / "a.onnx", metadata_of(facts()))
    assert read_facts(path) == facts()
    assert is_as_exported(path, facts())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"\x08\x07\x3a\xff\x01" + bytes(20), "cut off"),
        (b"\x08\x07\x3a" + b"\xff" * 9 + b"\x01" + bytes(20), "cut off"),
        (b"\x72\x0a\x0a" + b"\xff" * 8 + b"\x01", "cut off"),
    ],
)
def test_what_is_no_onnx_file_is_called_what_it_is(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(IntegrityError, match=f"is not an ONNX file of harness: .*{said}"):
        read_facts(tmp_path / "a.onnx")


def test_a_file_cut_anywhere_is_no_whole_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", metadata_of(facts()))
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(IntegrityError, match=r"a\.onnx is not an ONNX file"):
            read_facts(path)


def test_a_changed_graph_is_seen(tmp_path: Path) -> None:
    other = GRAPH.replace(b"abc", b"abd")
    assert not is_as_exported(write(tmp_path / "a.onnx", metadata_of(facts()), other), facts())


def test_changed_bytes_are_damage_and_what_a_program_wrote_is_not(tmp_path: Path) -> None:
    entry, categories = find_model(read_lock(), "tiny"), list[Category]()
    path = tmp_path / "a.onnx"
    for place in range(len(GRAPH) - 3, len(GRAPH)):  # of the text: what is no message is refused
        content = bytearray(write(path, metadata_of(facts())).read_bytes() + END_OF_OWN)
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"a\.onnx is damaged: its graph") as caught:
            proven_export(entry, tiny(), path, tmp_path, categories=categories)
        assert caught.value.hint == "run: harness export --model tiny --output FILE"
        path.write_bytes(content.removesuffix(END_OF_OWN))  # of a program, or an older version
        *_, changed = proven_export(entry, tiny(), path, tmp_path, categories=categories)
        assert changed
    path.write_bytes(write(path, metadata_of(facts())).read_bytes() + END_OF_OWN)
    *_, changed = proven_export(entry, tiny(), path, tmp_path, categories=categories)
    assert not changed


@pytest.mark.parametrize("content", [b"", b"\x00", b"PK\x03\x04", b"\xff" * 40, b"\x3a\x05abc"])
def test_another_file_is_no_exported_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not an ONNX file of harness"):
        read_facts(path)


def test_metadata_that_lacks_something_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    told = metadata_of(facts())
    missing = {key: value for key, value in told.items() if key != "class_names"}
    with pytest.raises(IntegrityError, match="its metadata lacks class_names"):
        read_facts(write(tmp_path / "a.onnx", missing))
    with pytest.raises(IntegrityError, match="architecture"):
        read_facts(write(tmp_path / "b.onnx", {**told, "architecture": "{nonsense"}))


def test_any_changed_metadata_are_found_and_those_of_an_older_version_are_read(
    tmp_path: Path,
) -> None:
    told = metadata_of(facts())
    for key, value in told.items():
        digits = [place for place, one in enumerate(value) if one.isdigit()]
        for place in digits[:: max(1, len(digits) // 5)]:
            other = str((int(value[place]) + 1) % 10)
            changed = {**told, key: value[:place] + other + value[place + 1 :]}
            with pytest.raises(IntegrityError, match=r"metadata of .*a\.onnx"):
                read_facts(write(tmp_path / "a.onnx", changed))
    with pytest.raises(IntegrityError, match="are damaged"):
        read_facts(write(tmp_path / "a.onnx", {**told, "class_names": '["a","b","c"]'}))
    assert read_facts(write(tmp_path / "b.onnx", {**told, "added_by": "another"})) == facts()
    del told[SEAL]
    assert read_facts(write(tmp_path / "b.onnx", told)) == facts()


def test_what_differs_from_the_request_is_listed_and_what_is_outside_the_graph_may_differ() -> None:
    path = Path("a.onnx")
    free = replace(tiny(), short_edge_px=100, long_edge_max_px=200, channel_order="RGB")
    require_match(facts(), free, path=path, model="tiny")
    asked = replace(tiny(), score_threshold=0.5, class_count=3)
    with pytest.raises(IntegrityError) as refused:
        require_match(facts(), asked, path=path, model="tiny")
    assert "score_threshold: asked 0.5, in the file 0.05" in str(refused.value)
    assert "class_count: asked 3, in the file 8" in str(refused.value)
    with pytest.raises(IntegrityError, match="model: asked R_50_FPN_3x, in the file tiny"):
        require_match(facts(), mask_rcnn_r50_fpn(), path=path, model="R_50_FPN_3x")


def test_its_classes_in_another_order_are_refused_and_other_names_are_not(tmp_path: Path) -> None:
    entry = find_model(read_lock(), "tiny")
    path = write(tmp_path / "a.onnx", metadata_of(facts()))
    names = facts().class_names
    for order in (names, ("x", "y", "z")):
        categories = [Category(number, name) for number, name in enumerate(order)]
        _, checkpoint, *_ = proven_export(entry, tiny(), path, tmp_path, categories=categories)
        assert checkpoint.pinned
    categories = [Category(number, name) for number, name in enumerate(reversed(names))]
    with pytest.raises(IntegrityError, match=r'class 0 is naïve in the file and "quoted" in'):
        proven_export(entry, tiny(), path, tmp_path, categories=categories)


def test_a_model_that_is_not_exported_names_the_command(tmp_path: Path) -> None:
    entry = find_model(read_lock(), "tiny")
    with pytest.raises(PrerequisiteError, match="run: harness export --model tiny --root"):
        find_exported(entry, None, tmp_path)
    with pytest.raises(PrerequisiteError, match=r"no .*mine\.onnx"):
        find_exported(entry, tmp_path / "mine.onnx", tmp_path)
