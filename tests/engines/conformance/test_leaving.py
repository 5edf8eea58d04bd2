"""Every engine: archiving keeps the leaves and tombstones of removed events, and removes nothing else."""

import pytest

from queuectl.engines.base import Engine
from queuectl.engines.view import Leaf, Write
from queuectl.errors import Conflict, QueueError
from queuectl.events import Archived, Event, Passed, WorkerStopped
from tests.engines.conftest import Site
from tests.support.engine_actions import ACTOR, add, claim, policy, report, start_worker


def leaves_of(engine: Engine) -> list[Leaf]:
    """Return a leaf for every event; the engine does not interpret its bytes."""
    with engine.snapshot() as view:
        return [Leaf(record.seq, record.at, bytes([record.seq % 256]) * 32) for record in view.events()]


def keep(engine: Engine) -> list[Leaf]:
    leaves = leaves_of(engine)
    with engine.transaction() as tx:
        tx.keep_leaves(leaves)
    return leaves


def tombstone(engine: Engine, stream: str) -> Write:
    """The tombstone of a stream, after its last event."""
    with engine.snapshot() as view:
        records = view.stream(stream)
        kind, _, id = stream.partition(":")
        subject = view.job(id) if kind == "job" else view.worker(id)
        passed = [Passed(records[0].seq, "2026-11-24T09:00:00Z", "pending")]
        event: Event = Archived(file="/a", events=len(records), state="completed", queue="default", passed=passed)
        return Write(stream, subject, [event], version=records[-1].version)


def archive(engine: Engine, stream: str) -> None:
    write = tombstone(engine, stream)
    with engine.transaction() as tx:
        tx.append([write], ACTOR)
        tx.remove([stream])


def finish(engine: Engine, *ids: str) -> None:
    add(engine, *ids)
    start_worker(engine, "w")
    for _, lease in claim(engine, "w"):
        report(engine, lease, exit_code=0)


def test_leaves_are_kept_and_read_in_pages(engine: Engine) -> None:
    finish(engine, "a", "b")
    kept = keep(engine)
    with engine.snapshot() as view:
        assert view.leaves() == kept
        assert view.leaves(after=2, limit=2) == kept[2:4]
        assert view.leaves(after=2, upto=3) == kept[2:3]


def test_a_leaf_is_never_changed(engine: Engine) -> None:
    add(engine, "a")
    kept = keep(engine)
    with pytest.raises(QueueError), engine.transaction() as tx:
        tx.keep_leaves([Leaf(1, 0, b"x" * 32)])
    with engine.snapshot() as view:
        assert view.leaves() == kept


def test_an_archived_stream_leaves_its_tombstone_and_leaves(engine: Engine) -> None:
    finish(engine, "a", "b")
    kept = keep(engine)
    archive(engine, "job:a")
    with engine.snapshot() as view:
        assert [record.type for record in view.stream("job:a")] == ["archived"]
        assert view.stream("job:a")[0].version == 4
        assert (view.job("a"), view.attempts("a"), view.counts()) == (None, [], {"completed": 1})
        assert [record.stream for record in view.events()] == ["job:b", "worker:w", "job:b", "job:b", "job:a"]
        assert view.leaves() == kept


def test_a_worker_can_be_archived_as_well(engine: Engine) -> None:
    start_worker(engine, "w")
    with engine.transaction() as tx:
        tx.append([Write("worker:w", tx.worker("w"), [WorkerStopped()])], ACTOR)
    keep(engine)
    archive(engine, "worker:w")
    with engine.snapshot() as view:
        assert (view.worker("w"), view.workers(live=False)) == (None, [])
    assert engine.check() == []


def test_the_tables_equal_a_replay_after_an_archive(engine: Engine, site: Site) -> None:
    finish(engine, "a", "b", "17")
    keep(engine)
    archive(engine, "job:17")
    archive(engine, "job:a")
    assert engine.check() == []
    engine.replay()
    engine.replay(["counts"])
    assert engine.check() == []
    with site.again().transaction() as tx:
        assert tx.counts() == {"completed": 1}
        assert tx.numbers(1)[0] == 18, "a number is never given twice"


def test_an_event_without_a_leaf_is_not_archived(engine: Engine) -> None:
    finish(engine, "a")
    with pytest.raises(QueueError):
        archive(engine, "job:a")
    with engine.snapshot() as view:
        assert [record.type for record in view.stream("job:a")] == ["enqueued", "claimed", "completed"]


def test_a_stream_without_a_tombstone_is_not_archived(engine: Engine) -> None:
    finish(engine, "a")
    keep(engine)
    with engine.transaction() as tx:
        tx.remove(["job:a"])
        assert len(tx.stream("job:a")) == 3


def test_an_archived_stream_does_not_begin_again(engine: Engine) -> None:
    finish(engine, "a")
    keep(engine)
    archive(engine, "job:a")
    with pytest.raises(Conflict), engine.transaction() as tx:
        tx.append([Write("job:a", None, [policy(tx.now)])], ACTOR)


def test_a_moment_is_found_without_its_archived_event(engine: Engine) -> None:
    finish(engine, "a", "b")
    keep(engine)
    with engine.snapshot() as view:
        records = view.events()
    archive(engine, "job:a")
    with engine.snapshot() as view:
        for record in records:
            assert view.seq_at(record.at - 1) < record.seq <= view.seq_at(record.at)
    for record in records:
        with engine.past(record.seq) as view:
            assert view.head() == (record.seq, record.at)
