"""The stages of a network made visible, without a change in the network's own code.

While a network is observed, the methods named here are wrapped one by one, on that one object;
afterwards they are what they were. Stages are nested: what ``classify`` does besides its two heads
is to pool the regions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from harness.core.engine import Engine, Stopwatch
from harness.core.errors import UsageError
from harness.engines.detectron2 import Detectron2Engine
from harness.engines.native import NativeEngine
from harness.measure.profile import REST


class Part(NamedTuple):
    """A method that is a stage."""

    module: str
    """Dotted path of the module."""

    method: str
    """Name of its method."""

    stage: str
    """Name of the stage."""


NATIVE_PARTS = (
    Part("", "batch", "normalise"),
    Part("backbone.bottom_up", "forward", "backbone"),
    Part("backbone", "forward", "fpn"),
    Part("proposal_generator.rpn_head", "forward", "rpn head"),
    Part("proposal_generator", "anchors", "proposals"),
    Part("proposal_generator", "select", "proposals"),
    Part("head", "forward", "dense head"),
    Part("head", "detect", "box selection"),
    Part("roi_heads", "classify", "box pooling"),
    Part("roi_heads.box_head", "forward", "box head"),
    Part("roi_heads.box_predictor", "forward", "box head"),
    Part("roi_heads", "detect", "box selection"),
    Part("roi_heads", "masks", "mask pooling"),
    Part("roi_heads.mask_head", "probabilities", "mask head"),
)

#: Detectron2's names for the same; what ``inference`` does besides its stages is to paste.
DETECTRON2_PARTS = (
    Part("", "inference", "paste"),
    Part("", "preprocess_image", "normalise"),
    Part("backbone.bottom_up", "forward", "backbone"),
    Part("backbone", "forward", "fpn"),
    Part("proposal_generator.rpn_head", "forward", "rpn head"),
    Part("proposal_generator.anchor_generator", "forward", "proposals"),
    Part("proposal_generator", "predict_proposals", "proposals"),
    Part("head", "forward", "dense head"),
    Part("anchor_generator", "forward", "proposals"),
    Part("roi_heads", "forward", REST),
    Part("roi_heads.box_pooler", "forward", "box pooling"),
    Part("roi_heads.box_head", "forward", "box head"),
    Part("roi_heads.box_predictor", "forward", "box head"),
    Part("roi_heads.box_predictor", "inference", "box selection"),
    Part("roi_heads.mask_pooler", "forward", "mask pooling"),
    Part("roi_heads.mask_head", "forward", "mask head"),
)

#: torchvision's; images are resized where they are normalised.
TORCHVISION_PARTS = (
    Part("transform", "forward", "normalise"),
    Part("backbone.body", "forward", "backbone"),
    Part("backbone", "forward", "fpn"),
    Part("rpn.head", "forward", "rpn head"),
    Part("rpn", "forward", "proposals"),
    Part("roi_heads", "forward", REST),
    Part("roi_heads.box_roi_pool", "forward", "box pooling"),
    Part("roi_heads.box_head", "forward", "box head"),
    Part("roi_heads.box_predictor", "forward", "box head"),
    Part("roi_heads", "postprocess_detections", "box selection"),
    Part("roi_heads.mask_roi_pool", "forward", "mask pooling"),
    Part("roi_heads.mask_head", "forward", "mask head"),
    Part("roi_heads.mask_predictor", "forward", "mask head"),
    Part("transform", "postprocess", "paste"),
)

#: All stages in the order an image passes them, those of the engines' own phases included.
STAGES = (
    *("transfer", "normalise", "backbone", "fpn", "rpn head", "proposals", "dense head"),
    *("box pooling", "box head", "box selection", "mask pooling", "mask head"),
    *("paste", "encode", REST),
)


def network_of(engine: Engine) -> tuple[nn.Module, Sequence[Part]]:
    """Return the network of an engine, and its parts.

    Raises:
        UsageError: The engine has none.
    """
    if isinstance(engine, NativeEngine):
        return engine.network, NATIVE_PARTS
    if isinstance(engine, Detectron2Engine):
        return engine.model, DETECTRON2_PARTS
    if engine.info.name == "torchvision":
        from harness.engines.torchvision import TorchvisionEngine

        assert isinstance(engine, TorchvisionEngine)
        return engine.network, TORCHVISION_PARTS
    raise UsageError(
        f"the {engine.info.name} engine has no network to profile",
        hint="leave out --engine",
    )


@contextmanager
def observed(engine: Engine, stopwatch: Stopwatch) -> Iterator[None]:
    """Run every stage of the engine's network inside a phase of its name, within the block.

    A GPU computes step by step meanwhile: a graph has no stages.

    Args:
        engine: With a network.
        stopwatch: Its phases are entered.

    Raises:
        UsageError: The engine has no network.
    """
    network, parts = network_of(engine)
    modules: dict[str, Any] = dict(network.named_modules())
    with ExitStack() as wrapped:
        if isinstance(engine, NativeEngine):
            wrapped.enter_context(engine.step_by_step())
        for path, method, stage in parts:
            for owner in _owners(modules, path):
                setattr(owner, method, _within(stopwatch, stage, getattr(owner, method)))
                wrapped.callback(partial(delattr, owner, method))
        yield


def _owners(modules: dict[str, Any], path: str) -> list[Any]:
    """Return the modules there: a cascade has several, and a Faster R-CNN no mask head."""
    owner = modules.get(path)
    if isinstance(owner, nn.ModuleList):
        return list(owner)
    return [] if owner is None else [owner]


def parameters_by_stage(engine: Engine) -> dict[str, int]:
    """Return learned numbers of each stage's modules; of nested stages the innermost counts."""
    network, parts = network_of(engine)
    stages = {part.module: part.stage for part in reversed(parts)}  # a module's first part counts
    counts: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        words = name.split(".")[:-1]
        paths = [".".join(words[:length]) for length in range(len(words), -1, -1)]
        stage = next((stages[path] for path in paths if path in stages), REST)
        counts[stage] = counts.get(stage, 0) + parameter.numel()
    return counts


def _within(stopwatch: Stopwatch, stage: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*given: Any, **named: Any) -> Any:
        with stopwatch.phase(stage):
            return method(*given, **named)

    return timed
