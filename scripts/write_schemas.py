"""Write ``docs/schema``: the JSON Schemas of the files others may read.

python scripts/write_schemas.py docs/schema

A test fails where a file is not what this program writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.core.model import Lock
from harness.core.record import RunRecord
from harness.core.results import PredictReport
from harness.files.atomic import write_text
from harness.files.json import dumps, schema_of

#: File name → what such a file holds.
SCHEMAS = {
    "model_zoo.lock.schema.json": Lock,
    "record.schema.json": RunRecord,
    "predict.schema.json": PredictReport,
}


def write_schemas(folder: Path) -> None:
    """One file for each of SCHEMAS."""
    for name, kind in SCHEMAS.items():
        write_text(folder / name, dumps(schema_of(kind), indent=2) + "\n")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
