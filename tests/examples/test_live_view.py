"""A training in a running notebook: a real kernel shows one view, drawn again in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CELL = """
import harness

harness.train(
    model="tiny", init="none", iterations=40, batch_size=1, eval_every=0, short_edge_px=64,
    train_annotations={annotations!r}, train_images={images!r},
    val_annotations={annotations!r}, val_images={images!r},
    rois_per_image=16, threads=1, device="cpu", output={output!r}, progress=True,
)
print("finished")
"""


def test_a_training_is_one_view_with_a_bar_and_curves(
    small_coco: Path, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient: Any = pytest.importorskip("nbclient", reason="needs the packages of the extra dev")
    nbformat: Any = pytest.importorskip("nbformat", reason="needs the packages of the extra dev")
    pytest.importorskip("ipykernel", reason="needs the packages of the extra dev")
    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    code = CELL.format(
        annotations=str(small_coco / "annotations.json"),
        images=str(small_coco / "images"),
        output=str(tmp_path / "run"),
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))
    outputs = notebook.cells[0].outputs
    views = [one for one in outputs if one.output_type == "display_data"]
    assert len(views) == 1, [one.output_type for one in outputs]
    page = views[0].data["text/html"]
    assert "training loss" in page
    assert "<polyline" in page
    assert "finished" in "".join(one.get("text", "") for one in outputs)
