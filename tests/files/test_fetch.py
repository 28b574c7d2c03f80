"""Downloads through a real server with real faults."""

from __future__ import annotations

import errno
import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError, IntegrityError, RunFailedError, UsageError
from harness.core.progress import Advance, Silent
from harness.files import fetch as fetching
from harness.files.fetch import Expected, Fetched, FetchOptions, RetryPolicy, fetch
from harness.files.parts import JOURNAL_STEP_BYTES, part_path
from harness.files.transport import CHUNK_BYTES
from tests.serving import Fault, Site, serving

CONTENT = random.Random(7).randbytes(3 << 20)
OTHER = random.Random(8).randbytes(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
EXACTLY = Expected(size=len(CONTENT), algorithm="sha256", digest=SHA256)
UNKNOWN = Expected(size=None, algorithm="md5", digest="")
IMPATIENT = RetryPolicy(attempts=3, first_delay_s=0.001, longest_delay_s=0.001, timeout_s=0.5)
PATH = "/zips/some.zip"

#: A cut at a multiple of what is read at once loses no byte on the way.
CHUNKS = 9 * CHUNK_BYTES


class Told(Silent):
    """Progress that keeps what it was told: notices, and (done at first, advanced, total)."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.tasks: list[list[Any]] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)

    @contextmanager
    def task(self, title: str, *, total: int | None, done: int = 0, unit: str) -> Iterator[Advance]:
        row: list[Any] = [title, done, [], total]
        self.tasks.append(row)
        yield row[2].append


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server with one file of 3 MiB, fetched in spans of 1 MiB."""
    monkeypatch.setattr(fetching, "SPAN_BYTES", 1 << 20)
    with serving(Site(files={PATH: CONTENT})) as site:
        yield site


def bring(site: Site, target: Path, expected: Expected = EXACTLY, **options: Any) -> Fetched:
    options = {"progress": Silent(), "retries": IMPATIENT, **options}
    return fetch([site.url + PATH], target, expected, FetchOptions(**options))


def leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("ranges", [True, False])
def test_arrives_proven_and_leaves_nothing_else(
    site: Site, odd_tmp_path: Path, ranges: bool, jobs: int
) -> None:
    site.ranges = ranges
    target, told = odd_tmp_path / "new folder" / "some.zip", Told()
    fetched = bring(site, target, jobs=jobs, progress=told)
    assert fetched == Fetched(url=site.url + PATH, size=len(CONTENT), digest=SHA256)
    assert target.read_bytes() == CONTENT
    assert leftovers(target) == []
    assert [(title, done, sum(advances), total) for title, done, advances, total in told.tasks] == [
        ("some.zip", 0, len(CONTENT), len(CONTENT)),
        ("proving some.zip", 0, len(CONTENT), len(CONTENT)),
    ]


@pytest.mark.parametrize("surplus", [1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 << 20])
@pytest.mark.parametrize("jobs", [1, 4])
@pytest.mark.parametrize("ranges", [True, False])
def test_bytes_that_were_not_asked_for_are_dropped(
    site: Site, tmp_path: Path, ranges: bool, jobs: int, surplus: int
) -> None:
    site.ranges = site.lengths = ranges
    # Broken off once, so that what is left is no multiple of what is read at a time.
    site.faults[PATH] = [Fault(after=1000), *[Fault(surplus=b"x" * surplus)] * 10]
    assert bring(site, tmp_path / "some.zip", jobs=jobs).digest == SHA256
    assert (tmp_path / "some.zip").read_bytes() == CONTENT
    assert leftovers(tmp_path / "some.zip") == []


def test_what_is_hashed_is_what_is_on_the_disk(site: Site, tmp_path: Path) -> None:
    """Bytes changed on the disk after they arrived, before the proof: found, and fetched again."""
    told, target = Told(), tmp_path / "some.zip"

    @contextmanager
    def spoiling(title: str, **_: Any) -> Iterator[Advance]:
        yield lambda _: None
        if title == "some.zip":
            with part_path(target).open("r+b") as file:
                file.write(b"other")

    told.task = spoiling  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="is not the expected file"):
        bring(site, target, progress=told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [-1, 1])
def test_a_file_of_another_length_gets_no_name(site: Site, tmp_path: Path, size: int) -> None:
    """Also where no hash is known: the length of what is on the disk is compared."""
    told, target = Told(), tmp_path / "some.zip"

    @contextmanager
    def spoiling(title: str, **_: Any) -> Iterator[Advance]:
        yield lambda _: None
        if title == "some.zip":
            with part_path(target).open("r+b") as file:
                file.truncate(len(CONTENT) + size)

    told.task = spoiling  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match=f"found .*{len(CONTENT) + size:,} bytes"):
        bring(site, target, UNKNOWN, progress=told)
    assert list(tmp_path.iterdir()) == []


def test_spans_are_asked_for_separately(site: Site, tmp_path: Path) -> None:
    bring(site, tmp_path / "some.zip", jobs=3)
    assert sorted(site.requests) == [(PATH, 0, 1), *((PATH, n << 20, 1 << 20) for n in range(3))]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(after=100_000, then="reset"),
        Fault(after=100_000, then="close"),
        Fault(after=100_000, then="silence"),
        Fault(status=500),
        Fault(status=503),
        Fault(status=429),
    ],
    ids=lambda fault: f"{fault.status or fault.then}",
)
@pytest.mark.parametrize("ranges", [True, False])
def test_passing_faults_are_borne(site: Site, tmp_path: Path, fault: Fault, ranges: bool) -> None:
    site.ranges = ranges
    site.faults[PATH] = [fault]
    assert bring(site, tmp_path / "some.zip", jobs=1).digest == SHA256
    assert (tmp_path / "some.zip").read_bytes() == CONTENT


def test_continues_in_the_middle_after_a_reset(site: Site, tmp_path: Path) -> None:
    site.faults[PATH] = [Fault(after=CHUNKS, then="close")]
    bring(site, tmp_path / "some.zip", jobs=1)
    assert site.requests[1:3] == [(PATH, 0, CHUNKS), (PATH, CHUNKS, (1 << 20) - CHUNKS)]
    assert site.sent(PATH) == len(CONTENT)


def test_many_breaks_are_borne_as_long_as_bytes_arrive(site: Site, tmp_path: Path) -> None:
    site.faults[PATH] = [Fault(after=200_000)] * 10
    assert bring(site, tmp_path / "some.zip", jobs=1).digest == SHA256
    assert len(site.requests) > 10 > IMPATIENT.attempts


@pytest.mark.parametrize(
    ("fault", "kind", "complaint"),
    [
        (Fault(after=0, then="reset"), RunFailedError, "3 times in a row"),
        (Fault(status=503), RunFailedError, "answered 503 Service Unavailable, 3 times in a row"),
        (Fault(status=403), RunFailedError, "answered 403 Forbidden"),
        (Fault(after=0, then="silence"), RunFailedError, "timed out"),
    ],
    ids=["reset", "503", "403", "silence"],
)
def test_lasting_faults_are_errors(
    site: Site, tmp_path: Path, fault: Fault, kind: type[HarnessError], complaint: str
) -> None:
    site.faults[PATH] = [fault] * 20
    with pytest.raises(kind, match=complaint) as caught:
        bring(site, tmp_path / "some.zip")
    assert "--mirror" in str(caught.value)
    assert not (tmp_path / "some.zip").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_always_ends_early_is_an_error(
    site: Site, tmp_path: Path, ranges: bool
) -> None:
    site.ranges = ranges
    # With ranges the first request gets so far and those for the rest get nothing.
    site.faults[PATH] = [Fault(after=CHUNKS)] + [Fault(after=0 if ranges else CHUNKS)] * 5
    of = 1 << 20 if ranges else len(CONTENT)
    with pytest.raises(IntegrityError, match=f"ended after {CHUNKS:,} of {of:,} bytes, 3 times"):
        bring(site, tmp_path / "some.zip", jobs=1)
    assert not (tmp_path / "some.zip").exists()


def test_nobody_listens(tmp_path: Path) -> None:
    told = Told()
    with serving(Site()) as site:
        pass
    with pytest.raises(RunFailedError, match="Connection refused, 3 times in a row"):
        bring(site, tmp_path / "some.zip", progress=told)
    (notice,) = told.notices
    assert notice.endswith("Connection refused; try 3 of 3 in 0 s")


def test_a_wrong_length_is_found_before_the_content_comes(site: Site, tmp_path: Path) -> None:
    expected = Expected(size=4 << 20, algorithm="sha256", digest=SHA256)
    with pytest.raises(
        IntegrityError, match=r"expected 4,194,304 bytes\n  found    3,145,728 bytes"
    ):
        bring(site, tmp_path / "some.zip", expected)
    assert site.sent(PATH) == 0


@pytest.mark.parametrize(
    ("algorithm", "digest", "spoken"),
    [("sha256", "0" * 64, "0" * 64), ("md5", "0" * 32, "0" * 32), ("md5", "f10217", "f10217…")],
)
def test_a_wrong_hash_is_an_error_and_nothing_stays(
    site: Site, tmp_path: Path, algorithm: Any, digest: str, spoken: str
) -> None:
    found = hashlib.new(algorithm, CONTENT).hexdigest()
    expected = Expected(size=None, algorithm=algorithm, digest=digest)
    message = f"expected {algorithm} {spoken}\n  found    {algorithm} {found}"
    with pytest.raises(IntegrityError, match=message):
        bring(site, tmp_path / "some.zip", expected)
    assert list(tmp_path.iterdir()) == []


def test_the_beginning_of_a_hash_is_enough(site: Site, tmp_path: Path) -> None:
    prefix = hashlib.md5(CONTENT).hexdigest()[:6]
    expected = Expected(size=None, algorithm="md5", digest=prefix)
    assert bring(site, tmp_path / "some.zip", expected).digest.startswith(prefix)


def break_off(site: Site, target: Path, after: int = 2 << 20, **options: Any) -> None:
    """Leave a download behind that has the first 2 MiB, one request of 1 MiB each."""
    lasting = [Fault(after=1 << 20)] * (after >> 20) + [Fault(status=500)] * 20
    site.faults[PATH] = lasting
    with pytest.raises(RunFailedError, match="500"):
        bring(site, target, jobs=1, **options)
    site.faults.clear()
    site.requests.clear()


def test_a_second_run_fetches_only_the_rest(site: Site, tmp_path: Path) -> None:
    target, told = tmp_path / "some.zip", Told()
    break_off(site, target)
    assert bring(site, target, progress=told).digest == SHA256
    assert site.sent(PATH) == 1 << 20
    assert told.tasks[0][1] == 2 << 20
    assert leftovers(target) == []


def test_bytes_of_a_file_that_changed_are_not_used(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "some.zip"
    break_off(site, target, expected=UNKNOWN)
    site.files[PATH] = OTHER
    bring(site, target, UNKNOWN)
    assert target.read_bytes() == OTHER
    assert site.sent(PATH) == len(OTHER)


def test_a_change_between_two_spans_starts_again(site: Site, tmp_path: Path) -> None:
    told = Told()

    @contextmanager
    def changing(title: str, **_: Any) -> Iterator[Advance]:
        def advance(_: int) -> None:
            site.files[PATH] = OTHER

        yield advance

    told.task = changing  # type: ignore[method-assign]
    bring(site, tmp_path / "some.zip", UNKNOWN, jobs=1, progress=told)
    assert (tmp_path / "some.zip").read_bytes() == OTHER
    assert told.notices == [f"{site.url}{PATH} has changed meanwhile; starting some.zip again"]


def test_without_a_validator_nothing_is_continued(site: Site, tmp_path: Path) -> None:
    site.validators = False
    break_off(site, tmp_path / "some.zip")
    bring(site, tmp_path / "some.zip")
    assert site.sent(PATH) == len(CONTENT)


def test_damage_in_what_was_left_behind_is_repaired(site: Site, tmp_path: Path) -> None:
    target, told = tmp_path / "some.zip", Told()
    break_off(site, target)
    with part_path(target).open("r+b") as part:
        part.write(b"rotten")
    assert bring(site, target, progress=told).digest == SHA256
    assert told.notices == ["some.zip: some of what has arrived is damaged; fetching that again"]
    assert site.sent(PATH) == 2 << 20


def test_the_last_journal_line_may_be_cut_off(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "some.zip"
    break_off(site, target)
    journal = part_path(target).with_name(part_path(target).name + ".journal")
    whole = journal.read_bytes()
    journal.write_bytes(whole + b"2097152 31")
    assert bring(site, target).digest == SHA256
    assert site.sent(PATH) == 1 << 20


def test_a_silent_length_is_refused_unless_the_lock_knows_it(site: Site, tmp_path: Path) -> None:
    site.ranges = site.lengths = False
    with pytest.raises(IntegrityError, match="does not say how long the file is"):
        bring(site, tmp_path / "some.zip", UNKNOWN)
    assert bring(site, tmp_path / "some.zip").digest == SHA256


def test_a_web_page_is_not_a_file(site: Site, tmp_path: Path) -> None:
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(IntegrityError, match="a web page instead of the file"):
        bring(site, tmp_path / "some.zip", UNKNOWN)


def test_an_empty_file_is_an_error(site: Site, tmp_path: Path) -> None:
    site.files[PATH] = b""
    with pytest.raises(IntegrityError, match="is empty"):
        bring(site, tmp_path / "some.zip", UNKNOWN)


def test_the_next_address_is_tried(site: Site, tmp_path: Path) -> None:
    told = Told()
    options = FetchOptions(progress=told, retries=IMPATIENT)
    urls = [f"{site.url}/gone", f"{site.url}{PATH}"]
    assert fetch(urls, tmp_path / "x", EXACTLY, options).url == urls[1]
    assert told.notices == [f"{urls[0]}: the server answered 404 Not Found\ntrying {urls[1]}"]
    with pytest.raises(RunFailedError, match=r"(?s)/gone: .*404.*/lost: .*404"):
        fetch([urls[0], f"{site.url}/lost"], tmp_path / "y", EXACTLY, options)


def test_a_mirror_of_files(site: Site, odd_tmp_path: Path) -> None:
    source = odd_tmp_path / "mirror" / "some file.zip"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    options = FetchOptions(progress=Silent(), retries=IMPATIENT)
    assert fetch([source.as_uri()], odd_tmp_path / "a", EXACTLY, options).digest == SHA256
    missing = source.with_name("nothing").as_uri()
    with pytest.raises(RunFailedError, match="nothing: no such file"):
        fetch([missing], odd_tmp_path / "b", EXACTLY, options)


def test_too_little_space_is_found_before_the_content_comes(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "some.zip"
    break_off(site, target)
    with pytest.raises(RunFailedError, match="needs 1,048,576 more bytes, 1,000 are free"):
        bring(site, target, free_bytes=lambda _: 1000)
    assert site.sent(PATH) == 0
    assert bring(site, target, free_bytes=lambda _: 1 << 20).digest == SHA256


def test_a_disk_that_fills_up_keeps_what_arrived(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    room = 2 * JOURNAL_STEP_BYTES
    pwrite = os.pwrite

    def full(descriptor: int, data: bytes, position: int) -> int:
        if position + len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(descriptor, data, position)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(RunFailedError, match="No space left on device") as caught:
            bring(site, tmp_path / "some.zip", jobs=1)
    assert "make room" in str(caught.value)
    site.requests.clear()
    bring(site, tmp_path / "some.zip")
    assert site.sent(PATH) == 1 << 20


def test_a_folder_that_cannot_be_made(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((UsageError, RunFailedError), match=r"cannot write .*file"):
        bring(site, tmp_path / "file" / "some.zip")
