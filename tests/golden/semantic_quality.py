"""Random maps of classes and what Detectron2's evaluator says of them: ``python -m`` records it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.panoptic import UNKNOWN
from tests.golden.cases import FOLDER

CASE = "semantic_quality"

#: Classes; the last two are in no ground truth, and the very last is never found either.
CLASSES = 7

Maps = list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]


def maps() -> Maps:
    """Ground truth and what was found of a dozen images of several sizes."""
    random = np.random.Generator(np.random.PCG64(16))
    found: Maps = []
    for number in range(12):
        size = (20 + number, 31 - number)
        truth = random.choice([0, 1, 2, 3, 4, UNKNOWN], size, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05])
        other = random.integers(0, CLASSES - 1, size)
        answer = np.where((random.random(size) < 0.7) & (truth != UNKNOWN), truth, other)
        found.append((truth.astype(np.uint8), answer.astype(np.uint8)))
    return found


def detectron2_numbers() -> dict[str, float]:
    """The numbers of its ``SemSegEvaluator``."""
    import torch
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.evaluation import SemSegEvaluator

    name, images = "harness_semantic_quality", maps()
    if name not in DatasetCatalog.list():
        rows = [
            {"file_name": str(one), "sem_seg_file_name": str(one)} for one in range(len(images))
        ]
        DatasetCatalog.register(name, lambda: rows)
        MetadataCatalog.get(name).set(
            stuff_classes=[str(one) for one in range(CLASSES)], ignore_label=UNKNOWN
        )

    def load(file: str, dtype: Any) -> npt.NDArray[Any]:
        return images[int(file)][0].astype(dtype)

    evaluator = SemSegEvaluator(name, distributed=False, sem_seg_loading_fn=load)
    evaluator.reset()
    for number, (_, answer) in enumerate(images):
        logits = torch.nn.functional.one_hot(torch.from_numpy(answer).long(), CLASSES)
        evaluator.process(
            [{"file_name": str(number)}], [{"sem_seg": logits.permute(2, 0, 1).float()}]
        )
    found = evaluator.evaluate()["sem_seg"]
    return {key: float(found[key]) for key in ("mIoU", "fwIoU", "mACC", "pACC")}


if __name__ == "__main__":
    text = json.dumps(detectron2_numbers(), indent=1) + "\n"
    (FOLDER / f"{CASE}.json").write_text(text, encoding="utf-8")
