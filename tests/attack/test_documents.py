"""Fuzzed annotation files, TOML, YAML and XML: read, or refused in a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer

import pytest

from harness.cli.main import run
from harness.core.errors import HarnessError
from harness.nightly.matrix import read_matrix
from tests.attack.trials import LONGEST_MESSAGE, Trials, mutated, seeds

JSON_TOKENS = (
    *(b"null", b"NaN", b"Infinity", b"1e999", b"-1", b"1e200", b"9" * 400, b"true", b'""', b"{}"),
    *(b"[]", b'"\\ud800"', b'"\\u0000"', b"[[[[", b"0", b"0.5", b'"id"', b"\xff", b"\xef\xbb\xbf"),
)
TOML_TOKENS = (
    *(b"[[block]]", b"[block]", b"=", b'"""', b"''", b"nan", b"-1", b"9" * 400, b"true", b"[]"),
    *(b"{a=1}", b"1979-05-27", b"\xff", b"\x00", b'"../x"', b'"\\U0010ffff"', b"#", b"\r"),
)
YAML_TOKENS = (
    *(b"&a", b"*a", b"!!python/object:os.system", b"- ", b"? ", b": ", b"{", b"[", b"|", b">"),
    *(b"1:30", b"no", b"9" * 400, b"\xff", b"\x00", b"<<: *a", b"\t", b"---", b"%YAML 9.9", b"~"),
)
XML_TOKENS = (
    *(b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"<![CDATA[", b"]]>", b"<!--", b"&#0;", b"<a>"),
    *(b"</object>", b"9" * 400, b"nan", b"-1", b"\xff", b"\x00", b"<?xml version='1.1'?>", b"1e9"),
)

MATRIX = b"""
[[block]]
models = ["tiny", "R_50_FPN_3x"]
engines = ["native", "fake"]
precisions = ["fp32"]
devices = ["auto", "cuda:0"]
batch_size = 2
limit = 5
bench = false
"""
DATA_YAML = b"train: images\nval: images\nnames:\n  0: cat\n  1: dog\nnc: 2\n"
LABELS = b"0 0.5 0.5 0.2 0.2\n1 0.25 0.25 0.1 0.1\n"
VOC = b"""<annotation><folder>x</folder><filename>1.jpg</filename>
<size><width>64</width><height>48</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
</annotation>"""


def require_sentence(words: Sequence[object], capsys: pytest.CaptureFixture[str]) -> None:
    """The command does its work, or says in a sentence of bounded length why not."""
    code = run([str(word) for word in words])
    output = capsys.readouterr()
    assert code in (0, 1, 2, 3, 4, 5), output.err[-1500:]
    assert "Traceback" not in output.err
    assert len(output.err) < LONGEST_MESSAGE


def test_annotations(
    trials: Trials, small_coco: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole, path = (small_coco / "annotations.json").read_bytes(), tmp_path / "fuzzed.json"
    for number, chance in enumerate(seeds(250, 12)):
        with trials.one(number):
            path.write_bytes(mutated(whole, chance, JSON_TOKENS))
            images = ["--images", small_coco / "images"] if chance.random() < 0.3 else []
            require_sentence(["data", "check", path, *images], capsys)


def test_matrices(trials: Trials, tmp_path: Path) -> None:
    path = tmp_path / "matrix.toml"
    for number, chance in enumerate(seeds(400, 8)):
        with trials.one(number):
            path.write_bytes(mutated(MATRIX, chance, TOML_TOKENS))
            try:
                read_matrix(path)
            except HarnessError as error:
                if len(str(error)) > LONGEST_MESSAGE:
                    raise AssertionError("a message that nobody reads") from error


CONFIG = b"""command = "eval"
model = "tiny"
engine = "fake"
limit = 5
threads = 1
precision = "fp32"
short_edge = 320
score_threshold = 0.05
resume = false
"""

HOSTILE_CONFIGS = (
    *(b"a=" + b"[" * 100_000, b"[" + b"a." * 50_000 + b"b]\n", b"limit=" + b"9" * 5000),
    *(b"limit=" + b"9" * 400, b"".join(b"k%d=1\n" % number for number in range(20_000))),
    *(
        b"threshold=nan",
        b"'\x1b[2J'=1",
        b'"\\u001b[2J"=1',
        b"limit=1979-05-27",
        b"limit=0x" + b"f" * 900,
    ),
    *(b"model=" + b'"' + b"x" * 100_000 + b'"', b"a=" + b"{b=" * 20_000, bytes(range(256)), b"\0"),
)


def test_config_files(
    trials: Trials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The file of settings that a run keeps, and one that is made to do harm."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.toml"
    words = ["eval", "--annotations", "none.json", "--images", ".", "--config", path]
    for number, content in enumerate(HOSTILE_CONFIGS):
        with trials.one(number):
            path.write_bytes(content)
            require_sentence(words, capsys)
    for number, chance in enumerate(seeds(300, 5)):
        with trials.one(number):
            path.write_bytes(mutated(CONFIG, chance, TOML_TOKENS))
            require_sentence(words, capsys)


def written(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


#: Each reads the file that is called STRANGE.
READERS = (
    "score --predictions STRANGE.json --annotations annotations.json",
    "score --predictions rows.json --annotations STRANGE.json",
    "analyze --predictions STRANGE.json --annotations annotations.json",
    "diagnose --predictions STRANGE.json --annotations annotations.json",
    "compare STRANGE.json rows.json --annotations annotations.json",
    "eval --engine fake --annotations STRANGE.json --images images --output run",
    "eval --annotations annotations.json --images images --weights STRANGE.pth --output run",
    "predict STRANGE.jpg --output run --threads 1",
    "show --annotations STRANGE.json --images images --output run",
    "data check STRANGE.json",
    "data clean STRANGE.json --output new.json",
    "data split STRANGE.json",
    "data merge STRANGE.json annotations.json --output new.json",
    "data subset STRANGE.json --images 1 --output new.json",
    "data subset annotations.json --names STRANGE.txt --output new.json",
    "data convert STRANGE.json --from labelstudio --output new.json",
    "data convert STRANGE.csv --from openimages --output new.json",
    "weights check STRANGE.safetensors",
    "nightly --matrix STRANGE.toml --results results",
    "eval --config STRANGE.toml",
)


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def release(path: Path, waited: Event) -> None:
    """Let go a reader of a pipe that waits for a writer, so that the test fails and goes on."""
    waited.set()
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


@pytest.mark.parametrize("make", [os.mkfifo, circle, device, Path.mkdir])
def test_names_that_stand_for_no_file(
    make: Callable[[Path], object],
    trials: Trials,
    small_coco: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(small_coco)
    Path("rows.json").write_text("[]", "utf-8")
    for number, line in enumerate(READERS):
        words = line.split()
        strange = next(Path(word) for word in words if word.startswith("STRANGE"))
        with trials.one(line):
            make(strange)
            waited = Event()
            timer = Timer(20, release, [strange, waited])
            timer.daemon = True
            timer.start()
            code = run(words)
            timer.cancel()
            strange.rename(f"{number}.done")
            said = capsys.readouterr().err
            assert "Traceback" not in said, said[-1500:]
            assert code in (2, 4, 5), f"{code}: {said[-1500:]}"
            assert not waited.is_set(), "it waited for a writer"


def jpeg() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize("fuzzed", ["data.yaml", "labels/1.txt"])
def test_yolo(
    fuzzed: str, trials: Trials, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole = {"data.yaml": DATA_YAML, "labels/1.txt": LABELS, "images/1.jpg": jpeg()}
    for number, chance in enumerate(seeds(120, 8)):
        folder = tmp_path / str(number)
        with trials.one(number):
            for name, content in whole.items():
                damaged = mutated(content, chance, YAML_TOKENS) if name == fuzzed else content
                written(folder, name, damaged)
            words = ["data", "convert", folder, "--from", "yolo"]
            require_sentence([*words, "--output", tmp_path / f"{number}.json"], capsys)


def test_voc(trials: Trials, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for number, chance in enumerate(seeds(200, 8)):
        folder = tmp_path / str(number)
        with trials.one(number):
            written(folder, "1.jpg", jpeg())
            written(folder, "1.xml", mutated(VOC, chance, XML_TOKENS))
            words = ["data", "convert", folder, "--from", "voc", "--images", folder]
            require_sentence([*words, "--output", tmp_path / f"{number}.json"], capsys)
