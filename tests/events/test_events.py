"""The vocabulary: what is stored is what is shown, and old logs are read by today's program (R25, R26)."""

from pathlib import Path
from typing import Any, ClassVar, get_args

import apsw
import msgspec
import pytest
from hypothesis import given, settings

from queuectl import Queue
from queuectl.errors import Unusable
from queuectl.events import VOCABULARY, Event, Failed, Payload, Recorded, Vocabulary, encode
from tests.support.histories import logs
from tests.support.paths import DATA

LOG_V1 = (DATA / "log_v1.sql").read_text()


def recorded(data: str, type: str = "claimed", v: int = 1) -> Recorded:
    return Recorded(17, "job:job1", 4, type, v, 1_795_510_800_123_456, "worker:3f2a", data)


# -- JSON ------------------------------------------------------------------------------------------------------------


def test_an_event_is_shown_in_the_common_shape() -> None:
    data = encode(Failed(attempt=1, cause="exit", exit_code=1)).decode()
    assert recorded(data, "failed").json() == (
        b'{"seq":17,"stream":"job:job1","version":4,"type":"failed","v":1,"at":"2026-11-24T09:00:00.123456Z",'
        b'"actor":"worker:3f2a","data":{"attempt":1,"exit_code":1,"cause":"exit"}}'
    )


def test_the_stored_text_is_shown_as_it_is() -> None:
    stored = '{ "worker":"w1",  "attempt":1, "later": [1, 2.50, "\\u00e4"] }'
    shown = recorded(stored).json(state="processing")
    assert shown.endswith(b'"data":' + stored.encode() + b',"state":"processing"}')
    assert msgspec.json.decode(shown)["data"]["later"] == [1, 2.5, "ä"]


def test_unset_fields_are_not_stored() -> None:
    assert encode(Failed(attempt=1, cause="lost")) == b'{"attempt":1,"cause":"lost"}'


@settings(max_examples=40)
@given(logs)
def test_every_event_survives_encoding_and_decoding(log: list[Recorded]) -> None:
    for record in log:
        assert encode(record.event).decode() == record.data


def test_every_type_has_a_unique_name_and_upcasts() -> None:
    payloads = get_args(Event)
    assert len({payload.type for payload in payloads}) == len(payloads) == len(VOCABULARY.payloads)
    assert all(payload.type and payload.v >= 1 for payload in payloads)
    for payload in payloads:
        assert all((payload.type, v) in VOCABULARY.upcasts for v in range(1, payload.readable_from or payload.v)), (
            payload
        )


# -- upcasting -------------------------------------------------------------------------------------------------------


class Painted(Payload, frozen=True, kw_only=True):
    type: ClassVar[str] = "painted"
    v: ClassVar[int] = 3
    colours: list[str]
    coats: int


def to_list(old: dict[str, Any]) -> dict[str, Any]:
    return {"colours": [old["colour"]]}


def with_coats(old: dict[str, Any]) -> dict[str, Any]:
    return {**old, "coats": 1}


PAINT = Vocabulary((Painted,), {("painted", 1): to_list, ("painted", 2): with_coats})


def test_an_old_version_is_upcast_step_by_step() -> None:
    assert PAINT.decode("painted", 1, '{"colour":"red"}') == Painted(colours=["red"], coats=1)
    assert PAINT.decode("painted", 2, '{"colours":["red","blue"]}') == Painted(colours=["red", "blue"], coats=1)
    assert PAINT.decode("painted", 3, '{"colours":[],"coats":2}') == Painted(colours=[], coats=2)


def test_upcasting_leaves_the_stored_event_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuectl.events.VOCABULARY", PAINT)
    old = recorded('{ "colour" : "red" }', "painted", 1)
    assert old.event == Painted(colours=["red"], coats=1)  # pyright: ignore[reportUnnecessaryComparison]
    assert (old.v, old.data) == (1, '{ "colour" : "red" }')
    assert b'"v":1' in old.json()
    assert b'"data":{ "colour" : "red" }' in old.json()


@pytest.mark.parametrize("type, v", [("painted", 4), ("varnished", 1)])
def test_an_event_of_a_newer_program_is_refused(type: str, v: int) -> None:
    with pytest.raises(ValueError, match=rf"'{type}' version {v} was written by a newer queuectl; upgrade"):
        PAINT.decode(type, v, "{}")


# -- a log of version 1 ----------------------------------------------------------------------------------------------


@pytest.fixture
def old_log(tmp_path: Path) -> Path:
    """A database with the old log and no table folded from it."""
    path = tmp_path / "old.db"
    Queue(path).close()
    insert(path, LOG_V1)
    return path


def insert(path: Path, sql: str) -> None:
    db = apsw.Connection(str(path))
    for _ in db.execute(sql):
        pass
    db.close()


LATER = {
    "archived", "batch_halted", "batch_opened", "batch_reopened", "cascaded", "continued", "edited",
    "environment_kept", "forced", "held", "interrupted", "noted", "queue_limited", "queue_paused", "queue_resumed",
    "resource_set", "resource_unset", "schedule_added", "schedule_edited", "schedule_fired", "schedule_paused",
    "schedule_removed", "schedule_resumed", "schedule_rewound", "schedule_skipped", "sealed", "suspended",
    "unblocked", "unheld", "waiting_for",
}  # fmt: skip
"""Types that came after version 1."""


def test_the_old_log_has_every_type_of_then(old_log: Path) -> None:
    with Queue(old_log) as queue:
        assert {record.type for record in queue.events()} == set(VOCABULARY.payloads) - LATER
        assert {record.v for record in queue.events()} == {1}


def test_an_old_log_is_folded_by_todays_program(old_log: Path) -> None:
    with Queue(old_log) as queue:
        assert queue.check() == []
        assert [(job.id, job.state) for job in queue.jobs()] == [("bad", "cancelled"), ("1", "completed")]
        done, bad = queue.job("1"), queue.job("bad")
        assert (done.command, done.timeout, done.exit_code, done.attempt) == ("true", 60.0, 0, 1)
        assert (bad.command, bad.queue, bad.priority) == ("sh -c 'exit 3'", "mail", 7)
        assert (bad.timeout, bad.secrets, bad.attempt, bad.failures, bad.signal) == (None, ("TOKEN",), 3, 0, 15)
        assert (bad.policy.on_lost, bad.policy.keep_children, bad.policy.jitter, bad.policy.stdin) == (
            "dead", True, 0.5, "ab12",
        )  # fmt: skip
        assert [(a.number, a.worker, a.outcome, a.cause) for a in queue.attempts("bad")] == [
            (1, "w1", "failed", "exit"),
            (2, "w2", "failed", "lost"),
            (3, "w1", "cancelled", None),
        ]
        assert queue.attempts("bad")[0].output_cut == 10
        assert [(w.id, w.state, w.queues) for w in queue.workers(all=True)] == [
            ("w1", "stopped", ("default", "mail")),
            ("w2", "lost", ()),
        ]
        assert queue.config()["max-retries"].value == 1
        assert [moment.job.state if moment.job else None for moment in queue.history("gone")] == [
            "pending", "processing", "pending", "cancelled", None,
        ]  # fmt: skip
        assert [moment.record.type for moment in queue.history("1")] == [
            "enqueued",
            "claimed",
            "heartbeat",
            "completed",
        ]
        assert queue.enqueue("true") == "2"


def test_reading_an_old_log_changes_nothing_in_it(old_log: Path) -> None:
    with Queue(old_log) as queue:
        queue.replay()
        for record in queue.events():
            assert f"'{record.data}')" in LOG_V1
            assert record.data.encode() in record.json()
        assert '"_note": "kept"' in next(queue.events(job="1")).data


NEWER = """
insert into events (stream, version, type, v, at, actor, data)
values ('job:new', 1, 'enqueued', 99, 1800000000000000, 'cli:ann@new', '{"what":"x"}')
"""


def test_a_newer_event_makes_opening_fail(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    with Queue(path) as queue:
        queue.enqueue("true", id="mine")
    insert(path, NEWER)
    with pytest.raises(Unusable, match=r"type 'enqueued' version 99 was written by a newer queuectl; upgrade"):
        Queue(path)


def test_a_newer_event_stops_an_open_queue(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    with Queue(path) as queue:
        queue.enqueue("true", id="mine")
        insert(path, NEWER)
        for ask in (lambda: queue.enqueue("true"), queue.replay, queue.check, lambda: queue.history("new")):
            with pytest.raises(Unusable, match="written by a newer queuectl"):
                ask()


def test_a_damaged_payload_is_named_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    with Queue(path) as queue:
        queue.enqueue("true", id="mine")
    insert(path, NEWER.replace("2, 18", "1, 18"))
    with pytest.raises(Unusable, match="damaged"):
        Queue(path)
