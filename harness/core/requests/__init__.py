"""What a user asks for, typed. Flags and files only fill these in; every field is one option."""

from __future__ import annotations

from harness.core.requests.inference import BenchRequest, EvalRequest, SweepRequest
from harness.core.requests.training import TrainRequest

#: Requests whose work leaves a run folder with a record.
RunRequest = EvalRequest | BenchRequest | SweepRequest | TrainRequest
