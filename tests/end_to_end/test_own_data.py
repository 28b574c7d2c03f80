"""From photographs labelled with labelme to a trained model and its AP, one command a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.data.convert.formats.drawing import labelme_file, photograph, shape
from tests.end_to_end.conftest import Answer

SQUARE = [[10, 10], [50, 10], [50, 50], [10, 50]]
TRIANGLE = [[20, 5], [70, 5], [70, 55]]


def test_labelled_photographs_become_a_model_and_its_ap(
    harness: Callable[..., Answer], project: Path
) -> None:
    for number in range(6):
        photograph(project / "photos" / f"{number}.jpg", 80, 60)
        shapes = [shape("panda", SQUARE)] + [shape("red panda", TRIANGLE)] * (number % 2)
        labelme_file(project / "photos" / f"{number}.json", shapes)
    steps = (
        "data convert photos --output pets.json",
        "data check pets.json --images photos",
        "data split pets.json --fractions 0.5,0.5",
        "train --train-annotations train.json --train-images photos --val-annotations val.json "
        "--val-images photos --iterations 2 --batch-size 2 --init none --device cpu --threads 1 "
        "--short-edge 64 --no-pictures --output run",
        "eval --weights run/model_best.safetensors --annotations val.json --images photos "
        "--threads 1 --short-edge 64 --output measured",
    )
    said = {}
    for step in steps:
        answer = harness(*step.split())
        assert answer.code == 0, answer.err
        said[" ".join(step.split()[:2])] = answer.out
    assert said["data convert"].endswith("next: harness data check pets.json --images photos\n")
    assert said["data split"].endswith(
        "next: harness train --model R_50_FPN_3x --init zoo --train-annotations train.json "
        "--train-images DIR --val-annotations val.json --val-images DIR\n"
    )
    record = json.loads((project / "measured" / "record.json").read_text("utf-8"))
    assert {"bbox/AP", "segm/AP"} <= record["metrics"].keys()
    table = (project / "measured" / "per_category.csv").read_text("utf-8")
    assert "red panda" in table
