"""What each job of an array is given; the jobs themselves: tests/slurm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.cluster.evaluation import shard_tasks
from harness.core.settings import replaced
from harness.workflows.evaluation.resolve import Job
from harness.workflows.runs.shards import open_shard, shard_path


def test_only_missing_images_are_dealt_out(job: Job, tmp_path: Path) -> None:
    with open_shard(shard_path(tmp_path, 0), {}) as shard:
        shard.append({"image_id": 9, "predictions": []})
    tasks = shard_tasks(job, tmp_path, 2, gpus=0)
    assert [task.image_ids for task in tasks] == [(7, 42, 1001), (12, 300)]
    assert [task.number for task in tasks] == [0, 1]


def test_there_is_no_task_without_an_image_but_always_one(job: Job, tmp_path: Path) -> None:
    assert len(shard_tasks(job, tmp_path, 100, gpus=0)) == 6
    with open_shard(shard_path(tmp_path, 0), {}) as shard:
        for image in job.dataset.image_ids:
            shard.append({"image_id": image, "predictions": []})
    assert [task.image_ids for task in shard_tasks(job, tmp_path, 100, gpus=0)] == [()]


def test_a_gpu_that_was_asked_for_is_used_or_missed(job: Job, tmp_path: Path) -> None:
    def devices(asked: str, gpus: int) -> set[str]:
        given = replace(job, request=replaced(job.request, device=asked))
        return {task.request.options.device for task in shard_tasks(given, tmp_path, 2, gpus=gpus)}

    assert devices("auto", 4) == {"cuda"}
    assert devices("auto", 0) == {"auto"}
    assert devices("cpu", 4) == {"cpu"}
