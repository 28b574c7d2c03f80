"""The lock itself, and reading it."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import IntegrityError, PrerequisiteError, UsageError
from harness.core.model import GROUPS, Artefact, Lock
from harness.core.requests.zoo import DownloadRequest
from harness.data.catalog import COCO_LAYOUT
from harness.files.layout import LOCK_NAME, find_lock
from harness.zoo.architectures import architecture_of, is_known
from harness.zoo.download import CHECKPOINT_GROUPS, chosen
from harness.zoo.lock import find_artefact, find_model, read_lock


@pytest.fixture(scope="module")
def lock() -> Lock:
    return read_lock(find_lock())


@pytest.fixture
def plain(repository: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((repository / LOCK_NAME).read_text(encoding="utf-8"))
    return content


def test_what_no_source_gives_is_null_and_says_so(lock: Lock) -> None:
    for artefact in lock.artefacts:
        hashes = (artefact.sha256, artefact.md5)  # a prefix is no whole hash
        if artefact.bytes is None or not any(hashes):
            assert "no source gives" in artefact.source, artefact.name
        assert artefact.licence
        assert "URL" in artefact.source, artefact.name


def test_hashes_and_names_have_their_form(lock: Lock) -> None:
    for artefact in lock.artefacts:
        for value, length in ((artefact.sha256, 64), (artefact.md5, 32), (artefact.md5_prefix, 6)):
            assert value is None or re.fullmatch(f"[0-9a-f]{{{length}}}", value), artefact.name
        assert (artefact.url is None) == (artefact.selection is not None), artefact.name
        if artefact.url is None:
            continue
        if artefact.md5_prefix:
            assert artefact.url.endswith(f"_{artefact.md5_prefix}.pkl")
        if artefact.sha256_prefix:
            assert re.fullmatch("[0-9a-f]{8}", artefact.sha256_prefix)
            assert artefact.url.endswith(f"-{artefact.sha256_prefix}.pth")
        assert artefact.path.rpartition("/")[2] == artefact.url.rpartition("/")[2]
        assert all(mirror.endswith(artefact.path.split("/")[-1]) for mirror in artefact.mirrors)


def parts_of(artefact: Artefact) -> tuple[str, ...]:
    """What an artefact brings: a file, or those of an archive that are taken out of it."""
    return () if artefact.unpacked is None else tuple(artefact.unpacked.files)


def test_nothing_is_there_twice(lock: Lock) -> None:
    files = {(one.path, one.url, one.bytes, one.sha256) for one in lock.artefacts}
    for values in (
        [artefact.name for artefact in lock.artefacts],
        # Two artefacts are the same archive only where they take different files out of it.
        [(artefact.path, parts_of(artefact)) for artefact in lock.artefacts],
        [path for path, *_ in files],
        [url for _, url, *_ in files],
        [entry.name for entry in lock.models],
    ):
        assert len(set(values)) == len(values)
    assert {artefact.group for artefact in lock.artefacts} == set(GROUPS)


def test_torchvisions_checkpoints_come_only_when_asked_for(lock: Lock) -> None:
    zoo = chosen(lock, DownloadRequest(only=("checkpoints",)))
    assert [one.path for one in zoo if "torchvision" in one.path] == []
    assert len(zoo) == 4
    assert len(chosen(lock, DownloadRequest(only=("torchvision",)))) == 4
    for model in ("torchvision_maskrcnn_resnet50_fpn", "R_50_FPN_3x"):
        request = DownloadRequest(only=("annotations", "checkpoints"), models=(model,))
        named = [one.name for one in chosen(lock, request) if one.group != "annotations"]
        assert named == [find_model(lock, model).checkpoint]


def test_what_is_selected_brings_the_file_it_is_selected_from_first(lock: Lock) -> None:
    names = [one.name for one in chosen(lock, DownloadRequest(only=("mlperf",)))]
    assert names == ["annotations_trainval2017.zip", "instances_val2017_mlperf.json"]


def test_annotations_come_before_the_images_they_prove(lock: Lock) -> None:
    groups = [artefact.group for artefact in lock.artefacts]
    assert groups.index("annotations") < groups.index("val")
    listed = [artefact.path for artefact in lock.artefacts]
    for artefact in lock.artefacts:
        facts = artefact.unpacked
        if facts and facts.annotations in listed:
            assert listed.index(facts.annotations) < listed.index(artefact.path)


def test_data_lies_where_the_catalog_looks(lock: Lock) -> None:
    unpacked = [artefact.unpacked for artefact in lock.artefacts if artefact.unpacked]
    pairs = {(facts.annotations, facts.folder) for facts in unpacked if facts.annotations}
    assert pairs <= set(COCO_LAYOUT.values())
    files = {name for facts in unpacked for name in facts.files}
    files |= {artefact.path for artefact in lock.artefacts}
    assert {annotations for annotations, _ in COCO_LAYOUT.values()} <= files
    assert {folder for _, folder in COCO_LAYOUT.values()} == {folder for _, folder in pairs}


def test_models_name_what_exists(lock: Lock) -> None:
    for entry in lock.models:
        if is_known(entry.architecture):
            architecture = architecture_of(entry.architecture)
            tasks = {r.metric.split("/")[0] for r in entry.references if "/" in r.metric}
            known = set(architecture.tasks)
            # The mean IoU of the semantic head alone is listed, and not measured.
            known |= {"sem_seg"} if architecture.is_panoptic else set()
            assert {task.removesuffix("_TTA") for task in tasks} <= known
        if entry.checkpoint is not None:
            assert find_artefact(lock, entry.checkpoint).group in CHECKPOINT_GROUPS
        if entry.recipe is not None and entry.recipe.backbone is not None:
            assert find_artefact(lock, entry.recipe.backbone).group == "backbones"


def test_every_reference_has_a_source_and_a_tolerance_where_it_is_judged(lock: Lock) -> None:
    for entry in lock.models:
        for reference in entry.references:
            assert reference.source
            assert reference.tolerance is None or reference.tolerance.source
            if reference.role == "independent":
                assert reference.tolerance is None, "shown, never judged"
                assert reference.trust, "how far it can be relied on"
            if "/" not in reference.metric:
                assert reference.device_class, "a speed belongs to a device"


#: Read from MODEL_ZOO.md by eye: box AP, mask AP, s/image, s/iteration, training memory in GB.
PUBLISHED = {
    "R_50_FPN_1x": (38.6, 35.2, 0.043, 0.261, 3.4),
    "R_50_FPN_3x": (41.0, 37.2, 0.043, 0.261, 3.4),
    "R_101_FPN_3x": (42.9, 38.6, 0.056, 0.340, 4.6),
    "faster_rcnn_R_50_FPN_1x": (37.9, None, 0.038, 0.210, 3.0),
    "faster_rcnn_R_50_FPN_3x": (40.2, None, 0.038, 0.209, 3.0),
    "faster_rcnn_R_101_FPN_3x": (42.0, None, 0.051, 0.286, 4.1),
    "retinanet_R_101_FPN_3x": (40.4, None, 0.054, 0.291, 5.2),
    "mask_rcnn_R_50_C4_1x": (36.8, 32.2, 0.110, 0.584, 5.2),
    "mask_rcnn_R_101_FPN_400ep_LSJ": (48.9, 43.7, 0.073, None, None),
    "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv": (50.2, 44.0, 0.234, None, 15.1),
}
METRICS = ("bbox/AP", "segm/AP", "s_per_image", "train_s_per_iteration", "train_memory_gb")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(lock: Lock, name: str) -> None:
    entry = find_model(lock, name)
    found = {
        reference.metric: reference
        for reference in entry.references
        if reference.role == "published" and reference.dataset == "coco_2017_val"
    }
    values = tuple(found[metric].value if metric in found else None for metric in METRICS)
    assert values == PUBLISHED[name]
    for metric in ("bbox/AP", "segm/AP"):
        if metric in found:
            tolerance = found[metric].tolerance
            assert tolerance is not None
            assert (tolerance.below, tolerance.above) == (0.1, 0.1)
    speed = found["s_per_image"].tolerance
    assert speed is not None
    assert (speed.below, speed.above) == (None, pytest.approx(found["s_per_image"].value / 10))


def test_the_hundred_images_of_detectron2(lock: Lock) -> None:
    found = {
        reference.metric: (reference.value, reference.tolerance)
        for reference in find_model(lock, "R_50_FPN_3x").references
        if reference.dataset == "coco_2017_val_100"
    }
    assert {metric: value for metric, (value, _) in found.items()} == {
        "bbox/AP": 47.34,
        "segm/AP": 42.67,
        "bbox_TTA/AP": 49.11,
        "segm_TTA/AP": 45.04,
    }
    gaps = [(tolerance.below, tolerance.above) for _, tolerance in found.values() if tolerance]
    assert gaps == [(0.02, 0.02)] * 4


def test_every_number_detectron2_tests_itself_against(lock: Lock) -> None:
    """46: of the models of the zoo, of other weights, and of short trainings."""
    tested = [
        (entry.name, reference.metric, reference.value)
        for entry in lock.models
        for reference in entry.references
        if "_inference_acc_test.yaml" in reference.source
    ]
    assert len(tested) + len(lock.expectations) == 46
    assert ("rpn_R_50_FPN_1x", "box_proposals/AR@1000", 58.16) in tested
    assert ("panoptic_fpn_R_50_3x", "panoptic_seg/PQ", 38.99) in tested
    kinds = [one.kind for one in lock.expectations]
    assert (kinds.count("training"), kinds.count("inference")) == (19, 8)
    artefacts = {artefact.url for artefact in lock.artefacts if artefact.group != "backbones"}
    assert not {one.weights for one in lock.expectations} & artefacts


def test_the_whole_coco_zoo_is_there(lock: Lock) -> None:
    zoo = [entry for entry in lock.models if entry.model_id is not None]
    assert len(zoo) == len({entry.model_id for entry in zoo}) == 56
    for entry in zoo:
        artefact = find_artefact(lock, entry.checkpoint or "")
        assert entry.config is not None
        folder = Path(entry.config).with_suffix("").name
        assert f"/{folder}/{entry.model_id}/" in artefact.url
        times = [one for one in entry.references if one.metric == "s_per_image"]
        published = [one for one in times if one.role == "published"]
        assert len(published) == 1
        assert re.search(r"since 20\d\d-\d\d-\d\d .*(PyTorch|versions not)", published[0].source)


def test_the_file_has_its_layout(repository: Path, plain: dict[str, Any]) -> None:
    formatted = runpy.run_path(str(repository / "scripts" / "format_lock.py"))["formatted"]
    assert formatted(plain) == (repository / LOCK_NAME).read_text(encoding="utf-8")


def test_the_independent_row(lock: Lock) -> None:
    found = {
        reference.metric: reference.value
        for reference in find_model(lock, "R_101_FPN_3x").references
        if reference.role == "independent" and reference.source.startswith("so45jj45/")
    }
    box = (42.932, 63.330, 46.872, 26.402, 46.627, 56.114)
    mask = (38.634, 60.449, 41.294, 19.489, 41.340, 55.350)
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    assert found == {
        f"{task}/{name}": value
        for task, values in (("bbox", box), ("segm", mask))
        for name, value in zip(names, values, strict=True)
    }


def test_the_nearest_lock_upward_counts(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    shutil.copy(repository / LOCK_NAME, tmp_path / LOCK_NAME)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert find_lock() == tmp_path / LOCK_NAME
    assert read_lock() == read_lock(repository / LOCK_NAME)


def test_a_network_this_version_does_not_have_is_no_fault_of_the_user() -> None:
    assert not is_known("mask_rcnn_R_50_of_tomorrow")
    with pytest.raises(PrerequisiteError, match=r"the network 'mask_\w+' yet"):
        architecture_of("mask_rcnn_R_50_of_tomorrow")


def test_unknown_names_are_refused_with_the_nearest(lock: Lock, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'mask_rcnn_R_50_FPN_3x'; did you mean R_50_FPN_3x\?"):
        find_model(lock, "mask_rcnn_R_50_FPN_3x")  # the name of its checkpoint
    with pytest.raises(UsageError, match=r"unknown model 'R_50_FPN_2x'; did you mean R_50_FPN_"):
        find_model(lock, "R_50_FPN_2x")
    for odd in ("", "x" * 300, "a\0b"):  # of which no path can be asked
        with pytest.raises(UsageError, match="harness models"):
            find_model(lock, odd)
    with pytest.raises(UsageError, match=r"is a folder here.*\n.*--weights RUN/model_best"):
        find_model(lock, str(tmp_path))
    with pytest.raises(IntegrityError, match="no artefact 'nothing'"):
        find_artefact(lock, "nothing")


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda lock: lock.update(schema_version=2), "schema_version"),
        (lambda lock: lock["artefacts"][0].update(byte=1), r"artefacts\.0\.byte: unknown key"),
        (lambda lock: lock["artefacts"][0].pop("url"), r"artefacts\.0\.url: Field required"),
        (lambda lock: lock["artefacts"][0].update(group="vals"), r"artefacts\.0\.group"),
        (lambda lock: lock["models"][0].update(checkpoint="none"), "which is not among the artef"),
        (lambda lock: lock["models"][0].update(proposals="none"), "region proposals none, which"),
        (
            lambda lock: lock["models"][0].update(training_proposals="none"),
            "region proposals of its training none, which",
        ),
        (
            lambda lock: lock["models"][0]["references"][0]["tolerance"].update(abve=1),
            r"models\.0\.references\.0\.tolerance\.abve: unknown key",
        ),
    ],
)
def test_a_lock_that_cannot_be_meant_is_refused(
    tmp_path: Path, plain: dict[str, Any], edit: Any, complaint: str
) -> None:
    edit(plain)
    path = tmp_path / LOCK_NAME
    path.write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(IntegrityError, match=complaint):
        read_lock(path)


def test_published_region_proposals_are_named_and_nothing_is_made_up_about_them(lock: Lock) -> None:
    entry = find_model(lock, "fast_rcnn_R_50_FPN_1x")
    assert entry.proposals is not None
    assert entry.training_proposals is not None
    for name, end in ((entry.proposals, "_ee0dad.pkl"), (entry.training_proposals, "_21bc3a.pkl")):
        artefact = find_artefact(lock, name)
        assert artefact.url.endswith(f"rpn_R_50_FPN_1x/137258492/{name}{end}")
        assert (artefact.bytes, artefact.sha256, artefact.md5, artefact.md5_prefix) == (None,) * 4
        assert "no source gives its size or hash" in artefact.source
