"""What is advised where a batch takes more memory than there is."""

from __future__ import annotations

import pytest

from harness.training.dry_run import Measured
from harness.workflows.training import memory
from harness.workflows.training.memory import advice

GIB = 2**30


def measured(gib: float, *, at_once: int, each_gib: float | None = 2.0) -> Measured:
    return Measured(
        seconds=1.0,
        memory_bytes=int(gib * GIB),
        device_class="CPU",
        at_once=at_once,
        image_bytes=None if each_gib is None else int(each_gib * GIB),
    )


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 20 * GIB)


def test_parts_are_as_large_as_fit() -> None:
    # 33 GiB for 16 images: 18 are usable, for 8 images take 17.
    said = advice(measured(33.0, at_once=16), 1)
    assert said is not None
    assert "--accumulate 2 computes the same batch in parts of 8 images, in about 17.0 GiB" in said
    again = advice(measured(33.0, at_once=16), 2)
    assert again is not None
    assert "--accumulate 4 " in again


def test_processes_share_the_memory() -> None:
    # 9 GiB are usable for each of two: 8 images take 17 GiB, 4 take 9.
    assert advice(measured(9.0, at_once=4), 1, 2) is None
    said = advice(measured(17.0, at_once=8), 1, 2)
    assert said is not None
    assert "--accumulate 2 computes the same batch in parts of 4 images, in about 18.0 GiB" in said


def test_nothing_is_advised_where_it_fits_or_was_measured() -> None:
    assert advice(measured(18.0, at_once=8), 1) is None
    assert advice(measured(40.0, at_once=2, each_gib=None), 1) is None


def test_a_single_image_that_is_too_large_is_said_so() -> None:
    said = advice(measured(80.0, at_once=4), 1)
    assert said is not None
    assert "one image takes more" in said


def test_an_absurd_batch_is_answered_at_once() -> None:
    # 10⁹ images, of which eight take 17 GiB and nine more than is usable.
    images = 10**9
    said = advice(measured(1.0 + 2.0 * images, at_once=images), 1)
    assert said is not None
    assert "--accumulate 125000000 computes the same batch in parts of 8 images, in about" in said
    said = advice(measured(80.0, at_once=images, each_gib=0.0), 1)
    assert said is not None
    assert "one image takes more" in said
