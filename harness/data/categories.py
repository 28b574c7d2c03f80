"""Names of a model's classes, where no annotation file is given."""

from __future__ import annotations

from pathlib import Path

from harness.core.dataset import Category
from harness.core.errors import IntegrityError, UsageError
from harness.data.catalog import COCO_LAYOUT, KEYPOINTS, SYNTHETIC_SPLITS
from harness.data.coco import read_annotations
from harness.data.shapes import category_of
from harness.data.synthetic import SHAPES
from harness.data.trained_weights import PANOPTIC, learned_from, statement_of
from harness.measure.keypoints import keypoint_count

#: COCO's 80 categories in the order of their ids, which is that of the networks' classes
#: (Detectron2, ``data/datasets/builtin_meta.py``; the same as in ``instances_val2017.json``).
COCO_CATEGORIES = (
    Category(1, "person"),
    Category(2, "bicycle"),
    Category(3, "car"),
    Category(4, "motorcycle"),
    Category(5, "airplane"),
    Category(6, "bus"),
    Category(7, "train"),
    Category(8, "truck"),
    Category(9, "boat"),
    Category(10, "traffic light"),
    Category(11, "fire hydrant"),
    Category(13, "stop sign"),
    Category(14, "parking meter"),
    Category(15, "bench"),
    Category(16, "bird"),
    Category(17, "cat"),
    Category(18, "dog"),
    Category(19, "horse"),
    Category(20, "sheep"),
    Category(21, "cow"),
    Category(22, "elephant"),
    Category(23, "bear"),
    Category(24, "zebra"),
    Category(25, "giraffe"),
    Category(27, "backpack"),
    Category(28, "umbrella"),
    Category(31, "handbag"),
    Category(32, "tie"),
    Category(33, "suitcase"),
    Category(34, "frisbee"),
    Category(35, "skis"),
    Category(36, "snowboard"),
    Category(37, "sports ball"),
    Category(38, "kite"),
    Category(39, "baseball bat"),
    Category(40, "baseball glove"),
    Category(41, "skateboard"),
    Category(42, "surfboard"),
    Category(43, "tennis racket"),
    Category(44, "bottle"),
    Category(46, "wine glass"),
    Category(47, "cup"),
    Category(48, "fork"),
    Category(49, "knife"),
    Category(50, "spoon"),
    Category(51, "bowl"),
    Category(52, "banana"),
    Category(53, "apple"),
    Category(54, "sandwich"),
    Category(55, "orange"),
    Category(56, "broccoli"),
    Category(57, "carrot"),
    Category(58, "hot dog"),
    Category(59, "pizza"),
    Category(60, "donut"),
    Category(61, "cake"),
    Category(62, "chair"),
    Category(63, "couch"),
    Category(64, "potted plant"),
    Category(65, "bed"),
    Category(67, "dining table"),
    Category(70, "toilet"),
    Category(72, "tv"),
    Category(73, "laptop"),
    Category(74, "mouse"),
    Category(75, "remote"),
    Category(76, "keyboard"),
    Category(77, "cell phone"),
    Category(78, "microwave"),
    Category(79, "oven"),
    Category(80, "toaster"),
    Category(81, "sink"),
    Category(82, "refrigerator"),
    Category(84, "book"),
    Category(85, "clock"),
    Category(86, "vase"),
    Category(87, "scissors"),
    Category(88, "teddy bear"),
    Category(89, "hair drier"),
    Category(90, "toothbrush"),
)

#: COCO's 53 kinds of stuff in the order of their ids, which is that of a semantic head's classes
#: from 1 (Detectron2, ``data/datasets/builtin_meta.py``; as in ``panoptic_val2017.json``).
COCO_STUFF = (
    Category(92, "banner"),
    Category(93, "blanket"),
    Category(95, "bridge"),
    Category(100, "cardboard"),
    Category(107, "counter"),
    Category(109, "curtain"),
    Category(112, "door-stuff"),
    Category(118, "floor-wood"),
    Category(119, "flower"),
    Category(122, "fruit"),
    Category(125, "gravel"),
    Category(128, "house"),
    Category(130, "light"),
    Category(133, "mirror-stuff"),
    Category(138, "net"),
    Category(141, "pillow"),
    Category(144, "platform"),
    Category(145, "playingfield"),
    Category(147, "railroad"),
    Category(148, "river"),
    Category(149, "road"),
    Category(151, "roof"),
    Category(154, "sand"),
    Category(155, "sea"),
    Category(156, "shelf"),
    Category(159, "snow"),
    Category(161, "stairs"),
    Category(166, "tent"),
    Category(168, "towel"),
    Category(171, "wall-brick"),
    Category(175, "wall-stone"),
    Category(176, "wall-tile"),
    Category(177, "wall-wood"),
    Category(178, "water-other"),
    Category(180, "window-blind"),
    Category(181, "window-other"),
    Category(184, "tree-merged"),
    Category(185, "fence-merged"),
    Category(186, "ceiling-merged"),
    Category(187, "sky-other-merged"),
    Category(188, "cabinet-merged"),
    Category(189, "table-merged"),
    Category(190, "floor-other-merged"),
    Category(191, "pavement-merged"),
    Category(192, "mountain-merged"),
    Category(193, "grass-merged"),
    Category(194, "dirt-merged"),
    Category(195, "paper-merged"),
    Category(196, "food-other-merged"),
    Category(197, "building-other-merged"),
    Category(198, "rock-merged"),
    Category(199, "wall-other-merged"),
    Category(200, "rug-merged"),
)


#: COCO's persons with their keypoints, and the lines between them (``person_keypoints_*.json``;
#: names as in Detectron2's ``COCO_PERSON_KEYPOINT_NAMES``).
COCO_PERSON = Category(
    1,
    "person",
    (
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    (
        (16, 14),
        (14, 12),
        (17, 15),
        (15, 13),
        (12, 13),
        (6, 12),
        (7, 13),
        (6, 7),
        (6, 8),
        (7, 9),
        (8, 10),
        (9, 11),
        (2, 3),
        (1, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
        (5, 7),
    ),
)


def categories_of(dataset: str) -> tuple[Category, ...]:
    """The categories of a known data set, sorted by id; nothing is read from disk.

    Args:
        dataset: Its name.

    Raises:
        UsageError: The categories of a data set of this name are not known.
    """
    if dataset in SYNTHETIC_SPLITS:
        return tuple(Category(number, name) for number, name in SHAPES.items())
    if dataset in COCO_LAYOUT:
        return (COCO_PERSON,) if dataset.startswith(KEYPOINTS) else COCO_CATEGORIES
    raise UsageError(
        f"no list of categories of {dataset} is built in",
        hint="give an annotation file that lists them: --annotations",
    )


def stuff_of(semantic_classes: int) -> tuple[Category, ...]:
    """Kinds of stuff of a semantic head, where no panoptic file names them.

    Args:
        semantic_classes: Semantic classes of the head, with that of things; 0 for a network without
            one.

    Returns:
        COCO's where there are as many, else numbered ones.
    """
    count = max(0, semantic_classes - 1)
    if count == len(COCO_STUFF):
        return COCO_STUFF
    return tuple(Category(number, f"stuff {number}") for number in range(1, count + 1))


def stuff_for(
    semantic_classes: int, *, panoptic: Path | None, weights: Path | None
) -> tuple[Category, ...]:
    """Kinds of stuff of a model, by class of its semantic head from 1; none without one.

    By the panoptic file that was given; else by the weights themselves; else by the training in
    whose folder they are, where its file is still there; else those of ``stuff_of``.

    Args:
        semantic_classes: Semantic classes of the model's published network.
        panoptic: A file of the user; None for none.
        weights: The file of weights; None for the pinned ones.

    Raises:
        UsageError: The network makes no maps of segments, and a panoptic file was given.
        IntegrityError: The file is not valid, or the pinned weights know other kinds of stuff.
    """
    if not semantic_classes:
        if panoptic is not None:
            raise UsageError(
                f"this network makes no maps of segments, which {panoptic} has",
                hint="leave out --panoptic, or choose a model of: harness models panoptic",
            )
        return ()
    said = None if panoptic else statement_of(weights)
    if said is not None and said.stuff:
        return said.stuff
    listed = panoptic or learned_from(weights, PANOPTIC)
    if listed is None:
        return stuff_of(semantic_classes)
    from harness.data.panoptic import read_stuff  # Pillow: only where it is needed

    stuff = read_stuff(listed)
    if weights is None and len(stuff) + 1 != semantic_classes:
        raise IntegrityError(
            f"the model's own weights know {semantic_classes - 1} kinds of stuff, {listed} lists "
            f"{len(stuff)}",
            hint="leave out --panoptic, or give the weights that learned them: --weights",
        )
    return stuff


def read_categories(annotations: Path) -> tuple[Category, ...]:
    """The categories that a COCO annotation file lists, sorted by id."""
    content = read_annotations(annotations)
    ordered = sorted(content["categories"], key=lambda category: int(category["id"]))
    points = keypoint_count(content)
    return tuple(category_of(category, points) for category in ordered)


def categories_for(
    dataset: str, *, annotations: Path | None, weights: Path | None
) -> tuple[Category, ...]:
    """The categories of a model, in the order of its classes.

    By the annotation file that was given; else by the weights themselves; else by the training in
    whose folder they are, where its annotations are still there; else those of the model's own data
    set, built in.

    Args:
        dataset: Name of the data set of the model's entry.
        annotations: A file of the user; None for none.
        weights: The file of weights; None for the pinned ones.
    """
    said = None if annotations else statement_of(weights)
    if said is not None:
        return said.categories
    listed = annotations or learned_from(weights)
    return categories_of(dataset) if listed is None else read_categories(listed)
