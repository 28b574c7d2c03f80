"""The Python API on a system that gives no more: its functions raise errors of harness."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from tests.attack.trials import Trials

#: Runs one function after the other under a limit on the size of files, which fails as a full disk
#: does; prints a line of JSON for each: its name, the kind of error and its text.
PROGRAM = """
import json, resource, sys
from pathlib import Path
import harness

calls = json.loads(sys.stdin.read())
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
for name, arguments, settings in calls:
    try:
        getattr(harness, name)(*arguments, **settings)
        kind, text = "none", ""
    except BaseException as error:
        bases = [one.__name__ for one in type(error).__mro__]
        kind, text = ("HarnessError" if "HarnessError" in bases else bases[0]), str(error)
    print(json.dumps([name, kind, text]), flush=True)
"""


@pytest.mark.usefixtures("no_byte_code")
def test_a_full_disk_is_an_error_of_harness(
    trials: Trials, small_coco: Path, tmp_path: Path
) -> None:
    data = {
        "annotations": str(small_coco / "annotations.json"),
        "images": str(small_coco / "images"),
    }
    run = str(harness.evaluate(engine="fake", output=tmp_path / "run", resamples=0, **data).folder)
    new = str(tmp_path / "new")
    root = {"root": str(tmp_path / "root")}
    calls = [
        ("evaluate", [], {"engine": "fake", "output": new, **data}),
        ("benchmark", [], {"engine": "fake", "output": new, **data}),
        ("sweep", [], {"engine": "fake", "output": new, **data}),
        ("score", [run], {"output": new}),
        ("write_report", [run], {}),
        ("compare", [run, run], {"html": str(tmp_path / "new.html")}),
        ("compare_several", [run, run], {"plot": str(tmp_path / "new.png")}),
        ("convert", [data["annotations"]], {"output": str(tmp_path / "new.json")}),
        ("load_dataset", ["synthetic_val"], root),
        ("train", [], {"output": new, **root}),
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    for line in done.stdout.splitlines():
        name, kind, text = json.loads(line)
        with trials.one(name):
            assert kind == "HarnessError", f"{kind}: {text}"
            assert "make room" in text, text
    assert len(done.stdout.splitlines()) == len(calls), done.stderr
