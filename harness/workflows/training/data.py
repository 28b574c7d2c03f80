"""The data of a training: what is learned, and what the weights are evaluated on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.core.architecture import Architecture
from harness.core.dataset import Category, Dataset
from harness.core.errors import IntegrityError, UsageError
from harness.core.model import ModelEntry, TrainRecipe
from harness.core.printable import shown_text
from harness.core.requests.training import TrainRequest
from harness.data.catalog import VALIDATION_OF, find_dataset
from harness.data.coco import KEYPOINTS_FROM
from harness.data.objects import BOXES_ONLY, TrainingSet, training_set
from harness.data.panoptic import how_to_give, require_pngs
from harness.data.run_dataset import require_images
from harness.workflows.evaluation.proposals import file_of
from harness.zoo.checkpoints import pinned_file
from harness.zoo.lock import find_artefact, find_model, read_lock
from harness.zoo.proposals import read_proposals

#: Categories that an error names of each file.
NAMED = 5


def training_data(request: TrainRequest, recipe: TrainRecipe, *, compact: bool) -> Dataset:
    """Return the training data: the requested data set, or the one the recipe is published for.

    Args:
        request: What was asked for.
        recipe: The published settings.
        compact: Parse it as training alone needs it.

    Raises:
        UsageError: An unknown data set, or a file without its folder of images.
        PrerequisiteError: The data are not there.
        IntegrityError: An annotation file is not valid.
    """
    return find_dataset(
        dataset=request.data.dataset or (None if has_own_data(request) else recipe.dataset),
        annotations=request.data.train_annotations,
        images=request.data.train_images,
        root=request.network.root,
        options=("--train-annotations", "--train-images"),
        compact=compact,
        panoptic=request.data.train_panoptic,
        panoptic_masks=request.data.train_panoptic_masks,
    )


def validation_data(request: TrainRequest, entry: ModelEntry) -> Dataset:
    """Return the given pair; else what belongs to the training data, or the model's own.

    Args:
        request: What was asked for.
        entry: The model, whose data set is the last resort.

    Raises:
        UsageError: The training data are the user's own, and no validation data are given.
        PrerequisiteError: The data are not there.
        IntegrityError: An annotation file is not valid.
    """
    own = request.data.val_annotations is not None or request.data.val_images is not None
    if not own and request.data.train_annotations is not None:
        raise UsageError(
            "data of your own need validation data as well",
            hint="give --val-annotations and --val-images; they may be the training pair",
        )
    return find_dataset(
        dataset=None if own else VALIDATION_OF.get(request.data.dataset or "", entry.dataset),
        annotations=request.data.val_annotations,
        images=request.data.val_images,
        root=request.network.root,
        options=("--val-annotations", "--val-images"),
        panoptic=request.data.val_panoptic,
        panoptic_masks=request.data.val_panoptic_masks,
    )


def both_data(
    request: TrainRequest, entry: ModelEntry, recipe: TrainRecipe
) -> tuple[Dataset, Dataset]:
    """Return training and validation data, each file parsed once; they may be the same files.

    Args:
        request: What was asked for.
        entry: The model.
        recipe: Its published settings.

    Raises:
        UsageError: As in `training_data` and `validation_data`.
        PrerequisiteError: The data are not there.
        IntegrityError: An annotation file is not valid.
    """
    asked = request.data
    learned = (
        asked.train_annotations,
        asked.train_images,
        asked.train_panoptic,
        asked.train_panoptic_masks,
    )
    judged = (
        asked.val_annotations,
        asked.val_images,
        asked.val_panoptic,
        asked.val_panoptic_masks,
    )
    if None not in learned[:2] and learned == judged:
        both = training_data(request, recipe, compact=False)
        return both, both
    return training_data(request, recipe, compact=True), validation_data(request, entry)


def held_out_data(request: TrainRequest) -> Dataset | None:
    """Return the test data of a request; None where there are none.

    Raises:
        UsageError: Half of the pair is missing.
        IntegrityError: A file is not valid.
    """
    asked = request.data
    given = (
        asked.test_annotations,
        asked.test_images,
        asked.test_panoptic,
        asked.test_panoptic_masks,
    )
    if given == (None,) * 4:
        return None
    return find_dataset(
        dataset=None,
        annotations=asked.test_annotations,
        images=asked.test_images,
        root=request.network.root,
        options=("--test-annotations", "--test-images"),
        panoptic=asked.test_panoptic,
        panoptic_masks=asked.test_panoptic_masks,
    )


def has_own_data(request: TrainRequest) -> bool:
    """Return whether files of the user are learned."""
    return request.data.train_annotations is not None or request.data.train_images is not None


def require_usable(dataset: Dataset, model: str, published: Architecture, option: str) -> None:
    """Check that a data set has what a network learns and is measured by, every file of it.

    Args:
        dataset: With its annotations.
        model: Name of the model.
        published: Its network.
        option: That names panoptic annotations of these data.

    Raises:
        UsageError: It has panoptic annotations, and the network makes no maps.
        IntegrityError: It has none, and the network does; it has no keypoints, and the network
            finds some; or images or PNGs are missing.
    """
    require_images(dataset, option.replace("panoptic", "images"))
    if published.keypoint_count and not dataset.keypoint_count:
        raise IntegrityError(
            f"{dataset.annotations_path} has no keypoints, which {model} learns and is measured by",
            hint=KEYPOINTS_FROM,
        )
    truth = dataset.panoptic
    if truth is None:
        if published.is_panoptic:
            raise IntegrityError(
                f"{dataset.annotations_path} has boxes and masks only, and {model} learns panoptic "
                "annotations, too",
                hint=f"{how_to_give(option)}; a model that learns boxes and masks alone: --model "
                "R_50_FPN_1x",
            )
        return
    if not published.is_panoptic:
        raise UsageError(
            f"{model} makes no maps of segments, which {truth.annotations_path} has",
            hint=f"leave out {option}, or choose a model of: harness models panoptic",
        )
    require_pngs(truth, dataset.image_ids)


def require_same_categories(training: Dataset, other: Dataset) -> None:
    """Check that both data sets list the same categories in the same order, of stuff as well.

    Raises:
        IntegrityError: They do not.
    """
    lists = [(one.annotations_path, one.categories) for one in (training, other)]
    if training.panoptic is not None and other.panoptic is not None:
        parts = (training.panoptic, other.panoptic)
        lists += [(one.annotations_path, one.stuff) for one in parts]
    for (ours, first), (theirs, second) in zip(lists[::2], lists[1::2], strict=True):
        if first == second:
            continue
        raise IntegrityError(
            "two files of a training list different categories:\n"
            f"  only in {ours}: {_only(first, second)}\n"
            f"  only in {theirs}: {_only(second, first)}",
            hint="both files must list the same ids and names, used or not; where names are equal, "
            "give both to: harness data merge, and split the result",
        )


def _only(ours: Sequence[Category], theirs: Sequence[Category]) -> str:
    """Return the categories that only one of two files lists."""
    odd = [f"{one.category_id} {shown_text(one.name)}" for one in ours if one not in theirs]
    if not odd:
        return "none"
    return ", ".join(odd[:NAMED]) + (f" and {len(odd) - NAMED} more" if len(odd) > NAMED else "")


def require_proposals(request: TrainRequest, published: Architecture) -> None:
    """Check that region proposals are given to a network that takes some, and to no other.

    Raises:
        UsageError: They are not, or Detectron2's trainer would have to read them.
    """
    asked, model = request.data, request.network.model
    given = (asked.train_proposals, asked.val_proposals, asked.test_proposals)
    if not published.given_proposals:
        if given != (None,) * len(given):
            raise UsageError(
                f"{model} proposes regions itself, and takes none from a file",
                hint="leave out the proposals, or choose --model fast_rcnn_R_50_FPN_1x",
            )
        return
    if request.runtime.engine == "detectron2":
        raise UsageError(
            f"{model} learns from region proposals in a file, which the detectron2 engine does not "
            "read here",
            hint="leave out --engine: the native engine has Detectron2's losses",
        )
    entry = find_model(read_lock(), model)
    if asked.train_proposals is None and published_for_training(entry, request) is None:
        raise UsageError(
            f"{model} learns from region proposals in a file, and none are given",
            hint="give them with --train-proposals: a run of harness eval --model rpn_R_50_FPN_1x "
            "on the training images; a model that proposes its own regions: "
            "--model faster_rcnn_R_50_FPN_1x",
        )
    _require_proposals_of_own("val", asked.val_annotations, asked.val_proposals, model)
    _require_proposals_of_own("test", asked.test_annotations, asked.test_proposals, model)
    if asked.test_proposals is not None and asked.test_annotations is None:
        raise UsageError(
            "--test-proposals goes with --test-annotations and --test-images, which are missing",
            hint="give them as well, or leave it out",
        )


def _require_proposals_of_own(
    part: str, annotations: Path | None, proposals: Path | None, model: str
) -> None:
    """Raise UsageError for images of the user without regions: the published ones are of COCO's."""
    if annotations is not None and proposals is None:
        raise UsageError(
            f"{model} takes region proposals from a file, and there are none of the images of "
            f"{annotations}",
            hint=f"give them with --{part}-proposals: a run of harness eval --model "
            f"rpn_R_50_FPN_1x --annotations {annotations} on these images",
        )


def published_for_training(entry: ModelEntry, request: TrainRequest) -> str | None:
    """Return the artefact with the region proposals that a model was trained on.

    Args:
        entry: The model.
        request: What was asked for.

    Returns:
        None where none are published, others are given, or other data are learned.
    """
    asked, recipe = request.data, entry.recipe
    if asked.train_proposals is not None or has_own_data(request) or recipe is None:
        return None
    return entry.training_proposals if asked.dataset in (None, recipe.dataset) else None


def training_regions(entry: ModelEntry, request: TrainRequest) -> Path | None:
    """Return the file of the region proposals that are learned from; None where none are needed.

    Raises:
        PrerequisiteError: The published file is not there.
    """
    name = published_for_training(entry, request)
    if name is None:
        return request.data.train_proposals
    artefact = find_artefact(read_lock(), name)
    return Path(pinned_file(artefact, request.network.root, model=None).path)


def published_proposals(entry: ModelEntry, root: Path) -> Path:
    """Return the file of the region proposals that a model is evaluated with.

    Args:
        entry: The model.
        root: Folder of data sets.

    Raises:
        PrerequisiteError: It is not there.
    """
    assert entry.proposals is not None  # of a model that is given some
    artefact = find_artefact(read_lock(), entry.proposals)
    return Path(pinned_file(artefact, root, model=entry.name).path)


def with_proposals(found: TrainingSet, given: Path | None) -> tuple[TrainingSet, str | None]:
    """Return the images with their region proposals, and the sha256 of the file.

    Args:
        found: What can be learned.
        given: A file, or a run of an RPN; None leaves everything as it is.

    Raises:
        UsageError: It is not there, or a run of another kind.
        IntegrityError: It is damaged, or lacks an image.
    """
    if given is None:
        return found, None
    ids = [one.record.image_id for one in found.images]
    file = read_proposals(file_of(given), ids, published=False)
    images = [replace(one, proposals=file.boxes[one.record.image_id]) for one in found.images]
    return replace(found, images=tuple(images)), file.sha256


def learnable(learned: Dataset, published: Architecture) -> TrainingSet:
    """Return what can be learned from.

    Raises:
        IntegrityError: There is nothing.
    """
    found = learned_by(published, learned)
    if not found.images:
        reasons = ", ".join(found.left_out) or "it lists none"
        raise IntegrityError(
            f"{learned.annotations_path} has no object to learn from: {reasons}",
            hint=_how_to_learn(learned, published),
        )
    return found


def _how_to_learn(learned: Dataset, published: Architecture) -> str:
    """Return what to do about a file of which nothing can be learned."""
    if published.has_masks and training_set(learned, with_masks=False).images:
        return (
            f"{BOXES_ONLY}; or train a model of boxes alone, such as "
            "--model faster_rcnn_R_50_FPN_3x"
        )
    words = ("harness", "data", "check", str(learned.annotations_path))
    images = ("--images", str(learned.images_dir))
    return f"look at it with: {shlex.join((*words, *images))}"


def learned_by(architecture: Architecture, dataset: Dataset) -> TrainingSet:
    """Return the part of a data set that a network can learn from.

    Args:
        architecture: Says what it learns.
        dataset: With its annotations.
    """
    return training_set(
        dataset,
        with_masks=architecture.has_masks,
        with_keypoints=architecture.keypoint_count > 0,
        with_semantics=architecture.is_panoptic,
    )
