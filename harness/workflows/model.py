"""A model in memory that finds objects in images: what `harness.load_model` returns."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from harness.core.architecture import ChannelOrder
from harness.core.dataset import Category
from harness.core.detections import Detections, Image
from harness.core.engine import EXPORT_FORMATS, Engine, EngineInfo, notes_of
from harness.core.errors import HarnessError, RunFailedError, UsageError
from harness.core.printable import shown
from harness.core.record import CheckpointFacts
from harness.core.requests.inference import ModelSpec, RecipeOverrides
from harness.core.requests.loading import LoadRequest
from harness.core.run_files import RECORD, RUN
from harness.data.given_images import GivenImage, decoded, given_images
from harness.data.images import about
from harness.data.trained_weights import statement_of
from harness.engines.loading import ProvenModel, open_proven, prove_model
from harness.engines.opening import loader_count
from harness.files.failures import failure_of, reason_of, system_failures
from harness.measure.timing import NULL_STOPWATCH
from harness.workflows.evaluation.inference import ahead
from harness.workflows.runs.files import read_run
from harness.workflows.runs.folder import read_record
from harness.workflows.runs.weights import (
    TRAINED,
    completed,
    sizes_of_run,
    weights_of,
)
from harness.zoo.lock import read_lock
from harness.zoo.model_file import CHANGED

if TYPE_CHECKING:
    from harness.data.given_images import ImageLike


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelInfo:
    """What a loaded model is."""

    name: str
    """Model entry."""

    title: str
    """The same in words."""

    engine: EngineInfo
    """What computes it, and where."""

    checkpoint: CheckpointFacts
    """The weights: file, size, hash, and whether they are the pinned ones."""

    threshold: float
    """Lowest score that `Model.predict` returns when the call names none."""

    has_masks: bool
    """Whether detections have masks."""

    def __repr__(self) -> str:
        """Model, engine and weights: all numbers of the network would be a screen of text."""
        engine, pinned = self.engine, "pinned" if self.checkpoint.pinned else "your own"
        return (
            f"<ModelInfo {self.name}: {engine.name} engine on {engine.device}, {engine.precision}; "
            f"{pinned} weights {self.checkpoint.path}>"
        )


class Model:
    """A network with its weights loaded and its device ready; also a context manager.

    It is used by one thread at a time.
    """

    def __init__(
        self,
        proven: ProvenModel,
        engine: Engine,
        *,
        threshold: float,
        batch_size: int,
        loaders: int,
    ) -> None:
        """Keep the model; `harness.load_model` makes one.

        Args:
            proven: What is computed.
            engine: What computes it; closed with the model.
            threshold: Default of `predict`.
            batch_size: Default of `predict`.
            loaders: Threads that decode and resize ahead.
        """
        self._engine: Engine | None = engine
        self._proven = proven
        self._batch_size = batch_size
        self._loaders = loaders
        self.info = ModelInfo(
            name=proven.entry.name,
            title=proven.entry.title,
            engine=engine.info,
            checkpoint=proven.file.checkpoint,
            threshold=threshold,
            has_masks=proven.architecture.has_masks,
        )

    @property
    def categories(self) -> tuple[Category, ...]:
        """What the classes are called, by class index."""
        return self._proven.categories

    @overload
    def predict(
        self,
        images: Iterator[ImageLike],
        *,
        threshold: float | None = None,
        batch_size: int | None = None,
        channel_order: ChannelOrder | None = None,
    ) -> Iterator[Detections]: ...

    @overload
    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        threshold: float | None = None,
        batch_size: int | None = None,
        channel_order: ChannelOrder | None = None,
    ) -> list[Detections]: ...

    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        threshold: float | None = None,
        batch_size: int | None = None,
        channel_order: ChannelOrder | None = None,
    ) -> list[Detections] | Iterator[Detections]:
        """Find objects in images.

        Args:
            images: A file, a folder (with all below it) or a glob; an array (height, width, 3) of
                uint8; a Pillow image; or several of these. An iterator is read lazily, a few
                images ahead.
            threshold: Lowest score of what is returned; None takes that of `load_model`.
            batch_size: Images the network computes at once; None takes that of `load_model`.
            channel_order: RGB or BGR, of arrays; files and Pillow images need none.

        Returns:
            One `Detections` an image, in their order: a list, also of one; for an iterator an
            iterator.

        Raises:
            UsageError: A name that nothing has, an array of another shape or without a channel
                order, a threshold below what the network lets through.
            IntegrityError: An image that cannot be decoded.
            RunFailedError: The network failed.
        """
        engine = self._open_engine()
        lowest = self._lowest(threshold)
        _require_number("batch_size", batch_size, Integral, "a whole number")
        size = self._batch_size if batch_size is None else batch_size
        if size < 1:
            raise UsageError(f"batch_size must be at least 1, got {size}")
        if size > 1 and self._proven.engine in EXPORT_FORMATS:
            raise UsageError(f"an exported file computes one image at a time, not {size}")
        found = self._found(engine, given_images(images), lowest, size, channel_order)
        return found if isinstance(images, Iterator) else list(found)

    def close(self) -> None:
        """Give back the device's memory; afterwards the model predicts nothing more."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def __enter__(self) -> Model:
        """The model itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Name, engine and device."""
        engine = self.info.engine
        state = ", closed" if self._engine is None else ""
        return (
            f"<Model {self.info.name}: {engine.name} engine on {engine.device}, "
            f"{engine.precision}, {len(self.categories)} categories{state}>"
        )

    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise UsageError(f"{self.info.name} is closed", hint="load the model again")
        return self._engine

    def _lowest(self, threshold: float | None) -> float:
        if threshold is None:
            return self.info.threshold
        _require_number("threshold", threshold, Real, "a number")
        floor = self._proven.architecture.score_threshold
        if not floor <= threshold <= 1:
            raise UsageError(
                f"threshold must be at least {floor:g}, what the network lets through, and at "
                f"most 1; got {threshold}",
                hint="load_model(…, threshold=…) lets through less",
            )
        return threshold

    def _found(
        self,
        engine: Engine,
        given: Iterator[GivenImage],
        threshold: float,
        size: int,
        channel_order: ChannelOrder | None,
    ) -> Iterator[Detections]:
        def prepare(one: GivenImage) -> tuple[Any, tuple[int, int]]:
            image = Image(image_id=one.number, pixels_bgr=decoded(one, channel_order))
            with about(one.source or f"image {one.number}"):
                prepared = engine.prepare(image, NULL_STOPWATCH)
            return prepared, (image.height_px, image.width_px)

        batched = ahead(given, prepare, size=size, loaders=self._loaders)
        with system_failures(), closing(batched) as batches:
            for batch in batches:
                prepared = [future.result() for _, future in batch]
                answers = _inferred(engine, [one for one, _ in prepared], [one for one, _ in batch])
                for (one, _), (_, size_px), found in zip(batch, prepared, answers, strict=True):
                    named = replace(
                        found, categories=self.categories, size_px=size_px, source=one.source
                    )
                    yield named.above(threshold).with_stuff(self._proven.stuff)


def _require_number(name: str, value: Any, kind: type[Any], expected: str) -> None:
    """Raise UsageError for what is no number of a kind; True is none, and None was not given."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
        raise UsageError(f"{name} must be {expected}, got {shown(value)}")


def _inferred(
    engine: Engine, prepared: Sequence[Any], batch: Sequence[GivenImage]
) -> list[Detections]:
    try:
        return engine.infer(prepared, NULL_STOPWATCH)
    except HarnessError:
        raise
    except Exception as error:
        names = ", ".join(one.source or f"image {one.number}" for one in batch)
        failure = failure_of(error)  # of memory, of a GPU
        said = reason_of(error) if failure is None else reason_of(error).partition("\n")[0]
        hint = None if failure is None else failure.hint
        raise RunFailedError(f"inference failed at {names}: {said}", hint=hint) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a model is loaded from."""

    model: str
    """Model entry of the lock."""

    weights: Path | None
    """A checkpoint instead of the pinned one."""

    annotations: Path | None = None
    """COCO file whose categories the weights know, where the source names one."""

    panoptic: Path | None = None
    """Panoptic file whose kinds of stuff the weights know, where the source names one."""

    recipe: RecipeOverrides = field(default_factory=RecipeOverrides)
    """Sizes of images that the run of the source was evaluated with."""


def find_source(source: str | Path, *, model: str | None) -> Source:
    """What a zoo name, a run folder or a checkpoint stands for.

    Args:
        source: One of the three; a name of the lock comes first.
        model: The model entry of a checkpoint; not needed where a training left it.

    Raises:
        UsageError: It is none of them, or it is not known which network a checkpoint is of.
    """
    names = [entry.name for entry in read_lock().models]
    path = Path(source).expanduser()
    if str(source) in names or not path.exists():
        if str(source) not in names and (path.suffix or len(path.parts) > 1):
            raise UsageError(f"no such run folder or checkpoint: {path}")
        if model is not None and model != str(source):
            raise UsageError(f"{source} is a model entry itself: leave out model={model!r}")
        return Source(model=str(source), weights=None)
    if path.is_dir():
        return _of_run(path, model)
    if model is None and (said := statement_of(path)) is not None:
        model = said.model
    if model is None and not (path.parent / RUN).is_file():
        raise UsageError(
            f"{path} does not say which network it is of",
            hint='name its model entry: model="R_50_FPN_3x"; see: harness models',
        )
    return Source(
        model=model or _of_run(path.parent, None).model,
        weights=path,
    )


def _of_run(folder: Path, model: str | None) -> Source:
    run = read_run(folder)
    if run.kind != "train":
        asked = run.request["inference"]
        weights = None if asked["weights"] is None else _evaluated_weights(folder, asked["weights"])
        files = {name: asked.get(name) for name in ("annotations", "panoptic")}
        return Source(
            model=model or asked["model"],
            weights=weights,
            recipe=sizes_of_run(run),
            **{
                name: None if weights is None or file is None else Path(file)
                for name, file in files.items()
            },
        )
    for name in TRAINED:
        if (folder / name).is_file():
            return Source(
                model=model or run.request["model"],
                weights=folder / name,
            )
    raise UsageError(
        f"the training in {folder} has left no weights yet",
        hint="it leaves them at its first evaluation",
    )


def _evaluated_weights(folder: Path, named: str) -> Path:
    """Return the file of the weights of a run; of an unfinished one as it was named.

    Raises:
        IntegrityError: The file has other weights by now.
    """
    if not (folder / RECORD).is_file():
        return Path(named)
    checkpoint = read_record(folder).checkpoint
    return Path(named) if checkpoint is None else weights_of(checkpoint)


def load(request: LoadRequest) -> Model:
    """Return the model of a request, ready for inference; raises as `prove_model` does."""
    source = find_source(request.source, model=request.model)
    options = request.options
    proven = prove_model(
        ModelSpec(model=source.model, weights=source.weights, root=request.root),
        options,
        annotations=request.annotations or source.annotations,
        panoptic=request.panoptic or source.panoptic,
        lowest_score=request.threshold,
        recipe=completed(request.recipe, source.recipe),
    )
    if proven.file.changed:
        warnings.warn(CHANGED, stacklevel=2)
    engine = open_proven(proven, options)
    for sentence in notes_of(engine):
        warnings.warn(sentence, stacklevel=2)
    return Model(
        proven,
        engine,
        threshold=request.threshold,
        batch_size=options.batch_size,
        loaders=loader_count(options),
    )
