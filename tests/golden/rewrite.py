"""``python -m tests.golden.rewrite``: records the numbers anew from the installed Detectron2."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from harness.core.architecture import Architecture
from harness.core.clock import utc_now
from harness.core.progress import Silent
from harness.core.requests.inference import EvalRequest, InferenceRequest
from harness.engines.detectron2 import open_detectron2
from harness.engines.stages import detectron2_stages
from harness.measure.timing import NULL_STOPWATCH, PhaseTimer
from harness.workflows.evaluation.evaluate import evaluate
from harness.zoo.seeded import DEFAULT_SEED, seeded_checkpoint
from harness.zoo.weights import write_checkpoint
from tests.composing import composed
from tests.golden import dense_losses, semantic_losses
from tests.golden.cases import (
    FOLDER,
    NETWORKS,
    kept_values,
    network,
    pictures_for,
    plain_detections,
)
from tests.golden.families import (
    FAMILIES,
    TRAINED,
    narrow,
    trained_parameters,
)
from tests.golden.losses import CASE as LOSSES
from tests.golden.losses import detectron2_losses
from tests.uncompiled import offer_deformable_convolutions


def main() -> None:
    """Every case, one file each."""
    offer_deformable_convolutions()
    for name in NETWORKS:
        _write(name, _inference(network(name)))
    for name in FAMILIES:
        small = narrow(name)
        content = _inference(small)
        if name in TRAINED:
            content["training"] = detectron2_losses(small, trained_parameters(small))
        _write(f"family_{name}", content)
    _write(LOSSES, detectron2_losses())
    _write(dense_losses.CASE, dense_losses.detectron2_losses())
    _write(
        semantic_losses.CASE,
        {name: semantic_losses.detectron2_losses(name) for name in semantic_losses.NETWORKS},
    )
    _write("tiny_eval", _tiny())
    # In a process of its own: what torch computes with is fixed before it is loaded.
    subprocess.run([sys.executable, "-m", "tests.golden.bits", "--record"], check=True)


def _inference(architecture: Architecture) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        write_checkpoint(weights, seeded_checkpoint(architecture))
        engine = open_detectron2(architecture=architecture, weights=weights, device="cpu")
    images = []
    for picture in pictures_for(architecture):
        prepared = engine.prepare(picture, NULL_STOPWATCH)
        stages, proposals = detectron2_stages(engine, prepared)
        images.append(
            {
                "stages": {key: kept_values(value).tolist() for key, value in stages.items()},
                "proposals": proposals[:32].tolist(),
                "detections": plain_detections(engine.infer([prepared], NULL_STOPWATCH)[0]),
            }
        )
    return {"seed": DEFAULT_SEED, **_versions(), "images": images}


def _tiny() -> dict[str, Any]:
    """The embedded model's accuracy, by Detectron2."""
    with tempfile.TemporaryDirectory() as folder:
        request = EvalRequest(
            inference=composed(
                InferenceRequest, engine="detectron2", device="cpu", root=Path(folder)
            ),
            output=Path(folder) / "run",
        )
        record, _ = evaluate(
            request,
            progress=Silent(),
            command=(),
            now=utc_now(),
            stopwatch=PhaseTimer(lambda: 0.0, lambda: None),
        )
    assert record.checkpoint is not None
    metrics = {name: value for name, value in record.metrics.items() if "/A" in name}
    return {"checkpoint": record.checkpoint.sha256, **_versions(), "metrics": metrics}


def _versions() -> dict[str, str]:
    import detectron2

    return {"detectron2": detectron2.__version__, "torch": torch.__version__}


def _write(name: str, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1) + "\n"
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
