"""What a job of a cluster reads: all of it has to be where the nodes can see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.cluster.job import plan_bench, plan_training
from harness.core.errors import UsageError
from harness.core.requests.cluster import SubmitBench, SubmitTrain
from harness.workflows.runs.folder import utc_now
from tests.composing import composed
from tests.panoptic_data import write_panoptic_data


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """Settings of any job: a profile, and a folder of data sets."""
    (tmp_path / "cluster.toml").write_text("partition = 'any'\ngpus_per_node = 0\n", "utf-8")
    return {"cluster": tmp_path / "cluster.toml", "root": tmp_path / "datasets"}


def test_a_bench_reads_maps_of_segments(tmp_path: Path, given: dict[str, Any]) -> None:
    images = write_panoptic_data(tmp_path, images=2, root=given["root"])
    request = composed(
        SubmitBench,
        **given,
        model="panoptic_fpn_R_50_1x",
        engine="fake",
        annotations=tmp_path / "instances.json",
        images=images,
        panoptic=tmp_path / "panoptic.json",
    )
    paths = plan_bench(request, command=(), now=utc_now()).prove().paths
    assert {*paths} == {
        tmp_path / "instances.json",
        images,
        tmp_path / "panoptic.json",
        tmp_path / "panoptic",
    }


def test_a_training_reads_test_data_and_region_proposals(
    tmp_path: Path, small_coco: Path, given: dict[str, Any]
) -> None:
    data: dict[str, Path] = {}
    regions = '[{"image_id":%d,"category_id":1,"bbox":[1,1,9,9],"score":0.5}]'
    ids = (7, 9, 12, 42, 300, 1001)
    rows = ",".join((regions % one)[1:-1] for one in ids)
    for part in ("train", "val", "test"):
        own = tmp_path / f"{part}.json"
        own.write_bytes((small_coco / "annotations.json").read_bytes())
        (tmp_path / f"{part}-regions.json").write_text(f"[{rows}]", "utf-8")
        data[f"{part}_annotations"] = own
        data[f"{part}_images"] = small_coco / "images"
        data[f"{part}_proposals"] = tmp_path / f"{part}-regions.json"
    request = composed(
        SubmitTrain, **given, **data, model="fast_rcnn_R_50_FPN_1x", init="none", iterations=1
    )
    paths = plan_training(request, command=(), now=utc_now()).prove().paths
    assert {*paths} - {None} == {*data.values()}


def test_a_network_that_is_not_trained_is_refused_before_a_script_is_shown(
    given: dict[str, Any],
) -> None:
    request = composed(SubmitTrain, **given, model="rpn_R_50_FPN_1x", dry_run=True)
    with pytest.raises(UsageError, match="only proposes regions, and is not trained by itself"):
        plan_training(request, command=(), now=utc_now())
