"""What was computed is kept when an iteration fails: no memory, or a process is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.core.errors import AnotherRunError, IntegrityError, RunFailedError
from harness.core.progress import Silent
from harness.core.requests.training import TrainRequest
from harness.core.run_files import CHECKPOINTS
from harness.core.settings import identity_defaults, replaced
from harness.nn.fpn import FPN
from harness.training import run
from harness.training.checkpoints import checkpoints
from harness.training.group import train_in_processes
from harness.training.notes import read_notes
from harness.training.optimizer import MovingAverage
from harness.training.processes import World
from harness.training.run import _smaller, run_training, training_batches
from harness.training.setup import Setup
from harness.training.weight_files import WEIGHTS_LAST
from harness.zoo.architectures import tiny
from harness.zoo.weights import read_checkpoint
from tests.training.failing_process import Failing
from tests.training.test_families import NETWORKS, AlwaysOne, setup_of

LACKING = (
    torch.OutOfMemoryError("CUDA out of memory.\nmore"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to …"),
)
IDENTITY = {"image_sizes_sha256": "a", "image_times_sha256": "b", **identity_defaults(TrainRequest)}


class Spoken(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, text: str) -> None:
        self.said.append(text)


def setup_at(folder: Path, name: str | None = None, **changes: Any) -> Setup:
    folder.mkdir(exist_ok=True)
    network = tiny() if name is None else NETWORKS[name]
    setup = setup_of(network, folder, "fp32")
    config = replaced(setup.config, deterministic=True, **changes)
    return replace(
        setup,
        config=config,
        identity={**IDENTITY, "accumulate": config.optimizer.accumulate},
        schedule=replace(setup.schedule, iterations=3),
    )


def trained(setup: Setup, progress: Silent | None = None) -> dict[str, np.ndarray]:
    run_training(
        setup, torch.device("cpu"), World(), progress=progress or Silent(), evaluate=AlwaysOne()
    )
    return read_checkpoint(setup.folder / WEIGHTS_LAST)


def failing_at(call: int, error: BaseException, after: bool = False) -> Callable[..., Any]:
    """A forward pass of the backbone that fails once, before or after it has computed."""
    plain, calls = FPN.forward, iter(range(1, 1000))

    def forward(backbone: FPN, pixels: torch.Tensor) -> list[torch.Tensor]:
        fails = torch.is_grad_enabled() and next(calls) == call
        if fails and not after:
            raise error
        found = plain(backbone, pixels)
        if fails:
            raise error
        return found

    return forward


@pytest.fixture(autouse=True)
def given_back() -> Any:
    yield
    torch.use_deterministic_algorithms(False)


def saved(folder: Path) -> list[str]:
    return [one.stem for one in checkpoints(folder / CHECKPOINTS)]


@pytest.mark.parametrize("error", LACKING)
def test_memory_that_runs_out_costs_no_finished_iteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    progress = Spoken()
    with monkeypatch.context() as failing:
        failing.setattr(FPN, "forward", failing_at(3, error))
        with pytest.raises(RunFailedError, match="out of memory on cpu in iteration 3 with 2") as e:
            trained(setup_at(tmp_path), progress)
    assert "\n" not in e.value.message
    assert "--accumulate 2 computes the same batch" in str(e.value.hint)
    assert "may be continued with it" in str(e.value.hint)
    assert saved(tmp_path) == ["iteration-0000002"]
    assert "the checkpoint of iteration 2 is kept" in progress.said


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(None, id="tiny"),
        pytest.param("retinanet", marks=pytest.mark.slow),
        pytest.param("scratch_mask_rcnn_R_50_FPN_SyncBN", marks=pytest.mark.slow),
    ],
)
def test_a_training_goes_on_as_if_nothing_had_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """Also one whose network remembers what the failed forward pass saw."""
    expected = trained(setup_at(tmp_path / "whole", name, ema=0.9))
    with monkeypatch.context() as failing:
        failing.setattr(FPN, "forward", failing_at(3, LACKING[0], after=True))
        with pytest.raises(RunFailedError, match="in iteration 3"):
            trained(setup_at(tmp_path / "broken", name, ema=0.9))
    found = trained(setup_at(tmp_path / "broken", name, ema=0.9, resume=True))
    assert found.keys() == expected.keys()
    for key, value in found.items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)


def without_a_third_batch(*words: Any, **settings: Any) -> Iterator[Any]:
    yield from islice(training_batches(*words, **settings), 2)
    raise MemoryError


@pytest.mark.parametrize(
    "name",
    ["retinanet", pytest.param("scratch_mask_rcnn_R_50_FPN_SyncBN", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("place", ["training_batches", "_book", "_losses_of"])
def test_a_finished_iteration_is_kept_whole_when_what_follows_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str
) -> None:
    """Also what its forward passes left in the network, which no failed one has changed."""
    changes = {"eval_every": 2} if place == "_losses_of" else {}
    expected = trained(setup_at(tmp_path / "whole", name, **changes))
    plain = getattr(run, place)

    def lacking(loop: Any, *words: Any) -> Any:
        if place == "_losses_of" or loop.trainer.iteration == 2:
            raise MemoryError
        return plain(loop, *words)

    failing = without_a_third_batch if place == "training_batches" else lacking
    with monkeypatch.context() as there:
        there.setattr(run, place, failing)
        with pytest.raises(RunFailedError, match="out of memory"):
            trained(setup_at(tmp_path / "broken", name, **changes))
    assert saved(tmp_path / "broken") == ["iteration-0000002"]
    found = trained(setup_at(tmp_path / "broken", name, resume=True, **changes))
    for key, value in found.items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)


@pytest.mark.parametrize("every", [1, None])
@pytest.mark.parametrize("where", ["step", "average"])
def test_a_step_that_was_begun_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, every: int | None
) -> None:
    owner: Any = torch.optim.SGD if where == "step" else MovingAverage
    name = "step" if where == "step" else "update"
    plain, calls = getattr(owner, name), iter(range(1, 10))

    def half(*words: Any, **settings: Any) -> Any:
        if next(calls) == 3:
            with torch.no_grad():
                words[0].param_groups[0]["params"][0].add_(1) if where == "step" else None
            raise LACKING[0]
        return plain(*words, **settings)

    monkeypatch.setattr(owner, name, half)
    with pytest.raises(RunFailedError, match="out of memory") as caught:
        trained(setup_at(tmp_path, ema=0.9, checkpoint_every=every))
    kept = ["iteration-0000001", "iteration-0000002"] if every else []
    assert saved(tmp_path) == kept
    assert ("may be continued" in str(caught.value.hint)) == bool(kept)


def test_an_image_that_cannot_be_read_costs_no_finished_iteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def batches(*words: Any, **settings: Any) -> Iterator[Any]:
        yield from islice(training_batches(*words, **settings), 2)
        raise IntegrityError("photo.jpg is damaged")

    monkeypatch.setattr(run, "training_batches", batches)
    progress = Spoken()
    with pytest.raises(IntegrityError, match="photo"):
        trained(setup_at(tmp_path), progress)
    assert saved(tmp_path) == ["iteration-0000002"]
    assert "the checkpoint of iteration 2 is kept" in progress.said


def test_nothing_is_saved_before_the_first_iteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FPN, "forward", failing_at(1, LACKING[0]))
    with pytest.raises(RunFailedError, match="in iteration 1 ") as caught:
        trained(setup_at(tmp_path))
    assert "may be continued" not in str(caught.value.hint)
    assert saved(tmp_path) == []


def test_another_failure_keeps_what_is_finished_and_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = RuntimeError("Connection closed by peer")
    monkeypatch.setattr(FPN, "forward", failing_at(2, lost))
    with pytest.raises(RuntimeError, match="closed by peer"):
        trained(setup_at(tmp_path))
    assert saved(tmp_path) == ["iteration-0000001"]


def test_a_state_that_cannot_be_read_any_more_is_said_and_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

    def unreadable(*_: object, **__: object) -> None:
        raise fault

    progress = Spoken()
    monkeypatch.setattr(FPN, "forward", failing_at(3, fault))
    monkeypatch.setattr("harness.training.run.save", unreadable)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        trained(setup_at(tmp_path), progress)
    (said,) = [one for one in progress.said if "could not be saved" in one]
    assert said.startswith("iteration 2 could not be saved: RuntimeError: CUDA error")
    assert saved(tmp_path) == []


def test_only_the_first_process_saves_and_waits_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have ended, or wait in a sum of gradients: nobody may be asked."""
    for rank, expected in ((1, []), (0, ["iteration-0000001"])):
        with monkeypatch.context() as failing:
            failing.setattr(FPN, "forward", failing_at(2, LACKING[0]))
            failing.setattr("harness.training.step.DistributedDataParallel", lambda one, **_: one)
            failing.setattr(World, "mean", lambda _, values: values)
            failing.setattr(World, "wait", lambda _: None)
            with pytest.raises(RunFailedError, match="out of memory"):
                run_training(
                    setup_at(tmp_path / str(rank)),
                    torch.device("cpu"),
                    World(rank, 2),
                    progress=Silent(),
                    evaluate=AlwaysOne(),
                )
        assert saved(tmp_path / str(rank)) == expected


@pytest.mark.parametrize("ranks", [(1,), (0,), (0, 1)])
@pytest.mark.slow
def test_of_several_processes_none_loses_what_is_finished(
    tmp_path: Path, ranks: tuple[int, ...]
) -> None:
    setup = setup_at(tmp_path, processes=2, device="cpu")
    with pytest.raises(RunFailedError, match="in iteration 3 with 1 image at once") as caught:
        train_in_processes(setup, 2, progress=Failing(*ranks), evaluate=AlwaysOne())
    assert "--accumulate" not in str(caught.value.hint)
    assert saved(tmp_path) == ["iteration-0000002"]


@pytest.mark.parametrize(
    ("size", "parts", "advice"),
    [(2, 1, "--accumulate 2 "), (9, 2, "--accumulate 6 "), (1, 4, "--short-edge"), (7, 1, "7 ")],
)
def test_what_is_advised_can_be_done(size: int, parts: int, advice: str) -> None:
    assert advice in _smaller(size, parts, continued=True)


def test_a_batch_may_go_on_in_smaller_parts_and_the_record_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained(setup_at(tmp_path / "whole"))
    with monkeypatch.context() as failing:
        failing.setattr(FPN, "forward", failing_at(3, LACKING[0]))
        with pytest.raises(RunFailedError, match="in iteration 3"):
            trained(setup_at(tmp_path / "broken"))
    progress = Spoken()
    found = trained(setup_at(tmp_path / "broken", accumulate=2, resume=True), progress)
    said = (
        "iterations up to 2 were computed with --accumulate 1, those after it with 2: "
        "the same batches, summed up in other parts"
    )
    assert read_notes(tmp_path / "broken") == (said,)
    assert f"note: {said}" in progress.said
    for key, value in found.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-3, atol=1e-5, err_msg=key)


def test_other_settings_are_refused_as_before(tmp_path: Path) -> None:
    setup = setup_at(tmp_path, checkpoint_every=1)
    trained(setup)
    other = replace(setup_at(tmp_path, resume=True), identity={**IDENTITY, "batch_size": 1})
    with pytest.raises(AnotherRunError, match="batch_size"):
        trained(other)
