"""Maps of segments from annotation files to PQ, resumed, scored again and refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage

from harness.data.panoptic import png_of, read_ids
from harness.data.synthetic import generate
from harness.workflows.runs.checksums import write_checked
from tests.conftest import Once
from tests.end_to_end.conftest import Answer
from tests.panoptic_data import write_panoptic_data

MODEL = "panoptic_fpn_R_50_3x"
IMAGES = 6


@pytest.fixture
def data(project: Path, embedded_root: Path, once: Once) -> tuple[str, ...]:
    """Options of a generated panoptic data set: images shared, maps the test's own."""
    made = once(
        "panoptic", lambda folder: write_panoptic_data(folder, images=IMAGES, root=embedded_root)
    )
    shutil.copytree(made, project, dirs_exist_ok=True)
    images = generate("synthetic_val", embedded_root) / "images"
    return ("--annotations", "instances.json", "--images", str(images))


def test_maps_are_measured_and_scored_again(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    asked = ("--model", MODEL, "--engine", "fake", *data, "--panoptic", "panoptic.json")
    answer = harness("eval", *asked, "--output", "run")
    assert answer.code == 0, answer.err
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    for name in ("bbox/AP", "segm/AP", "panoptic_seg/PQ", "panoptic_seg/SQ_th", "panoptic_seg/RQ"):
        assert record["metrics"][name] == pytest.approx(100.0), name
    for name in ("sem_seg/mIoU", "sem_seg/fwIoU", "sem_seg/mACC", "sem_seg/pACC"):
        assert name in answer.out
        assert record["metrics"][name] == pytest.approx(100.0), name
    tasks = {row["task"] for row in record["per_category"]}
    assert tasks == {"bbox", "segm", "panoptic_seg"}
    assert record["dataset"]["panoptic"]["folder"] == str(project / "panoptic")
    assert record["artefacts"]["panoptic"] == "panoptic.json"

    again = harness("score", "run", "--resamples", "0", "--json")
    assert again.code == 0, again.err
    numbers = json.loads(again.out)["metrics"]
    kept = {name: value for name, value in record["metrics"].items() if "throughput" not in name}
    assert numbers == pytest.approx(kept)

    answer = harness("compare", "run", "run", "--resamples", "5")
    assert answer.code == 0, answer.err
    (row,) = (line for line in answer.out.splitlines() if line.startswith("panoptic_seg/PQ "))
    assert row.split()[-1] == "noise"
    answer = harness("show", "run", "--task", "panoptic_seg", "--most", "2", "--json")
    assert answer.code == 0, answer.err
    shown = json.loads(answer.out)
    assert (shown["images"], shown["drawn"]) == (IMAGES, 2)
    assert shown["false_negatives"] == shown["false_positives"]["segment"] == 0
    assert shown["true_positives"] > 2 * IMAGES  # two kinds of stuff an image, and things
    with PillowImage.open(project / "run" / "show" / "pictures" / "1.jpg") as picture:
        assert picture.width > 2 * truth_width(project)

    truth = json.loads((project / "panoptic.json").read_text("utf-8"))
    found = json.loads((project / "run" / "panoptic.json").read_text("utf-8"))
    known = {one["id"]: one["isthing"] for one in truth["categories"]}
    assert {one["id"]: one["isthing"] for one in found["categories"]} == known
    for row, image in zip(found["annotations"], truth["images"], strict=True):
        assert row["image_id"] == image["id"]
        assert row["file_name"] == Path(image["file_name"]).with_suffix(".png").name
        assert {one["category_id"] for one in row["segments_info"]} <= known.keys()


def truth_width(project: Path) -> int:
    """Width of the first map, px."""
    with PillowImage.open(project / "panoptic" / "000001.png") as picture:
        return picture.width


def test_maps_that_differ_are_named(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    asked = ("--model", MODEL, "--engine", "fake", *data, "--panoptic", "panoptic.json")
    assert harness("eval", *asked, "--output", "run", "--resamples", "0").code == 0
    shutil.copytree(project / "run", project / "other")
    path = project / "other" / "panoptic.json"
    content = json.loads(path.read_text("utf-8"))
    content["annotations"][3]["segments_info"].reverse()
    content["annotations"][3]["segments_info"][0]["category_id"] = 200
    write_checked(project / "other", "panoptic.json", json.dumps(content))
    answer = harness("compare", "run", "other", "--resamples", "0", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert (found["differing_images"], found["first_differing"]) == (1, 4)
    assert found["maps_of_one"] is None


def test_maps_of_one_run_are_not_said_to_be_those_of_both(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    """With the same objects in both runs, only the objects are the same."""
    fake = ("--engine", "fake", *data, "--resamples", "0")
    maps = ("--model", MODEL, "--panoptic", "panoptic.json", "--output", "maps")
    assert harness("eval", *fake, *maps).code == 0
    assert harness("eval", *fake, "--model", "R_50_FPN_3x", "--output", "objects").code == 0
    rows = (project / "maps" / "predictions.json").read_text("utf-8")
    write_checked(project / "objects", "predictions.json", rows)
    files = ("maps", "objects/predictions.json", "--annotations", "instances.json")
    for asked, which in ((("maps", "objects"), "first"), (("objects", "maps"), "second")):
        answer = harness("compare", *asked, "--resamples", "0", "--html", "page.html")
        assert answer.code == 0, answer.err
        sentence = f"only the {which} run has maps of segments: they are not compared"
        assert sentence in answer.out
        assert "the objects of both runs are the same" in answer.out
        page = (project / "page.html").read_text("utf-8")
        assert sentence.capitalize() in page
        assert "predictions of both runs" not in answer.out + page.replace("The ", "")
        found = json.loads(harness("compare", *asked, "--resamples", "0", "--json").out)
        assert (found["first_differing"], found["maps_of_one"]) == (None, which)
    answer = harness("compare", *files, "--resamples", "0")
    assert "only the first run has maps of segments" in answer.out


def test_a_run_continues_with_the_same_bytes_and_names_what_was_damaged(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    asked = ("--model", MODEL, "--engine", "fake", *data, "--panoptic", "panoptic.json")
    assert harness("eval", *asked, "--output", "run", "--workers", "2").code == 0
    files = ("panoptic.json", "predictions.json", "semantic.json", "panoptic/000003.png")
    before = {name: (project / "run" / name).read_bytes() for name in files}

    counts = project / "run" / "semantic.json"
    counts.write_bytes(counts.read_bytes().replace(b"things", b"Things"))
    answer = harness("score", "run")
    assert answer.code == 4
    assert "semantic.json is not the file that was written" in answer.err
    assert "--output run --resume" in answer.err
    counts.write_bytes(before["semantic.json"])

    (project / "run" / "panoptic" / "000003.png").write_bytes(before["panoptic.json"])
    answer = harness("score", "run")
    assert answer.code == 4
    assert "000003.png is not the file that the run wrote" in answer.err
    assert "--output run --resume" in answer.err

    sums = project / "run" / "SHA256SUMS"
    for moved in (sums, project / "run" / "panoptic.json"):
        moved.rename(f"{moved}.kept")
    answer = harness("score", "run")
    assert answer.code == 4
    assert "panoptic.json is missing" in answer.err
    for moved in (sums, project / "run" / "panoptic.json"):
        Path(f"{moved}.kept").rename(moved)

    shutil.copytree(project / "run", project / "other")
    require_a_changed_map_is_named(harness, project)

    shard = project / "run" / "shards" / "0001.jsonl"
    shard.write_bytes(shard.read_bytes()[:-400])  # torn: an image is inferred again
    answer = harness("eval", *asked, "--output", "run", "--resume")
    assert answer.code == 0, answer.err
    assert {name: (project / "run" / name).read_bytes() for name in files} == before
    assert harness("score", "run", "--resamples", "0").code == 0


def require_a_changed_map_is_named(harness: Callable[..., Answer], project: Path) -> None:
    """Of two runs with the same boxes and masks, whose maps are compared, too."""
    place = project / "other" / "panoptic" / "000003.png"
    answer = harness("compare", "run", "other", "--resamples", "0")
    assert answer.code == 4
    assert "000003.png is not the file that the run wrote" in answer.err
    for run in ("run", "other"):
        (project / run / "SHA256SUMS").rename(project / run / "kept")
    first = read_ids(project / "run" / "panoptic" / "000004.png")
    (project / "run" / "panoptic" / "000003.png").write_bytes(png_of(first))
    place.write_bytes(png_of(first[::-1].copy()))
    answer = harness("compare", "run", "other", "--resamples", "0")
    assert answer.code == 0, answer.err
    assert "1 image differs, the first is 3" in answer.out
    for run in ("run", "other"):
        (project / run / "kept").rename(project / run / "SHA256SUMS")


def test_what_is_missing_says_which_file_and_where_from(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    eval_ = ("eval", "--engine", "fake", *data, "--output", "none")
    for code, options, says in (
        (4, ("--model", MODEL), "measured by panoptic annotations"),
        (4, ("--model", MODEL), "COCO's: harness download --only panoptic"),
        (
            4,
            ("--model", MODEL, "--panoptic", "instances.json"),
            "boxes and masks go to --annotations",
        ),
        (
            4,
            ("--model", MODEL, "--panoptic", "instances.json", "--panoptic-masks", "panoptic"),
            "boxes and masks go to --annotations",
        ),
        (
            2,
            ("--model", MODEL, "--panoptic", "panoptic.json", "--panoptic-masks", "nowhere"),
            "no such folder of panoptic PNGs: nowhere",
        ),
        (2, ("--model", MODEL, "--panoptic-masks", "panoptic"), "goes with --panoptic"),
        (
            2,
            ("--model", "R_50_FPN_1x", "--panoptic", "panoptic.json"),
            "makes no maps of segments",
        ),
    ):
        answer = harness(*eval_, *options)
        assert answer.code == code, answer.err
        assert says in answer.err
    answer = harness("eval", "--model", MODEL, "--annotations", "panoptic.json", *data[2:])
    assert answer.code == 4
    assert "is a panoptic file" in answer.err
    shutil.copy(project / "panoptic.json", project / "panoptic_val2017.json")
    answer = harness(*eval_, "--model", MODEL, "--panoptic", "panoptic_val2017.json")
    assert answer.code == 2
    assert "no such folder of panoptic PNGs: panoptic_val2017" in answer.err
    assert "COCO's: harness download --only panoptic" in answer.err
    (project / "panoptic" / "000002.png").unlink()
    answer = harness(*eval_, "--model", MODEL, "--panoptic", "panoptic.json")
    assert answer.code == 4
    assert "1 of 6 panoptic PNGs are missing" in answer.err
    assert "--panoptic FILE is in COCO's panoptic format" in answer.err
    assert "--panoptic-masks" in answer.err
    assert "2017" not in answer.err  # COCO's download has nothing to do with files of one's own
    answer = harness("eval", "--model", MODEL)
    assert answer.code == 3
    assert "harness download --only val,annotations,panoptic,zoo" in answer.err


def test_own_maps_that_a_run_was_evaluated_on_are_asked_for_by_their_place(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    asked = ("--model", MODEL, "--engine", "fake", *data, "--panoptic", "panoptic.json")
    for name in ("run", "other"):
        assert harness("eval", *asked, "--output", name).code == 0
    later = (
        ("score", "run", "--resamples", "0"),
        ("compare", "run", "other", "--resamples", "5"),
        ("show", "run", "--task", "panoptic_seg"),
        ("eval", *asked, "--output", "third"),
    )
    png, file = project / "panoptic" / "000002.png", project / "panoptic.json"
    content = png.read_bytes()
    for damage in (lambda: png.write_bytes(b"no PNG"), png.unlink):
        damage()
        for words in later:
            answer = harness(*words)
            assert answer.code == 4, words
            assert png.name in answer.err
            assert "2017" not in answer.err, "COCO's download has none of one's own files"
            assert "harness download" not in answer.err
            if words[0] != "eval":
                assert f"put back what the run was evaluated on: {file}, and its PNGs in" in (
                    answer.err
                )
    png.write_bytes(content)
    file.unlink()
    for words in later[:3]:
        answer = harness(*words)
        assert answer.code == 2, words
        assert str(file) in answer.err
        assert "harness download" not in answer.err


def change_category(content: dict[str, Any]) -> None:
    content["annotations"][0]["segments_info"][0]["category_id"] = 12


def change_thing(content: dict[str, Any]) -> None:
    content["categories"][0]["isthing"] = 0


def leave_image_out(content: dict[str, Any]) -> None:
    del content["annotations"][2]


def test_a_true_segment_that_is_not_listed_counts_as_in_panopticapi(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    content = json.loads((project / "panoptic.json").read_text("utf-8"))
    content["annotations"][1]["segments_info"][0]["id"] += 1
    (project / "panoptic.json").write_text(json.dumps(content), "utf-8")
    asked = ("--model", MODEL, "--engine", "fake", *data, "--panoptic", "panoptic.json")
    answer = harness("eval", *asked, "--output", "run", "--resamples", "0")
    assert answer.code == 0, answer.err
    record = json.loads((project / "run" / "record.json").read_text("utf-8"))
    (first, second) = (one for one in record["notes"] if "panoptic.json" in one)
    assert "1 segment of the PNGs is not listed in panoptic.json" in first
    assert "1 segment of panoptic.json without a pixel in the PNG" in second
    assert record["metrics"]["panoptic_seg/PQ"] < 100  # the listed one is missed
    assert record["metrics"]["sem_seg/mIoU"] == 100  # it is not measured where nothing is listed
    assert harness("show", "run", "--task", "panoptic_seg", "--most", "1").code == 0


def test_annotated_maps_that_changed_are_named(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    asked = ("--model", MODEL, "--engine", "fake", *data, "--panoptic", "panoptic.json")
    assert harness("eval", *asked, "--output", "run", "--resamples", "0").code == 0
    first, *_ = sorted((project / "panoptic").glob("*.png"))
    kept = first.read_bytes()
    with PillowImage.open(first) as picture:
        picture.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT).save(first)
    shutil.copytree(project / "run", project / "other")
    changed = "changed since the run was scored against them"
    score = ("score", "run", "--resamples", "0")
    for words in (
        score,
        (*score, "--annotations", "instances.json"),
        ("compare", "run", "other"),
        ("analyze", "run"),
        ("diagnose", "run"),
        ("show", "run", "--task", "bbox"),
        ("show", "run", "--task", "panoptic_seg"),
    ):
        answer = harness(*words)
        assert answer.code == 4, answer.out
        assert changed in answer.err, words
    assert changed in harness("report", "run").err  # without what is computed of the annotations
    assert "1 image with most errors" not in (project / "run" / "report.html").read_text("utf-8")
    first.write_bytes(b"damaged")
    assert f"{first} cannot be read as a PNG" in harness("analyze", "run").err
    first.write_bytes(kept)
    assert harness(*score).code == harness("analyze", "run").code == 0
    own = json.loads((project / "instances.json").read_text("utf-8"))
    own["images"] = own["images"][1:]
    own["annotations"] = [one for one in own["annotations"] if one["image_id"] != 1]
    (project / "fewer.json").write_text(json.dumps(own), "utf-8")
    answer = harness(*score, "--annotations", "fewer.json")
    assert changed not in answer.err


def test_annotated_maps_that_changed_before_resume_are_named(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    asked = ("--model", MODEL, "--engine", "fake", *data, "--panoptic", "panoptic.json")
    asked = (*asked, "--output", "run", "--resamples", "0")
    assert harness("eval", *asked).code == 0
    (project / "run" / "record.json").unlink()
    first, *_ = sorted((project / "panoptic").glob("*.png"))
    kept, facts = first.read_bytes(), first.stat()
    with PillowImage.open(first) as picture:
        picture.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT).save(first)
    answer = harness("eval", *asked, "--resume")
    assert answer.code == 4, answer.out
    assert f"1 of {IMAGES} annotated maps" in answer.err
    first.write_bytes(kept)
    os.utime(first, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert harness("eval", *asked, "--resume").code == 0


def test_counts_of_pixels_that_were_removed_are_missed(
    harness: Callable[..., Answer], project: Path, data: tuple[str, ...]
) -> None:
    asked = ("--model", MODEL, "--engine", "fake", *data, "--panoptic", "panoptic.json")
    assert harness("eval", *asked, "--output", "run", "--resamples", "0").code == 0
    (project / "run" / "semantic.json").unlink()
    sums = project / "run" / "SHA256SUMS"
    kept = [line for line in sums.read_text("utf-8").splitlines() if "semantic.json" not in line]
    sums.write_text("\n".join(kept) + "\n", "utf-8")
    answer = harness("score", "run", "--resamples", "0")
    assert answer.code == 4, answer.out
    assert "semantic.json is missing" in answer.err
    assert "--output run --resume" in answer.err
    answer = harness("eval", *asked, "--output", "run", "--resamples", "0", "--resume")
    assert answer.code == 0, answer.err
    assert harness("score", "run", "--resamples", "0").code == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (change_category, "has category 12, which is not listed"),
        (change_thing, "have different categories of single objects"),
        (leave_image_out, "lists no segments of 1 of 6 images"),
    ],
)
def test_odd_panoptic_files_are_named(
    harness: Callable[..., Answer],
    project: Path,
    data: tuple[str, ...],
    change: Callable[[dict[str, Any]], None],
    says: str,
) -> None:
    content = json.loads((project / "panoptic.json").read_text("utf-8"))
    change(content)
    (project / "panoptic.json").write_text(json.dumps(content), "utf-8")
    asked = ("--model", MODEL, "--engine", "fake", *data, "--panoptic", "panoptic.json")
    answer = harness("eval", *asked, "--output", "run")
    assert answer.code == 4, answer.err
    assert says in answer.err
