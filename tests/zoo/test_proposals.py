"""Files of region proposals: read as Detectron2 reads them, and refused with the reason."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core.errors import IntegrityError, UsageError
from harness.data.proposals import resized_proposals
from harness.files.digest import file_digest
from harness.zoo.architectures import architecture_of
from harness.zoo.proposals import read_proposals
from tests.golden.cases import pictures

Table = dict[str, Any]


def table(ids: tuple[Any, ...] = (1, 2)) -> Table:
    """As COCOEvaluator writes it; some logits are equal, and some boxes leave their image."""
    random = np.random.Generator(np.random.PCG64(7))
    starts = [random.uniform(-20, 300, (50, 2)) for _ in ids]
    boxes = [
        np.concatenate((one, one + random.uniform(-3, 200, (50, 2))), axis=1) for one in starts
    ]
    logits = [random.integers(-9, 9, 50).astype(np.float32) / 4 for _ in ids]
    return {
        "boxes": [one.astype(np.float32) for one in boxes],
        "objectness_logits": logits,
        "ids": list(ids),
        "bbox_mode": 0,
    }


def written(folder: Path, content: Any, name: str = "box_proposals.pkl") -> Path:
    path = folder / name
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"bbox_mode": 1},
        {"ids": ["1", "2"]},
        {"ids": [np.int64(1), np.int64(2)]},
        {"boxes": [one.astype(np.float64) for one in table()["boxes"]]},
    ],
    ids=["corners", "sides", "text", "numpy", "float64"],
)
@pytest.mark.filterwarnings("ignore")
def test_every_bit_is_that_of_detectron2(tmp_path: Path, change: Table) -> None:
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    from detectron2.data.build import load_proposals_into_dataset
    from detectron2.data.detection_utils import transform_proposals
    from detectron2.data.transforms import ResizeShortestEdge, TransformList

    path = written(tmp_path, table() | change)
    records = load_proposals_into_dataset([{"image_id": one} for one in (1, 2)], str(path))
    found = read_proposals(path, (1, 2), published=False)
    assert found.sha256 == file_digest(path)
    network = architecture_of("fast_rcnn_R_50_FPN")
    for picture, record in zip(pictures(), records, strict=True):
        boxes = found.boxes[picture.image_id]
        transform = ResizeShortestEdge(800, 1333).get_transform(picture.pixels_bgr)
        size = transform.new_h, transform.new_w
        expected = record["proposal_boxes"] if not change.get("bbox_mode") else boxes
        np.testing.assert_array_equal(boxes, expected)
        transform_proposals(record, size, TransformList([transform]), proposal_topk=1000)
        of_image = type(picture)(
            image_id=picture.image_id, pixels_bgr=picture.pixels_bgr, proposals_xyxy_px=boxes
        )
        resized = resized_proposals(of_image, size, network)
        theirs = record["proposals"].proposal_boxes.tensor.numpy()
        assert 20 < len(theirs) < 50
        np.testing.assert_array_equal(resized, theirs)


def test_they_are_sorted_and_older_names_are_known(tmp_path: Path) -> None:
    content = {
        "indexes": [5, 6],
        "scores": [np.array([0.1, 0.9], dtype=np.float32), np.array([], dtype=np.float32)],
        "boxes": [np.array([[0, 0, 1, 1], [2, 2, 4, 4]], dtype=np.float32), np.array([])],
    }
    found = read_proposals(written(tmp_path, content), (5, 6), published=True)
    np.testing.assert_array_equal(found.boxes[5], [[2, 2, 4, 4], [0, 0, 1, 1]])
    assert found.boxes[6].shape == (0, 4)


def test_coco_results_are_read_in_the_order_of_their_scores(tmp_path: Path) -> None:
    rows = [
        {"image_id": 5, "category_id": 1, "bbox": [10, 20, 30, 40], "score": score, "number": score}
        for score in (0.2, 0.7, 0.7)
    ]
    rows[2]["bbox"] = [1, 2, 3, 4]
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    found = read_proposals(path, (5,), published=False).boxes[5]
    np.testing.assert_array_equal(found, [[10, 20, 40, 60], [1, 2, 4, 6], [10, 20, 40, 60]])
    rows[0]["category_id"] = 2
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(IntegrityError, match="2 categories: these are detections"):
        read_proposals(path, (5,), published=False)
    rows[0] |= {"category_id": 1, "bbox": [1, 2, 3]}
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"prediction 0 has the box \[1, 2, 3\]"):
        read_proposals(path, (5,), published=False)


class Harmful:
    """Runs a command where a pickle is run."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, ("harmed", "w")


def test_nothing_of_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IntegrityError, match=r"refused to load (_?io|builtins)\.open"):
        read_proposals(written(tmp_path, table() | {"more": Harmful()}), (1,), published=False)
    assert not (tmp_path / "harmed").exists()


NAN = np.full((50, 4), np.nan, dtype=np.float32)
FAR = np.full((50, 4), -1e300)
LEAST = np.full((50, 4), -(2**63))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "it holds list, not a dict"),
        ({"model": {}}, "it has no list of ids"),
        (table() | {"boxes": [NAN]}, "it lists 2 ids, 1 boxes, 2 objectness_logits"),
        (table() | {"bbox_mode": 4}, "bbox_mode 4 is neither"),
        (table() | {"ids": [1, 1]}, "image 1 is in it twice"),
        (table() | {"ids": [1, "one"]}, "the image id 'one' is not a whole number"),
        *(
            (table() | {"ids": [1, one]}, f"the image id {said} is not a whole number")
            for one, said in (
                (float("inf"), "inf"),
                (1.5, "1.5"),
                (np.float32(2.5), "2.5"),
                (np.array([2]), r"\[2\]"),
                (True, "True"),
                (b"2", "b'2'"),
                ("2_0", "'2_0'"),
                ("9" * 5000, "'999.*…"),
            )
        ),
        (table() | {"boxes": [FAR, FAR]}, "no side or corner may exceed 10,000,000 px"),
        (table() | {"boxes": [LEAST, LEAST]}, "no side or corner may exceed 10,000,000 px"),
        (table() | {"boxes": [NAN, NAN]}, "image 1: a box or its objectness is not a finite"),
        (table() | {"boxes": [NAN[:, :3], NAN]}, r"found \(50, 3\) and \(50,\)"),
        (table() | {"boxes": [[1, 2], [3, 4]]}, "must be arrays of NumPy"),
        (table((8, 9)), "no proposals of 2 of 2 images: image 1, 2"),
        (table((1, 9)), "no proposals of 1 of 2 images: image 2"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: Any, words: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(IntegrityError, match=words) as caught:
        read_proposals(path, (1, 2), published=False)
    assert str(path) in caught.value.message


def test_damaged_and_absent_files_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, table())
    whole = path.read_bytes()
    for content in (b"", b"<html>", whole[: len(whole) // 2], b"{}", b"PK\x03\x04" + whole):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match="as region proposals"):
            read_proposals(path, (1, 2), published=False)
    with pytest.raises(UsageError, match="no such file of region proposals"):
        read_proposals(tmp_path / "absent.pkl", (1,), published=False)
