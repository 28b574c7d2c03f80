"""The doctor names what is wrong and what to do, and stays quiet about the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from harness.cli.main import run
from harness.data.catalog import COCO_LAYOUT
from harness.files.layout import LOCK_NAME, find_lock
from harness.workflows.doctor import Finding, diagnose, pairing


def by_subject(root: Path) -> dict[str, Finding]:
    return {finding.subject: finding for finding in diagnose(root)}


def test_everything_that_runs_need_is_fine_here(tmp_path: Path) -> None:
    findings = by_subject(tmp_path)
    assert [one for one in findings.values() if one.status == "fail"] == []
    assert {"Python", "torch", "torchvision", "CPU", "GPU", "detectron2", "disk"} <= set(findings)
    assert findings["torch with torchvision"].status == "ok"


def test_what_is_not_ok_has_a_fix_and_what_is_ok_has_none(tmp_path: Path) -> None:
    for finding in diagnose(tmp_path):
        assert bool(finding.fix) == (finding.status != "ok"), finding


@pytest.mark.parametrize("emulated", [True, False])
def test_a_card_without_bf16_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emulated: bool
) -> None:
    from harness.engines import devices

    refusal = None if emulated else "CUDNN_STATUS_NOT_SUPPORTED"
    capabilities = [(9, 0), (7, 5), (7, 5)]
    monkeypatch.setattr(devices, "_refusal_of_bf16", lambda _: refusal)
    monkeypatch.setattr(devices, "gpu_count", lambda: len(capabilities))
    monkeypatch.setattr(
        torch.cuda, "get_device_name", lambda one: "T4" if one.index else "NVIDIA H100"
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda one: capabilities[one.index])
    found = [one for one in diagnose(tmp_path) if one.subject in ("GPU", "bf16")]
    assert [one.subject for one in found] == ["GPU", "bf16"]  # a kind of card once
    assert found[0].found == "NVIDIA H100, T4, T4"
    assert "T4 has 7.5" in found[1].found
    assert found[1].status == ("ok" if emulated else "warn")
    assert found[1].fix == ("" if emulated else "choose --precision fp16")


def test_data_and_checkpoints_are_found(tmp_path: Path) -> None:
    missing = by_subject(tmp_path)
    assert missing["coco_2017_val"].status == "warn"
    where = f"--root {tmp_path}"
    assert missing["coco_2017_val"].fix == f"harness download --only val,annotations {where}"
    for group, model in (
        ("checkpoints", "R_50_FPN_3x"),
        ("torchvision", "torchvision_maskrcnn_resnet50_fpn"),
    ):
        fix = f"harness download --only {group} --model {model} {where}"
        assert missing[f"checkpoint {model}"].fix == fix
    annotations, images = COCO_LAYOUT["coco_2017_val"]
    (tmp_path / images).mkdir(parents=True)
    (tmp_path / annotations).parent.mkdir(parents=True)
    (tmp_path / annotations).touch()
    lock = json.loads(find_lock().read_text(encoding="utf-8"))
    (path,) = (
        artefact["path"]
        for artefact in lock["artefacts"]
        if artefact["name"] == "mask_rcnn_R_50_FPN_3x"
    )
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).touch()
    there = by_subject(tmp_path)
    assert there["coco_2017_val"].status == "ok"
    assert there["coco_2017_val_100"].status == "warn"
    assert there["checkpoint R_50_FPN_3x"].status == "ok"
    assert there["checkpoint R_101_FPN_3x"].status == "warn"


def test_a_root_that_does_not_exist_yet_is_measured_where_it_will_be(tmp_path: Path) -> None:
    assert str(tmp_path) in by_subject(tmp_path / "a" / "b")["disk"].found


def test_a_broken_lock_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(find_lock(), tmp_path / LOCK_NAME)
    (tmp_path / LOCK_NAME).write_text('{"schema_version": 99}', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert by_subject(tmp_path)["lock"].status == "fail"


@pytest.mark.parametrize(
    ("torch", "torchvision", "error", "status", "words"),
    [
        ("2.12.1", "0.27.1", None, "ok", ""),
        ("2.14.1", "0.29.1", None, "ok", ""),
        ("2.11.0+cpu", "0.26.0+cpu", None, "ok", ""),
        ("2.13.0", "0.28.0", None, "warn", "tested with"),
        ("2.13.0", "0.27.1", "operator torchvision::nms does not exist", "fail", "a pair that fit"),
        ("2.12.1+cpu", "0.27.1+cu130", "no libcudart", "fail", "different CUDA"),
        ("2.12.1", "0.27.1", "undefined symbol", "fail", "reinstall"),
        ("nightly", "", "broken", "fail", "a pair that fits"),
    ],
)
def test_pairs_of_torch_and_torchvision(
    torch: str, torchvision: str, error: str | None, status: str, words: str
) -> None:
    finding = pairing(torch, torchvision, error)
    assert finding.status == status
    assert words in finding.fix
    assert (error or "") in finding.found


def test_the_rule_that_chose_a_place_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    other = tmp_path / "other"
    for words, place in {
        (): f"{tmp_path} (the environment variable DETECTRON2_DATASETS)",
        ("--root", str(other)): f"{other} (--root)",
    }.items():
        run(["doctor", "--json", *words])
        found = {one["subject"]: one["found"] for one in json.loads(capsys.readouterr().out)}
        assert found["data sets and checkpoints"] == place


def test_the_default_root_is_not_repeated_in_every_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    findings = {one.subject: one for one in diagnose(None)}
    assert findings["coco_2017_val"].fix == "harness download --only val,annotations"
    fix = "harness download --only checkpoints --model R_50_FPN_3x"
    assert findings["checkpoint R_50_FPN_3x"].fix == fix


def test_the_list_ends_in_what_it_comes_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["doctor", "--root", str(tmp_path)]) == 0
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last.startswith("READY: harness eval runs the embedded model")
    assert last.endswith(" warnings, each only for what it names")
    broken = Finding(subject="lock", found="cut off", status="fail", fix="get it again")
    monkeypatch.setattr("harness.workflows.doctor.diagnose", lambda _: [broken])
    assert run(["doctor"]) == 3
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last == "NOT READY: every run needs what failed: lock"
