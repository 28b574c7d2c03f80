"""All settings are measured, whatever happens to one of them, and each only once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import (
    AnotherRunError,
    IntegrityError,
    Interrupted,
    RunFailedError,
    UsageError,
)
from harness.core.progress import Silent
from harness.core.requests.inference import InferenceRequest, SweepAxes, SweepRequest, TimingOptions
from harness.core.run_files import SWEEP
from harness.core.settings import replaced
from harness.files.json import read, to_typed
from harness.measure.sweep import Sweep
from harness.workflows.benchmark.sweep import settings_of, sweep
from harness.workflows.runs.checksums import key_of, seal
from harness.workflows.runs.folder import utc_now
from harness.workflows.runs.shards import read_identity
from tests.workflows.benchmark.sweep_parts import (
    NOTE,
    measure_and_stop_at_fp16,
    measure_but_bf16,
    measure_with_a_note,
    refuse,
)

AXES: dict[str, Any] = {
    "compiled": (False,),
    "memory_formats": ("contiguous",),
    "batch_sizes": (1,),
}
Swept = Callable[..., tuple[Sweep, Path]]


@pytest.fixture
def request_(asked: InferenceRequest, tmp_path: Path) -> SweepRequest:
    """All precisions at batch 1 and 2, once each."""
    return SweepRequest(
        inference=asked,
        axes=SweepAxes(compiled=(False,), memory_formats=("contiguous",), batch_sizes=(1, 2)),
        timing=TimingOptions(warmup=0, repeats=1, min_duration_s=0.0),
        output=tmp_path / "run",
    )


@pytest.fixture
def swept(request_: SweepRequest) -> Swept:
    def run(**given: Any) -> tuple[Sweep, Path]:
        measure = given.pop("measure", measure_but_bf16)
        return sweep(
            replaced(replace(request_, axes=given.pop("axes", request_.axes)), **given),
            progress=Silent(),
            command=("harness", "sweep"),
            now=utc_now(),
            measure=measure,
        )

    return run


def measured(folder: Path) -> list[str]:
    return (folder / "measured.txt").read_text(encoding="utf-8").split()


def test_every_setting_has_its_numbers_or_a_reason(swept: Swept) -> None:
    found, folder = swept(axes=SweepAxes(compiled=(False, True), batch_sizes=(1, 100)))
    assert to_typed(Sweep, read(folder / SWEEP), where=SWEEP) == found
    assert (folder / "index.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    by_name = {cell.setting.name: cell for cell in found.cells}
    assert len(by_name) == len(found.cells) == 4 * 2 * 2 * 2
    assert found.reference.setting.name == "fp32-contiguous-b1"
    assert [name for name, one in by_name.items() if one.status == "measured"] == [
        f"{precision}-contiguous-b1" for precision in ("fp32", "tf32", "fp16")
    ]
    assert by_name["bf16-contiguous-b1"].status == "failed"
    assert by_name["bf16-contiguous-b1"].reason == "too few bits"
    reasons = {one.reason for one in by_name.values() if one.status == "skipped"}
    assert reasons == {
        "the fake engine is not compiled here",
        "the fake engine computes on contiguous feature maps, not on channels_last",
        "batch 100 is more than the 6 images",
    }
    # What is skipped costs nothing.
    assert len(measured(folder)) == 4
    exact = by_name["tf32-contiguous-b1"]
    assert exact.ap == {"bbox/AP": pytest.approx(100), "segm/AP": pytest.approx(100)}
    assert exact.cost_ap == 0.0
    assert exact.speed is not None
    assert exact.speed.timed_images == 6
    assert exact.speed.engine.precision == "fp32", "the fake engine computes in nothing else"


def test_what_an_engine_did_otherwise_than_asked_is_in_the_sweep(swept: Swept) -> None:
    found, folder = swept(axes=SweepAxes(precisions=("fp32",), **AXES), measure=measure_with_a_note)
    (cell,) = found.measured
    assert cell.speed is not None
    assert cell.speed.notes == (NOTE,)
    said = (folder / "log.txt").read_text(encoding="utf-8")
    assert f"note: fp32-contiguous-b1: {NOTE}" in said


@pytest.mark.slow
def test_the_reference_is_measured_whatever_is_asked(swept: Swept, asked: InferenceRequest) -> None:
    axes = SweepAxes(
        precisions=("fp16",), memory_formats=("contiguous",), compiled=(False,), batch_sizes=(2,)
    )
    found, _ = swept(axes=axes)
    assert [one.setting.name for one in found.measured] == [
        "fp32-contiguous-b1",
        "fp16-contiguous-b2",
    ]
    names = [one.name for one in settings_of(SweepRequest(inference=asked), "native")]
    assert len(names) == len(set(names)) == 32


@pytest.mark.slow
def test_what_was_measured_is_not_measured_again(swept: Swept, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Interrupted, match="interrupted"):
        swept(measure=measure_and_stop_at_fp16)
    assert not (folder / "sweep.json").exists()
    speeds = {path: path.read_bytes() for path in folder.glob("cells/*/speed.json")}
    assert {path.parent.name for path in speeds} == {"fp32-contiguous-b1", "tf32-contiguous-b1"}
    with pytest.raises(UsageError, match="an unfinished run"):
        swept()
    found, _ = swept(resume=True)
    assert all(path.read_bytes() == before for path, before in speeds.items())
    assert len(found.measured) == 6
    assert measured(folder).count("tf32-contiguous-b1") == 1
    with pytest.raises(UsageError, match="is finished"):
        swept(resume=True)
    whole = (folder / "sweep.json").read_bytes()
    (folder / "sweep.json").write_bytes(whole.replace(b"fp32", b"fp64", 1))
    again, _ = swept(resume=True)
    assert again.cells == found.cells
    assert measured(folder).count("tf32-contiguous-b1") == 1


@pytest.mark.slow
def test_cells_of_other_images_are_not_compared(
    swept: Swept, asked: InferenceRequest, tmp_path: Path
) -> None:
    folder, images = tmp_path / "images", asked.data.images
    assert images is not None
    shutil.copytree(images, folder)
    own = {"images": folder, "axes": SweepAxes(**AXES, precisions=("tf32", "fp16"))}
    with pytest.raises(Interrupted, match="interrupted"):
        swept(measure=measure_and_stop_at_fp16, **own)
    first = min(folder.iterdir())
    content, facts = first.read_bytes(), first.stat()
    first.write_bytes(bytes(reversed(content)))
    with pytest.raises(AnotherRunError, match="1 of 6 finished images were replaced since"):
        swept(resume=True, **own)
    assert measured(tmp_path / "run") == [f"{one}-contiguous-b1" for one in ("fp32", "tf32")]
    first.write_bytes(content)
    os.utime(first, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    found, _ = swept(resume=True, **own)
    assert len(found.measured) == 3


def cut_a_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
def test_damage_of_a_finished_sweep_is_found_and_mended(swept: Swept) -> None:
    asked = {"axes": SweepAxes(**AXES, precisions=("tf32",))}
    found, folder = swept(**asked)
    cell = folder / "cells" / "fp32-contiguous-b1"
    for damage, name in (
        (cut_a_line, "shards/0000.jsonl"),
        (flip_a_bit, "shards/0000.jsonl"),
        (flip_a_bit, "speed.json"),
        (flip_a_bit, "accuracy.json"),
        (flip_a_bit, "predictions.json"),
    ):
        before = (cell / "predictions.json").read_bytes()
        damage(cell / name)
        again, _ = swept(resume=True, **asked)
        assert [one.ap for one in again.cells] == [one.ap for one in found.cells]
        assert (cell / "predictions.json").read_bytes() == before
        with pytest.raises(UsageError, match="is finished"):
            swept(resume=True, **asked)


@pytest.mark.slow
def test_another_sweep_is_not_continued(swept: Swept) -> None:
    with pytest.raises(Interrupted, match="interrupted"):
        swept(measure=measure_and_stop_at_fp16)
    with pytest.raises(IntegrityError, match="holds another sweep:\n  repeats"):
        swept(resume=True, repeats=2)


def test_cells_of_other_sweeps_and_in_wrong_places_are_named(swept: Swept) -> None:
    asked = {"axes": SweepAxes(**{**AXES, "batch_sizes": (1, 2)}, precisions=("fp32",))}
    _, folder = swept(**asked)
    cells = folder / "cells"
    first, second, aside = (cells / f"fp32-contiguous-b{one}" for one in (1, 2, 3))
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    for _ in ("finished", "unfinished"):
        swapped = f"cells/{first.name}: batch_size: 2 there, 1 now"
        with pytest.raises(AnotherRunError, match=swapped):
            swept(resume=True, **asked)
        (folder / SWEEP).unlink(missing_ok=True)
    shutil.rmtree(first)
    identity = second / "shards" / "identity.json"
    found = {**(read_identity(second) or {}), "batch_size": 2, "architecture.score_threshold": 0.5}
    identity.write_bytes(seal(found, key_of(found)))
    with pytest.raises(AnotherRunError, match=r"score_threshold: 0\.5 there") as caught:
        swept(resume=True, **asked)
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(f"rm -r {second}")


def test_paths_may_be_relative(
    swept: Swept, request_: SweepRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations = request_.inference.data.annotations
    assert annotations is not None
    monkeypatch.chdir(annotations.parent)
    only = SweepAxes(
        precisions=("fp32",), compiled=(False,), memory_formats=("contiguous",), batch_sizes=(1,)
    )
    found, _ = swept(axes=only, annotations=Path(annotations.name), output=Path("sweep"))
    assert len(found.measured) == 1


def test_without_a_reference_there_is_no_sweep(swept: Swept) -> None:
    with pytest.raises(RunFailedError, match="is beyond us") as raised:
        swept(measure=refuse)
    assert "--resume" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ap_tolerance": -0.1}, "--ap-tolerance must be at least 0"),
        ({"repeats": 0}, "--repeats"),
        ({"axes": SweepAxes(batch_sizes=(0,))}, "--batch-sizes must be at least 1, got 0"),
    ],
)
def test_senseless_numbers_are_refused(swept: Swept, given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        swept(**given)
