"""Text files of other programs, in whatever encoding: decoded when it is certain, else refused.

Certain are a byte order mark, an XML declaration, UTF-8 that decodes, and UTF-16 that shows by its
zero bytes. Anything else could be several encodings, each with another name for the same class: the
user has to name it.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from harness.core.errors import IntegrityError, UsageError
from harness.files.json import fault_of
from harness.files.readable import read_bytes

#: The longer marks first: UTF-32's begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: The declaration of an XML file in an encoding that has ASCII in it.
DECLARATION = re.compile(
    rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']"""
)

#: The declaration, to be taken off a text that is decoded already.
DECLARED = re.compile(r"^\s*<\?xml[^>]{0,200}\?>")

#: XML files of labels are of kilobytes; entities and nesting of more are no annotation.
LARGEST_XML_BYTES = 64 << 20

ENCODING_HINT = "say what it is in: --encoding gbk, big5, shift_jis, euc_kr, cp1252 or latin-1"

#: What UTF-8 writes in two bytes, as other encodings write all their characters.
TWO_BYTE_CHARACTERS = re.compile("[\u0080-\u07ff]{2,}")

#: Scripts of those characters, by the first word of their names.
SCRIPTS = frozenset(("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "HEBREW", "ARABIC", "SYRIAC", "NKO"))

#: The bytes that show an encoding.
HEAD = 4096


def known_encoding(name: str) -> str:
    """The name of a text encoding as Python has it.

    Raises:
        UsageError: There is no such encoding.
    """
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        found = None
    if found is None or not found._is_text_encoding:
        raise UsageError(
            f"no such encoding: {name}",
            hint="for instance --encoding gbk, big5, shift_jis, euc_kr, cp1252, latin-1 or utf-16",
        )
    return found.name


def decoded(data: bytes, where: Path | str, *, encoding: str | None = None) -> str:
    """The text of some bytes, without a byte order mark.

    Args:
        data: The whole content of a file.
        where: The file, for errors.
        encoding: That the user named; a byte order mark counts before it.

    Raises:
        IntegrityError: It is not text in that encoding, or in none that is certain.
    """
    mark, name = _marked(data)
    name = name or encoding or _declared(data) or _zeroed(data) or "utf-8"
    try:
        text = data[len(mark) :].decode(name)
    except (UnicodeDecodeError, LookupError) as error:
        raise undecodable(where, name, error) from None
    if "\0" in text:
        raise IntegrityError(f"{where} is not text: it holds zero bytes")
    if not mark and encoding is None and _declared(data) is None and _mixes_scripts(text):
        raise _doubtful(where)
    return text


def _doubtful(where: Path | str) -> IntegrityError:
    return IntegrityError(
        f"{where} may be in UTF-8 or in another encoding: as UTF-8 its words mix scripts",
        hint=ENCODING_HINT.replace("--encoding ", "--encoding utf-8, "),
    )


def _mixes_scripts(text: str) -> bool:
    """Whether letters of two scripts stand side by side, as in no word.

    Two bytes of GBK or Big5 often are a valid character of UTF-8; two such characters in a row
    mostly give themselves away: 小猫 in GBK would be Сè.
    """
    for run in TWO_BYTE_CHARACTERS.findall(text):
        scripts = {unicodedata.name(one, "").partition(" ")[0] for one in run if one.isalpha()}
        if len(scripts & SCRIPTS) > 1:
            return True
    return False


def undecodable(where: Path | str, name: str, error: Exception) -> IntegrityError:
    """The error for bytes that are not in an encoding.

    Args:
        where: The file.
        name: Name of the encoding.
        error: What the decoder raised.
    """
    detail = str(error)
    if isinstance(error, UnicodeDecodeError):
        found = error.object[error.start : error.start + 1].hex()
        detail = f"byte 0x{found} at position {error.start} is not {name}"
    return IntegrityError(
        f"{where} is not text in {name}: {detail}",
        hint=ENCODING_HINT,
    )


def _marked(data: bytes) -> tuple[bytes, str | None]:
    for mark, name in MARKS:
        if data.startswith(mark):
            return mark, name
    return b"", None


def _declared(data: bytes) -> str | None:
    """The encoding of an XML declaration. GB2312 is read as the GBK that such files are in."""
    found = DECLARATION.match(data[:HEAD])
    if found is None:
        return None
    name = found[1].decode("ascii")
    return "gb18030" if name.casefold() in ("gb2312", "gbk") else name


def _zeroed(data: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of Latin text is zero."""
    head = data[:HEAD]
    if len(head) < 4 or len(data) % 2:
        return None
    high, low = head[0::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if low > half * 0.6 and high < half * 0.1:
        return "utf-16-le"
    return "utf-16-be" if high > half * 0.6 and low < half * 0.1 else None


def read_text(path: Path, *, encoding: str | None = None) -> str:
    """The text of a file.

    Args:
        path: The file.
        encoding: That the user named; None where that is not needed.

    Raises:
        IntegrityError: As in ``decoded``.
        UsageError: It cannot be read.
    """
    return decoded(read_bytes(path), path, encoding=encoding)


def read_lines(path: Path, *, encoding: str | None = None) -> list[str]:
    """The lines of a text file, whichever system ended them.

    Only line feeds and carriage returns end a line: Python's ``splitlines`` would also cut names at
    U+0085 and U+2028.

    Args:
        path: The file.
        encoding: That the user named; None where that is not needed.

    Raises:
        IntegrityError: As in ``decoded``.
        UsageError: It cannot be read.
    """
    return re.split(r"\r\n|\r|\n", read_text(path, encoding=encoding))


def read_json(path: Path, *, encoding: str | None = None) -> Any:
    """The parsed content of a JSON file.

    Raises:
        IntegrityError: It is not text in a certain encoding, or no JSON.
        UsageError: It cannot be read.
    """
    text = read_text(path, encoding=encoding)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # also endless nesting, numbers without end
        fault = fault_of(text.encode("utf-8", "surrogatepass"), error)
        raise IntegrityError(f"{path} is not JSON: {fault.reason}", hint=fault.hint) from error


def read_xml(path: Path, *, encoding: str | None = None) -> ElementTree.Element:
    """The root of an XML file, decoded as it declares.

    Python's own parser knows no encoding of several bytes, and expands entities without end.

    Raises:
        IntegrityError: It is not text in its encoding, no XML, or defines entities.
        UsageError: It cannot be read.
    """
    data = read_bytes(path)
    if len(data) > LARGEST_XML_BYTES:
        raise IntegrityError(
            f"{path} has {len(data):,} bytes; an XML file of labels has at most "
            f"{LARGEST_XML_BYTES:,}"
        )
    text = DECLARED.sub("", decoded(data, path, encoding=encoding), count=1)
    if "<!ENTITY" in text:
        raise IntegrityError(
            f"{path} defines entities of its own, which no annotation does",
            hint="remove its <!DOCTYPE …> part",
        )
    try:
        return ElementTree.fromstring(text.lstrip())
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} is not XML: {error}") from None


def csv_rows(path: Path, *, encoding: str | None = None) -> Iterator[list[str]]:
    """The rows of a CSV file, one after the other, fields of any length.

    Commas, semicolons and tabs separate, whichever the first line has most of.

    Raises:
        IntegrityError: It is not text in a certain encoding, or no CSV.
        UsageError: It cannot be read.
    """
    csv.field_size_limit(sys.maxsize)  # a mask may be longer than the default of 128 kB
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    name = _marked(head)[1] or encoding or _zeroed(head[: len(head) // 2 * 2]) or "utf-8"
    if name == "utf-8" != encoding and _mixes_scripts(head.decode(name, "ignore")):
        raise _doubtful(path)
    try:
        with path.open(encoding=name, newline="") as file:
            first = file.readline().lstrip("\ufeff")
            delimiter = max(",;\t", key=first.count)
            file.seek(0)
            for number, row in enumerate(csv.reader(file, delimiter=delimiter)):
                yield [one.lstrip("\ufeff") for one in row] if number == 0 else row
    except (UnicodeDecodeError, LookupError) as error:
        raise undecodable(path, name, error) from None
    except csv.Error as error:
        raise IntegrityError(f"{path} is not CSV: {error}") from None
