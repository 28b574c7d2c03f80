"""Every field of a request is an option of its command, with the same name and default."""

from __future__ import annotations

import dataclasses

import pytest

from harness.cli.main import _parser
from harness.core.requests import (
    BenchRequest,
    DownloadRequest,
    EvalRequest,
    InferenceRequest,
    ScoreRequest,
    SubmitRequest,
)

#: Filled by the command itself: nested, or a folder that is searched for.
NOT_AN_OPTION = {"inference", "evaluation"}

#: On a cluster the number of shards stands for that of workers.
ELSEWHERE = {("submit", "workers")}
SEARCHED_DEFAULT = {"root"}


@pytest.mark.parametrize(
    ("command", "requests"),
    [
        ("eval", (EvalRequest, InferenceRequest)),
        ("bench", (BenchRequest, InferenceRequest)),
        ("score", (ScoreRequest,)),
        ("download", (DownloadRequest,)),
        ("submit eval --profile p.toml", (SubmitRequest, EvalRequest, InferenceRequest)),
    ],
)
def test_fields_are_options(command: str, requests: tuple[type, ...]) -> None:
    words = command.split()
    given = vars(_parser(words).parse_args(words))
    expected = {
        field.name: field.default
        for request in requests
        for field in dataclasses.fields(request)
        if field.name not in NOT_AN_OPTION and field.default is not dataclasses.MISSING
        if (words[0], field.name) not in ELSEWHERE
    }
    assert set(expected) <= set(given)
    differ = {
        name: (given[name], default)
        for name, default in expected.items()
        if name not in SEARCHED_DEFAULT and given[name] != default
    }
    assert not differ
