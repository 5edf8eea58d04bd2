"""Verifying seals across archives: what has left the log must be in its file, as it was sealed (R23, R24)."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.audit.archive import archive
from queuectl.audit.import_log import load, rebuild
from queuectl.audit.seal import seal
from queuectl.audit.verdict import Unchecked
from queuectl.audit.verify import verify
from queuectl.clock import SECOND, now
from queuectl.export import export
from tests.support.tampering import findings, tamper, verdict


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of which jobs 1-4 were archived: events 1-4 and 7-10, behind which stands the seal 11."""
    path = tmp_path / "q.db"
    with Queue(path) as queue:
        queue.enqueue_many(["true"] * 6)
        queue.cancel("1", "2", "3", "4")
        archive(queue, str(tmp_path / "old.ndjson.gz"), now() + SECOND)
        assert [record.seq for record in queue.events(type="archived")] == [12, 13, 14, 15]
    return path


@pytest.fixture
def old(path: Path) -> Path:
    return path.parent / "old.ndjson.gz"


def rewrite(file: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of an archive."""
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    file.write_bytes(gzip.compress(b"".join(change(lines))))


def test_archived_events_are_verified_in_their_files(path: Path, old: Path, tmp_path: Path) -> None:
    with Queue(path) as queue:
        last = seal(queue)
    found = verdict(path, last)
    assert (found.findings, found.unchecked) == ([], [])
    assert (found.events, found.archived, found.seal.events) == (8, 8, 15)

    old.rename(tmp_path / "elsewhere.gz")
    for allow in (False, True):
        found = verdict(path, last, allow=allow)
        assert (found.findings, found.unchecked, found.ok) == ([], [Unchecked(str(old), 8)], allow)

    os.mkdir(tmp_path / "disk")
    (tmp_path / "elsewhere.gz").rename(tmp_path / "disk" / "old.ndjson.gz")
    found = verdict(path, last, archives=(str(tmp_path / "disk" / "old.ndjson.gz"),))
    assert (found.findings, found.unchecked) == ([], [])


def test_an_archive_of_another_name_will_do(path: Path, old: Path, tmp_path: Path) -> None:
    old.rename(tmp_path / "renamed.gz")
    found = verdict(path, archives=(str(tmp_path / "renamed.gz"),))
    assert (found.findings, found.unchecked) == ([], [])


@pytest.mark.parametrize(
    "change, kind, told",
    [
        (lambda lines: [line.replace(b'"version":2', b'"version":3') for line in lines], "archive",
         "event 7 (cancelled of job:1) in {old} was changed there"),
        (lambda lines: [line.replace(b"library:", b"cli:") for line in lines[:1]] + lines[1:], "archive",
         "event 1 (enqueued of job:1) in {old} was changed there"),
        (lambda lines: lines[:2] + lines[3:], "removed", "event 3 was removed, and never archived"),
        (lambda lines: [*lines, lines[-1].replace(b'"seq":10', b'"seq":99')], "archive",
         "event 99 (cancelled of job:4) in {old} was put in there"),
        (lambda lines: [*lines[:4], lines[4].replace(b'"seq":7', b'"seq":6'), *lines[5:]], "archive",
         "event 6 (cancelled of job:1) in {old} was changed there"),
        (lambda lines: [lines[1], lines[0]], "archive", "{old}, line 2: event 1 comes after event 2"),
        (lambda lines: [*lines[:3], b"gibberish\n"], "archive", "{old}, line 4: is no event"),
    ],
)  # fmt: skip
def test_what_was_done_to_an_archive_is_named(
    path: Path, old: Path, change: Callable[[list[bytes]], list[bytes]], kind: str, told: str
) -> None:
    rewrite(old, change)
    first = findings(path)[0]
    assert first[0] == kind
    assert first[1].startswith(told.format(old=old))


def test_an_archive_that_was_cut_off_is_named(path: Path, old: Path) -> None:
    old.write_bytes(old.read_bytes()[:-20])
    [(kind, what)] = findings(path)
    assert kind == "archive"
    assert what.startswith(f"{old}, line ")


def test_a_removed_event_is_not_taken_for_archived(path: Path, old: Path, tmp_path: Path) -> None:
    with Queue(path) as queue:
        seal(queue)
    tamper(path, "delete from events where seq = 5")
    assert findings(path) == [("removed", "event 5 was removed, and never archived")]
    old.rename(tmp_path / "gone")
    told = "1 of the events 1-5, 7-10 was removed, and never archived"
    assert findings(path) == [("removed", told)]


def test_an_event_inserted_for_an_archived_is_detected(path: Path) -> None:
    tamper(path, "insert into events select 3, 'job:77', 1, type, v, at, actor, data from events where seq = 5")
    assert findings(path) == [
        ("changed", "event 3 (enqueued of job:77) was changed"),
        (
            "added",
            "8 events were archived, but only 7 are gone from the log: some were put back, or a tombstone is false",
        ),
    ]


def test_a_forged_tombstone_does_not_excuse_missing_events(path: Path) -> None:
    # He removes job 5 and says that it was archived with the others.
    tamper(
        path,
        "insert into events select null, 'job:5', 2, type, v, at, actor, replace(data, '\"events\":2', '\"events\":1')"
        " from events where seq = 12",
        "delete from events where seq = 5",
    )
    assert findings(path) == [("removed", "event 5 was removed, and never archived")]


def test_a_copy_replaces_a_damaged_archive(path: Path, old: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / old.name
    copy.parent.mkdir()
    copy.write_bytes(old.read_bytes())
    old.write_bytes(b"damaged")
    assert [kind for kind, _ in findings(path)] == ["archive"]
    assert findings(path, archives=(str(copy),)) == []


def test_an_unreadable_tombstone_is_reported(path: Path) -> None:
    tamper(path, "update events set data = 'gibberish' where seq = 12")
    kind, what = findings(path)[0]
    assert kind == "changed"
    assert what.startswith("event 12 can't be read: ")


def test_events_archived_during_verification_are_not_missing(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue, Queue(tmp_path / "q.db") as other:
        queue.enqueue_many(["true"] * 4)
        seal(queue)
        queue.cancel("1", "2", "3", "4")
        seal(queue)
        queue.enqueue("true")

        def told(done: int, total: int) -> None:
            if not (tmp_path / "old.gz").exists():  # the first seal is reached: the second half is still to be read
                archive(other, str(tmp_path / "old.gz"), now() + SECOND)

        found = verify(queue, progress=told)
        assert (found.archived, found.findings, found.unchecked) == (4, [], [])


def test_an_import_without_archives_lists_unchecked_events(path: Path, old: Path, tmp_path: Path) -> None:
    with Queue(path) as queue, Queue(tmp_path / "new.db") as new:
        load(new, b"".join(export(queue)).splitlines())
        assert new.check() == []
        told = "the leaves of events 1-10 do not lead to the seal in event 11: 8 of them are gone"
        assert [each.what for each in verify(new).findings] == [told]
        seal(new)
        assert [each.what for each in verify(new).findings] == [told]
    tamper(tmp_path / "new.db", "update events set actor = 'x' where seq = 13")
    assert ("changed", "event 13 (archived of job:2) was changed") in findings(tmp_path / "new.db")


def test_a_rebuilt_queue_can_be_verified_across_archives(path: Path, tmp_path: Path) -> None:
    with Queue(path) as queue:
        rebuild(queue, str(tmp_path / "new.db"))
    assert findings(tmp_path / "new.db") == []


UNSEALED = "removed: no archive is here, and what says that there is one is under no seal"


def bury(job: int, seqs: str, file: str = "/srv/2026-11.ndjson.gz", events: int = 1) -> tuple[str, str]:
    """Remove the events of a job, and say that they went to a file."""
    said = (
        f"json_object('file', '{file}', 'events', {events}, 'state', 'completed', 'queue', 'default', 'passed',"
        """ json('[[1, "2026-11-28T00:00:00Z", "completed"]]'))"""
    )
    put = f"insert into events select null, 'job:{job}', {events + 1}, type, v, at, actor, {said} from events"
    return f"{put} where seq = 12", f"delete from events where seq in ({seqs})"


def test_an_unsealed_tombstone_does_not_excuse_missing_archives(path: Path, old: Path) -> None:
    tamper(path, *bury(5, "5"))
    assert findings(path) == [("removed", f"event 5 was {UNSEALED}")]
    old.unlink()
    assert findings(path) == [("removed", f"events 1-5, 7-10 were {UNSEALED}")]
    assert not verdict(path, allow=True).ok


@pytest.mark.parametrize("events", [2, 7])
def test_a_tombstone_speaks_for_its_own_stream_alone(path: Path, events: int) -> None:
    # One is put into a stream that goes on, with more events than this has.
    tamper(path, *bury(5, "5", events=events), f"update events set version = {events + 3} where seq = 16")
    kinds = [(kind, what) for kind, what in findings(path) if "event 16" in what]
    assert kinds == [
        (
            "added",
            f"event 16 (archived of job:5) says that {events} events went to an archive, which can't be: it was put in",
        )
    ]


def test_an_archived_event_without_tombstone_is_reported(path: Path, old: Path) -> None:
    tamper(path, "delete from events where seq = 12")
    told = f"event 1 (enqueued of job:1) in {old} was removed from the log, which does not say that it went there"
    assert ("archive", told) in findings(path)


def test_leaves_of_archived_events_are_compared_by_time(path: Path) -> None:
    tamper(path, "update leaves set at = at + 1 where seq = 1")
    assert findings(path) == [("leaf", "the leaf of event 1 names another moment than the event: it was changed")]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_nothing_but_a_regular_file_is_read(path: Path, old: Path, make: Callable[[Path], None]) -> None:
    old.unlink()
    make(old)
    first = findings(path)[0]
    assert first == ("archive", f"can't read {old}: it is no regular file")


@pytest.mark.parametrize("file", ["relative.gz", "", "/a\0b", "/" + "x" * 5000])
def test_a_tombstone_may_name_any_path(path: Path, file: str) -> None:
    tamper(path, *bury(5, "5"), f"update events set data = json_set(data, '$.file', {sql(file)}) where seq = 16")
    assert findings(path) == [("removed", f"event 5 was {UNSEALED}")]


def sql(text: str) -> str:
    return "'" + text.replace("\0", "' || char(0) || '") + "'"
