"""Data with little or nothing in them: each table and page says so; none fails, none has a NaN."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browsing import WINDOWS, chromium, window
from tests.end_to_end.conftest import Answer

HEIGHT_PX, WIDTH_PX = 48, 64

#: As many as the embedded model has classes.
NAMES = tuple("abcdefgh")

#: What no table and no page may show.
FAULT = re.compile(r"\b(nan|NaN|inf|None|Traceback)\b")

#: Image, category, and box of the objects.
OBJECTS = ((1, 1, (5, 5, 20, 20)), (1, 2, (30, 10, 30, 35)), (2, 1, (4, 4, 40, 40)))


def rows_of(
    objects: tuple[tuple[int, int, tuple[int, ...]], ...], *, masks: bool, **more: Any
) -> list[dict[str, Any]]:
    rows = []
    for number, (image, category, (x, y, width, height)) in enumerate(objects, 1):
        row = {"image_id": image, "category_id": category, "bbox": [x, y, width, height], **more}
        if masks:
            outline = [x, y, x + width, y, x + width, y + height, x, y + height]
            row["segmentation"] = [outline]
        rows.append(row | ({"score": 1 - number / 10} if not more else {"id": number}))
    return rows


def truth(name: str) -> dict[str, Any]:
    """A COCO file that lacks what its name says."""
    images = [
        {"id": number, "file_name": f"{number}.png", "height": HEIGHT_PX, "width": WIDTH_PX}
        for number in (1, 2, 3)
    ]
    objects, masks = OBJECTS, True
    match name:
        case "annotations":
            objects = ()
        case "masks":
            masks = False
        case "categories":
            objects = OBJECTS[:1]
        case "images":
            images, objects = images[:1], OBJECTS[:2]
    crowd = int(name == "objects")
    rows = rows_of(objects, masks=masks, iscrowd=crowd)
    for row in rows:
        row["area"] = row["bbox"][2] * row["bbox"][3]
        if crowd:
            row.pop("segmentation")
    categories = [{"id": number, "name": one} for number, one in enumerate(NAMES, 1)]
    return {"images": images, "categories": categories, "annotations": rows}


#: What is lacking, and what is said of a run on it.
LACKING = {
    "annotations": "no box AP can be computed: there is no object that counts",
    "objects": "no box AP can be computed: there is no object that counts",
    "masks": "no mask AP can be computed: no object that counts has a mask",
    "categories": f"AP is the mean of 1 of {len(NAMES)} categories",
    "images": f"AP is the mean of 2 of {len(NAMES)} categories",
}


@pytest.fixture
def files(project: Path) -> Path:
    """The files of all cases, their images, and predictions: none, and some."""
    (project / "photos").mkdir()
    for number in (1, 2, 3):
        picture = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), (40 * number, 90, 200))
        picture.save(project / "photos" / f"{number}.png")
    for name in (*LACKING, "nothing"):
        (project / f"{name}.json").write_text(json.dumps(truth(name)), encoding="utf-8")
    bare = {**truth("annotations"), "images": [], "categories": []}
    (project / "bare.json").write_text(json.dumps(bare), encoding="utf-8")
    (project / "empty.json").write_text("[]", encoding="utf-8")
    some = rows_of(OBJECTS[:2], masks=False)
    (project / "some.json").write_text(json.dumps(some), encoding="utf-8")
    return project


def said(answer: Answer, *pages: Path) -> str:
    """The output of a command that ended well, and the text of its pages, without a fault."""
    assert answer.code == 0, answer.err
    texts = [answer.out, answer.err]
    for page in pages:
        html = page.read_text("utf-8")
        texts.append(re.sub(r"<(script|style).*?</\1>|data:[^\"']+", "", html, flags=re.DOTALL))
    for text in texts:
        assert not FAULT.search(text), text
    return "\n".join(texts)


@pytest.mark.parametrize("lacking", LACKING)
def test_a_run_says_what_there_is_not(
    harness: Callable[..., Answer], files: Path, lacking: str
) -> None:
    data = ["--annotations", f"{lacking}.json", "--images", "photos"]
    page = files / "run" / "report.html"
    made = harness("eval", "--engine", "fake", *data, "--threads", "1", "--output", "run")
    assert said(made, page).count(LACKING[lacking]) == 2  # in the table and on the page
    for command in ("score", "diagnose", "analyze", "report", "show"):
        answer = harness(command, "run")
        text = said(answer, page, *(files / "run").glob("show/index.html"))
        if command == "score":
            assert LACKING[lacking] in text
    compared = said(harness("compare", "run", "run", "--html", "page.html"), files / "page.html")
    if "can be computed" in LACKING[lacking]:
        assert compared.count(LACKING[lacking]) == 2


@pytest.mark.parametrize("predictions", ["empty", "some"])
@pytest.mark.parametrize("annotations", ["nothing", "annotations", "objects", "masks"])
def test_files_of_predictions_too(
    harness: Callable[..., Answer], files: Path, annotations: str, predictions: str
) -> None:
    results, data = f"{predictions}.json", ["--annotations", f"{annotations}.json"]
    given = ["--predictions", results, *data]
    scored = said(harness("score", *given))
    if annotations in ("annotations", "objects"):
        assert LACKING[annotations] in scored
    diagnosed = said(harness("diagnose", *given))
    if predictions == "empty":
        assert "there is no prediction: nothing can be found out about it" in diagnosed
    elif annotations in ("annotations", "objects"):
        assert "no AP: there is no object to find" in diagnosed
    said(harness("analyze", *given))
    shown = harness("show", *given, "--images", "photos", "--output", "shown")
    said(shown, files / "shown" / "index.html")
    both = harness("compare", results, "empty.json", *data, "--html", "page.html")
    said(both, files / "page.html")


def test_keypoints_alone(harness: Callable[..., Answer], files: Path) -> None:
    content = truth("masks")
    points = [5, 5, 2] * 17
    content["annotations"] = [{**one, "keypoints": points} for one in content["annotations"]]
    (files / "persons.json").write_text(json.dumps(content), "utf-8")
    row = {"image_id": 1, "category_id": 1, "score": 0.5, "keypoints": points}
    (files / "keypoints.json").write_text(json.dumps([row]), "utf-8")
    given = ["--predictions", "keypoints.json", "--annotations", "persons.json"]
    assert "no boxes or masks" in said(harness("analyze", *given))
    scored = said(harness("score", *given, "--evaluator", "both"))
    assert f"AP is the mean of 2 of {len(NAMES)} categories" in scored


def test_neither_images_nor_categories(harness: Callable[..., Answer], files: Path) -> None:
    given = ["--annotations", "bare.json"]
    for command in ("score", "diagnose", "analyze"):
        said(harness(command, "--predictions", "empty.json", *given))
    said(harness("compare", "empty.json", "empty.json", *given))
    refused = harness("eval", "--engine", "fake", *given, "--images", "photos")
    assert refused.code == 4
    assert "bare.json lists 0 categories" in refused.err


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("lacking", ["annotations", "masks"])
def test_their_pages_open_in_a_browser(
    harness: Callable[..., Answer], files: Path, browser: Any, lacking: str
) -> None:
    data = ["--annotations", f"{lacking}.json", "--images", "photos"]
    assert harness("eval", "--engine", "fake", *data, "--output", "run").code == 0
    assert harness("show", "run").code == 0
    assert harness("compare", "run", "run", "--html", "page.html").code == 0
    for page in (files / "run/report.html", files / "run/show/index.html", files / "page.html"):
        for size, colours in WINDOWS:
            with window(browser, size, colours) as opened:
                opened.goto(page.as_uri())
                assert not FAULT.search(opened.inner_text("body"))


def test_an_image_too_narrow_to_be_resized_is_refused_at_once(
    harness: Callable[..., Answer], files: Path
) -> None:
    content = truth("nothing")
    content["images"][0] |= {"file_name": "narrow.png", "width": 1, "height": 3000}
    (files / "narrow.json").write_text(json.dumps(content), encoding="utf-8")
    Image.new("RGB", (1, 3000)).save(files / "photos" / "narrow.png")
    own = ("--annotations", "narrow.json", "--images", "photos")
    checked = harness("data", "check", "narrow.json", *own[2:])
    assert checked.code == 0
    assert "1 image is too narrow to be resized for a network, the first is narrow.png" in (
        " ".join(checked.out.split())
    )
    data = [f"--{part}-{name[2:]}={file}" for part in ("train", "val") for name, file in pairs(own)]
    for words in (("eval", *own), ("train", "--model", "tiny", "--iterations", "2", *data)):
        refused = harness(*words)
        assert refused.code == 4, refused.err
        assert "1 of 3 images are too narrow" in refused.err
        assert "narrow.png, 1 × 3000 px" in refused.err
        assert "harness data subset" in refused.err
    assert harness("eval", *own, "--engine", "fake").code == 0
    (files / "alone").mkdir()
    (files / "photos" / "narrow.png").rename(files / "alone" / "narrow.png")
    proven = harness("parity", "--model", "tiny", "--images", "alone", "--against", "float64")
    assert proven.code == 4, proven.err
    assert "narrow.png: 1 × 3000 px is too narrow to be resized" in proven.err


def pairs(words: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(zip(words[::2], words[1::2], strict=True))
