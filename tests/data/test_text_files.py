"""Text in whatever encoding: the right characters, or an error that says how to name it."""

from __future__ import annotations

import codecs
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import IntegrityError, UsageError
from harness.data.text_files import (
    csv_rows,
    decoded,
    known_encoding,
    read_json,
    read_lines,
    read_text,
    read_xml,
)

NAMES = "cat\r\nKätzchen\n猫\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_is_read_with_and_without_its_mark(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(("first class of a list\n" + NAMES).encode(encoding))
    assert read_lines(path)[1:4] == ["cat", "Kätzchen", "猫"]


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("gbk", "小猫和狗"), ("big5", "貓咪"), ("shift_jis", "ねこ"), ("latin-1", "Kätzchen")],
)
def test_other_encodings_are_read_when_named(encoding: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(f"{name}\n".encode(encoding))
    with pytest.raises(IntegrityError) as refused:
        read_lines(path)
    assert str(path) in refused.value.message
    assert "--encoding" in str(refused.value.hint)
    assert read_lines(path, encoding=encoding)[0] == name
    declared = f'<?xml version="1.0" encoding="{encoding}"?>\n<a>{name}</a>'
    path.write_bytes(declared.encode(encoding))
    assert read_xml(path).text == name
    path.write_bytes(json.dumps({"label": name}, ensure_ascii=False).encode(encoding))
    with pytest.raises(IntegrityError, match=r"UTF-8|utf-8"):
        read_json(path)
    assert read_json(path, encoding=encoding) == {"label": name}
    path.write_bytes(f"id,name\n1,{name}\n".encode(encoding))
    with pytest.raises(IntegrityError, match=r"UTF-8|utf-8"):
        list(csv_rows(path))
    assert list(csv_rows(path, encoding=encoding))[1] == ["1", name]


def test_valid_utf_8_that_is_no_word_is_doubtful(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("小猫\n".encode("gbk"))  # as UTF-8 a Cyrillic and a Latin letter
    with pytest.raises(IntegrityError, match="mix scripts"):
        read_lines(path)
    assert read_lines(path, encoding="gbk")[0] == "小猫"
    for name in ("crème brûlée", "Žluťoučký kůň", "кошка", "γάτα µ", "«Кот»", "Việt nam"):
        path.write_text(f"{name}\n", encoding="utf-8")
        assert read_lines(path)[0] == name


def test_a_mark_before_xml_and_csv_belongs_to_no_name(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for mark, encoding in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le")):
        path.write_bytes(mark + '<?xml version="1.0"?><a>é</a>'.encode(encoding))
        assert read_xml(path).text == "é"
        path.write_bytes(mark + "ImageID;b\n1;é\n".encode(encoding))
        assert list(csv_rows(path)) == [["ImageID", "b"], ["1", "é"]]


def test_fields_of_a_csv_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'a,b\n1,"{"x" * 300_000}"\n', encoding="utf-8")
    assert len(list(csv_rows(path))[1][1]) == 300_000


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', encoding="utf-8")
    with pytest.raises(IntegrityError, match="entities"):
        read_xml(path)
    path.write_text("<a>" * 100_000, encoding="utf-8")
    with pytest.raises(IntegrityError, match="is not XML"):
        read_xml(path)


def test_names_of_encodings_are_checked() -> None:
    assert known_encoding("GBK") == "gbk"
    for name in ("klingon", "hex", "\0"):
        with pytest.raises(UsageError, match="no such encoding"):
            known_encoding(name)


@given(st.binary(max_size=300), st.sampled_from((None, "gbk", "utf-16", "shift_jis")))
def test_any_bytes_are_text_or_refused(data: bytes, encoding: str | None) -> None:
    with contextlib.suppress(IntegrityError):
        assert "\0" not in decoded(data, "it", encoding=encoding)


def test_a_name_that_no_file_system_can_hold_is_an_error_of_its_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_text(tmp_path / "classes\0.txt")
