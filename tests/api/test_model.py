"""`load_model`: what it loads, and what its model takes and gives."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import harness
from harness.data.synthetic import scene
from harness.zoo.checkpoints import EMBEDDED

EXIF_ORIENTATION = 274


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes, the second on its side in its file, and what is not an image."""
    folder = tmp_path_factory.mktemp("some photos")
    for number in (1, 2):
        pixels, _ = scene(np.random.default_rng(number), number)
        exif = Image.Exif()
        if number == 2:
            exif[EXIF_ORIENTATION] = 6
        Image.fromarray(pixels).save(folder / f"{number}.png", exif=exif)
    (folder / "broken.txt").write_text("no image", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model() -> Iterator[harness.Model]:
    with harness.load_model(threshold=0.3, device="cpu", threads=1) as loaded:
        yield loaded


def same(one: harness.Detections, other: harness.Detections) -> bool:
    return bool(
        len(one) > 0
        and np.array_equal(one.boxes_xyxy_px, other.boxes_xyxy_px)
        and one.masks == other.masks
    )


def test_a_model_says_what_it_is(model: harness.Model) -> None:
    assert model.info.name == "tiny"
    assert model.info.checkpoint.pinned
    assert model.info.has_masks
    assert [one.name for one in model.categories][:2] == ["circle", "square"]
    assert repr(model) == "<Model tiny: native engine on cpu, fp32, 8 categories>"
    known = "<ModelInfo tiny: native engine on cpu, fp32; pinned weights "
    assert repr(model.info).startswith(known)


def test_files_folders_globs_arrays_and_pillow_images_are_the_same(
    model: harness.Model, photos: Path
) -> None:
    path = photos / "1.png"
    [found] = model.predict(path)
    rgb = np.asarray(Image.open(path).convert("RGB"))
    assert found.source == str(path)
    assert found.size_px == rgb.shape[:2]
    assert found.scores.min() >= 0.3
    assert found.decode_masks().shape == (len(found), *rgb.shape[:2])
    assert same(model.predict(str(photos))[0], found)
    assert same(model.predict(f"{photos}/*.png")[0], found)
    assert same(model.predict(rgb, channel_order="RGB")[0], found)
    assert same(model.predict([rgb[:, :, ::-1]], channel_order="BGR")[0], found)
    assert same(model.predict(Image.open(path))[0], found)
    [entry] = [one for one in os.scandir(photos) if one.name == "1.png"]
    assert same(model.predict(entry)[0], found)
    together = model.predict([path, Image.open(photos / "2.png")], batch_size=1)
    assert [one.image_id for one in together] == [1, 2]


@pytest.mark.parametrize("value", [True, "0.5", [1]])
def test_a_number_is_a_number(value: Any, model: harness.Model, photos: Path) -> None:
    with pytest.raises(harness.UsageError, match=r"^threshold must be a number, got "):
        model.predict(photos / "1.png", threshold=value)
    with pytest.raises(harness.UsageError, match=r"^batch_size must be a whole number, got "):
        model.predict(photos / "1.png", batch_size=value)
    one = np.float32(1)
    assert len(model.predict(photos / "1.png", threshold=one, batch_size=np.int64(1))) == 1


def test_an_image_on_its_side_is_turned(model: harness.Model, photos: Path) -> None:
    upright = np.rot90(np.asarray(Image.open(photos / "2.png")), k=-1)
    [found] = model.predict(photos / "2.png")
    assert same(model.predict(np.ascontiguousarray(upright), channel_order="RGB")[0], found)
    assert same(model.predict(Image.open(photos / "2.png"))[0], found)


def test_an_iterator_is_read_lazily(model: harness.Model, photos: Path) -> None:
    asked: list[int] = []

    def endless() -> Iterator[Path]:
        while True:
            asked.append(1)
            yield photos / "1.png"

    found = model.predict(endless())
    assert not isinstance(found, list)
    assert len(next(found)) > 0
    assert len(asked) < 12
    found.close()  # type: ignore[attr-defined]


def test_thresholds(model: harness.Model, photos: Path) -> None:
    path = photos / "1.png"
    assert len(model.predict(path, threshold=0.9)[0]) < len(model.predict(path, threshold=0.05)[0])
    with pytest.raises(harness.UsageError, match="lets through"):
        model.predict(path, threshold=0.01)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), {}, "RGB or BGR"),
        (np.zeros((8, 8, 3), np.uint8), {"channel_order": "rgb"}, "must be RGB or BGR"),
        (np.zeros((8, 8), np.uint8), {"channel_order": "RGB"}, r"got \(8, 8\) uint8"),
        (np.zeros((8, 8, 3)), {"channel_order": "RGB"}, "float64"),
        (np.zeros((2, 8, 8, 3), np.uint8), {"channel_order": "RGB"}, "list of arrays"),
        ("nowhere/*.png", {}, "no such file"),
        ([3], {}, "got int"),
        (3, {}, "got int"),
        (np.zeros((3, 8, 8), np.uint8), {"channel_order": "RGB"}, "transpose"),
        (np.zeros((8, 8, 4), np.uint8), {"channel_order": "RGB"}, "fourth channel"),
        (np.zeros((0, 8, 3), np.uint8), {"channel_order": "RGB"}, "no pixels"),
        (Image.new("RGB", (0, 8)), {}, "no pixels"),
        (b"photo.jpg", {}, r"PIL\.Image\.open first, in an io\.BytesIO"),
        (io.BytesIO(b"encoded"), {}, r"PIL\.Image\.open first$"),
        ({"photo.jpg": 1}, {}, "got dict"),
        ("", {}, "is empty"),
    ],
)
def test_what_is_no_image_is_an_error(
    model: harness.Model, images: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(harness.UsageError, match=message):
        model.predict(images, **options)


def test_of_16_bits_the_upper_8_count_as_in_harness_predict(
    model: harness.Model, photos: Path, tmp_path: Path
) -> None:
    grey = np.asarray(Image.open(photos / "1.png").convert("L"))
    wide = Image.fromarray(grey.astype(np.uint16) << 8)
    wide.save(tmp_path / "wide.png")
    [found] = model.predict(Image.fromarray(grey))
    assert same(model.predict(wide)[0], found)
    assert same(model.predict(tmp_path / "wide.png")[0], found)


def test_a_damaged_file_is_an_error(model: harness.Model, photos: Path) -> None:
    with pytest.raises(harness.IntegrityError, match=r"broken\.txt"):
        model.predict(photos / "broken.txt")


def test_an_image_of_which_a_resize_leaves_nothing_is_an_error(
    model: harness.Model, tmp_path: Path
) -> None:
    pixels = np.zeros((1, 5000, 3), np.uint8)
    path = tmp_path / "narrow.png"
    Image.fromarray(pixels).save(path)
    with pytest.raises(harness.IntegrityError, match=r"narrow\.png: 5000 × 1 px is too narrow"):
        list(model.predict(path))
    with pytest.raises(harness.IntegrityError, match="image 1: 5000 × 1 px is too narrow"):
        list(model.predict(pixels, channel_order="BGR"))


def test_a_closed_model_says_so(photos: Path) -> None:
    model = harness.load_model(threads=1)
    model.close()
    model.close()
    assert "closed" in repr(model)
    with pytest.raises(harness.UsageError, match="closed"):
        model.predict(photos)


def test_a_checkpoint_needs_the_name_of_its_network(tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes((EMBEDDED / "tiny.safetensors").read_bytes())
    with pytest.raises(harness.UsageError, match='model="R_50_FPN_3x"'):
        harness.load_model(weights)
    with harness.load_model(weights, model="tiny", threads=1) as model:
        assert model.info.checkpoint.path == str(weights)


def test_the_model_of_a_run_has_the_weights_that_were_evaluated(
    small_coco: Path, tmp_path: Path
) -> None:
    last, best = tmp_path / "model_last.safetensors", tmp_path / "model_best.safetensors"
    last.write_bytes((EMBEDDED / "tiny.safetensors").read_bytes())
    run = harness.evaluate(
        weights=last,
        annotations=small_coco / "annotations.json",
        images=small_coco / "images",
        limit=1,
        threads=1,
        report=False,
        output=tmp_path / "run",
    )
    last.rename(best)
    last.write_bytes(b"of a later iteration")
    with harness.load_model(run.folder, threads=1) as model:
        assert model.info.checkpoint.path == str(best)
    best.unlink()
    with pytest.raises(harness.IntegrityError, match="no longer there"):
        harness.load_model(run.folder, threads=1)


def test_names_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(harness.UsageError, match="R_50_FPN_3x"):
        harness.load_model("R_50_FPN_3")
    with pytest.raises(harness.UsageError, match="no such run folder or checkpoint"):
        harness.load_model(tmp_path / "nothing")
    with pytest.raises(harness.UsageError, match="holds no run"):
        harness.load_model(tmp_path)


def test_detections_are_drawn(model: harness.Model, photos: Path) -> None:
    [found] = model.predict(photos / "1.png")
    picture = harness.draw(None, found)
    assert (picture.mode, picture.size[::-1]) == ("RGB", found.size_px)
    assert picture.tobytes() != Image.open(photos / "1.png").convert("RGB").tobytes()
    with pytest.raises(harness.UsageError, match="detections are of one of"):
        harness.draw(np.zeros((8, 8, 3), np.uint8), found, channel_order="RGB")


def test_rows_are_those_of_the_command(model: harness.Model, photos: Path, tmp_path: Path) -> None:
    from harness.cli.main import run

    words = ["predict", str(photos / "1.png"), "--threshold", "0.3", "--threads", "1"]
    assert run([*words, "--pictures", "none", "--output", str(tmp_path / "run")]) == 0
    written = json.loads((tmp_path / "run" / "predictions.json").read_text(encoding="utf-8"))
    rows = [
        {key: value for key, value in row.items() if key not in ("id", "iscrowd", "area")}
        for row in written["annotations"]
    ]
    assert rows == model.predict(photos / "1.png")[0].to_coco()
