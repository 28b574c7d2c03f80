"""The data set of a run: the one its references are for, complete, and as the record keeps it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.core.dataset import Dataset, ImageRecord
from harness.core.errors import AnotherRunError, IntegrityError, UsageError
from harness.core.model import Lock
from harness.core.panoptic import PanopticTruth
from harness.core.record import DatasetFacts, PanopticFacts
from harness.data.catalog import COCO_LAYOUT, DOWNLOAD_GROUPS, PANOPTIC_LAYOUT
from harness.data.coco import read_annotations
from harness.files.digest import file_digest
from harness.files.json import read_with_digest


def proven_dataset(lock: Lock, dataset: Dataset, root: Path) -> Dataset:
    """The data set, under the name its references know if its annotations are the pinned ones.

    Args:
        lock: With the pinned annotation files.
        dataset: Data set of any name.
        root: Folder of data sets, for the hint.

    Raises:
        IntegrityError: It has such a name, and its annotation file is another one: the AP of
            another data set would be judged against the published one.
    """
    pinned = {
        path: facts.sha256
        for artefact in lock.artefacts
        if artefact.unpacked is not None
        for path, facts in artefact.unpacked.files.items()
        if facts.sha256 is not None
    }
    pinned |= {one.path: one.sha256 for one in lock.artefacts if one.selection and one.sha256}
    for name, (file, _) in COCO_LAYOUT.items():
        if (name in PANOPTIC_LAYOUT) != (dataset.panoptic is not None):
            continue
        expected = pinned.get(file)
        if expected is not None and dataset.digest == expected:
            return dataset if dataset.panoptic is not None else replace(dataset, name=name)
        if expected is not None and dataset.name == name:
            raise IntegrityError(
                f"{dataset.annotations_path} is not the annotation file of {name}:\n"
                f"  expected sha256 {expected}\n  found    sha256 {dataset.digest}",
                hint=f"run: harness download --only {DOWNLOAD_GROUPS[name]} "
                f"--root {shlex.quote(str(root))}; for data of your own: --annotations and "
                "--images",
            )
    return dataset


def read_annotations_of(
    facts: DatasetFacts, otherwise: str, *, watch: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Read the annotations that a run was evaluated on.

    Args:
        facts: The data set as the run's files name it.
        otherwise: What the user can do where the file changed.
        watch: As of ``data.coco.read_annotations``.

    Returns:
        The parsed annotation file, valid.

    Raises:
        UsageError: It is no longer there.
        IntegrityError: It was replaced since: its numbers would not be those of the run.
    """
    path, hint = Path(facts.annotations_path), f"put the file of the run back, or {otherwise}"
    if not path.exists():
        raise UsageError(f"no such file: {path}", hint=hint)
    if path.is_file() and (found := file_digest(path)) != facts.digest:
        raise IntegrityError(
            f"{path} changed since the run was evaluated on it:\n"
            f"  expected sha256 {facts.digest}\n  found    sha256 {found}",
            hint=hint,
        )
    return read_annotations(path, watch=watch)


#: Members of `state_of_images`; a copy of the same files may change their times.
SIZES, TIMES = "image_sizes_sha256", "image_times_sha256"

#: What begins the stamp of an image that was hashed.
HASHED = "sha256:"


def stamp_of(path: Path, *, contents: bool = False) -> str:
    """Return what changes when the file of an image is replaced.

    Args:
        path: The file.
        contents: Hash it; otherwise its size and time of modification, which a copy of the file
            need not keep.

    Returns:
        Size in bytes and time in nanoseconds, or ``sha256:`` and the digest; empty where the file
        cannot be read.
    """
    try:
        if contents:
            return HASHED + file_digest(path)
        facts = path.stat()
    except OSError:
        return ""
    return f"{facts.st_size} {facts.st_mtime_ns}"


class ChangedImages(NamedTuple):
    """Images whose files are not as they were."""

    contents: tuple[ImageRecord, ...]
    """Of another size, or another hash where they have one; or gone."""
    times: tuple[ImageRecord, ...]
    """Of another time of modification alone, as copies have."""


def changed_images(
    records: Iterable[ImageRecord], images_dir: Path, stamps: Mapping[int, str]
) -> ChangedImages:
    """Return the images whose files changed since their stamps were made.

    Args:
        records: Images; one without a stamp counts as unchanged.
        images_dir: What their file names are relative to.
        stamps: By image id, as of ``stamp_of``.
    """
    contents: list[ImageRecord] = []
    times: list[ImageRecord] = []
    for record in records:
        then = stamps.get(record.image_id)
        if not then:
            continue
        now = stamp_of(images_dir / record.file_name, contents=then.startswith(HASHED))
        if now == then:
            continue
        same_size = now.partition(" ")[0] == then.partition(" ")[0]
        (times if same_size else contents).append(record)
    return ChangedImages(tuple(contents), tuple(times))


def require_same_images(
    dataset: Dataset, stamps: Mapping[int, str], *, notice: Callable[[str], None] | None = None
) -> None:
    """Refuse to continue with images that were replaced since others were inferred with them.

    Args:
        dataset: The data set of the run.
        stamps: By image id, of the images that are finished, as they were then.
        notice: Called with a sentence where images have another time of modification alone, as
            copies have; None to refuse them as well.

    Raises:
        AnotherRunError: The file of one or more of them was replaced since.
    """
    changed = changed_images(dataset.images, dataset.images_dir, stamps)
    replaced = list(changed.contents)
    if notice is None:
        either = frozenset((*changed.contents, *changed.times))
        replaced = [one for one in dataset.images if one in either]
    elif changed.times:
        notice(
            f"{len(changed.times)} of {len(stamps)} images in {dataset.images_dir} have other "
            "times of modification than when they were evaluated: if they are other images, begin "
            "again in another --output"
        )
    if replaced:
        first = replaced[0]
        raise AnotherRunError(
            f"{len(replaced)} of {len(stamps)} finished images were replaced since, the first is "
            f"image {first.image_id}: {dataset.images_dir / first.file_name}",
            hint="put them back with their times of modification, or choose another --output; "
            "a run that is started with --verify-images compares contents instead",
        )


def map_stamps(truth: PanopticTruth | None, *, contents: bool = False) -> Callable[[int], str]:
    """Return what gives the stamp of an image's annotated map.

    Args:
        truth: The ground truth; None where there is none, and every stamp is empty.
        contents: As in ``stamp_of``.
    """
    rows = () if truth is None else truth.rows
    names: dict[int, str] = {row["image_id"]: row["file_name"] for row in rows}

    def stamp(image_id: int) -> str:
        if truth is None or image_id not in names:
            return ""
        return stamp_of(truth.folder / names[image_id], contents=contents)

    return stamp


def require_same_maps(truth: PanopticTruth | None, stamps: Mapping[int, str]) -> None:
    """Refuse to continue with annotated maps that were replaced since pixels were counted there.

    Args:
        truth: The ground truth, if any.
        stamps: By image id, of the images that are finished, as they were then.

    Raises:
        AnotherRunError: The map of one or more of them was replaced since.
    """
    by_kind = {kind: map_stamps(truth, contents=kind) for kind in (False, True)}
    replaced = [
        image
        for image, then in stamps.items()
        if then and by_kind[then.startswith(HASHED)](image) != then
    ]
    if truth is not None and replaced:
        raise AnotherRunError(
            f"{len(replaced)} of {len(stamps)} annotated maps in {truth.folder} were replaced "
            f"since pixels were counted on them, the first is that of image {min(replaced)}",
            hint="put them back with their times of modification, or choose another --output",
        )


def state_of_images(dataset: Dataset) -> dict[str, str]:
    """Return what changes when image files are replaced, for all of them together.

    A file that is missing counts as one of no size.

    Args:
        dataset: Its images; none is opened.

    Returns:
        ``image_sizes_sha256``, of names and sizes in bytes, and ``image_times_sha256``, of names
        and times of modification, which a copy of the files need not keep.
    """
    sizes, times = hashlib.sha256(), hashlib.sha256()
    for record in dataset.images:
        size, _, time = stamp_of(dataset.images_dir / record.file_name).partition(" ")
        name = record.file_name.encode("utf-8", "surrogateescape")
        sizes.update(b"%s\0%s\n" % (name, size.encode()))
        times.update(b"%s\0%s\n" % (name, time.encode()))
    return {SIZES: sizes.hexdigest(), TIMES: times.hexdigest()}


def require_images(dataset: Dataset, option: str = "--images") -> None:
    """Check that no image is missing, before the first one is inferred.

    Args:
        dataset: Its images.
        option: That names their folder, where they are the user's own.

    Raises:
        IntegrityError: One or more are; the first is named.
    """
    missing = [
        record.file_name
        for record in dataset.images
        if not (dataset.images_dir / record.file_name).is_file()
    ]
    if missing:
        raise IntegrityError(
            f"{len(missing)} of {len(dataset.images)} images are missing in {dataset.images_dir}, "
            f"the first is {missing[0]}",
            hint=f"check {option}; COCO's images come with: harness download",
        )


def facts_of_dataset(dataset: Dataset, image_count: int | None = None) -> DatasetFacts:
    """The facts of a data set that a record keeps.

    Args:
        dataset: The data set as it is evaluated.
        image_count: How many images it had before a limit; None where there is none.
    """
    return DatasetFacts(
        name=dataset.name,
        annotations_path=str(dataset.annotations_path.absolute()),
        images_dir=str(dataset.images_dir.absolute()),
        digest=dataset.digest,
        image_count=len(dataset.images) if image_count is None else image_count,
        evaluated_images=len(dataset.images),
        warnings=dataset.warnings,
        panoptic=None if dataset.panoptic is None else _panoptic_facts(dataset.panoptic),
    )


def _panoptic_facts(truth: PanopticTruth) -> PanopticFacts:
    return PanopticFacts(
        annotations_path=str(truth.annotations_path.absolute()),
        folder=str(truth.folder.absolute()),
        digest=truth.digest,
    )


def read_panoptic_of(facts: PanopticFacts, name: str) -> PanopticTruth:
    """Read the panoptic annotations that a run was evaluated on.

    Args:
        facts: Where they are.
        name: Name of the run's data set.

    Raises:
        UsageError: They are no longer there.
        IntegrityError: The file was replaced since.
    """
    from harness.data.panoptic import WHERE_FROM, panoptic_truth

    path = Path(facts.annotations_path)
    content, digest = read_with_digest(path)
    if digest != facts.digest:
        raise IntegrityError(
            f"{path} changed since the run was evaluated on it:\n"
            f"  expected sha256 {facts.digest}\n  found    sha256 {digest}",
            hint="put the file of the run back",
        )
    own = name not in PANOPTIC_LAYOUT
    repair = f"put back what the run was evaluated on: {path}, and its PNGs in {facts.folder}"
    return panoptic_truth(
        content,
        path,
        Path(facts.folder),
        digest,
        option="--panoptic" if own else None,
        repair=repair if own else WHERE_FROM,
    )
