"""The small inputs of ``../shared/cases`` at the border: ground truth, predictions, checkpoints.

What each must end in: an exit code, and what is printed, the right number among it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.cli.main import run
from harness.core.errors import IntegrityError
from harness.nn.rcnn import tensor_shapes
from harness.zoo.architectures import architecture_of
from harness.zoo.checkpoints import EMBEDDED
from harness.zoo.lock import find_model, read_lock
from harness.zoo.weights import account_for, open_checkpoint, read_checkpoint

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"

pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason="needs the cases in ../shared/cases, beside the checkout"
)

GOOD_AP = "bbox/AP         85.000"

#: Words of the command with CASES/ before what has a slash, exit code, what is printed.
TABLE: dict[str, tuple[str, int, tuple[str, ...]]] = {
    **{
        f"{ids} by {evaluator}": (
            f"score --predictions {ids}/pred.json --annotations {ids}/gt.json "
            f"--evaluator {evaluator}",
            0,
            (f"bbox/AP         {ap}", f"segm/AP         {ap}"),
        )
        for ids, ap in (("ids-above-2p53", "71.436"), ("ids-negative", "85.000"))
        for evaluator in ("fast", "pycocotools", "both")
    },
    "whole category ids with a point": (
        "score --predictions pred-cat-float/pred.json --annotations pred-cat-float/gt.json",
        0,
        (GOOD_AP,),
    ),
    "predictions of predict": (
        "score --predictions pred-dict/pred.json --annotations pred-dict/gt.json",
        4,
        ("what harness predict writes", "harness eval --annotations FILE"),
    ),
    "one prediction without a mask": (
        "score --predictions pred-segm-null/pred.json --annotations pred-segm-null/gt.json",
        4,
        ("prediction 1 has no segmentation, and 2 of 3 have one",),
    ),
    "LVIS as COCO": (
        "score --predictions lvis/pred.json --annotations lvis/gt.json",
        4,
        ("is an LVIS file",),
    ),
    **{
        f"{file} through {words}": (f"{words} lvis/{file}.json{more}", 4, (what,))
        for file, what in (
            ("gt", "is an LVIS file"),
            ("lvis1", "is an LVIS file"),
            ("pan", "is a panoptic file"),
        )
        for words, more in (
            ("data check", ""),
            ("data clean", " --output out.json"),
            ("data convert", " --from coco --output out.json"),
        )
    },
    **{
        f"NaN in {kind} through {words}": (f"{words} nan-extra/{kind}.json{more}", 0, ("cat",))
        for kind in ("ann", "cat", "img", "info")
        for words, more in (
            ("data check", ""),
            ("data clean", " --output out.json"),
            ("data split", " --output parts"),
            ("data subset", " --images 2 --output out.json"),
        )
    },
    "half a character in a name": (
        "data check nan-extra/surr.json",
        4,
        ("category 1 has a name that is no Unicode",),
    ),
    "half a character, cleaned": ("data clean nan-extra/surr.json --output out.json", 0, ("c?at",)),
    "polygons of seven numbers": (
        "data check polygon-odd/t.json",
        0,
        ("of an odd number of coordinates, count nowhere",),
    ),
    "sizes of masks with a point": ("data check gt-size-float/t.json", 0, ("cat",)),
    "iscrowd in text": (
        "data check iscrowd-text/coco.json",
        4,
        ("annotation 1 has iscrowd '0'; expected 0 or 1",),
    ),
    "one file on two rows": (
        "data check same-file-name/dup.json",
        0,
        ("1 file is listed as several images",),
    ),
    "NUL in a file name": (
        "data check long-name/fnnul.json",
        4,
        ("image 1 has a NUL in its file name",),
    ),
    **{
        f"{file} through {words}": (f"{words}attack/huge-image-size/{file}.json", 4, (what,))
        for file, what in (
            ("a-imghw1e9", "image 139 has 1,000,000,000 × 1,000,000,000 px; at most"),
            ("a-imghwhuge", "image 139 has 100,000 × 100,000 px; at most"),
            ("a-poly2p31", "image 139 has 2,147,483,648 × 2,147,483,648 px; at most"),
            ("a-segpoly200", "annotation 26547 has outlines of 59,999,400 px; at most"),
        )
        for words in (
            "data check ",
            "score --predictions attack/huge-image-size/P2.json --annotations ",
        )
    },
    **{
        f"rle-overlong {file}": (
            f"score --predictions attack/rle-overlong/{file}.json "
            "--annotations attack/rle-overlong/A.json --evaluator both",
            code,
            (what,),
        )
        for file, code, what in (
            ("P", 0, "segm/AP        100.000"),
            ("p-caption", 0, "segm/AP        100.000"),
            ("p-sizefloat", 0, "segm/AP        100.000"),
            ("p-contbit1M", 4, "prediction 0 has no run lengths"),
            ("p-overneg5", 4, "prediction 0 has no run lengths"),
            ("p-scoretrue", 4, "prediction 0 has the score True"),
            ("p-segnull", 4, "prediction 0 has no segmentation"),
        )
    },
    **{
        f"run-damaged {file}": (
            f"score --predictions attack/run-damaged/predictions-{file}.json "
            "--annotations attack/rle-overlong/A.json",
            4,
            (what,),
        )
        for file, what in (
            ("boxnan", "prediction 0 has the box [nan, nan, nan, nan]"),
            ("empty", "prediction 0 has no run lengths"),
            ("garbage", "prediction 0 has no run lengths"),
            ("overneg5", "prediction 0 has no run lengths"),
            ("segnull", "prediction 0 has no segmentation"),
            ("short", "prediction 0 has run lengths of 101155 px"),
            ("size0", "prediction 0 has a mask of size [0, 0]"),
            ("sizeswap", "a size is height and width, in this order"),
            ("wrap32", "prediction 0 has no run lengths"),
        )
    },
}


#: Both evaluators score 100,000 pixels; one such file is enough at every step.
SLOW = {"rle-overlong p-caption", "rle-overlong p-sizefloat"}


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[pytest.mark.slow] if one in SLOW else []) for one in TABLE]
)
def test_a_case_ends_as_it_must(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, code, printed = TABLE[name]
    monkeypatch.chdir(tmp_path)
    words = [str(CASES / word) if "/" in word else word for word in command.split()]
    assert run(words) == code
    found = capsys.readouterr()
    for text in printed:
        assert text in found.out + found.err
    assert "Traceback" not in found.err


#: Layouts of the generator that are no whole table of plain tensors, and what is said of them.
REFUSED = {
    "empty.pth": "holds no table of tensors",
    "list.pth": "holds no table of tensors but list",
    "fp8.safetensors": "F8_E4M3 numbers, which are not read",
    "wholemodel.pth": "refused to load torch.nn.modules.linear.Linear",
    "model-00001-of-00002.safetensors": "48 missing",
    "model-00002-of-00002.safetensors": "50 missing",
}

#: How far the numbers of a layout may be from the original: those of 16 bits are rounded.
ROUNDED = {"fp16": 3e-4, "bf16": 2e-3}

LEFT_OUT = {
    "compiled.pth": "'_orig_mod.'",
    "dp.pth": "'module.'",
    "dp.safetensors": "'module.'",
    "dp_model.pth": "'module.'",
    "ema_only.pth": "'module.'",
    "lightning.ckpt": "'model.'",
    "lit_prefix.pth": "'model.'",
    "model_and_ema.pth": "of model, model_ema the first is taken",
}


@pytest.mark.slow
def test_checkpoints_in_every_layout(tmp_path: Path) -> None:
    words = [sys.executable, str(CASES / "weights" / "make_checkpoints.py")]
    root = str(Path(__file__).resolve().parents[2])
    subprocess.run(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root}, check=True)
    shapes = tensor_shapes(architecture_of(find_model(read_lock(), "tiny").architecture))
    original = read_checkpoint(EMBEDDED / "tiny.safetensors")
    files = sorted(tmp_path.iterdir())
    assert len(files) >= 45
    for file in files:
        if file.name in REFUSED:
            with pytest.raises(IntegrityError, match=REFUSED[file.name]):
                account_for(read_checkpoint(file), shapes, where=str(file))
            continue
        checkpoint = open_checkpoint(file)
        weights = account_for(checkpoint.tensors, shapes, where=str(file))
        near = ROUNDED.get(file.name.partition(".")[0], 0.0)
        for key, value in weights.items():
            np.testing.assert_allclose(value, original[key], rtol=0, atol=near, err_msg=file.name)
        assert bool(checkpoint.notes) == (file.name in LEFT_OUT), file.name
        if checkpoint.notes:
            assert LEFT_OUT[file.name] in checkpoint.notes[0]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("pickle-laugh/laugh-dtype.pkl", "refused an array of"),
        ("pickle-laugh/laugh-encode.pkl", "refused the encoding"),
        ("checkpoints/t-expand3e9.pth", "refused to build more than 8 times what the file holds"),
    ],
)
def test_checkpoints_as_weapons_are_refused_at_once(file: str, said: str) -> None:
    with pytest.raises(IntegrityError, match=said) as caught:
        read_checkpoint(CASES / "attack" / file)
    assert len(caught.value.message) < 500
