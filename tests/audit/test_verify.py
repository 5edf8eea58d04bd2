"""Verifying seals: what somebody did to the log behind the queue's back is found, and named (R23)."""

from pathlib import Path

import apsw
import pytest

from queuectl import Queue
from queuectl.audit.import_log import load
from queuectl.audit.leaves import chain, leaf
from queuectl.audit.seal import seal
from queuectl.audit.verdict import AuditFinding
from queuectl.audit.verify import Anchor, verify
from queuectl.events import Recorded
from queuectl.export import export
from tests.support.tampering import findings, tamper, twice_sealed, verdict

ZERO = "00" * 32
UNREADABLE = (
    "the seal in event 12 was changed: an event of type 'sealed' version 1 is damaged (JSON is malformed: invalid"
    " character (byte 0)): 'gibberish'"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with two seals; nobody has it open."""
    twice_sealed(tmp_path / "q.db")
    return tmp_path / "q.db"


def unproven(events: str, seal: int) -> str:
    return (
        f"the leaves of events {events} do not lead to the seal in event {seal}: some were changed, removed or put in,"
        " or the seal was changed"
    )


def missing(events: str) -> str:
    if events.isdecimal():
        return f"event {events} is missing, and its leaf too: it was removed, or never taken in"
    return f"events {events} are missing, and their leaves too: they were removed, or never taken in"


def forge(path: Path, seq: int, change: str) -> None:
    """Change an event, and its leaf as well."""
    tamper(path, f"update events set {change} where seq = {seq}")
    db = apsw.Connection(str(path))
    [row] = db.execute("select seq, stream, version, type, v, at, actor, data from events where seq = ?", (seq,))
    made = leaf(Recorded(*row))
    db.execute("update leaves set at = ?, hash = ? where seq = ?", (made.at, made.hash, seq))
    db.close()


def test_a_seal_hashes_the_leaves_of_all_events(path: Path) -> None:
    with Queue(path) as queue:
        records = list(queue.events())
        link = chain(bytes(32), (leaf(record).hash for record in records[:11])).hex()
        assert [record.seq for record in records if record.stream == "audit"] == [6, 12]
        assert records[11].data == f'{{"upto":11,"events":11,"hash":"{link}"}}'


def test_a_leaf_tells_where_each_value_ends() -> None:
    one = Recorded(1, "job:1", 1, "purged", 1, 0, "ann", "x{}")
    two = Recorded(1, "job:1", 1, "purged", 1, 0, "annx", "{}")
    assert leaf(one).hash != leaf(two).hash


def test_an_untouched_log_verifies(path: Path) -> None:
    with Queue(path) as queue:
        last = seal(queue)
        queue.enqueue("true")
    found = verdict(path, last)
    assert found.findings == []
    assert (found.seals, found.seal, found.events, found.unsealed) == (3, last, 16, 2)


def test_nothing_is_sealed_twice(path: Path) -> None:
    with Queue(path) as queue:
        first = seal(queue)
        assert seal(queue) == first
        assert queue.status().seq == first.seq
        queue.enqueue("true")
        assert seal(queue).upto == first.seq + 1


def test_an_empty_log_has_nothing_to_be_sealed(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        assert seal(queue).anchor == f"0:{ZERO}"
        assert queue.status().seq == 0
        found = verify(queue, [Anchor(0, ZERO)])
        assert (found.ok, found.seals) == (True, 0)


@pytest.mark.parametrize(
    "change",
    [
        """data = replace(data, '"command":"true"', '"command":"rm"')""",
        "actor = 'cli:somebody@else'",
        "at = at + 1",
        "at = 'yesterday'",
        "data = cast(data as blob)",
        "type = 'completed'",
        "version = 9",
        "v = 9",
        "stream = 'job:99'",
    ],
)
def test_an_event_that_was_changed_is_named(path: Path, change: str) -> None:
    tamper(path, f"update events set {change} where seq = 8")
    [(kind, what)] = findings(path)
    assert (kind, what[:9], what[-11:]) == ("changed", "event 8 (", "was changed")


@pytest.mark.parametrize(
    "statements, found",
    [
        # removed
        (["delete from events where seq = 3"],
         [("removed", "event 3 was removed, and never archived")]),
        (["delete from events where seq in (2, 3, 4, 9)"],
         [("removed", "events 2-4, 9 were removed, and never archived")]),
        (["delete from events where seq > 10"],
         [("removed", "event 11 was removed, and never archived"),
          ("removed", missing("12-14"))]),
        (["delete from events where seq = 13"], [("removed", missing("13"))]),
        (["delete from events where seq = 3", "delete from leaves where seq = 3"],
         [("seal", "the leaves of events 1-5 do not lead to the seal in event 6: 1 of them is gone"),
          ("removed", missing("3"))]),
        # put in
        (["insert into events select -7, stream, 2, 'cancelled', v, at, actor, '{}' from events where seq = 3"],
         [("added", "event -7 (cancelled of job:3) was put in")]),
        # another place
        (["update events set seq = -3 where seq = 3"],
         [("added", "event -3 (enqueued of job:3) was put in"),
          ("removed", "event 3 was removed, and never archived")]),
        (["update events set seq = 99 where seq = 6"],
         [("seal", "1 of the seals before event 12 were removed"),
          ("seal", "the seal in event 99 reaches up to 5, less far than the one before"),
          ("removed", "event 6 was removed, and never archived"),
          ("removed", missing("15-98"))]),
        (["update events set seq = -3 where seq = 3", "update events set seq = 3 where seq = 4",
          "update events set seq = 4 where seq = -3"],
         [("changed", "event 3 (enqueued of job:4) was changed"),
          ("changed", "event 4 (enqueued of job:3) was changed")]),
        # leaves
        (["update leaves set hash = zeroblob(32) where seq = 3"],
         [("leaf", "the leaf of event 3 (enqueued of job:3) was changed; the event is as it was sealed")]),
        (["update leaves set hash = 'text' where seq = 3"],
         [("leaf", "the leaf of event 3 (enqueued of job:3) was changed; the event is as it was sealed")]),
        (["update leaves set at = at + 1 where seq = 3"],
         [("leaf", "the leaf of event 3 names another moment than the event: it was changed")]),
        (["delete from leaves where seq = 3"],
         [("leaf", "the leaf of event 3 (enqueued of job:3) was removed; the event is as it was sealed")]),
        (["delete from leaves where seq = 3", "update events set actor = 'x' where seq = 3"],
         [("added", "event 3 (enqueued of job:3) has no leaf: it was put in, or its leaf removed"),
          ("seal", unproven("1-5", 6))]),
        # seals
        ([f"update events set data = replace(data, substr(data, -66, 64), '{ZERO}') where seq = 12"],
         [("seal", unproven("6-11", 12))]),
        ([f"update events set data = replace(data, substr(data, -66, 64), '{ZERO}') where seq = 6"],
         [("seal", unproven("1-5", 6)),
          ("changed", "event 6 (sealed of audit) was changed")]),
        (["""update events set data = replace(data, '"events":11', '"events":12') where seq = 12"""],
         [("seal", "the seal in event 12 counts 12 events, which is wrong: it was changed")]),
        (["""update events set data = replace(data, '"upto":11', '"upto":2') where seq = 12"""],
         [("seal", "the seal in event 12 reaches up to 2, less far than the one before")]),
        (["update events set data = 'gibberish' where seq = 12"],
         [("seal", UNREADABLE)]),
        (["delete from events where seq = 6"],
         [("seal", "1 of the seals before event 12 were removed"),
          ("removed", "event 6 was removed, and never archived")]),
        (["delete from events where seq = 12"], [("removed", missing("12"))]),
    ],
)  # fmt: skip
def test_what_was_done_to_the_log_is_named(path: Path, statements: list[str], found: list[tuple[str, str]]) -> None:
    tamper(path, *statements)
    assert findings(path) == found


def test_an_event_changed_with_its_leaf_is_detected(path: Path) -> None:
    forge(path, 8, "actor = 'cli:somebody@else'")
    [(kind, what)] = findings(path)
    assert kind == "seal"
    assert what.startswith("the leaves of events 6-11 do not lead to the seal in event 12")


def test_a_seal_does_not_detect_earlier_changes(path: Path) -> None:
    tamper(path, "update events set actor = 'cli:somebody@else' where seq = 13")
    assert findings(path) == []


def test_an_event_inserted_into_a_gap_is_detected(path: Path, tmp_path: Path) -> None:
    with Queue(path) as queue, Queue(tmp_path / "gap.db") as gap:
        lines = b"".join(export(queue)).splitlines(keepends=True)
        load(gap, [line for line in lines[:5] if b'"seq":3,' not in line])
        seal(gap)
    tamper(
        tmp_path / "gap.db",
        "insert into events select 3, 'job:3', version, type, v, at, actor, data from events where seq = 2",
    )
    assert findings(tmp_path / "gap.db") == [("added", "event 3 (enqueued of job:3) was put in")]


def test_an_anchor_detects_a_changed_and_resealed_log(path: Path) -> None:
    with Queue(path) as queue:
        last = seal(queue)
    assert findings(path, last) == []
    tamper(
        path,
        "update events set actor = 'cli:somebody@else' where seq = 8",
        "delete from events where type = 'sealed'",
        "delete from leaves",
    )
    with Queue(path) as queue:
        seal(queue)
    assert findings(path) == [("removed", missing("6, 12"))]
    tamper(path, "update sqlite_sequence set seq = 14 where name = 'events'")
    anchored = [what for kind, what in findings(path, last) if kind == "anchor"]
    assert anchored == ["the log up to event 14 is not the one that was sealed: its anchor does not fit"]


def test_an_anchor_detects_a_truncated_log(path: Path) -> None:
    with Queue(path) as queue:
        last = seal(queue)
    tamper(
        path,
        "delete from events where seq > 14",
        "delete from leaves where seq > 11",
        "update sqlite_sequence set seq = 14 where name = 'events'",
    )
    assert findings(path) == []
    gone = "the seal up to event 14, of which there is an anchor, is not in the log: it was removed"
    assert findings(path, last) == [("anchor", gone)]
    tamper(path, "delete from events where seq > 12", "update sqlite_sequence set seq = 12 where name = 'events'")
    assert findings(path) == []
    assert findings(path, last) == [("anchor", "the log ends with event 12, before anchor 14: the rest was removed")]


def test_an_anchor_verifies_a_log_without_leaves(path: Path) -> None:
    with Queue(path) as queue:
        last = seal(queue)
    tamper(path, "delete from leaves")
    found = verdict(path, last)
    assert {each.kind for each in found.findings} == {"leaf"}
    tamper(path, "update events set actor = 'cli:somebody@else' where seq = 8")
    assert any(each.kind == "anchor" for each in verdict(path, last).findings)


def test_an_anchor_fits_events_and_leaves_mixed(
    path: Path,
) -> None:
    with Queue(path) as queue:
        last = seal(queue)
    tamper(
        path,
        "update leaves set hash = zeroblob(32) where seq = 3",
        "update events set actor = 'cli:somebody@else' where seq = 8",
    )
    assert [kind for kind, _ in findings(path, last)] == ["leaf", "changed"]


def test_many_findings_are_counted_rather_than_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue_many(["true"] * 1500)
        seal(queue)
    tamper(tmp_path / "q.db", "update events set actor = 'x' where seq <= 1500")
    found = verdict(tmp_path / "q.db")
    assert (len(found.findings), found.more) == (1000, 500)
    assert found.findings[-1] == AuditFinding("changed", "event 1,000 (enqueued of job:1000) was changed", 1000)


LOWEST = -(2**63)
GONE = "delete from events where seq > 12", "delete from leaves where seq > 12"
BACK = "update sqlite_sequence set seq = 12 where name = 'events'"


@pytest.mark.parametrize(
    "statements, kind, told",
    [
        ([f"insert into events select {LOWEST}, 'job:evil', 1, type, v, at, actor, data from events where seq = 1"],
         "added", "event -9,223,372,036,854,775,808 (enqueued of job:evil) was put in"),
        (["insert into events select 0, 'job:evil', 1, type, v, at, actor, data from events where seq = 1"],
         "added", "event 0 (enqueued of job:evil) was put in"),
        (["insert into leaves select 0, at, hash from leaves where seq = 1"], "leaf", "the leaf of event 0 was put in"),
        (["update events set seq = seq + 100 where seq > 5"], "removed", "events 6-11 were removed"),
        (["update events set seq = 99 where seq = 14"], "removed", "events 14-98 are missing"),
        (["update events set seq = 2000000 where seq = 1"], "removed", "event 1 was removed"),
        (["delete from events where seq in (1, 2)"], "removed", "events 1-2 were removed"),
        (["update events set type = 'completed', v = 1 where seq = 14"], "changed",
         "event 14 (completed of job:12) can't be read"),
        (["update events set data = '[' where seq = 14"], "changed", "event 14 (enqueued of job:12) can't be read"),
        (["update events set seq = 77, type = 'cancelled', data = '{}' where seq = 14"], "log",
         "the tables can't be made of the log: "),
        (["update events set seq = 77, type = 'heartbeat', data = '{}' where seq = 14"], "log",
         "the tables can't be made of the log: "),
        (["update events set seq = 77, stream = 'config' where seq = 14"], "log",
         "the tables can't be made of the log: "),
        (["update events set seq = 77, stream = 'job:1', version = 2 where seq = 14"], "log",
         "the tables can't be made of the log: "),
    ],
)  # fmt: skip
def test_whatever_was_done_the_log_can_be_verified(path: Path, statements: list[str], kind: str, told: str) -> None:
    tamper(path, *statements)
    found = [each for each in findings(path) if each[0] == kind]
    assert any(what.startswith(told) for _, what in found), findings(path)


def test_missing_acknowledged_events_are_reported(path: Path) -> None:
    note = path.parent / "q.db.d" / "high-water"
    kept = note.read_bytes()
    tamper(path, *GONE, BACK)
    note.write_bytes(kept)
    told = "the log ends with event 12, but 14 were acknowledged: the rest was removed"
    assert findings(path) == [("log", told)]
