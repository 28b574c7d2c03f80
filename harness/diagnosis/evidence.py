"""Whether few images are enough for a claim: what is seen of one to a handful may be chance.

Some of the many hypotheses always fits a few objects. A fault is claimed of few images where its
rows show it by themselves, or where undoing it brings predictions to many more objects.
"""

from __future__ import annotations

from harness.core.printable import counted
from harness.diagnosis.catalogue import BY_NAME
from harness.diagnosis.places import Undo
from harness.diagnosis.scoring import met_objects
from harness.diagnosis.search import OF_MASKS, Search

#: Of fewer images claims need more than a higher AP.
FEW_IMAGES = 10

#: Objects that must be met more when a fault is undone. What 204 single real images with nothing
#: wrong, and 560 samples of two to eight, seem to show brings predictions to 2 more at most.
LEAST_MET = 5

#: What rows show by themselves, however few they are.
SHOWN = frozenset(
    {
        "other-annotations",
        "unknown-images",
        "normalised",
        "same-image-twice",
        "more-than-100",
        "scores-equal",
        "scores-in-percent",
    }
)


def keep_evident(search: Search) -> None:
    """Take back what few images do not show, with a note that names it.

    Args:
        search: That was made.
    """
    if len(search.images) >= FEW_IMAGES:
        return
    dropped = [one.name for one in search.signs if one.name not in SHOWN]
    search.signs = [one for one in search.signs if one.name in SHOWN]
    while weak := next((one for one in search.steps if not _is_evident(one, search)), None):
        search.steps.remove(weak)
        dropped.append(weak.name)
    if dropped:
        faults = ", ".join(BY_NAME[name].fault for name in dropped)
        images = counted(len(search.images), "image")
        search.notes.append(f"{images} may show this by chance, and it is not claimed: {faults}")


def _is_evident(step: Undo, search: Search) -> bool:
    if step.name in SHOWN:
        return True
    task = "segm" if step.name in OF_MASKS else search.task
    met, before = (
        met_objects(search.undone(without=without), search.images, task).sum()
        for without in (None, step)
    )
    return bool(met - before >= LEAST_MET)
