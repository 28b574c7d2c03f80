"""Region proposals that an evaluation is given: which file, and those of each image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.core.architecture import Architecture
from harness.core.dataset import Dataset, ImageRecord
from harness.core.detections import Image
from harness.core.errors import PrerequisiteError, UsageError
from harness.core.model import Lock, ModelEntry
from harness.core.requests.inference import InferenceRequest
from harness.core.run_files import PREDICTIONS, RECORD
from harness.core.tasks import are_proposals
from harness.data.images import load_image
from harness.workflows.runs.folder import read_record, require_own_predictions
from harness.zoo.checkpoints import pinned_file
from harness.zoo.lock import find_artefact
from harness.zoo.proposals import ProposalFile, read_proposals

#: What makes a number not comparable with the published one, of proposals from each place.
OWN = "the region proposals are of another file than those the number was published with"
UNPROVEN = (
    "the region proposals cannot be proven: no source gives size or hash of the file they are "
    "published in"
)


def require_proposals_fit(
    entry: ModelEntry, architecture: Architecture, request: InferenceRequest
) -> None:
    """Check that proposals are given only to a network that takes some.

    Raises:
        UsageError: The network proposes regions itself.
    """
    if request.data.proposals is not None and not architecture.given_proposals:
        raise UsageError(
            f"{entry.name} proposes regions itself, and takes none from a file",
            hint="leave out --proposals, or choose --model fast_rcnn_R_50_FPN_1x",
        )


def find_proposals(
    lock: Lock, entry: ModelEntry, request: InferenceRequest, dataset: Dataset
) -> ProposalFile:
    """The region proposals of a data set: those of the request, or those the model is published
    with.

    Args:
        lock: With the artefact of the published ones.
        entry: The model.
        request: What was asked for.
        dataset: Its images need some.

    Raises:
        UsageError: The file, or the run, does not exist or has none.
        PrerequisiteError: The published file is not there, or there is none.
        IntegrityError: The file is damaged, or of other images.
    """
    given = request.data.proposals
    if given is not None:
        return read_proposals(file_of(given), dataset.image_ids, published=False)
    if entry.proposals is None:
        raise PrerequisiteError(
            f"{entry.name} takes its region proposals from a file, and none are published",
            hint="give some with --proposals: what harness eval leaves of an RPN",
        )
    artefact = find_artefact(lock, entry.proposals)
    file = pinned_file(artefact, request.network.root, model=entry.name)
    return read_proposals(Path(file.path), dataset.image_ids, published=True)


def file_of(given: Path) -> Path:
    """The file itself, or the predictions of a run of an RPN.

    Raises:
        UsageError: The folder is no run, or one of another kind.
        IntegrityError: Its predictions were damaged since.
    """
    if not given.is_dir():
        return given
    if not (given / RECORD).is_file():
        raise UsageError(
            f"{given} is a folder, not a finished run: it has no {RECORD}",
            hint="give a file, or a run of: harness eval --model rpn_R_50_FPN_1x",
        )
    if not are_proposals(read_record(given).metrics):
        raise UsageError(
            f"{given} is not a run of a network that only proposes regions",
            hint="make one: harness eval --model rpn_R_50_FPN_1x",
        )
    require_own_predictions(given)
    return given / PREDICTIONS


def proposal_deviations(file: ProposalFile | None) -> tuple[str, ...]:
    """What makes a number not comparable with a published one, a sentence each."""
    if file is None:
        return ()
    return (UNPROVEN if file.published else OWN,)


def load_with_proposals(
    record: ImageRecord, images_dir: Path, proposals: ProposalFile | None
) -> Image:
    """The decoded image of a record, with its region proposals if the network is given some.

    Raises:
        IntegrityError: As in ``load_image``.
    """
    image = load_image(record, images_dir)
    if proposals is None:
        return image
    return replace(image, proposals_xyxy_px=proposals.boxes[record.image_id])
