"""Everything about a GPU in one command: proofs, speed against Detectron2, identity of bytes.

    python benchmarks/gpu.py --annotations instances.json --images photos --detectron2 ~/detectron2

Takes at most six minutes. Writes one JSON with the card, its driver, versions and the date, and a
table in Markdown beside it. A part that fails, or for which no time is left, says so there, beside
what it had measured; the others go on, and the files are written after each. Whole evaluations of
5,000 images, with one image a batch and with the best number, come last and take what time is left:
``--parts evaluation`` measures them alone. ``--detectron2`` names a source tree that can be
imported as it is: pure Python suffices for these models. Without it, and without an installed one,
only our side is measured.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.gpu_parts import Part, measured, run_to_its_end
from benchmarks.gpu_table import table
from benchmarks.pairs import compared, environment, in_turn
from harness.core.detections import Detections, Image
from harness.core.errors import HarnessError, PrerequisiteError
from harness.data.images import read_pixels
from harness.engines.detectron2 import MODULES, open_detectron2, require_detectron2
from harness.engines.native import NativeEngine, open_native
from harness.engines.parity.bits import prove_exact, same_detections
from harness.engines.parity.rounding import float64_network, prove_fast
from harness.files.environment import usable_cpus
from harness.files.json import to_plain
from harness.measure.timing import NULL_STOPWATCH
from harness.workflows.evaluation.inference import ahead
from harness.workflows.parity import images_in
from harness.zoo.architectures import architecture_of
from harness.zoo.seeded import amplifying_checkpoint, seeded_checkpoint
from harness.zoo.weights import write_checkpoint

ROOT = Path(__file__).resolve().parents[1]

NAME = "mask_rcnn_R_50_FPN"
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
DEVICE = "cuda:0"

#: Images of a val2017, and of the evaluations that are compared with each other.
WHOLE, FEW = 5000, 100

#: Images a batch with which the most images a second were computed; larger ones need more graphs.
BEST_BATCH = "4"

#: Seconds that have to be left for an evaluation of all images to begin, and for one of a few: all
#: of them took 67 to 89 s on an H200 and an H100.
WHOLE_S, FEW_S = 75, 30

#: Longest that a part of this process may take, s; the longest took 55 s on an H100.
LONGEST_PART_S = 100

#: Longest that a sweep may take, s: what is after it shall have its turn. One took 90 s on an H100.
LONGEST_S = 100


class Session:
    """What the parts share: options, weights, engines that stay open, and the time left."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self.asked = asked
        self.folder = folder
        self.begun = time.monotonic()
        self.paths = images_in(asked.images)
        self.architecture = architecture_of(NAME)
        self.weights = folder / "seeded.safetensors"
        self.amplifying = folder / "amplifying.safetensors"
        write_checkpoint(self.weights, seeded_checkpoint(self.architecture))
        write_checkpoint(self.amplifying, amplifying_checkpoint(self.architecture))
        self.opened: dict[str, Any] = {}
        paths = [str(path.absolute()) for path in (ROOT, asked.detectron2) if path is not None]
        paths += [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def left_s(self) -> float:
        """Seconds until the run has to end."""
        return self.asked.seconds - (time.monotonic() - self.begun)

    def native(self, precision: Any = "fp32", **options: Any) -> NativeEngine:
        """The native engine; opened once with the same options."""
        key = f"native {precision} {options}"
        if key not in self.opened:
            self.opened[key] = open_native(
                architecture=self.architecture,
                device=DEVICE,
                precision=precision,
                **{"weights": self.weights, **options},
            )
        return self.opened[key]  # type: ignore[no-any-return]

    def detectron2(self, weights: Path | None = None) -> Any:
        """Detectron2's engine, or None where it cannot be imported."""
        key = f"detectron2 {weights}"
        if key not in self.opened:
            try:
                self.opened[key] = open_detectron2(
                    architecture=self.architecture,
                    weights=weights or self.weights,
                    device=DEVICE,
                )
            except PrerequisiteError:
                self.opened[key] = None
        return self.opened[key]

    def pictures(self, count: int) -> list[Image]:
        """The first images."""
        return [picture(number, path) for number, path in enumerate(self.paths[:count])]

    def command(
        self, words: list[str], longest_s: float = float("inf")
    ) -> subprocess.CompletedProcess[str]:
        """Another program, run to its end."""
        limit_s = min(longest_s, max(30, self.left_s()))
        return run_to_its_end(words, ROOT, self.environment, limit_s)

    def close(self) -> None:
        """Close every engine that is open. A GPU that no longer answers frees nothing."""
        engines = [engine for engine in self.opened.values() if engine is not None]
        self.opened.clear()
        for engine in engines:
            with suppress(RuntimeError):
                engine.close()
        del engines
        gc.collect()
        with suppress(RuntimeError):
            torch.cuda.empty_cache()


def picture(number: int, path: Path) -> Image:
    """A file, decoded."""
    return Image(image_id=number, pixels_bgr=read_pixels(path, where=str(path)))


def proofs(session: Session, found: dict[str, Any]) -> None:
    """Exact against Detectron2, and fast against float64, on weights that are tame and wild."""
    for label, weights in (("seeded", session.weights), ("amplifying", session.amplifying)):
        exact = session.native(weights=weights, exact=True)
        reference = session.detectron2(weights)
        if reference is not None:
            whole = to_plain(prove_exact(exact, reference, session.pictures(8)))
            found[f"exact, {label}"] = whole
        truth = float64_network(session.architecture, weights, exact.device)
        fast = session.native(weights=weights)
        found[f"fast fp32, {label}"] = _short(prove_fast(fast, exact, truth, session.pictures(6)))
    half = prove_fast(
        session.native("fp16", weights=session.weights),
        session.native("fp16", weights=session.weights, exact=True),
        float64_network(session.architecture, session.weights, torch.device(DEVICE)),
        session.pictures(2),
    )
    found["fast fp16, seeded"] = _short(half)
    session.close()


def _short(proof: Any) -> dict[str, Any]:
    """A proof; of its differences only those that are no rounding."""
    plain: dict[str, Any] = to_plain(proof)
    every = plain.pop("differences")
    plain["differing"] = len(every)
    plain["faults"] = [one for one in every if one["decision"] is None][:20]
    return plain


def memory(session: Session, found: dict[str, Any]) -> None:
    """Peak bytes that torch allocates for one image, each engine alone."""
    ways: dict[str, Callable[[], Any]] = {
        precision: lambda precision=precision: session.native(precision)  # type: ignore[misc]
        for precision in ("fp32", "fp16")
    }
    ways["Detectron2 fp32"] = session.detectron2
    images = session.pictures(3)
    for name, opened in ways.items():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        engine = opened()
        if engine is None:
            continue
        for _ in range(3):
            for image in images:
                engine.infer([engine.prepare(image, NULL_STOPWATCH)], NULL_STOPWATCH)
        found[name] = torch.cuda.max_memory_allocated() - before
        session.close()


def single(session: Session, found: dict[str, Any]) -> None:
    """One image at a time, each precision against Detectron2 in turn."""
    reference = session.detectron2()
    for precision in PRECISIONS:
        engine = session.native(precision)
        scopes: dict[str, tuple[list[float], list[float]]] = {}
        for path in session.paths[: session.asked.count]:
            ours = _scopes(engine, path)
            theirs = None if reference is None else _scopes(reference, path)
            for scope, way in ours.items():
                ways = [way] if theirs is None else [way, theirs[scope]]
                for _ in range(2):  # a graph is made at the second sight
                    way()
                columns = in_turn(ways, session.asked.repeats)
                kept = scopes.setdefault(scope, ([], []))
                for column, seconds in zip(kept, columns, strict=False):
                    column.extend(seconds)
        found[precision] = {scope: _summed_up(*pair) for scope, pair in scopes.items()}


def _summed_up(ours: list[float], theirs: list[float]) -> dict[str, float]:
    return compared(ours, theirs) if theirs else {"ours_median_s": statistics.median(ours)}


def _scopes(engine: Any, path: Path) -> dict[str, Callable[[], object]]:
    prepared = engine.prepare(picture(0, path), NULL_STOPWATCH)

    def network() -> None:
        if isinstance(engine, NativeEngine):
            # Everything the device does: masks pasted and traced, too.
            pending = engine.begin([prepared])
            for part in pending.parts:
                part.done.synchronize()
            engine.finish(pending)
        else:
            with torch.inference_mode():
                engine.model.inference([prepared], do_postprocess=False)
            engine.synchronize()

    def alone() -> None:
        assert isinstance(engine, NativeEngine)
        assert engine.slots is not None
        begun = engine.begin([prepared]).parts[0]
        begun.done.synchronize()
        engine.slots.give_back(begun)

    has_slots = isinstance(engine, NativeEngine) and engine.slots is not None
    return {
        "network": alone if has_slots else network,
        "resized image to encoded detections": lambda: engine.infer([prepared], NULL_STOPWATCH),
        "file to encoded detections": lambda: engine.infer(
            [engine.prepare(picture(0, path), NULL_STOPWATCH)], NULL_STOPWATCH
        ),
    }


def throughput(session: Session, found: dict[str, Any]) -> None:
    """Images a second from files to encoded detections, loaders on all cores."""
    found["loaders"] = usable_cpus()
    for precision, batch in (("fp32", 1), ("fp16", 1), ("fp16", 4), ("fp16", 8), ("fp16", 16)):
        engine = session.native(precision)
        many = session.asked.many if precision == "fp16" else session.asked.many // 4
        for images in (many, many):  # the first makes the graphs
            count, seconds = _run(engine, session.paths, images, batch)
        found[f"{precision}, batch {batch}"] = {
            "images": count,
            "images_per_s": count / seconds,
            "graphs": engine.slots.graph_count if engine.slots else 0,
            "notes": engine.notes,
        }
    reference = session.detectron2()
    if reference is not None:
        count, seconds = _run(reference, session.paths, session.asked.many // 10, 1)
        found["Detectron2 fp32, batch 1"] = {"images": count, "images_per_s": count / seconds}


def _run(engine: Any, paths: list[Path], images: int, batch: int) -> tuple[int, float]:
    """So many images through loaders and engine, of shapes that lie together; and the seconds."""
    wanted = sorted(paths, key=_shape) if batch > 1 else paths
    every = [wanted[number * len(wanted) // images] for number in range(images)]
    if batch == 1:
        every = [wanted[number % len(wanted)] for number in range(images)]

    def prepared(path: Path) -> Any:
        return engine.prepare(picture(0, path), NULL_STOPWATCH)

    begun = time.perf_counter()
    done = 0
    for answer in _answers(engine, ahead(every, prepared, size=batch, loaders=usable_cpus())):
        done += len(answer)
    return done, time.perf_counter() - begun


def _answers(engine: Any, batches: Iterable[Any]) -> Iterator[list[Detections]]:
    with ThreadPoolExecutor(3) as pool:
        under_way: list[Any] = []
        for batch in batches:
            images = [future.result() for _, future in batch]
            if isinstance(engine, NativeEngine):
                under_way.append(pool.submit(engine.finish, engine.begin(images)))
                if len(under_way) > 3:
                    yield under_way.pop(0).result()
            else:
                yield engine.infer(images, NULL_STOPWATCH)
        for one in under_way:
            yield one.result()


def _shape(path: Path) -> tuple[float, str]:
    from PIL import Image as PillowImage

    with PillowImage.open(path) as image:
        return image.width / image.height, path.name


def identity(session: Session, found: dict[str, Any]) -> None:
    """The same bytes again, without graphs, and begun ahead."""
    pictures = session.pictures(8)
    for precision in ("fp32", "fp16"):
        engines = [session.native(precision), session.native(precision, graphs=False)]
        prepared = [engines[0].prepare(one, NULL_STOPWATCH) for one in pictures]
        first = [engines[0].infer([one], NULL_STOPWATCH)[0] for one in prepared]
        again = [engines[0].infer([one], NULL_STOPWATCH)[0] for one in prepared]
        plain = [engines[1].infer([one], NULL_STOPWATCH)[0] for one in prepared]
        begun = [engines[0].begin([one]) for one in prepared]
        ahead_of = [engines[0].finish(one)[0] for one in begun]
        others = {"repeated": again, "without graphs": plain, "begun ahead": ahead_of}
        found[precision] = {
            name: all(
                same_detections(one, other)[1] is None
                for one, other in zip(answer, first, strict=True)
            )
            for name, answer in others.items()
        }
    session.close()


def evaluation(session: Session, found: dict[str, Any]) -> None:
    """Whole commands, start and scoring included; images of the folder again and again."""
    annotations, photos = _multiplied(session, WHOLE)
    few, _ = _multiplied(session, FEW)
    half = ["--precision", "fp16", "--batch-size"]
    # In the order in which they are measured: what there is no time for is left out from the end.
    runs = [
        (f"fp16, batch 1, {WHOLE} images", annotations, [*half, "1"], WHOLE_S),
        (f"fp16, batch {BEST_BATCH}, {WHOLE} images", annotations, [*half, BEST_BATCH], WHOLE_S),
        (f"fp32, {FEW} images", few, [], FEW_S),
        (f"fp32, {FEW} images again", few, [], FEW_S),
        (f"fp32, {FEW} images, 2 workers", few, ["--workers", "2"], FEW_S),
    ]
    if session.detectron2() is not None:
        options = ["--engine", "detectron2"]
        runs.insert(2, (f"Detectron2 fp32, {FEW} images", few, options, FEW_S))
    for name, file, options, least_s in runs:
        if session.left_s() < least_s:
            found[name] = "no time left"
            continue
        found[name] = _evaluated(session, file, photos, options)
    digests = [
        one["predictions_sha256"]
        for name, one in found.items()
        if isinstance(one, dict) and name.startswith("fp32") and "predictions_sha256" in one
    ]
    if len(digests) > 1:
        found["fp32 predictions are the same bytes"] = len(set(digests)) == 1


def _evaluated(session: Session, file: Path, photos: Path, options: list[str]) -> dict[str, Any]:
    output = Path(tempfile.mkdtemp(dir=session.folder)) / "run"
    command = [
        *(sys.executable, "-m", "harness", "eval", "--model", "R_50_FPN_3x"),
        *("--weights", str(session.weights), "--annotations", str(file), "--images", str(photos)),
        *("--device", DEVICE, "--output", str(output), "--json", *options),
    ]
    begun = time.monotonic()
    try:
        done = session.command(command)
    except subprocess.TimeoutExpired as error:  # what was measured before stays
        return {"seconds": time.monotonic() - begun, "error": f"ended after {error.timeout:.0f} s"}
    seconds = time.monotonic() - begun
    if done.returncode not in (0, 1):
        return {"seconds": seconds, "error": done.stderr[-1500:]}
    record = json.loads(done.stdout)
    predictions = (output / "predictions.json").read_bytes()
    return {
        "seconds": seconds,
        "stage_times_s": record["stage_times_s"],
        "notes": record.get("notes"),
        "predictions_sha256": hashlib.sha256(predictions).hexdigest(),
    }


def _multiplied(session: Session, count: int) -> tuple[Path, Path]:
    """An annotation file of ``count`` images, which are the folder's again and again."""
    folder = session.folder / "photos"
    folder.mkdir(exist_ok=True)
    content = json.loads(session.asked.annotations.read_text("utf-8"))
    images = content["images"]
    by_image: dict[int, list[dict[str, Any]]] = {}
    for one in content["annotations"]:
        by_image.setdefault(one["image_id"], []).append(one)
    content["images"], content["annotations"] = [], []
    for number in range(1, count + 1):
        source = images[number % len(images)]
        name = f"{number:06d}.jpg"
        if not (folder / name).exists():
            (folder / name).symlink_to((session.asked.images / source["file_name"]).resolve())
        content["images"].append({**source, "id": number, "file_name": name})
        for one in by_image.get(source["id"], ()):
            identity = len(content["annotations"]) + 1
            content["annotations"].append({**one, "id": identity, "image_id": number})
    path = session.folder / f"instances{count}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path, folder


def training(session: Session, found: dict[str, Any]) -> None:
    """Iterations of 16 images at 800 px, against Detectron2's in fp32 without loading."""
    from benchmarks import train_vs_detectron2 as way

    asked = argparse.Namespace(
        annotations=session.asked.annotations,
        images=session.asked.images,
        architecture=NAME,
        short_edge=800,
        batch_size=16,
    )
    architecture, weights, samples = way.material(asked)
    device = torch.device(DEVICE)
    ways = {
        precision: way.native(architecture, weights, samples, device, precision)
        for precision in ("fp32", "bf16")
    }
    if session.detectron2() is not None:
        ways["Detectron2 fp32"] = way.detectron2(architecture, weights, samples, device)
    session.close()
    columns = in_turn(list(ways.values()), 5)
    medians = {name: sorted(column)[2] for name, column in zip(ways, columns, strict=True)}
    ways.clear()
    found.update(images=len(samples), median_s=medians)
    # By themselves: what loads ahead would take the cores of the others, and be done in their turn.
    for precision in ("fp32", "bf16"):
        seconds = way.loading_seconds(asked, architecture, weights, device, precision, 7)
        medians[f"{precision}, loading"] = statistics.median(seconds)


def sweep(session: Session, found: dict[str, Any]) -> None:
    """``harness sweep`` of 4 cells over 24 images, start included."""
    file, photos = _multiplied(session, 24)
    command = [
        *(sys.executable, "-m", "harness", "sweep", "--model", "R_50_FPN_3x"),
        *("--weights", str(session.weights), "--annotations", str(file), "--images", str(photos)),
        *("--device", DEVICE, "--output", str(session.folder / "sweep")),
        *("--precisions", "fp32,fp16", "--memory-formats", "contiguous", "--compiled", "no"),
        *("--batch-sizes", "1,8", "--min-duration", "1", "--repeats", "1"),
    ]
    begun = time.monotonic()
    done = session.command(command, LONGEST_S)
    found.update(
        seconds=time.monotonic() - begun,
        exit_code=done.returncode,
        said=(done.stdout + done.stderr)[-1500:],
    )


def marked_tests(session: Session, found: dict[str, Any]) -> None:
    """``make test-gpu``."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "tests/gpu", "tests/nn/kernels"]
    done = session.command(command, LONGEST_S)
    said = done.stdout + done.stderr  # the second where there is no pytest
    found.update(exit_code=done.returncode, said=said[:3000] + said[3000:][-600:])


#: The whole evaluations, which take longest, last: they use the time that is left.
PARTS: tuple[Part[Session], ...] = (
    memory,
    proofs,
    single,
    throughput,
    identity,
    training,
    marked_tests,
    sweep,
    evaluation,
)

#: Parts that are other programs, each with a limit of its own.
PROGRAMS = (marked_tests, sweep, evaluation)


def main() -> None:
    """Run every part, write the JSON and the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--detectron2", type=Path, help="source tree to import it from")
    parser.add_argument("--count", type=int, default=6, help="images timed one at a time")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--many", type=int, default=480, help="images of a throughput")
    parser.add_argument("--seconds", type=float, default=350.0, help="when to have ended")
    parser.add_argument("--parts", help="names with commas; default: all")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    asked = parser.parse_args()
    parts = _wanted(parser, asked)
    result: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "model": NAME}
    write(asked.output, result)  # now, not after minutes of a GPU, where it cannot be written
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        session = Session(asked, Path(folder))
        for part in parts:
            longest_s = session.left_s() + 30
            if part not in PROGRAMS:
                longest_s = min(longest_s, LONGEST_PART_S)
            result[part.__name__] = measured(part, session, longest_s)
            write(asked.output, result)


def _wanted(parser: argparse.ArgumentParser, asked: argparse.Namespace) -> list[Part[Session]]:
    """Return the parts to measure. What is wrong with the arguments ends the program, at once."""
    names = [part.__name__ for part in PARTS]
    wanted = names if asked.parts is None else asked.parts.split(",")
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"--parts: no {', '.join(unknown)}; there are {', '.join(names)}")
    if not asked.annotations.is_file():
        parser.error(f"--annotations: no such file: {asked.annotations}")
    if not asked.output.absolute().parent.is_dir():
        parser.error(f"--output: no such folder: {asked.output.absolute().parent}")
    try:
        images_in(asked.images)
        if asked.detectron2 is not None:
            if not (asked.detectron2 / "detectron2" / "__init__.py").is_file():
                parser.error(f"--detectron2: no source tree of Detectron2: {asked.detectron2}")
            sys.path.insert(0, str(asked.detectron2.absolute()))
            require_detectron2(*MODULES)
    except HarnessError as error:
        parser.error("; ".join(one for one in (error.message, error.hint) if one))
    if not torch.cuda.is_available():
        parser.error("torch sees no GPU")
    return [part for part in PARTS if part.__name__ in wanted]


def write(output: Path, result: dict[str, Any]) -> None:
    """The JSON, and the table beside it."""
    whole = {**result, "environment": environment()}
    output.write_text(json.dumps(whole, indent=1, default=str) + "\n", encoding="utf-8")
    output.with_suffix(".md").write_text(table(whole), encoding="utf-8")


if __name__ == "__main__":
    main()
