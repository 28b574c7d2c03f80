"""Open Images from a server with the published layout, and with what goes wrong there."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import IntegrityError, RunFailedError, UsageError
from harness.core.progress import Silent
from harness.core.requests.data import OpenImagesRequest
from harness.data.coco import read_annotations
from harness.files.fetch import FetchOptions, RetryPolicy
from harness.workflows.datasets.check import check_data
from harness.workflows.datasets.convert import ConvertReport
from harness.workflows.datasets.openimages import fetch_openimages
from harness.zoo.openimages import KnownFiles, TableFile, known_files
from tests.serving import Fault, Site, serving

IMPATIENT = RetryPolicy(attempts=2, first_delay_s=0.001, longest_delay_s=0.001, timeout_s=0.5)
NAMES = {"/m/03bj1": "Panda", "/m/029b3": "Dice", "/m/09ddx": "Duck", "/m/0x": "Unmasked"}
TABLE = "/openimages/v5/validation-annotations-object-segmentation.csv"
CLASSES = "/openimages/v5/class-descriptions-boxable.csv"
IMAGE_COUNT = 12


def png(mask: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(mask).convert("1").save(content, "PNG")
    return content.getvalue()


def jpeg(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(content, "JPEG")
    return content.getvalue()


def published() -> dict[str, bytes]:
    """Twelve images, their masks in half the resolution, in the archives of their first digits."""
    head = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
    rows, files = [head], {}
    archives: dict[str, dict[str, bytes]] = {}
    for number in range(IMAGE_COUNT):
        image_id = f"{number:x}{'abcdef0123456789'[number]}00ff00ff00ff"
        files[f"/validation/{image_id}.jpg"] = jpeg(80, 60)
        for label in list(NAMES)[: 1 + number % 3]:
            name = f"{image_id}_{label[1:].replace('/', '')}_b{number}.png"
            rows.append(f"{name},{image_id},{label},b{number},0.1,0.5,0.1,0.5,0.9,0.1 0.2 1\n")
            mask = np.zeros((30, 40), dtype=np.uint8)
            mask[5:15, 10:20] = 255
            archives.setdefault(image_id[0], {})[name] = png(mask)
    for digit, members in archives.items():
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, member in members.items():
                archive.writestr(name, member)
        path = f"/openimages/v5/validation-masks/validation-masks-{digit}.zip"
        files[path] = content.getvalue()
    files[TABLE] = "".join(rows).encode()
    files[CLASSES] = "".join(f"{label},{name}\n" for label, name in NAMES.items()).encode()
    return files


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site(files=published())) as site:
        yield site


def pinned(site: Site) -> KnownFiles:
    files = {
        path.removeprefix("/openimages/"): TableFile(
            bytes=len(content), md5=hashlib.md5(content).hexdigest()
        )
        for path, content in site.files.items()
        if path.startswith("/openimages/")
    }
    return KnownFiles(source="the test", files=files)


def bring(site: Site, output: Path, known: KnownFiles | None = None, **more: Any) -> ConvertReport:
    request = {"classes": ("Panda", "Dice", "Duck"), "image_count": 6, "seed": 42, **more}
    return fetch_openimages(
        OpenImagesRequest(output=output, mirror=site.url, **request),
        FetchOptions(progress=Silent(), jobs=3, retries=IMPATIENT),
        known or pinned(site),
    )


def test_what_is_asked_for_arrives_and_passes_the_check(site: Site, odd_tmp_path: Path) -> None:
    report = bring(site, odd_tmp_path)
    assert report.image_count == 6
    assert [one.name for one in report.categories] == ["Panda", "Dice", "Duck"]
    assert report.dropped_objects == ()
    content = read_annotations(odd_tmp_path / "instances.json")
    for row in content["annotations"]:
        # Masks of half the size cover four times as many pixels.
        assert (row["bbox"], row["area"]) == ([20, 10, 20, 20], 400)
    images = odd_tmp_path / "images"
    told = check_data(odd_tmp_path / "instances.json", images, with_masks=True, progress=Silent())
    assert told.learnable_objects == report.object_count
    assert sorted(path.name for path in odd_tmp_path.iterdir() if path.is_dir()) == [
        "images",
        "masks",
        "tables",
    ]


def test_only_the_archives_and_images_that_are_needed_are_fetched(
    site: Site, tmp_path: Path
) -> None:
    bring(site, tmp_path, image_count=2)
    asked = {path for path, _, _ in site.requests}
    images = sorted(path.name[:-4] for path in (tmp_path / "images").iterdir())
    assert len(images) == 2
    assert asked == {
        TABLE,
        CLASSES,
        *(f"/validation/{one}.jpg" for one in images),
        *(f"/openimages/v5/validation-masks/validation-masks-{one[0]}.zip" for one in images),
    }


def test_the_seed_decides_and_a_second_run_fetches_nothing(site: Site, tmp_path: Path) -> None:
    first = bring(site, tmp_path / "a")
    before = (tmp_path / "a" / "instances.json").read_bytes()
    site.requests.clear()
    assert bring(site, tmp_path / "a") == first
    assert site.requests == []
    bring(site, tmp_path / "b")
    assert (tmp_path / "b" / "instances.json").read_bytes() == before
    bring(site, tmp_path / "c", seed=1)
    assert (tmp_path / "c" / "instances.json").read_bytes() != before


def test_a_broken_run_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    images = [path for path in site.files if path.endswith(".jpg")]
    failing = {path: [Fault(status=500)] * 2 for path in images[3:]}
    site.faults.update(failing)
    with pytest.raises(RunFailedError, match="500"):
        bring(site, tmp_path, all_images=True)
    site.faults.clear()
    there = {path.name for path in (tmp_path / "images").glob("*.jpg")}
    site.requests.clear()
    assert bring(site, tmp_path, all_images=True).image_count == IMAGE_COUNT
    again = {Path(path).name for path, _, _ in site.requests}
    assert not again & there
    assert not [path for path in again if path.endswith((".csv", ".zip"))]


def test_images_the_server_has_no_more_are_counted(site: Site, tmp_path: Path) -> None:
    gone = next(path for path in site.files if path.endswith(".jpg"))
    del site.files[gone]
    report = bring(site, tmp_path, all_images=True)
    assert report.image_count == IMAGE_COUNT - 1
    assert [(one.what, one.count) for one in report.dropped_images] == [("not served", 1)]
    assert sum(one.count for one in report.dropped_objects) == 1
    for path in [path for path in site.files if path.endswith(".jpg")]:
        del site.files[path]
    with pytest.raises(RunFailedError, match="none of 12 images is served"):
        bring(site, tmp_path / "nothing", all_images=True)


def test_other_tables_than_the_pinned_ones_are_refused(site: Site, tmp_path: Path) -> None:
    known = pinned(site)
    site.files[TABLE] = site.files[TABLE].replace(b"0.9", b"0.8")
    with pytest.raises(IntegrityError, match="is not the expected file"):
        bring(site, tmp_path, known)
    assert not (tmp_path / "instances.json").exists()


def test_damaged_archives_and_missing_masks(site: Site, tmp_path: Path) -> None:
    archive = next(path for path in site.files if path.endswith(".zip"))
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    site.files[archive] = empty.getvalue()
    report = bring(site, tmp_path, all_images=True)
    assert [one.what for one in report.dropped_objects] == ["whose mask file is missing"]
    site.files[archive] = b"no archive"
    with pytest.raises(IntegrityError, match="not a whole archive"):
        bring(site, tmp_path, all_images=True)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"classes": ("panda",)}, "did you mean Panda"),
        ({"classes": ("Unmasked",)}, "no mask of Unmasked in validation"),
        ({"classes": ()}, "no class is given"),
        ({"image_count": 0}, "at least 1"),
    ],
)
def test_wrong_requests_are_explained(
    site: Site, tmp_path: Path, asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        bring(site, tmp_path, **asked)


def test_every_archive_of_every_split_is_pinned() -> None:
    known = known_files()
    for split in ("train", "validation", "test"):
        for digit in "0123456789abcdef":
            assert f"v5/{split}-masks/{split}-masks-{digit}.zip" in known.files
        assert f"v5/{split}-annotations-object-segmentation.csv" in known.files
    table = known.files["v5/validation-annotations-object-segmentation.csv"]
    assert (table.bytes, table.md5) == (2920821, "dbfa09320082b635e8b96989c971128d")
