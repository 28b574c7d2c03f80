"""Damaged checkpoints and logs of a training, and a disk that is full."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from harness.cli.main import run
from tests.conftest import write_small_coco
from tests.end_to_end.conftest import Answer

#: Each test trains.
pytestmark = pytest.mark.slow

NEWEST, BEFORE = "iteration-0000002.pth", "iteration-0000001.pth"


def words(folder: Path) -> list[str]:
    annotations, images = str(folder / "annotations.json"), str(folder / "images")
    return [
        *("--train-annotations", annotations, "--train-images", images),
        *("--val-annotations", annotations, "--val-images", images),
        *("--iterations", "2", "--batch-size", "1", "--init", "none", "--eval-every", "1"),
        *("--device", "cpu", "--threads", "1", "--deterministic"),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small data set, and a training on it that was killed before its record was written."""
    folder = tmp_path_factory.mktemp("trained")
    small = write_small_coco(folder / "small")
    assert run(["train", *words(small), "--output", str(folder / "run")]) == 0
    (folder / "run" / "record.json").unlink()
    return small, folder / "run"


@pytest.fixture
def killed(whole: tuple[Path, Path], tmp_path: Path) -> Iterator[Path]:
    """A copy of the training."""
    shutil.copytree(whole[1], tmp_path / "run")
    yield tmp_path / "run"
    shutil.rmtree(tmp_path / "run")


def nul_block(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4096] = bytes(4096)
    path.write_bytes(content)


def flipped_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def no_table(path: Path) -> None:
    torch.save([1, 2], path)
    path.with_name(f"{path.name}.sha256").unlink()


def a_table_of_something_else(path: Path) -> None:
    torch.save({"format": 2, "identity": {}}, path)
    path.with_name(f"{path.name}.sha256").unlink()


@pytest.mark.parametrize(
    "damage", [nul_block, flipped_bit, cut_off, no_table, a_table_of_something_else]
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    damage: Callable[[Path], None],
    whole: tuple[Path, Path],
    killed: Path,
    harness: Callable[..., Answer],
) -> None:
    expected = load_file(whole[1] / "model_last.safetensors")
    damage(killed / "checkpoints" / NEWEST)
    answer = harness("train", *words(whole[0]), "--output", killed, "--resume")
    assert answer.code == 0, answer.err
    assert f"{NEWEST} is damaged" in answer.err
    assert "continuing at iteration 1" in answer.err
    found = load_file(killed / "model_last.safetensors")
    assert all(np.array_equal(found[key], expected[key]) for key in expected)


def test_a_checkpoint_without_a_checksum_is_used_with_a_note(
    whole: tuple[Path, Path], killed: Path, harness: Callable[..., Answer]
) -> None:
    for path in (killed / "checkpoints").glob("*.sha256"):
        path.unlink()
    answer = harness("train", *words(whole[0]), "--output", killed, "--resume")
    assert answer.code == 0, answer.err
    assert f"{NEWEST} has no checksum" in answer.err
    assert "continuing at iteration 2" in answer.err


def test_a_training_that_began_before_a_setting_existed_is_continued(
    whole: tuple[Path, Path], killed: Path, harness: Callable[..., Answer]
) -> None:
    path = killed / "checkpoints" / NEWEST
    content = torch.load(path, weights_only=True)
    new = ("augment", "best_by", "ema", "image_sizes_sha256", "image_times_sha256")
    known = {name: value for name, value in content["identity"].items() if name not in new}
    assert len(known) == len(content["identity"]) - len(new)
    torch.save({**content, "identity": known}, path)
    path.with_name(f"{path.name}.sha256").unlink()
    asked = [*words(whole[0]), "--output", killed, "--resume"]
    answer = harness("train", *asked, "--augment", "strong")
    assert answer.code == 4, answer.err
    assert "another training:\n  augment: flip there, strong now\n  use its settings" in answer.err
    answer = harness("train", *asked)
    assert answer.code == 0, answer.err
    assert "continuing at iteration 2" in answer.err


def test_evaluations_of_other_data_are_not_compared(
    whole: tuple[Path, Path], killed: Path, harness: Callable[..., Answer], tmp_path: Path
) -> None:
    asked = [word.replace(str(whole[0]), str(tmp_path / "data")) for word in words(whole[0])]
    shutil.copytree(whole[0], tmp_path / "data", copy_function=shutil.copyfile)
    learned = [word.replace(str(tmp_path / "data"), str(whole[0])) for word in asked[:4]]
    asked = [*learned, *asked[4:], "--output", str(killed), "--resume"]
    annotations = tmp_path / "data" / "annotations.json"
    content = annotations.read_bytes()
    annotations.write_bytes(content + b" ")
    answer = harness("train", *asked)
    assert answer.code == 4, answer.err
    assert "was evaluated on other annotations than" in answer.err
    annotations.write_bytes(content)
    image = min((tmp_path / "data" / "images").iterdir())
    image.write_bytes(image.read_bytes() + b" ")
    answer = harness("train", *asked)
    assert answer.code == 4, answer.err
    assert "finished images were replaced since" in answer.err
    shutil.copyfile(min((whole[0] / "images").iterdir()), image)
    answer = harness("train", *asked)
    assert answer.code == 0, answer.err
    assert "have other times of modification than when they were evaluated" in answer.err


def test_a_training_is_repeated_from_its_own_file(
    whole: tuple[Path, Path], tmp_path: Path, harness: Callable[..., Answer]
) -> None:
    config = whole[1] / "config.toml"
    answer = harness("train", "--config", config, "--output", tmp_path / "again")
    assert answer.code == 0, answer.err
    for name in ("model_last.safetensors", "config.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (whole[1] / name).read_bytes()


def test_when_all_are_damaged_it_says_so(
    whole: tuple[Path, Path], killed: Path, harness: Callable[..., Answer]
) -> None:
    for name in (NEWEST, BEFORE):
        flipped_bit(killed / "checkpoints" / name)
    answer = harness("train", *words(whole[0]), "--output", killed, "--resume")
    assert answer.code == 4, answer.err
    assert f"{NEWEST} is damaged" in answer.err
    assert f"{BEFORE} is damaged" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "line",
    [b"{not json}", b"[1]", b'{"iteration":"x"}', b"\xff\xfe", b"{}", b'{"iteration":1,"lr":"a"}'],
)
def test_a_garbled_log_is_named(
    line: bytes, whole: tuple[Path, Path], killed: Path, harness: Callable[..., Answer]
) -> None:
    log = killed / "metrics.json"
    log.write_bytes(line + b"\n" + log.read_bytes())
    answer = harness("train", *words(whole[0]), "--output", killed, "--resume")
    assert answer.code == 4, answer.err
    assert f"{log} is damaged in line 1" in answer.err


@pytest.fixture
def copied(whole: tuple[Path, Path], killed: Path, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A copy of the data set and its images, with other times, at the place it was trained on."""
    kept = tmp_path / "kept"
    whole[0].rename(kept)
    shutil.copytree(kept, whole[0], copy_function=shutil.copyfile)
    yield whole[0], killed
    shutil.rmtree(whole[0])
    kept.rename(whole[0])


def test_images_that_were_copied_are_used_with_a_note(
    copied: tuple[Path, Path], harness: Callable[..., Answer]
) -> None:
    answer = harness("train", *words(copied[0]), "--output", copied[1], "--resume")
    assert answer.code == 0, answer.err
    assert "other times of modification" in answer.err


def test_images_that_were_replaced_are_refused(
    copied: tuple[Path, Path], harness: Callable[..., Answer]
) -> None:
    image = next((copied[0] / "images").iterdir())
    image.write_bytes(image.read_bytes() + b"\0")
    answer = harness("train", *words(copied[0]), "--output", copied[1], "--resume")
    assert answer.code == 4, answer.err
    assert "1 of 6 finished images were replaced since, the first is image" in answer.err
    assert image.name in answer.err
    shutil.rmtree(copied[1] / "evaluations")  # as of a training that was killed before the first
    answer = harness("train", *words(copied[0]), "--output", copied[1], "--resume")
    assert answer.code == 4, answer.err
    assert "image_sizes_sha256" in answer.err
    assert "use its settings and its images" in answer.err


@pytest.mark.usefixtures("no_byte_code")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_full_disk_names_the_command_that_continues(
    processes: int, whole: tuple[Path, Path], tmp_path: Path, process: Callable[..., Answer]
) -> None:
    """A limit on file sizes stands for the disk; a checkpoint is larger."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    small, output = whole[0], tmp_path / "run"
    asked = [*words(small), "--batch-size", str(processes), "--nproc", str(processes)]
    answer = process("train", *asked, "--output", output, preexec_fn=limit)
    assert answer.code == 5, answer.err
    assert "File too large" in answer.err
    assert "start it again with: " in answer.err
    assert "Traceback" not in answer.err
