"""One entry of each family at its full width, with generated weights, as users ask for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.core.architecture import Architecture
from harness.zoo.architectures import architecture_of
from harness.zoo.lock import find_model, read_lock
from tests.conftest import SHARED_DATA
from tests.end_to_end.conftest import Answer
from tests.families import ALL, Family
from tests.keypoint_data import write_keypoint_data
from tests.panoptic_data import write_panoptic_data

pytestmark = pytest.mark.slow

IMAGES = 2
#: Of small images, which a network of full width computes in a second or two.
QUICK = ("--short-edge", "128", "--device", "cpu", "--threads", "1", "--limit", str(IMAGES))

Command = Callable[..., Answer]


@pytest.fixture(
    scope="module",
    params=[  # the tests of a family in one process, which makes its weights once
        pytest.param(one, id=one.title, marks=pytest.mark.xdist_group(one.title)) for one in ALL
    ],
)
def family(request: pytest.FixtureRequest) -> Family:
    one: Family = request.param
    return one


@pytest.fixture(scope="module")
def weights(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Generated weights of a family, as the command line writes them; some have half a gigabyte."""
    from harness.cli.main import run

    folder = tmp_path_factory.mktemp("weights")
    path = folder / "weights.safetensors"
    assert run(["weights", "seeded", "--model", family.entry, "--output", str(path)]) == 0
    yield path
    shutil.rmtree(folder)


def architecture(family: Family) -> Architecture:
    return architecture_of(find_model(read_lock(), family.entry).architecture)


@pytest.fixture
def data(family: Family, harness: Command, embedded_root: Path, tmp_path: Path) -> list[str | Path]:
    """Data of a family as options: real images where they are here and have what it needs."""
    network = architecture(family)
    if network.keypoint_count:
        images = write_keypoint_data(tmp_path / "persons.json", images=IMAGES, root=embedded_root)
        return ["--annotations", tmp_path / "persons.json", "--images", images]
    images = write_panoptic_data(tmp_path, images=IMAGES, root=embedded_root)
    if network.is_panoptic:
        files = {"annotations": tmp_path / "instances.json", "panoptic": tmp_path / "panoptic.json"}
        named = [word for name, file in files.items() for word in (f"--{name}", file)]
        return [*named, "--images", images]
    coco = SHARED_DATA / "coco"
    if coco.is_dir():
        annotations, images = coco / "annotations" / "instances_val2017.json", coco / "val2017"
    else:
        annotations = tmp_path / "instances.json"
    words = ["--annotations", annotations, "--images", images]
    if not network.given_proposals:
        return words
    fake = ["--model", "rpn_R_50_FPN_1x", "--engine", "fake", "--limit", str(IMAGES)]
    proposed = harness("eval", *fake, *words, "--output", "proposed")
    assert proposed.code == 0, proposed.err
    return [*words, "--proposals", "proposed"]


@pytest.fixture
def evaluated(
    family: Family, weights: Path, data: list[str | Path], harness: Command, project: Path
) -> Callable[..., Path]:
    """Measures the family in a folder of a name, with more options."""

    def measured(name: str, *words: str) -> Path:
        given = ["--model", family.entry, "--weights", weights, *data, *QUICK]
        given += ["--resamples", "0", "--no-report", "--output", name]
        answer = harness("eval", *given, *words)
        assert answer.code == 0, answer.err
        return project / name

    return measured


def left(folder: Path) -> dict[str, bytes]:
    """The bytes of everything that a run predicts, by name."""
    names = ["predictions.json", "panoptic.json", "semantic.json"]
    names += [f"panoptic/{path.name}" for path in sorted(folder.glob("panoptic/*.png"))]
    found = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    assert len(json.loads(found["predictions.json"])) >= 5, "too little is found to prove anything"
    return found


def test_two_workers_leave_the_bytes_of_one_process(
    family: Family, evaluated: Callable[..., Path]
) -> None:
    alone = evaluated("alone")
    record = json.loads((alone / "record.json").read_text("utf-8"))
    for task in architecture(family).tasks:
        assert any(key.startswith(f"{task}/") for key in record["metrics"]), task
    expected = left(alone)
    assert left(evaluated("two", "--workers", "2")) == expected
    assert ("panoptic.json" in expected) == architecture(family).is_panoptic


@pytest.mark.filterwarnings("ignore")
def test_exact_leaves_the_bytes_of_detectron2(
    family: Family, evaluated: Callable[..., Path]
) -> None:
    if family.torchvision:
        pytest.skip("Detectron2 does not know torchvision's networks")
    pytest.importorskip("detectron2", reason="Detectron2 is not installed")
    assert left(evaluated("ours", "--exact")) == left(evaluated("theirs", "--engine", "detectron2"))


def test_it_is_timed(
    family: Family, weights: Path, data: list[str | Path], harness: Command, project: Path
) -> None:
    given = ["--model", family.entry, "--weights", weights, *data, *QUICK, "--output", "timed"]
    answer = harness("bench", *given, "--warmup", "0", "--repeats", "1", "--min-duration", "0")
    assert answer.code == 0, answer.err
    record = json.loads((project / "timed" / "record.json").read_text("utf-8"))
    assert record["metrics"]["s_per_image"] > 0
