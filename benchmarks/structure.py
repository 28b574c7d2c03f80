"""The size of the package, and how many of its modules one command passes through.

python benchmarks/structure.py
python benchmarks/structure.py --checkout ../another-checkout

A module counts for a command when one of its functions is called while the command runs in a
process: what runs only while a module is imported (bodies of classes, tables that are made of
functions) does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pairs import keep

ROOT = Path(__file__).resolve().parents[1]

#: Name → words of the command; {folder} is for runs, {data} has one small image with annotations.
COMMANDS = {
    "evaluation": "eval --engine fake --annotations {data}/annotations.json --images {data} "
    "--output {folder}/eval",
    "training": "train --init none --iterations 1 --batch-size 1 --threads 1 --device cpu "
    "--train-annotations {data}/annotations.json --train-images {data} "
    "--val-annotations {data}/annotations.json --val-images {data} --output {folder}/train",
}

#: Runs in a process of its own: {argv} is run under a profile that notes the files of calls.
TRACED = """
import json, sys, threading
from pathlib import Path
import harness
from harness.cli.main import run
package = str(Path(harness.__file__).parent)
seen = set()
def imported(frame):
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(package):
            return True
        frame = frame.f_back
    return False
def note(frame, event, argument):
    name = frame.f_code.co_filename
    ours = name.startswith(package) and name.endswith(".py")  # templates are no modules
    if event == "call" and ours and name not in seen and not imported(frame):
        seen.add(name)
threading.setprofile(note)
sys.setprofile(note)
code = run(json.loads(sys.argv[1]))
sys.setprofile(None)
if not code:
    print("modules:", len(seen), file=sys.stderr)
"""


def package_size(checkout: Path) -> dict[str, float]:
    """Number of modules with code, their median and all lines, of the package in a checkout."""
    modules = [path for path in (checkout / "harness").rglob("*.py") if path.name != "__init__.py"]
    lines = [len(path.read_text("utf-8").splitlines()) for path in modules]
    return {"modules": len(lines), "median_lines": statistics.median(lines), "lines": sum(lines)}


def small_data(folder: Path) -> Path:
    """A data set of one image and one object, below ``folder``."""
    data = folder / "data"
    data.mkdir()
    Image.new("RGB", (96, 64), (90, 120, 150)).save(data / "image.png")
    outline = [10, 10, 50, 10, 50, 50, 10, 50]
    written = {
        "images": [{"id": 1, "file_name": "image.png", "width": 96, "height": 64}],
        # As many as the embedded model has.
        "categories": [{"id": number, "name": f"shape {number}"} for number in range(1, 9)],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [10, 10, 40, 40],
                "area": 1600,
                "iscrowd": 0,
                "segmentation": [outline],
            }
        ],
    }
    (data / "annotations.json").write_text(json.dumps(written), encoding="utf-8")
    return data


def modules_of(command: str, checkout: Path) -> int:
    """How many modules of the package in ``checkout`` a command calls functions of."""
    with tempfile.TemporaryDirectory() as folder:
        argv = command.format(folder=folder, data=small_data(Path(folder))).split()
        done = subprocess.run(
            [sys.executable, "-c", TRACED, json.dumps(argv)],
            env={**os.environ, "PYTHONPATH": str(checkout)},
            cwd=folder,
            capture_output=True,
            text=True,
        )
    found = [line for line in done.stderr.splitlines() if line.startswith("modules: ")]
    if not found:
        raise SystemExit(f"harness {command} did not end:\n{done.stderr[-2000:]}")
    return int(found[-1].removeprefix("modules: "))


def main() -> None:
    """Measure one checkout, print and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkout", type=Path, default=ROOT)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    checkout = asked.checkout.resolve()
    passed = {name: modules_of(command, checkout) for name, command in COMMANDS.items()}
    keep(
        {"settings": {"repeats": 1}, "package": package_size(checkout), "modules_passed": passed},
        asked.output,
    )


if __name__ == "__main__":
    main()
