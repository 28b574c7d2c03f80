"""Every field of a request is an option of its command, with the same name and default."""

from __future__ import annotations

import dataclasses

import pytest

from harness.cli.main import _parser
from harness.core.drawing import DrawingStyle
from harness.core.requests.cluster import NightRequest, SubmitRequest
from harness.core.requests.data import (
    CleanRequest,
    ConvertRequest,
    MergeRequest,
    OpenImagesRequest,
    SplitRequest,
    SubsetRequest,
)
from harness.core.requests.inference import (
    BenchRequest,
    EvalRequest,
    InferenceRequest,
    ScoreRequest,
    SweepAxes,
    SweepRequest,
)
from harness.core.requests.pictures import PredictRequest, ShowRequest
from harness.core.requests.serving import ServeRequest
from harness.core.requests.training import TrainRequest
from harness.core.requests.zoo import DownloadRequest, ExportRequest

#: Filled by the command itself: nested, or a folder that is searched for.
NOT_AN_OPTION = {"inference", "axes", "work", "style"}

#: On a cluster shards, or nodes and tasks, stand for workers and processes; each work has its own.
ELSEWHERE = {
    # Pictures are named one by one, and lie in no data set.
    "predict": {"dataset", "images", "limit"},
    "submit eval": {"workers", "nodes", "tasks_per_node"},
    # Its --profile is the cluster's, and no bench's.
    "submit bench": {"shards", "nodes", "tasks_per_node", "rehearse_preemption", "profiling"},
    "submit train": {"processes", "shards"},
    "submit nightly": {"shards", "nodes", "tasks_per_node", "rehearse_preemption"},
}

#: What a command does not parse without.
NEEDED = {
    "data convert": ["photos", "--output", "out.json"],
    "data clean": ["in.json", "--output", "out.json"],
    "data split": ["in.json"],
    "data merge": ["a.json", "b.json", "--output", "out.json"],
    "data subset": ["in.json", "--output", "out.json"],
    "data openimages": ["--classes", "Duck", "--output", "ducks"],
}
SEARCHED_DEFAULT = {"root", "results"}


@pytest.mark.parametrize(
    ("command", "requests"),
    [
        ("eval", (EvalRequest, InferenceRequest)),
        ("bench", (BenchRequest, SweepRequest, SweepAxes, InferenceRequest)),
        ("predict", (PredictRequest, DrawingStyle, InferenceRequest)),
        ("show", (ShowRequest, DrawingStyle)),
        ("score", (ScoreRequest,)),
        ("download", (DownloadRequest,)),
        ("export", (ExportRequest,)),
        ("serve", (ServeRequest,)),
        ("train", (TrainRequest,)),
        ("nightly", (NightRequest,)),
        ("data convert", (ConvertRequest,)),
        ("data clean", (CleanRequest,)),
        ("data split", (SplitRequest,)),
        ("data merge", (MergeRequest,)),
        ("data subset", (SubsetRequest,)),
        ("data openimages", (OpenImagesRequest,)),
        ("submit eval", (SubmitRequest, EvalRequest, InferenceRequest)),
        ("submit bench", (SubmitRequest, BenchRequest, InferenceRequest)),
        ("submit train", (SubmitRequest, TrainRequest)),
        ("submit nightly", (SubmitRequest, NightRequest)),
    ],
)
def test_fields_are_options(command: str, requests: tuple[type, ...]) -> None:
    words = command.split()
    words += NEEDED.get(command, [])
    words += ["--profile", "p.toml"] if words[0] == "submit" else []
    words += ["photos"] if words[0] == "predict" else []
    given = vars(_parser(words).parse_args(words))
    expected = {
        field.name: field.default
        for request in requests
        for field in dataclasses.fields(request)
        if field.name not in NOT_AN_OPTION and field.default is not dataclasses.MISSING
        if field.name not in ELSEWHERE.get(command, ())
    }
    assert set(expected) <= set(given)
    differ = {
        name: (given[name], default)
        for name, default in expected.items()
        if name not in SEARCHED_DEFAULT and given[name] != default
    }
    assert not differ
