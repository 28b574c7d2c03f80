"""Find out why a number is what it is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.calls import Shown, composed, shown_by
from harness.core.requests.inference import DiagnoseRequest
from harness.core.requests.signatures import signed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from harness.core.requests import keywords
    from harness.workflows.diagnose import Diagnosis


@signed
def diagnose(
    run: str | Path | None = None,
    *,
    progress: Shown = False,
    **settings: Unpack[keywords.DiagnoseSettings],
) -> Diagnosis:
    """Find out why an AP is what it is, as ``harness diagnose``.

    Args:
        run: Run folder of an evaluation; or give ``predictions`` and ``annotations``.
        progress: As of `evaluate`.
        **settings: Those of `DiagnoseRequest`.

    Returns:
        The faults that were found, strongest first, with AP before and after each is undone, and
        what differs from the reference.

    Raises:
        HarnessError: As `evaluate`.
    """
    from harness.workflows.diagnose import diagnose_predictions

    request = composed("diagnose", DiagnoseRequest, {"run": run, **settings})
    return diagnose_predictions(request, progress=shown_by(progress), clock=time.monotonic)
