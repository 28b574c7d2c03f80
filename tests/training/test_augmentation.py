"""Augmented samples: drawn from the seed alone, and objects that stay where they are painted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from harness.core.dataset import ImageRecord
from harness.data.coco import read_dataset
from harness.data.images import resize_shape
from harness.data.objects import AnnotatedImage, TrainingSet, training_set
from harness.measure.masks import rle_of
from harness.training.augmentation import (
    ONE_OF,
    Augmentation,
    Change,
    Effect,
    augmentation_for,
    draw_change,
    draw_effects,
    with_effects,
)
from harness.training.order import AUGMENT, Draw, batches, generator
from harness.training.samples import Sample, make_sample, sample_batches
from harness.zoo.architectures import tiny

RECORD = ImageRecord(image_id=1, file_name="a.png", height_px=60, width_px=80)
STRONG = augmentation_for(tiny(), "strong")


@pytest.fixture
def training(small_coco: Path) -> TrainingSet:
    dataset = read_dataset(small_coco / "annotations.json", small_coco / "images")
    return training_set(dataset, with_masks=True)


# -- drawing ---------------------------------------------------------------------------------------


@given(st.integers(0, 2**31), st.integers(0, 10**6))
def test_a_change_is_a_function_of_seed_and_place(seed: int, ordinal: int) -> None:
    first = draw_change(RECORD, STRONG, seed=seed, ordinal=ordinal)
    assert draw_change(RECORD, STRONG, seed=seed, ordinal=ordinal) == first
    # Asking for more does not change what was drawn before it.
    plain = draw_change(RECORD, augmentation_for(tiny()), seed=seed, ordinal=ordinal)
    assert (plain.size, plain.flip) == (first.size, first.flip)
    assert (plain.flip_down, plain.effects) == (False, ())


def test_the_flip_alone_is_drawn_as_ever() -> None:
    augmentation = Augmentation()
    for ordinal in range(20):
        random = generator(5, AUGMENT, ordinal)
        size = resize_shape(60, 80, int(random.choice(augmentation.short_edges_px)), 1333)
        expected = Change(size, bool(random.random() < 0.5))
        assert draw_change(RECORD, augmentation, seed=5, ordinal=ordinal) == expected


def test_how_often_what_is_drawn() -> None:
    drawn = [draw_change(RECORD, STRONG, seed=1, ordinal=one) for one in range(4000)]
    shares = [
        np.mean([one.flip for one in drawn]),
        np.mean([one.flip_down for one in drawn]),
        np.mean([any(name == "contrast" for name, _ in one.effects) for one in drawn]),
    ]
    assert shares == pytest.approx([0.5] * 3, abs=0.03)
    last = [name for one in drawn for name, _ in one.effects[-2:]]
    for name in ONE_OF:
        assert last.count(name) / len(last) == pytest.approx(0.25, abs=0.02)
    assert all(len(one.effects) in (2, 4) for one in drawn)


# -- effects ---------------------------------------------------------------------------------------


@pytest.fixture
def photograph() -> np.ndarray:
    """A smooth gradient with an edge."""
    pixels = np.array(PillowImage.linear_gradient("L").resize((64, 48)).convert("RGB")) // 2 + 40
    pixels[10:20, 10:20] = (200, 30, 90)
    return pixels.astype(np.uint8)


def test_no_effect_changes_nothing(photograph: np.ndarray) -> None:
    assert with_effects(photograph, ()) is photograph


def test_each_effect_does_what_it_is_called(photograph: np.ndarray) -> None:
    def after(name: str, strength: float) -> np.ndarray:
        found = with_effects(photograph, (Effect(name, strength),))  # type: ignore[arg-type]
        assert found.shape == photograph.shape
        assert found.dtype == np.uint8
        return found.astype(np.int64)

    before = photograph.astype(np.int64)
    assert np.array_equal(after("brightness", 0.2), np.minimum(before + 51, 255))
    assert np.array_equal(after("contrast", 0.5), np.rint(before * 0.5))
    assert after("gamma", 0.8).mean() > before.mean() > after("gamma", 1.2).mean()
    assert np.array_equal(after("gamma", 1.0), before)
    edge = np.abs(np.diff(before, axis=1)).max()
    assert np.abs(np.diff(after("blur", 2), axis=1)).max() < edge
    assert after("equalise", 1.0).std() > before.std()
    difference = np.abs(after("jpeg", 95) - before).mean()
    assert 0 < difference < 5
    assert np.abs(after("jpeg", 50) - before).mean() > difference


@given(st.integers(0, 2**31))
def test_any_drawn_effects_can_be_applied(seed: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    effects = draw_effects(random)
    found = with_effects(pixels, effects)
    assert found.shape == pixels.shape
    assert np.array_equal(with_effects(pixels, effects), found)


# -- samples ---------------------------------------------------------------------------------------


@pytest.fixture
def painted(tmp_path: Path) -> AnnotatedImage:
    """A white rectangle on black, annotated with its box and its outline."""
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[5:25, 10:50] = 255
    PillowImage.fromarray(pixels).save(tmp_path / "a.png")
    return AnnotatedImage(
        record=RECORD,
        boxes_xyxy_px=np.array([[10.0, 5.0, 50.0, 25.0]]),
        class_index=np.array([0]),
        segmentations=([[10.0, 5.0, 50.0, 5.0, 50.0, 25.0, 10.0, 25.0]],),
    )


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("flip_down", [False, True])
def test_boxes_and_masks_follow_the_pixels(
    painted: AnnotatedImage, tmp_path: Path, flip: bool, flip_down: bool, runs: bool
) -> None:
    if runs:
        polygons = painted.segmentations[0] if painted.segmentations else []
        painted = AnnotatedImage(
            record=painted.record,
            boxes_xyxy_px=painted.boxes_xyxy_px,
            class_index=painted.class_index,
            segmentations=(rle_of(polygons, 60, 80),),
        )
    change = Change((120, 160), flip, flip_down)
    sample = make_sample(painted, tmp_path, tiny(), change, canvas=(0, 0), ordinal=0)
    rows, columns = np.nonzero(sample.pixels[:, :, 0] > 127)
    box = sample.boxes[0].tolist()
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert box == pytest.approx(expected, abs=1)
    assert sample.masks is not None
    whole = torch.tensor([[0.0, 0.0, 160.0, 120.0]])
    mask = sample.masks.crop(whole, torch.tensor([0]), 40)[0].numpy()
    seen = sample.pixels[1::3, 2::4, 0] > 127
    assert (mask == seen).mean() > 0.97


def test_samples_are_kept_as_asked_by_the_threads_that_make_them(training: TrainingSet) -> None:
    threads = []

    def keep(sample: Sample) -> Sample:
        threads.append(threading.current_thread().name)
        return replace(sample, pixels=sample.pixels + 1)

    def first(keep: Callable[[Sample], Sample] | None) -> Sample:
        order = iter([[Draw(0, 0)]])
        made = sample_batches(
            *(training.images, training.dataset.images_dir, STRONG, tiny(), order),
            seed=7,
            loaders=1,
            keep=keep,
        )
        with closing(made):
            return next(made)[0]

    np.testing.assert_array_equal(first(keep).pixels, first(None).pixels + 1)
    assert [name.startswith("loader") for name in threads] == [True]


def test_a_resumed_training_sees_the_same_pixels(training: TrainingSet) -> None:
    images = training.images
    wide = [one.record.width_px > one.record.height_px for one in images]

    def seen(start: int, loaders: int) -> list[tuple[int, bytes, bytes]]:
        made = sample_batches(
            images,
            training.dataset.images_dir,
            STRONG,
            tiny(),
            batches(wide, 2, 7, start),
            seed=7,
            loaders=loaders,
        )
        found = [
            (one.ordinal, one.pixels.tobytes(), one.boxes.tobytes())
            for batch in islice(made, 6 - start)
            for one in batch
        ]
        made.close()
        return found

    assert seen(3, loaders=3) == seen(0, loaders=1)[6:]
