"""Images chosen on a page or in a file, and FiftyOne's layout, in and out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Answer


@pytest.fixture
def annotations(small_coco: Path) -> Path:
    """The small data set with tags on its first two images."""
    path = small_coco / "annotations.json"
    content = json.loads(path.read_text("utf-8"))
    for row, tags in zip(content["images"], (["good"], ["good", "night"]), strict=False):
        row["tags"] = tags
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def images_of(path: Path) -> list[dict[str, object]]:
    content = json.loads(path.read_text("utf-8"))
    assert isinstance(content["images"], list)
    return content["images"]


def test_ticked_images_become_a_subset(
    harness: Callable[..., Answer], annotations: Path, project: Path
) -> None:
    words = ["--annotations", annotations, "--images", annotations.parent / "images"]
    assert harness("show", *words, "--select", "--output", "page").code == 0
    page = (project / "page" / "index.html").read_text("utf-8")
    images = images_of(annotations)
    assert page.count('type="checkbox"') == len(images)
    assert "names.txt" in page
    assert harness("show", *words, "--output", "plain").code == 0
    assert "checkbox" not in (project / "plain" / "index.html").read_text("utf-8")
    # The page saves titles, one a line; an id is a name as well.
    names = project / "names.txt"
    names.write_text(f"{images[1]['file_name']}\n# chosen\n{images[2]['id']}\n", encoding="utf-8")
    answer = harness("data", "subset", annotations, "--names", names, "--output", "some.json")
    assert answer.code == 0, answer.err
    assert [row["id"] for row in images_of(project / "some.json")] == [
        images[1]["id"],
        images[2]["id"],
    ]


def test_ids_and_tags_choose_together(
    harness: Callable[..., Answer], annotations: Path, project: Path
) -> None:
    first, second = (row["id"] for row in images_of(annotations)[:2])
    words = ["data", "subset", annotations, "--output", "some.json", "--tags"]
    assert harness(*words, "good").code == 0
    assert len(images_of(project / "some.json")) == 2
    assert harness(*words, "good", "--ids", f"{second}").code == 0
    assert [row["id"] for row in images_of(project / "some.json")] == [second]
    none = harness(*words, "night", "--ids", f"{first}")
    assert (none.code, "no image matches all of --names" in none.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tags", "absent"], "tags of this file: good, night"),
        (["--ids", "999999"], "has id 999999"),
        (["--names", "absent.txt"], "absent.txt"),
    ],
)
def test_what_is_not_there_is_named(
    harness: Callable[..., Answer], annotations: Path, words: list[str], told: str
) -> None:
    answer = harness("data", "subset", annotations, *words, "--output", "some.json")
    assert answer.code == 2
    assert told in answer.err


def test_a_line_that_names_no_image_is_named_with_the_nearest(
    harness: Callable[..., Answer], annotations: Path, project: Path
) -> None:
    known = str(images_of(annotations)[0]["file_name"])
    (project / "names.txt").write_text(known + "x\n", encoding="utf-8")
    answer = harness("data", "subset", annotations, "--names", "names.txt", "--output", "o.json")
    assert answer.code == 2
    assert f"did you mean {known}?" in answer.err


def test_fiftyones_layout_is_written_and_read(
    harness: Callable[..., Answer], annotations: Path, project: Path
) -> None:
    # Out: labels.json beside the folder data, as its COCODetectionDataset is imported.
    source = annotations.parent / "images"
    words = ["--tags", "good", "--copy-images", source, "--output", "ducks/labels.json"]
    answer = harness("data", "subset", annotations, *words)
    assert answer.code == 0, answer.err
    rows = images_of(project / "ducks" / "labels.json")
    for row in rows:
        name = str(row["file_name"])
        copied = (project / "ducks" / "data" / name).read_bytes()
        assert copied == (source / name).read_bytes()
    assert len(list((project / "ducks" / "data").iterdir())) == len(rows)
    # In: what its exporter writes has ids from 0, no masks here and there, and keys of its own.
    labels = project / "ducks" / "labels.json"
    content = json.loads(labels.read_text("utf-8"))
    renumbered = {row["id"]: number for number, row in enumerate(content["categories"])}
    for row in content["categories"]:
        row["id"], row["supercategory"] = renumbered[row["id"]], None
    for row in content["images"]:
        row |= {"license": None, "coco_url": None}
        row.pop("tags", None)
    for row in content["annotations"]:
        row["category_id"], row["supercategory"] = renumbered[row["category_id"]], None
    content["annotations"][0]["segmentation"] = []
    content |= {"info": {"year": "", "version": "", "description": "Exported from FiftyOne"}}
    labels.write_text(json.dumps({**content, "licenses": []}), encoding="utf-8")
    checked = harness("data", "check", "ducks/labels.json", "--images", "ducks/data")
    assert checked.code == 0, checked.err
    cleaned = harness("data", "clean", labels, "--images", "ducks/data", "--output", "clean.json")
    assert cleaned.code == 0, cleaned.err
    objects = json.loads((project / "clean.json").read_text("utf-8"))["annotations"]
    assert len(objects) == len(content["annotations"]) - 1


@pytest.mark.parametrize(
    ("line", "chosen"),
    [
        ("#1.jpg", "#1.jpg"),
        (" spaced.jpg", " spaced.jpg"),
        ("/home/me/day2/frame1.jpg", "day2/frame1.jpg"),
        ("C:\\photos\\day2\\frame1.jpg", "day2/frame1.jpg"),
        ("frame1.jpg", "day2/frame1.jpg"),
        ("day1/frame1.jpg", None),  # an image of another folder is another image
        ("# a remark", None),
    ],
)
def test_a_line_is_a_name_or_the_end_of_one(
    harness: Callable[..., Answer],
    annotations: Path,
    project: Path,
    line: str,
    chosen: str | None,
) -> None:
    content = json.loads(annotations.read_text("utf-8"))
    for row, name in zip(
        content["images"], ("#1.jpg", " spaced.jpg", "day2/frame1.jpg"), strict=False
    ):
        row["file_name"] = name
    annotations.write_text(json.dumps(content), encoding="utf-8")
    (project / "names.txt").write_text(line + "\n", encoding="utf-8")
    words = ["data", "subset", annotations, "--names", "names.txt", "--output", "some.json"]
    answer = harness(*words)
    if chosen is None:
        assert answer.code == 2
        return
    assert answer.code == 0, answer.err
    assert [row["file_name"] for row in images_of(project / "some.json")] == [chosen]


def test_a_category_without_an_object_makes_no_empty_file(
    harness: Callable[..., Answer], annotations: Path, project: Path
) -> None:
    content = json.loads(annotations.read_text("utf-8"))
    content["categories"].append({"id": 1000, "name": "absent"})
    annotations.write_text(json.dumps(content), encoding="utf-8")
    words = ["--categories", "absent", "--output", "some.json"]
    answer = harness("data", "subset", annotations, *words)
    assert answer.code == 2
    assert "no image has an object of absent" in answer.err
    assert not (project / "some.json").exists()
