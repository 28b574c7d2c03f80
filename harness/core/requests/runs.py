"""Requests whose work leaves a run folder with a record."""

from __future__ import annotations

from harness.core.requests.inference import BenchRequest, EvalRequest, SweepRequest
from harness.core.requests.training import TrainRequest

RunRequest = EvalRequest | BenchRequest | SweepRequest | TrainRequest
