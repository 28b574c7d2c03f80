"""Annotation files that are selected from another artefact's file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import IntegrityError, PrerequisiteError
from harness.core.model import Artefact, Selection
from harness.files.digest import file_digest
from harness.files.layout import find_lock
from harness.zoo.lock import find_artefact, read_lock
from harness.zoo.selections import make_selection

RULE = Selection(
    artefact="whole.zip",
    annotations="coco/whole.json",
    licences=("licences/by/", "flickr.com/commons/usage"),
    image_count=2,
    annotation_count=3,
)
SOME = Artefact(
    name="some.json",
    group="mlperf",
    kind="selection",
    path="coco/some.json",
    url=None,
    licence="CC BY 2.0",
    source="made by a test",
    selection=RULE,
)


@pytest.fixture
def content() -> dict[str, Any]:
    addresses = ("http://a.example/licenses/by-nc/2.0/", "http://a.example/LICENCES/BY/2.0/")
    licences = [{"id": number, "url": url} for number, url in enumerate(addresses, start=1)]
    licences.append({"id": 7, "url": "http://flickr.com/commons/usage/"})
    images = [
        {"id": number, "file_name": f"{number}.jpg", "width": 4, "height": 3, "license": licence}
        for number, licence in ((5, 1), (4, 2), (9, 7))
    ]
    rows = [
        {"id": number, "image_id": image, "category_id": 1, "bbox": [0, 0, 1.5, 2]}
        for number, image in enumerate((5, 9, 4, 4, 5))
    ]
    return {
        "annotations": rows,
        "categories": [{"id": 1, "name": "é"}],
        "images": images,
        "info": {"year": 2017},
        "licenses": licences,
    }


@pytest.fixture
def root(tmp_path: Path, content: dict[str, Any]) -> Path:
    write(tmp_path, content)
    return tmp_path


def write(root: Path, content: dict[str, Any]) -> None:
    path = root / RULE.annotations
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_images_of_the_licences_are_selected_with_their_annotations(
    root: Path, content: dict[str, Any]
) -> None:
    assert make_selection(SOME, RULE, root) == ("2 images and 3 annotations of whole.json",)
    found = json.loads((root / SOME.path).read_text(encoding="utf-8"))
    assert [image["id"] for image in found["images"]] == [4, 9]
    assert [row["id"] for row in found["annotations"]] == [1, 2, 3]
    # As MLPerf's script writes it: these members in this order, by Python's json with its defaults.
    assert list(found) == ["info", "licenses", "images", "annotations", "categories"]
    assert (root / SOME.path).read_bytes() == json.dumps(found).encode()
    assert {key: found[key] for key in ("info", "categories")} == {
        key: content[key] for key in ("info", "categories")
    }


def test_what_is_selected_has_its_hash(root: Path) -> None:
    make_selection(SOME, RULE, root)
    pinned = replace(SOME, sha256=file_digest(root / SOME.path))
    assert "has its sha256" in make_selection(pinned, RULE, root)
    with pytest.raises(IntegrityError, match=r"some\.json"):
        make_selection(replace(SOME, sha256="0" * 64), RULE, root)
    assert not (root / SOME.path).exists()


def test_another_file_is_refused(root: Path, content: dict[str, Any]) -> None:
    write(root, {**content, "annotations": content["annotations"][:2]})
    with pytest.raises(IntegrityError, match=r"2 images and 3 annotations.*found 2 and 1"):
        make_selection(SOME, RULE, root)
    for member in ("licenses", "annotations"):
        write(root, {key: value for key, value in content.items() if key != member})
        with pytest.raises(IntegrityError, match="licence of each image"):
            make_selection(SOME, RULE, root)
    assert not (root / SOME.path).exists()


def test_a_file_that_is_not_there_is_named_with_what_brings_it(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match=r"whole\.json, which is not there") as error:
        make_selection(SOME, RULE, tmp_path)
    assert error.value.hint == "run: harness download --only annotations,mlperf"


def test_mlperfs_images_are_those_of_its_rule() -> None:
    lock = read_lock(find_lock())
    (artefact,) = (one for one in lock.artefacts if one.group == "mlperf")
    assert artefact.selection is not None
    whole = find_artefact(lock, artefact.selection.artefact)
    assert whole.unpacked is not None
    assert artefact.selection.annotations in whole.unpacked.files
    # COCO's licences by id: 1 to 3 forbid commercial use.
    addresses = [
        *("by-nc-sa/2.0/", "by-nc/2.0/", "by-nc-nd/2.0/", "by/2.0/", "by-sa/2.0/", "by-nd/2.0/"),
    ]
    urls = [f"http://creativecommons.org/licenses/{one}" for one in addresses]
    urls += ["http://flickr.com/commons/usage/", "http://www.usa.gov/copyright.shtml"]
    chosen = [
        number
        for number, url in enumerate(urls, start=1)
        if any(part in url for part in artefact.selection.licences)
    ]
    assert chosen == [4, 5, 6, 7, 8]
