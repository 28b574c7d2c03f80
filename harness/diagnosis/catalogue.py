"""The faults that are looked for: what each is, how it shows, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.core.requests.reports import ClassIds

Group = Literal["images", "boxes", "masks", "categories", "rows", "scores", "annotations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """One known fault."""

    name: str
    """Short and stable, for programs."""
    group: Group
    """What it is a fault of."""
    fault: str
    """What is wrong, as a noun phrase."""
    fix: str
    """What to do about it."""
    shows: str
    """What is looked at."""
    undone: bool = True
    """Whether it can be undone, and the predictions scored without it."""


def _one(
    name: str, group: Group, fault: str, fix: str, shows: str, *, undone: bool = True
) -> Hypothesis:
    return Hypothesis(name=name, group=group, fault=fault, fix=fix, shows=shows, undone=undone)


_WRITE_IDS = "write the id of the annotation file for each class index"


def _or_say(word: ClassIds) -> str:
    return f"{_WRITE_IDS}, or have it read so: --class-ids {word}"


_WRITE_BOXES = "write boxes as x, y, width, height in px of the original image"
_AP = "AP rises when it is undone"
_PLACES = "boxes, whatever their category, meet objects when it is undone"

#: In the order in which they are looked for; what is not reached in time is named.
CATALOGUE: tuple[Hypothesis, ...] = (
    _one(
        "image-positions",
        "images",
        "images numbered by their position instead of their id",
        "write the image id of the annotation file",
        _PLACES,
    ),
    _one(
        "image-file-numbers",
        "images",
        "the number in the file name instead of the image id",
        "write the image id of the annotation file, or give the file the predictions were made on",
        _PLACES,
    ),
    _one(
        "other-annotations",
        "annotations",
        "another annotation file: most predictions are for images that it does not list",
        "score against the file whose images the model was run on",
        "the image ids of most rows are not listed",
        undone=False,
    ),
    _one(
        "unknown-images",
        "images",
        "rows of images that are not in the set",
        "leave those rows out, or score against the whole annotation file",
        "some image ids are not listed",
    ),
    _one("xyxy", "boxes", "corners x1, y1, x2, y2 instead of a size", _WRITE_BOXES, _PLACES),
    _one(
        "yxyx",
        "boxes",
        "corners y1, x1, y2, x2 instead of x, y and a size",
        _WRITE_BOXES,
        _PLACES,
    ),
    _one("centre", "boxes", "the centre of a box instead of its corner", _WRITE_BOXES, _PLACES),
    _one("swapped-axes", "boxes", "x and y swapped", _WRITE_BOXES, _PLACES),
    _one(
        "normalised",
        "boxes",
        "coordinates from 0 to 1 instead of px",
        "multiply by the width and height of the image",
        "no coordinate is above 1.5",
    ),
    _one(
        "resized-frame",
        "boxes",
        "boxes in the frame of the resized image",
        "divide by the factor that the image was resized with",
        _PLACES,
    ),
    _one(
        "letterboxed-frame",
        "boxes",
        "boxes in the frame of the letterboxed image",
        "subtract the padding, then divide by the factor",
        _PLACES,
    ),
    _one(
        "mirrored-frame",
        "boxes",
        "boxes in the frame of the mirrored image",
        "mirror the boxes of a flipped image back",
        _PLACES,
    ),
    _one(
        "turned-frame",
        "boxes",
        "boxes in the frame of an image before EXIF turned it",
        "turn the image by its EXIF orientation before the model sees it",
        "boxes leave their images and would not leave the turned ones, or meet objects of some "
        "images only after a half turn",
    ),
    _one(
        "index-from-0",
        "categories",
        "class index instead of category id",
        _or_say("index-from-0"),
        _AP,
    ),
    _one(
        "index-from-1",
        "categories",
        "class index from 1, with the background first, instead of category id",
        _or_say("index-from-1"),
        _AP,
    ),
    _one(
        "id-plus-1", "categories", "category ids that are one too high", _or_say("id-plus-1"), _AP
    ),
    _one(
        "id-minus-1", "categories", "category ids that are one too low", _or_say("id-minus-1"), _AP
    ),
    _one(
        "coco-ids",
        "categories",
        "COCO's ids, 1 to 90 with gaps, for annotations that number without gaps",
        _or_say("coco-ids"),
        _AP,
    ),
    _one("alphabetical", "categories", "classes in alphabetical order", _WRITE_IDS, _AP),
    _one(
        "other-order",
        "categories",
        "classes in another order",
        _WRITE_IDS,
        "boxes of most categories meet objects of one other category",
    ),
    _one(
        "masks-resized",
        "masks",
        "masks pasted into another frame than their image",
        "paste masks into the original image's frame",
        "masks meet objects when they are resized, or what is drawn in masks of the right size",
    ),
    _one(
        "masks-transposed",
        "masks",
        "masks with rows and columns swapped",
        "encode masks as (height, width), in Fortran order",
        "masks meet objects when they are swapped, or when their pixels are read row by row",
    ),
    _one(
        "masks-turned",
        "masks",
        "masks in the frame of an image before EXIF turned it",
        "turn the image by its EXIF orientation before the model sees it",
        "masks meet objects when they are turned, all of them or those of some images",
    ),
    _one(
        "masks-shifted",
        "masks",
        "masks off by a pixel or a few",
        "check the rounding where masks are pasted",
        "matched masks overlap more when all are moved by one pixel or more, to one side",
    ),
    _one(
        "same-image-twice",
        "rows",
        "the same image twice",
        "leave out what a sampler repeats to fill the last batch",
        "rows that are equal in everything",
    ),
    _one(
        "nms-missing",
        "rows",
        "no suppression of duplicates (NMS)",
        "suppress boxes of a category that overlap more than 0.5",
        "most boxes have a better one of their category in their place",
    ),
    _one(
        "one-share",
        "images",
        "the share of one process instead of all images",
        "gather the predictions of all processes before they are written",
        "only every n-th image, or one block of them, has rows",
    ),
    _one(
        "images-without-rows",
        "images",
        "images without any row",
        "run the model on all images of the annotation file",
        "images with many objects have no row",
    ),
    _one(
        "more-than-100",
        "rows",
        "more than 100 rows an image",
        "keep the best 100 of each image, as published numbers do",
        "the rows of an image are counted",
    ),
    _one(
        "scores-equal",
        "scores",
        "scores that are all the same",
        "write the probability that the model gives",
        "there is one score",
        undone=False,
    ),
    _one(
        "scores-inverted",
        "scores",
        "scores that are lower the surer the model is",
        "write the probability that there is the object, not 1 minus it or a distance",
        _AP,
    ),
    _one(
        "scores-in-percent",
        "scores",
        "scores in percent",
        "write scores from 0 to 1; AP is the same, thresholds are not",
        "scores reach from 1 to 100",
    ),
    _one(
        "scores-cut",
        "scores",
        "rows below a score left out",
        "write everything above 0.05 or less: what is left out cannot be found again",
        "no score is below a round number, and many are just above it",
        undone=False,
    ),
    _one(
        "nms-too-hard",
        "rows",
        "suppression (NMS) that leaves hardly any overlap",
        "suppress boxes of a category that overlap more than 0.5, not less",
        "boxes of a category never overlap as objects do",
        undone=False,
    ),
    _one(
        "nms-across-classes",
        "rows",
        "suppression (NMS) across categories",
        "suppress boxes of the same category only",
        "boxes of different categories overlap up to a limit and never more",
        undone=False,
    ),
    _one(
        "crowd-as-object",
        "annotations",
        "crowds taken for objects",
        "keep iscrowd = 1 of the original annotations",
        "a few masks are run lengths, as COCO's crowds are, none is a crowd, and boxes meet few of "
        "them",
    ),
    _one(
        "box-beside-mask",
        "masks",
        "a box beside each mask decides its size class",
        "leave bbox out of the rows for masks, as Detectron2 does",
        "rows have both; a note says what APs, APm and APl other evaluators get",
        undone=False,
    ),
)

#: By name.
BY_NAME = {one.name: one for one in CATALOGUE}
