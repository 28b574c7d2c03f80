"""Training iterations: the native loop against Detectron2's network and optimiser, in turn.

    python benchmarks/train_vs_detectron2.py --annotations instances.json --images photos

Both get a process of their own and the same weights, images, batch and number of sampled regions;
what is timed is forward, backward and step, without loading. Detectron2 has to be installed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import Apart, compared, in_turn, keep
from harness.core.architecture import Architecture
from harness.core.engine import Precision
from harness.core.requests.training import TrainRequest
from harness.core.settings import replaced
from harness.data.coco import read_dataset
from harness.data.objects import training_set
from harness.engines.detectron2_model import build_model
from harness.engines.devices import (
    apply_threads,
    device_class,
    find_device,
    keep_freed_memory,
)
from harness.files.environment import usable_cpus
from harness.nn.rcnn import RCNN
from harness.nn.targets import TrainingNumbers
from harness.training.augmentation import Augmentation, draw_change
from harness.training.order import batches
from harness.training.plan import Schedule
from harness.training.processes import World
from harness.training.samples import BATCHES_AHEAD, Sample, make_sample, sample_batches
from harness.training.setup import place, region_operators
from harness.training.step import Trainer, pinning, run_iteration
from harness.zoo.architectures import architecture_of
from harness.zoo.seeded import seeded_checkpoint

Ways = Mapping[str, Callable[[], object]]

SCHEDULE = Schedule(
    iterations=1000, batch_size=2, learning_rate=1e-4, steps=(), warmup=1, checkpoint_period=1000
)


def main() -> None:
    """Build both, time iterations in turn, print and keep the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--architecture", default="mask_rcnn_R_50_FPN")
    parser.add_argument("--short-edge", type=int, default=640)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    with Apart(our_ways, asked) as ours, Apart(their_ways, asked) as theirs:
        seconds = in_turn([ours.way("iteration"), theirs.way("iteration")], asked.repeats)
        peaks = {"ours_peak_bytes": ours.peak_bytes(), "theirs_peak_bytes": theirs.peak_bytes()}
    kept = ("architecture", "short_edge", "batch_size", "threads", "repeats")
    settings = {key: vars(asked)[key] for key in kept}
    settings["device_class"] = device_class(find_device(asked.device))
    keep({"settings": settings, **compared(*seconds), **peaks}, asked.output)


def our_ways(asked: argparse.Namespace) -> Ways:
    """An iteration of ours."""
    device = find_device(asked.device)
    apply_threads(asked.threads)
    keep_freed_memory(device)
    return {"iteration": native(*material(asked), device)}


def their_ways(asked: argparse.Namespace) -> Ways:
    """An iteration of Detectron2's."""
    apply_threads(asked.threads)
    return {"iteration": detectron2(*material(asked), find_device(asked.device))}


def material(asked: argparse.Namespace) -> tuple[Architecture, Any, list[Sample]]:
    """The network, its weights and a batch."""
    architecture = architecture_of(asked.architecture)
    found = seeded_checkpoint(architecture).items()
    weights = {key: torch.from_numpy(value) for key, value in found}
    return architecture, weights, _samples(asked, architecture)


def _samples(asked: argparse.Namespace, architecture: Architecture) -> list[Sample]:
    dataset = read_dataset(asked.annotations, asked.images)
    found = training_set(dataset, with_masks=architecture.has_masks).images
    still = _still(asked.short_edge)
    wide = [one for one in found if one.record.width_px > one.record.height_px]
    samples = []
    for number, image in enumerate(wide[: asked.batch_size]):
        change = draw_change(image.record, still, seed=0, ordinal=number)
        samples.append(
            make_sample(
                image, dataset.images_dir, architecture, change, canvas=(0, 0), ordinal=number
            )
        )
    return samples


def _still(short_edge_px: int) -> Augmentation:
    return Augmentation(
        short_edges_px=(short_edge_px,), long_edge_max_px=1333, flip_probability=0.0
    )


def native(
    architecture: Architecture,
    weights: Any,
    samples: list[Sample],
    device: torch.device,
    precision: Precision = "fp32",
) -> Any:
    """One iteration of ours, with samples that are there."""
    trainer = trainer_of(architecture, weights, device, precision, batch_size=len(samples))
    return lambda: run_iteration(trainer, samples)


def loading_seconds(
    asked: argparse.Namespace,
    architecture: Architecture,
    weights: Any,
    device: torch.device,
    precision: Precision,
    count: int,
) -> list[float]:
    """Seconds of iterations of ours, one after the other, with samples loaded by a thread a core.

    What was loaded before the first of them was needed is used up by iterations that do not count.
    """
    dataset = read_dataset(asked.annotations, asked.images)
    images = training_set(dataset, with_masks=architecture.has_masks).images
    wide = [one.record.width_px > one.record.height_px for one in images]
    trainer = trainer_of(architecture, weights, device, precision, batch_size=asked.batch_size)
    loading = sample_batches(
        images,
        dataset.images_dir,
        _still(asked.short_edge),
        architecture,
        batches(wide, asked.batch_size, seed=0),
        seed=0,
        loaders=usable_cpus(),
        keep=pinning(device),
    )
    seconds = []
    with closing(loading):
        for samples in islice(loading, BATCHES_AHEAD + 1 + count):
            run_iteration(trainer, samples)
            seconds.append(time.perf_counter())
    return [end - begin for begin, end in pairwise(seconds)][-count:]


def trainer_of(
    architecture: Architecture,
    weights: Any,
    device: torch.device,
    precision: Precision,
    *,
    batch_size: int,
) -> Trainer:
    """Our trainer, at its first iteration."""
    network = RCNN(architecture)
    network.load_state_dict(weights)
    place(network, device, precision, frozen=2)
    numbers = TrainingNumbers()
    return Trainer(
        network=network,
        config=replaced(TrainRequest(), precision=precision),
        schedule=replace(SCHEDULE, batch_size=batch_size),
        numbers=numbers,
        device=device,
        world=World(),
        average=None,
        operators=region_operators(architecture, numbers, device, notes=[]),
    )


def detectron2(
    architecture: Architecture, weights: Any, samples: list[Sample], device: torch.device
) -> Any:
    """One iteration of Detectron2's."""
    from detectron2.structures import Boxes, Instances, PolygonMasks
    from detectron2.utils.events import EventStorage

    model = build_model(architecture, device).train()
    model.load_state_dict(weights)
    optimiser = torch.optim.SGD(
        [one for one in model.parameters() if one.requires_grad],
        lr=1e-4,
        momentum=0.9,
        weight_decay=1e-4,
    )
    inputs = []
    for one in samples:
        instances = Instances(one.pixels.shape[:2])
        instances.gt_boxes = Boxes(torch.from_numpy(one.boxes))
        instances.gt_classes = torch.from_numpy(one.classes)
        if one.masks is not None:
            instances.gt_masks = PolygonMasks([list(mask) for mask in one.masks.masks])
        pixels = torch.from_numpy(np.ascontiguousarray(one.pixels.transpose(2, 0, 1)))
        inputs.append({"image": pixels, "instances": instances})

    def iteration() -> None:
        with EventStorage():
            total = torch.stack(list(model(inputs).values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        float(total)

    return iteration


if __name__ == "__main__":
    main()
