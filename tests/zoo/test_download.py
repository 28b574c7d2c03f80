"""From a lock and a server to proven files, whatever happens on the way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import run as main
from harness.core.errors import (
    HarnessError,
    IntegrityError,
    Interrupted,
    RunFailedError,
    UsageError,
)
from harness.core.model import GROUPS
from harness.core.progress import Silent
from harness.core.requests.zoo import DownloadRequest
from harness.files.fetch import FetchOptions, RetryPolicy
from harness.files.parts import arrived_bytes
from harness.zoo.download import Outcome, download
from harness.zoo.lock import read_lock
from harness.zoo.proof import read_manifest
from tests.serving import Fault
from tests.zoo.conftest import CHECKPOINT, SIZES, World, jpeg, pictures, zipped

IMPATIENT = RetryPolicy(attempts=3, first_delay_s=0.001, longest_delay_s=0.001, timeout_s=5)
IMAGES = {name.partition("/")[2] for name in pictures(list(SIZES))}
ALL = DownloadRequest(only=GROUPS)


class Told(Silent):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def bring(world: World, request: DownloadRequest = ALL, **options: Any) -> dict[str, Outcome]:
    options = {"progress": Silent(), "retries": IMPATIENT, **options}
    outcomes = download(
        read_lock(),
        replace(request, root=world.root),
        options=FetchOptions(**options),
        now=lambda: datetime(2026, 1, 2, tzinfo=timezone.utc),
    )
    return {outcome.name: outcome for outcome in outcomes}


def actions(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.action for name, outcome in outcomes.items()}


def test_everything_arrives_proven_and_archives_go(world: World) -> None:
    outcomes = bring(world)
    # The 100 images are among those of val2017, so their archive is not needed.
    not_needed = "val2017_100.tgz"
    assert outcomes.pop(not_needed).action == "proven"
    assert set(actions(outcomes).values()) == {"fetched"}
    assert outcomes["val2017.zip"].proof == ("4 images of the listed sizes", "4 annotations")
    assert outcomes["annotations_trainval2017.zip"].proof == (
        "instances_val2017.json has its sha256",
    )
    assert outcomes["R-50.pkl"].proof == ("complete as served; no source gives a hash",)
    coco = world.root / "coco"
    assert {path.name for path in (coco / "val2017").iterdir()} == IMAGES
    assert sorted(path.name for path in coco.iterdir()) == ["annotations", "val2017"]
    assert (world.root / "checkpoints/first/model_final_aaaaaa.pkl").read_bytes() == CHECKPOINT


def test_what_no_source_gives_a_hash_for_is_not_called_proven(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["download", "--root", str(world.root), "--only"]
    for word in ("fetched", "there"):
        assert main([*words, "backbones"]) == 0
        said = capsys.readouterr().out
        assert f"{word}, not proven" in said
        assert f"no source gives a hash to prove R-50.pkl with: {world.root}" in said
    assert main([*words, "backbones,checkpoints"]) == 0
    said = capsys.readouterr().out
    assert "fetched and proven" in said
    assert "R-50.pkl with; everything else is proven" in said


def with_an_archive_in_an_archive(
    world: World, names: list[str], more: dict[str, bytes] | None = None
) -> None:
    """Pin and serve an archive with a file and a zip of PNGs, as COCO's panoptic one is."""
    inner = zipped({f"maps/{name}": b"png" for name in names})
    whole = zipped({"annotations/maps.json": b"{}", "annotations/maps.zip": inner, **(more or {})})
    file = {"bytes": None, "sha256": None}
    place = {
        "path": "coco/annotations/maps.zip",
        "folder": "coco",
        "makes": ["coco/maps", "coco/annotations/maps"],
        "file_count": 3,
    }
    unpacked = {"folder": "coco", "files": {"coco/annotations/maps.json": file}, "inner": [place]}
    world.content["artefacts"].append(
        {
            "name": "maps.zip",
            "group": "panoptic",
            "kind": "zip",
            "path": "coco/maps_and_more.zip",
            "url": f"{world.site.url}/maps_and_more.zip",
            "sha256": "to be filled in",
            "licence": "none",
            "source": "made by a test",
            "unpacked": unpacked,
        }
    )
    world.serve("/maps_and_more.zip", whole)


MAPS = DownloadRequest(only=("panoptic",))


def test_an_archive_in_an_archive_is_unpacked_too(world: World) -> None:
    with_an_archive_in_an_archive(world, ["1.png", "2.png", "3.png"])
    outcome = bring(world, MAPS)["maps.zip"]
    assert outcome.action == "fetched"
    assert outcome.can_be_proven  # by the archive's hash
    assert outcome.proof == (
        "maps.json is there; no source gives its hash",
        "maps has its 3 files; no source gives their hashes",
    )
    coco = world.root / "coco"
    assert sorted(path.name for path in coco.iterdir()) == ["annotations", "maps"]
    assert [path.name for path in (coco / "annotations").iterdir()] == ["maps.json"]
    assert bring(world, MAPS)["maps.zip"].action == "known"
    (coco / "maps").rename(coco / "annotations" / "maps")  # where others keep them
    assert bring(world, MAPS)["maps.zip"].action == "known"
    (coco / "annotations" / "maps" / "2.png").unlink()
    assert bring(world, MAPS)["maps.zip"].action == "fetched"


def test_an_archive_that_a_later_artefact_is_in_as_well_is_fetched_once(world: World) -> None:
    more = {"annotations/more.zip": zipped({f"more/{one}.png": b"png" for one in range(3)})}
    with_an_archive_in_an_archive(world, ["1.png", "2.png", "3.png"], more)
    first = world.content["artefacts"][-1]
    inner = {
        "path": "coco/annotations/more.zip",
        "folder": "coco",
        "makes": ["coco/more"],
        "file_count": 3,
    }
    unpacked = {**first["unpacked"], "inner": [inner]}
    world.content["artefacts"].append(
        {**first, "name": "more", "group": "panoptic_train", "unpacked": unpacked}
    )
    world.write_lock()
    world.site.requests.clear()
    outcomes = bring(world, DownloadRequest(only=("panoptic", "panoptic_train")))
    assert actions(outcomes) == {"maps.zip": "fetched", "more": "fetched"}
    assert outcomes["more"].url is None  # it was there: the first had left it
    bodies = [one for one in world.site.requests if one[2] > 1]
    assert len(bodies) == 1
    coco = world.root / "coco"
    left = sorted(path.name for path in (*coco.iterdir(), *(coco / "annotations").iterdir()))
    assert left == ["annotations", "maps", "maps.json", "more"]
    # Where the later one is there already, the archive is not needed any more.
    shutil.rmtree(coco / "maps")
    again = bring(world, DownloadRequest(only=("panoptic", "panoptic_train")))
    assert actions(again) == {"maps.zip": "fetched", "more": "known"}
    both = sorted(path.name for path in (*coco.iterdir(), *(coco / "annotations").iterdir()))
    assert both == left


def test_archives_of_other_data_are_not_left_beside_what_was_asked_for(world: World) -> None:
    more = {"annotations/more.json": b"{}", "annotations/more.zip": zipped({"more/1.png": b"png"})}
    with_an_archive_in_an_archive(world, ["1.png", "2.png", "3.png"], more)
    assert bring(world, MAPS)["maps.zip"].action == "fetched"
    assert [path.name for path in (world.root / "coco" / "annotations").iterdir()] == ["maps.json"]


def test_an_archive_in_an_archive_with_too_few_files_is_refused(world: World) -> None:
    with_an_archive_in_an_archive(world, ["1.png", "2.png"])
    with pytest.raises(IntegrityError, match="has 2 files, expected 3"):
        bring(world, MAPS)


def test_a_second_run_asks_nobody(world: World) -> None:
    bring(world)
    world.site.requests.clear()
    before = (world.root / "manifest.json").read_bytes()
    assert set(actions(bring(world)).values()) == {"known"}
    assert world.site.requests == []
    assert (world.root / "manifest.json").read_bytes() == before


def test_only_what_evaluation_needs_comes_by_default(world: World) -> None:
    groups = {one["name"]: one["group"] for one in world.content["artefacts"]}
    default = bring(world, DownloadRequest())
    assert {groups[name] for name in default} == {"annotations", "val", "checkpoints"}
    assert len(default) == 4
    models = bring(world, DownloadRequest(only=("checkpoints",), models=("first",)))
    assert list(models) == ["model_final_aaaaaa.pkl"]


def test_the_hundred_images_alone(world: World) -> None:
    outcomes = bring(world, DownloadRequest(only=("val100",)))
    assert outcomes["val2017_100.tgz"].proof == ("2 images of the listed sizes", "2 annotations")
    assert len(list((world.root / "coco" / "val2017").iterdir())) == 2
    # They do not pass for the whole of val2017 later.
    assert bring(world)["val2017.zip"].action == "fetched"
    assert {path.name for path in (world.root / "coco" / "val2017").iterdir()} == IMAGES


def test_data_somebody_else_put_there_is_proven_and_not_fetched(world: World) -> None:
    bring(world)
    (world.root / "manifest.json").unlink()
    world.site.requests.clear()
    assert set(actions(bring(world)).values()) == {"proven"}
    assert world.site.requests == []


def test_images_are_measured_as_soon_as_the_annotations_are_here(world: World) -> None:
    (counted,) = bring(world, DownloadRequest(only=("val",))).values()
    assert counted.proof == ("4 files; not measured, as the annotations are not here",)
    world.site.requests.clear()
    outcomes = bring(world, DownloadRequest(only=("annotations", "val")))
    assert outcomes["val2017.zip"].action == "proven"
    assert outcomes["val2017.zip"].proof[0] == "4 images of the listed sizes"
    assert world.site.sent("/zips/val2017.zip") == 0


def damage_missing(folder: Path) -> None:
    (folder / "000000000003.jpg").unlink()


def damage_size(folder: Path) -> None:
    (folder / "000000000003.jpg").write_bytes(jpeg(3, 9, 9))


def damage_content(folder: Path) -> None:
    (folder / "000000000003.jpg").write_bytes(b"no image")


@pytest.mark.parametrize("damage", [damage_missing, damage_size, damage_content])
@pytest.mark.parametrize("keep", [True, False])
def test_damage_is_noticed_and_repaired(
    world: World, damage: Callable[[Path], None], keep: bool
) -> None:
    request = replace(ALL, keep_archives=keep)
    bring(world, request)
    assert (world.root / "coco" / "val2017.zip").exists() == keep
    damage(world.root / "coco" / "val2017")
    world.site.requests.clear()
    assert bring(world, request)["val2017.zip"].action == "fetched"
    assert bool(world.site.requests) != keep, "a kept archive is not fetched again"
    assert (world.root / "coco/val2017/000000000003.jpg").read_bytes() == jpeg(3, *SIZES[3])


def test_a_checkpoint_that_was_cut_off_by_others_is_fetched_again(world: World) -> None:
    path = world.root / "checkpoints" / "first" / "model_final_aaaaaa.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(CHECKPOINT[:100])
    told = Told()
    outcomes = bring(world, DownloadRequest(only=("checkpoints",)), progress=told)
    assert outcomes[path.name].action == "fetched"
    assert path.read_bytes() == CHECKPOINT
    assert "expected 5,994 bytes, found 100: probably cut off\nfetching it again" in told.notices[0]


def test_a_changed_lock_proves_again(world: World) -> None:
    bring(world)
    world.pin("model_final_aaaaaa.pkl", sha256="0" * 64)
    with pytest.raises(IntegrityError, match="expected sha256 0000"):
        bring(world)
    world.pin("model_final_aaaaaa.pkl", sha256=None, md5_prefix=None)
    assert bring(world)["model_final_aaaaaa.pkl"].action == "proven"


def test_a_damaged_manifest_costs_a_proof_and_nothing_else(world: World) -> None:
    bring(world)
    world.site.requests.clear()
    for damage in ("", "[]", '{"schema_version": 1, "proven": {"val2017.zip": {}}}'):
        (world.root / "manifest.json").write_text(damage)
        assert set(actions(bring(world)).values()) == {"proven"}
    assert world.site.requests == []


def test_a_flipped_bit_of_the_manifest_costs_a_proof_and_nothing_else(world: World) -> None:
    bring(world)
    path = world.root / "manifest.json"
    whole = path.read_bytes()
    proofs = {name: one.proof for name, one in bring(world).items()}
    for place in range(5, len(whole), len(whole) // 40):
        content = bytearray(whole)
        content[place] ^= 1
        path.write_bytes(content)
        found = bring(world)
        assert set(actions(found).values()) in ({"known"}, {"proven"}), content
        for name, one in found.items():
            assert one.action == "proven" or one.proof == proofs[name], content
    path.write_bytes(whole)
    assert set(actions(bring(world)).values()) == {"known"}


@pytest.mark.parametrize(
    ("url_path", "content", "complaint"),
    [
        ("/zips/val2017.zip", zipped({"../val2017/x": b""}), "would be outside its folder"),
        ("/zips/val2017.zip", zipped(pictures([1, 3])), "val2017 has 2 files|is missing"),
        (
            "/zips/val2017.zip",
            zipped({**pictures(list(SIZES)), "val2017/000000000003.jpg": jpeg(3, 8, 8)}),
            r"000000000003\.jpg is 8 × 8 px, listed 7 × 7 px",
        ),
        ("/zips/val2017.zip", b"no zip", "is not a whole archive: File is not a zip file"),
        ("/d2/val2017_100.tgz", b"no tgz", "is not a whole archive: Not a gzipped file"),
        (
            "/annotations/annotations_trainval2017.zip",
            zipped({"annotations/instances_val2017.json": b"{}"}),
            r"instances_val2017\.json is another file:\n  expected \d+ bytes, found 2",
        ),
    ],
)
def test_what_unpacks_to_something_else_is_refused(
    world: World, url_path: str, content: bytes, complaint: str
) -> None:
    world.serve(url_path, content)
    only = ("annotations", "val100") if "100" in url_path else ("annotations", "val")
    with pytest.raises(IntegrityError, match=complaint):
        bring(world, DownloadRequest(only=only))  # type: ignore[arg-type]
    name = url_path.rpartition("/")[2]
    assert name not in read_manifest(world.root).proven
    assert not list(world.root.rglob(name)), "the archive would fail again and again"


def test_an_md5_prefix_is_checked(world: World) -> None:
    (name,) = (one["name"] for one in world.content["artefacts"] if one.get("md5_prefix"))
    url_path = f"/d2/second/{name}"
    world.site.files[url_path] = b"another file"
    with pytest.raises(IntegrityError, match=r"expected md5 [0-9a-f]{6}…\n  found    md5"):
        bring(world, DownloadRequest(only=("checkpoints",)))


def test_a_sha256_prefix_is_checked(world: World) -> None:
    name = "model_final_aaaaaa.pkl"
    world.pin(
        name, bytes=None, sha256=None, sha256_prefix=hashlib.sha256(CHECKPOINT).hexdigest()[:8]
    )
    assert bring(world)[name].proof == ("has the prefix of its sha256",)
    (world.root / "checkpoints" / "first" / name).unlink()
    world.pin(name, sha256_prefix="00000000")
    with pytest.raises(IntegrityError, match=r"expected sha256 00000000…\n  found    sha256"):
        bring(world, DownloadRequest(only=("checkpoints",)))


def test_a_mirror_serves_the_same_paths(world: World, tmp_path: Path) -> None:
    for url_path, content in world.site.files.items():
        path = tmp_path / "air gapped" / url_path[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    mirror = (tmp_path / "air gapped").as_uri()
    outcomes = bring(world, replace(ALL, mirror=mirror + "/"))
    assert outcomes["val2017.zip"].url == f"{mirror}/zips/val2017.zip"
    assert world.site.requests == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"only": ("vall",)}, "unknown group 'vall'; did you mean val?"),
        ({"only": ()}, "no file is chosen"),
        ({"models": ("frist",)}, "unknown model 'frist'; did you mean first?"),
        ({"models": ("embedded",)}, "embedded has no checkpoint to fetch"),
        ({"models": ("first",), "only": ("val",)}, "--only leaves out"),
        ({"mirror": "/data/mirror"}, "did you mean file:///data/mirror?"),
        ({"mirror": "ftp://x/y"}, "must be an http, https or file address, got ftp://x/y"),
    ],
)
def test_requests_that_cannot_be_meant(
    world: World, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        bring(world, replace(DownloadRequest(), **change))
    assert not world.root.exists()


def test_a_dry_run_does_nothing(world: World) -> None:
    assert set(actions(bring(world, replace(ALL, dry_run=True))).values()) == {"would-fetch"}
    assert not world.root.exists()
    assert world.site.requests == []
    bring(world, DownloadRequest(only=("checkpoints",)))
    (world.root / "manifest.json").unlink()
    planned = actions(bring(world, replace(ALL, dry_run=True)))
    assert planned["model_final_aaaaaa.pkl"] == "would-prove"
    assert planned["val2017.zip"] == "would-fetch"
    assert not (world.root / "manifest.json").exists()


def test_space_is_checked_for_everything_before_the_first_byte(world: World) -> None:
    sizes = {one["name"]: one["bytes"] or 0 for one in world.content["artefacts"]}
    val, annotations = sizes["val2017.zip"], sizes["annotations_trainval2017.zip"]
    # Images unpack to about their archive's size, text to at most four times that.
    rest = sum(sizes.values()) - val - annotations
    needed = val + 4 * annotations + max(val, annotations) + rest
    with pytest.raises(RunFailedError, match=r"cannot write .*: it needs .* GB, .* GB are free"):
        bring(world, free_bytes=lambda _: needed - 1)
    assert world.site.requests == []
    bring(world, free_bytes=lambda _: needed)


def test_a_place_that_cannot_be_written(world: World) -> None:
    world.root.write_text("a file, not a folder")
    with pytest.raises(HarnessError, match=r"cannot write .*datasets"):
        bring(world)


def test_ctrl_c_keeps_what_arrived(world: World) -> None:
    class Impatient(Silent):
        def task(self, title: str, **facts: Any) -> Any:
            if title.startswith("val2017"):
                raise KeyboardInterrupt
            return super().task(title, **facts)

    with pytest.raises(Interrupted, match="the same command continues"):
        bring(world, progress=Impatient())
    world.site.requests.clear()
    outcomes = bring(world)
    assert outcomes["annotations_trainval2017.zip"].action == "known"
    assert outcomes["val2017.zip"].action == "fetched"


COMMAND = (sys.executable, "-m", "harness", "download", "--root", "datasets")


@contextmanager
def started(world: World, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A download in a process of its own, which does not outlive the block."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*COMMAND, *options], stdout=pipe, stderr=pipe, text=True, cwd=world.folder
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_killed_download_continues_where_it_was(world: World) -> None:
    large = os.urandom(4 << 20)
    world.serve("/d2/first/model_final_aaaaaa.pkl", large)
    path = world.root / "checkpoints" / "first" / "model_final_aaaaaa.pkl"
    url_path = "/d2/first/model_final_aaaaaa.pkl"
    world.site.faults[url_path] = [Fault(after=3 << 20, then="silence")]
    with started(world, "--only", "checkpoints", "--model", "first") as first:
        assert world.site.silent.wait(30)
        wait_until(lambda: arrived_bytes(path) >= 2 << 20)
        os.kill(first.pid, signal.SIGKILL)
    assert not path.exists()
    world.site.release.set()
    world.site.requests.clear()
    outcomes = bring(world, DownloadRequest(only=("checkpoints",), models=("first",)))
    assert outcomes[path.name].action == "fetched"
    assert path.read_bytes() == large
    assert world.site.sent(url_path) <= 2 << 20


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_two_processes_at_once_fetch_everything_once(world: World) -> None:
    path = "/annotations/annotations_trainval2017.zip"
    world.site.faults[path] = [Fault(after=10, then="silence")]
    with started(world, "--json") as first:
        assert world.site.silent.wait(30)
        with started(world, "--json") as second:
            assert second.stderr is not None
            assert f"waiting for process {first.pid} on " in second.stderr.readline()
            world.site.release.set()
            answers = [process.communicate(timeout=30) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], answers
    found = [[row["action"] for row in json.loads(out)] for out, _ in answers]
    assert found == [["fetched"] * 4, ["known"] * 4]
    content = world.site.files["/zips/val2017.zip"]
    assert world.site.sent("/zips/val2017.zip") == len(content)


def left_over(name: str) -> str:
    """The name of the temporary file that a killed process left of ``name``."""
    code = "import sys; from pathlib import Path; from harness.files.atomic import temporary_path;"
    code += " print(temporary_path(Path(sys.argv[1])).name)"
    words = [sys.executable, "-c", code, name]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_hundreds_of_members_unpack_after_a_kill_only_once(world: World) -> None:
    """Unpacking that was cut off leaves whole files, and the next run writes only the others."""
    bring(world, replace(ALL, keep_archives=True))
    folder = world.root / "coco" / "val2017"
    (folder / left_over("000000000003.jpg")).write_bytes(b"half")
    (folder / "000000000003.jpg").unlink()
    inodes = {path.name: path.stat().st_ino for path in folder.glob("0*.jpg")}
    bring(world, replace(ALL, keep_archives=True))
    assert {name: (folder / name).stat().st_ino for name in inodes} == inodes
    assert {path.name for path in folder.iterdir()} == IMAGES


def test_the_zip_of_a_test_is_a_real_one() -> None:
    with zipfile.ZipFile(io.BytesIO(zipped(pictures([1])))) as archive:
        assert archive.testzip() is None


def test_what_an_earlier_version_called_proven_is_proven_again(world: World) -> None:
    """Version 1 of the manifest may name a file that was changed after its proof."""
    bring(world)
    path = world.root / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert manifest["schema_version"] == 2
    manifest["checksum"] = ""  # as the first files of this version
    checkpoint = next(world.root.rglob("model_final_aaaaaa.pkl"))
    forged = checkpoint.read_bytes() + b"surplus"
    checkpoint.write_bytes(forged)
    status = checkpoint.stat()
    entry = next(one for one in read_lock().artefacts if checkpoint.name in one.path)
    line = f"{entry.path} {status.st_size} {status.st_mtime_ns}\n"
    manifest["proven"][entry.name]["evidence"] = hashlib.sha256(line.encode()).hexdigest()
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert bring(world)[entry.name].action == "known", "the entry must look unchanged"
    path.write_text(json.dumps({**manifest, "schema_version": 1}), encoding="utf-8")
    told = Told()
    assert bring(world, progress=told)[entry.name].action == "fetched"
    assert "another length" in "".join(told.notices) or "is not" in "".join(told.notices)
    assert checkpoint.read_bytes() != forged


def test_a_selection_brings_what_it_is_selected_from(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = {
        "artefact": "annotations_trainval2017.zip",
        "annotations": "coco/annotations/instances_val2017.json",
        "licences": ["licences.example/1/"],
        "image_count": sum(n % 2 for n in SIZES),
        "annotation_count": sum(n % 2 for n in SIZES),
    }
    entry = {
        **{"name": "some.json", "group": "mlperf", "kind": "selection", "url": None},
        **{"path": "coco/annotations/some.json", "licence": "none", "source": "made by a test"},
    }
    world.content["artefacts"].append({**entry, "selection": rule})
    world.write_lock()
    request = DownloadRequest(only=("mlperf",))
    planned = actions(bring(world, replace(request, dry_run=True)))
    assert planned == {"annotations_trainval2017.zip": "would-fetch", "some.json": "would-select"}
    done = actions(bring(world, request))
    assert done == {"annotations_trainval2017.zip": "fetched", "some.json": "selected"}
    assert set(actions(bring(world, request)).values()) == {"known"}
    (world.root / "coco/annotations/some.json").unlink()
    again = actions(bring(world, request))
    assert again == {"annotations_trainval2017.zip": "known", "some.json": "selected"}
    (world.root / "coco/annotations/some.json").unlink()
    assert main(["download", "--root", str(world.root), "--only", "mlperf"]) == 0
    assert "selected, not proven" in capsys.readouterr().out  # it has no hash
