"""A small COCO and a small zoo on a real server, and the lock that pins them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.files.layout import LOCK_NAME
from tests.serving import Site, serving

#: (width, height) in pixels by image id; the second one is stored lying on its side.
SIZES = {1: (8, 6), 20: (6, 9), 3: (7, 7), 44: (5, 9)}
SIDEWAYS_ID = 20
ROTATED = 6  # EXIF orientation

CHECKPOINT, PREFIXED, BACKBONE = b"hashed" * 999, b"prefixed" * 99, b"backbone" * 9


@dataclass(frozen=True, kw_only=True)
class World:
    """A project folder with its lock, and the server its artefacts are fetched from."""

    folder: Path
    site: Site
    content: dict[str, Any]

    @property
    def root(self) -> Path:
        """Where everything goes."""
        return self.folder / "datasets"

    def pin(self, name: str, **facts: Any) -> None:
        """Change what the lock says about an artefact."""
        artefact = next(one for one in self.content["artefacts"] if one["name"] == name)
        artefact.update(facts)
        self.write_lock()

    def serve(self, url_path: str, content: bytes) -> None:
        """Serve ``content``, and pin its size and hash where they were pinned."""
        self.site.files[url_path] = content
        artefact = next(one for one in self.content["artefacts"] if one["url"].endswith(url_path))
        for fact, value in (("bytes", len(content)), ("sha256", sha256(content))):
            if artefact.get(fact) is not None:
                artefact[fact] = value
        self.write_lock()

    def write_lock(self) -> None:
        (self.folder / LOCK_NAME).write_text(json.dumps(self.content), encoding="utf-8")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def jpeg(image_id: int, width: int, height: int) -> bytes:
    sideways = image_id == SIDEWAYS_ID
    file, exif = io.BytesIO(), Image.Exif()
    if sideways:
        exif[0x0112] = ROTATED
    image = Image.new("RGB", (height, width) if sideways else (width, height), (image_id, 9, 9))
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def annotations(ids: list[int]) -> bytes:
    images = [
        {
            "id": n,
            "file_name": f"{n:012}.jpg",
            "width": SIZES[n][0],
            "height": SIZES[n][1],
            "license": n % 2,
        }
        for n in ids
    ]
    rows = [{"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 2, 2]} for n in ids]
    licences = [{"id": n, "url": f"http://licences.example/{n}/"} for n in (0, 1)]
    content = {
        "licenses": licences,
        "images": images,
        "annotations": rows,
        "categories": [{"id": 1, "name": "x"}],
    }
    return json.dumps(content).encode()


def pictures(ids: list[int]) -> dict[str, bytes]:
    return {f"val2017/{n:012}.jpg": jpeg(n, *SIZES[n]) for n in ids}


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def world(odd_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The project folder, which is the working folder."""
    all_annotations, some_annotations = annotations(list(SIZES)), annotations([3, 20])
    served = {
        "annotations/annotations_trainval2017.zip": zipped(
            {"annotations/instances_val2017.json": all_annotations}
        ),
        "zips/val2017.zip": zipped(pictures(list(SIZES))),
        "d2/instances_val2017_100.json": some_annotations,
        "d2/val2017_100.tgz": tarred(pictures([3, 20])),
        "d2/first/model_final_aaaaaa.pkl": CHECKPOINT,
        f"d2/second/model_final_{hashlib.md5(PREFIXED).hexdigest()[:6]}.pkl": PREFIXED,
        "d2/R-50.pkl": BACKBONE,
    }
    with serving(Site(files={f"/{path}": content for path, content in served.items()})) as site:
        artefacts = [artefact(site, path, content) for path, content in served.items()]
        content = {"schema_version": 1, "artefacts": artefacts, "models": MODELS}
        world = World(folder=odd_tmp_path, site=site, content=content)
        pin_everything(world, all_annotations)
        monkeypatch.chdir(odd_tmp_path)
        yield world


def artefact(site: Site, path: str, content: bytes) -> dict[str, Any]:
    name = path.rpartition("/")[2]
    return {
        "name": name,
        "group": "checkpoints",
        "kind": "file",
        "path": f"checkpoints/{path.split('/')[-2]}/{name}",
        "url": f"{site.url}/{path}",
        "bytes": len(content),
        "licence": "none",
        "source": "made by a test",
    }


def pin_everything(world: World, all_annotations: bytes) -> None:
    file = {"bytes": len(all_annotations), "sha256": sha256(all_annotations)}
    archive = {"sha256": "to be filled in"}
    world.pin(
        "annotations_trainval2017.zip",
        **archive,
        group="annotations",
        kind="zip",
        path="coco/annotations_trainval2017.zip",
        unpacked={"folder": "coco", "files": {"coco/annotations/instances_val2017.json": file}},
    )
    val = {"folder": "coco/val2017", "annotations": "coco/annotations/instances_val2017.json"}
    world.pin(
        "val2017.zip",
        **archive,
        group="val",
        kind="zip",
        path="coco/val2017.zip",
        unpacked={**val, "image_count": len(SIZES), "annotation_count": len(SIZES)},
    )
    some = "coco/annotations/instances_val2017_100.json"
    world.pin("instances_val2017_100.json", group="val100", path=some, bytes=None)
    world.pin(
        "val2017_100.tgz",
        group="val100",
        kind="tgz",
        path="coco/val2017_100.tgz",
        bytes=None,
        unpacked={**val, "image_count": 2, "annotations": some},
    )
    world.pin("model_final_aaaaaa.pkl", **archive)
    prefixed = hashlib.md5(PREFIXED).hexdigest()[:6]
    world.pin(f"model_final_{prefixed}.pkl", md5_prefix=prefixed, bytes=None)
    world.pin("R-50.pkl", group="backbones", bytes=None)
    for path, content in list(world.site.files.items()):
        world.serve(path, content)


MODELS: list[dict[str, Any]] = [
    {
        "name": name,
        "title": name,
        "architecture": "tiny",
        "checkpoint": checkpoint,
        "dataset": "coco_2017_val",
        "recipe": None,
        "references": [],
    }
    for name, checkpoint in (("first", "model_final_aaaaaa.pkl"), ("embedded", None))
]
