"""The Markdown table of what ``benchmarks/gpu.py`` measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def table(whole: dict[str, Any]) -> str:
    """What was measured, a row each."""
    facts = whole["environment"]
    rows = [
        f"{', '.join(facts['gpus'])}, driver {facts['driver']}, "
        f"torch {facts['packages']['torch']}, {whole['date']}, {whole['model']}",
        "",
        "| one image at a time, median | ours | Detectron2 fp32 | ratio |",
        "| --- | --- | --- | --- |",
    ]
    for precision, scopes in _measured_in(whole, "single").items():
        for scope, one in scopes.items():
            theirs = one.get("theirs_median_s")
            columns = ("", "") if theirs is None else (_ms(theirs), f"{one['times_faster']:.2f}")
            cells = (f"{precision}, {scope}", _ms(one["ours_median_s"]), *columns)
            rows.append(f"| {' | '.join(cells)} |")
    rows += ["", "| file to encoded detections | images/s |", "| --- | --- |"]
    rows += [
        f"| {name} | {one['images_per_s']:.1f} |"
        for name, one in _measured_in(whole, "throughput").items()
    ]
    rows += ["", "| what | result |", "| --- | --- |"]
    rows += [f"| {name} | {result} |" for name, result in _others(whole)]
    return "\n".join(rows) + "\n"


def _measured_in(whole: dict[str, Any], part: str) -> dict[str, Any]:
    """What a part measured, by name; without what was skipped or failed."""
    return {name: one for name, one in whole.get(part, {}).items() if isinstance(one, dict)}


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def _others(whole: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and result of everything that is not a column of times."""
    yield from _proven(whole)
    for name, count in whole.get("memory", {}).items():
        if name != "took_s" and isinstance(count, int):
            yield f"peak memory of an image, {name}", f"{count / 2**30:.2f} GiB"
    yield from _trained(_measured_in(whole, "training").get("median_s", {}))
    yield from _run(whole)
    for part, found in whole.items():
        for word in ("skipped", "failed"):
            if isinstance(found, dict) and word in found:
                yield part, f"{word}: {str(found[word]).strip().splitlines()[-1]}"


def _proven(whole: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The proofs of equality, and of the same bytes."""
    for name, proof in _measured_in(whole, "proofs").items():
        counted = f"{proof['equal']} equal" if "equal" in proof else f"{proof['differing']} differ"
        ends = "proven" if proof["ok"] else "NOT PROVEN"
        yield f"proof: {name}", f"{proof['detections']} detections, {counted}: {ends}"
    for precision, same in _measured_in(whole, "identity").items():
        differing = [name for name, one in same.items() if not one]
        yield f"the same bytes, {precision}", f"not {', '.join(differing)}" if differing else "yes"


def _trained(medians: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Seconds of iterations, by the way in which they are computed."""
    theirs = medians.get("Detectron2 fp32")
    for name, seconds in medians.items():
        ratio = "" if theirs in (None, seconds) else f", {theirs / seconds:.2f} times as fast"
        yield f"training iteration of 16 images, {name}", f"{seconds:.3f} s{ratio}"


def _run(whole: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Whole commands."""
    for name, one in _measured_in(whole, "evaluation").items():
        stages = ", ".join(
            f"{key} {took:.1f}" for key, took in one.get("stage_times_s", {}).items()
        )
        yield f"evaluation: {name}", f"{one['seconds']:.1f} s ({stages or 'failed'})"
    for part in ("sweep", "marked_tests"):
        found = whole.get(part, {})
        if "exit_code" in found:
            yield part, f"{found['took_s']:.1f} s, exit code {found['exit_code']}"
