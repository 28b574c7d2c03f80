"""Write ``model_zoo.lock.json`` in its layout: one number, one recipe or one fact a line.

    python scripts/format_lock.py

The order of keys and entries stays as it is; only the line breaks change. Content is edited by
hand, or by a program of one's own, and checked when it is read (``harness.zoo.lock``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

#: Keys whose value, or whose items, stay on one line each.
ON_ONE_LINE = frozenset({"references", "expectations", "recipe", "embedded", "steps"})


def formatted(content: Any) -> str:
    """Return the content of a lock file as its text.

    Args:
        content: The parsed file.
    """
    return _text(content, depth=0, flat=False) + "\n"


def _text(value: Any, *, depth: int, flat: bool) -> str:
    if not value or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if flat and isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    inner = " " * (depth + 1)
    if isinstance(value, list):
        lines = [_text(item, depth=depth + 1, flat=flat) for item in value]
        opening, closing = "[]"
    else:
        lines = [
            f"{json.dumps(key, ensure_ascii=False)}: "
            + _text(item, depth=depth + 1, flat=key in ON_ONE_LINE)
            for key, item in value.items()
        ]
        opening, closing = "{}"
    body = ",\n".join(inner + line for line in lines)
    return f"{opening}\n{body}\n{' ' * depth}{closing}"


def main(path: Path) -> int:
    """Rewrite a lock file; return the exit code."""
    path.write_text(formatted(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    default = Path(__file__).parents[1] / "model_zoo.lock.json"
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else default))
