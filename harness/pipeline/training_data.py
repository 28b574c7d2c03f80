"""What a training learns, and what it is evaluated on."""

from __future__ import annotations

from harness.core.dataset import Dataset
from harness.core.errors import IntegrityError, UsageError
from harness.core.model import ModelEntry, TrainRecipe
from harness.core.requests.training import TrainRequest
from harness.data.catalog import VALIDATION_OF, find_dataset


def training_data(request: TrainRequest, recipe: TrainRecipe) -> Dataset:
    """What is learned: what was asked for, or what the recipe is published for."""
    own = request.train_annotations is not None or request.train_images is not None
    return find_dataset(
        dataset=request.dataset or (None if own else recipe.dataset),
        annotations=request.train_annotations,
        images=request.train_images,
        root=request.root,
        options=("--train-annotations", "--train-images"),
    )


def validation_data(request: TrainRequest, entry: ModelEntry) -> Dataset:
    """The given pair; else what belongs to the training data, or the model's own.

    Training data of the user's own have no other.
    """
    own = request.val_annotations is not None or request.val_images is not None
    if not own and request.train_annotations is not None:
        raise UsageError(
            "data of your own need validation data as well",
            hint="give --val-annotations and --val-images; they may be the training pair",
        )
    return find_dataset(
        dataset=None if own else VALIDATION_OF.get(request.dataset or "", entry.dataset),
        annotations=request.val_annotations,
        images=request.val_images,
        root=request.root,
        options=("--val-annotations", "--val-images"),
    )


def require_same_categories(training: Dataset, validation: Dataset) -> None:
    """Raise IntegrityError unless both list the same categories in the same order."""
    if training.categories == validation.categories:
        return
    ours, theirs = set(training.categories), set(validation.categories)
    odd = sorted(ours ^ theirs, key=lambda one: one.category_id)
    shown = ", ".join(f"{one.category_id} {one.name}" for one in odd[:5]) or "their order"
    raise IntegrityError(
        f"training and validation data list other categories: {shown}\n"
        f"  {training.annotations_path}\n  {validation.annotations_path}",
        hint="both files must list the same ids and names, used or not",
    )
