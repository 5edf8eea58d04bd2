"""Every engine: writing. No SQL, no type of a database and no path: see `conftest.py`."""

import time
from contextlib import suppress

import pytest

from projections.jobs import Job
from queuectl import decisions
from queuectl.engines.base import Engine
from queuectl.engines.view import Transaction, Write
from queuectl.errors import Conflict, Fenced, Unusable
from queuectl.events import CancelRequested, Claimed, Completed, ConfigSet, Heartbeat, Purged, StopRequested
from tests.engines.conftest import Site
from tests.support import ends
from tests.support.engine_actions import ACTOR, add, change, claim, policy, report, start_worker


class Boom(Exception):
    pass


def enqueued(tx: Transaction, id: str) -> Write:
    return Write(f"job:{id}", None, decisions.enqueue(policy(tx.now)))


def found(engine: Engine, id: str) -> Job:
    with engine.snapshot() as view:
        job = view.job(id)
    assert job is not None
    return job


def test_an_append_writes_events_and_projections_together(engine: Engine) -> None:
    with engine.transaction() as tx:
        [change] = tx.append([enqueued(tx, "a")], "somebody")
        assert (change.before, change.after) == (None, tx.job("a"))
        assert tx.counts() == {"pending": 1}
        assert tx.head() == (change.record.seq, tx.at)
    with engine.snapshot() as view:
        assert view.events() == [change.record]
        assert (change.record.actor, change.record.stream, change.record.version) == ("somebody", "job:a", 1)
        assert view.job("a") == change.after
        assert view.counts() == {"pending": 1}


def test_an_exception_inside_the_transaction_leaves_nothing(engine: Engine) -> None:
    add(engine, "before")
    with engine.snapshot() as view:
        head = view.head()

    def half() -> None:
        with engine.transaction() as tx:
            tx.append([enqueued(tx, "a"), enqueued(tx, "b")], ACTOR)
            tx.keep_secrets("before", {"TOKEN": "x"})
            tx.append([Write("job:before", tx.job("before"), [Claimed(attempt=1, worker="w")])], ACTOR)
            raise Boom

    with pytest.raises(Boom):
        half()
    with engine.transaction() as tx:
        assert tx.head() == head
        assert (tx.job("a"), tx.attempts("before"), tx.secrets("before")) == (None, [], {})
        assert tx.counts() == {"pending": 1}
    assert engine.check() == []
    add(engine, "a")
    assert found(engine, "a").version == 1


def test_a_process_killed_inside_the_transaction_leaves_nothing(engine: Engine, site: Site) -> None:
    process = site.process("""
with engine.transaction() as tx:
    tx.append([Write("job:half", None, [policy(tx.now)])], ACTOR)
    say("inside")
    wait_for_line()
""")
    assert process.read_line() == "inside"
    process.kill()
    add(engine, "a")
    with engine.snapshot() as view:
        assert view.job("half") is None
        assert [record.stream for record in view.events()] == ["job:a"]


def test_a_stream_that_moved_on_is_a_conflict(engine: Engine) -> None:
    add(engine, "a")
    stale = found(engine, "a")
    claim(engine, "w1")
    with pytest.raises(Conflict), engine.transaction() as tx:
        tx.append([Write("job:a", stale, [Claimed(attempt=1, worker="w2")])], ACTOR)
    assert found(engine, "a").worker == "w1"
    assert engine.check() == []


def test_a_stream_begins_once(engine: Engine) -> None:
    add(engine, "a")
    with pytest.raises(Conflict), engine.transaction() as tx:
        tx.append([enqueued(tx, "b"), enqueued(tx, "a")], ACTOR)
    with pytest.raises(Conflict), engine.transaction() as tx:
        tx.append([enqueued(tx, "c"), enqueued(tx, "c")], ACTOR)
    with engine.snapshot() as view:
        assert [job.id for job in view.jobs(range(1, 9))] == ["a"]


def test_a_conflict_caught_inside_still_leaves_nothing(engine: Engine) -> None:
    add(engine, "a")

    def stubborn() -> None:
        with engine.transaction() as tx, suppress(Conflict):
            tx.append([enqueued(tx, "b"), enqueued(tx, "a")], ACTOR)

    with pytest.raises(Conflict):
        stubborn()
    with engine.snapshot() as view:
        assert [record.stream for record in view.events()] == ["job:a"]
    assert engine.check() == []


def test_concurrent_claims_give_each_job_to_one_worker(engine: Engine, site: Site) -> None:
    ids = [f"j{n}" for n in range(60)]
    add(engine, *ids)
    script = """
say("up")
wait_for_line()
got = []
while claimed := claim(engine, sys.argv[1], 2):
    got += [job.id for job, _ in claimed]
say(*got)
"""
    processes = [site.process(script, f"w{n}") for n in range(4)]
    for process in processes:
        assert process.read_line() == "up"
    for process in processes:
        process.send_line()
    got = [id for process in processes for id in process.read_line().split()]
    assert sorted(got) == sorted(ids)
    with engine.snapshot() as view:
        assert view.counts() == {"processing": 60}
        assert all(len(view.attempts(id)) == 1 for id in ids)


def test_at_rises_with_every_transaction(engine: Engine) -> None:
    for n in range(20):
        add(engine, f"j{n}")
    with engine.snapshot() as view:
        at = [record.at for record in view.events()]
    assert at == sorted(set(at))


def test_an_empty_append_writes_no_event(engine: Engine) -> None:
    with engine.transaction() as tx:
        assert tx.append([], ACTOR) == []
        assert tx.append([Write("job:a", None, [])], ACTOR) == []
    with engine.snapshot() as view:
        assert view.head() == (0, 0)


# -- one at a time ---------------------------------------------------------------------------------------------------


def test_an_engine_has_at_most_one_open_transaction(engine: Engine) -> None:
    def nested() -> None:
        with engine.transaction(), engine.transaction():
            pass

    with pytest.raises(RuntimeError, match="open already"):
        nested()
    add(engine, "a")


def test_waiting_too_long_for_the_write_lock_raises(engine: Engine, site: Site) -> None:
    process = site.process("""
with engine.transaction() as tx:
    say("inside")
    wait_for_line()
say("out")
""")
    assert process.read_line() == "inside"
    begin = time.monotonic()
    with pytest.raises(Unusable, match=r"locked for 0\.2 s"), engine.transaction(0.2):
        pass
    assert time.monotonic() - begin < 50
    with engine.snapshot() as view:  # reading waits for nobody
        assert view.head() == (0, 0)
    process.send_line()
    assert process.read_line() == "out"
    with engine.transaction(10.0) as tx:
        tx.append([enqueued(tx, "a")], ACTOR)


# -- numbers and secrets ---------------------------------------------------------------------------------------------


def numbered(engine: Engine, count: int) -> list[str]:
    with engine.transaction() as tx:
        ids = [str(number) for number in tx.numbers(count)]
        tx.append([enqueued(tx, id) for id in ids], ACTOR)
    return ids


def test_numbers_count_up_and_are_never_used_again(engine: Engine, site: Site) -> None:
    assert numbered(engine, 3) == ["1", "2", "3"]
    add(engine, "named")
    for _, lease in claim(engine, "w"):
        report(engine, lease)
    change(engine, "3", Purged())
    assert numbered(engine, 1) == ["4"]
    engine.replay()
    assert numbered(site.again(), 2) == ["5", "6"]


def test_numbers_of_a_transaction_that_failed_are_free(engine: Engine) -> None:
    def half() -> None:
        with engine.transaction() as tx:
            tx.append([enqueued(tx, str(tx.numbers(1)[0]))], ACTOR)
            raise Boom

    with pytest.raises(Boom):
        half()
    ids = numbered(engine, 2)
    assert len(set(ids)) == 2
    assert all(id.isdecimal() for id in ids)


def test_secrets_are_outside_the_log_and_survive_replay(engine: Engine, site: Site) -> None:
    with engine.transaction() as tx:
        tx.append([Write("job:a", None, [policy(tx.now, secrets=["KEY", "TOKEN"])])], ACTOR)
        tx.keep_secrets("a", {"KEY": "k1", "TOKEN": "t1"})
        tx.keep_secrets("b", {"KEY": "other"})
    with engine.transaction() as tx:
        tx.keep_secrets("a", {"TOKEN": "t2"})
    engine.replay()
    with site.again().transaction() as tx:
        assert tx.secrets("a") == {"KEY": "k1", "TOKEN": "t2"}
        assert tx.secrets("none") == {}
        assert not any("t1" in record.data or "t2" in record.data for record in tx.events())
        job = tx.job("a")
        assert job is not None
        assert job.secrets == ("KEY", "TOKEN")
        tx.forget_secrets(["a"])
        assert (tx.secrets("a"), tx.secrets("b")) == ({}, {"KEY": "other"})


# -- bells -----------------------------------------------------------------------------------------------------------


def test_an_append_wakes_another_process(engine: Engine, site: Site) -> None:
    process = site.process("""
bell = engine.listen("log")
say("listening")
while True:
    rung = bell.wait(20)
    bell.clear()
    with engine.snapshot() as view:
        say(rung, view.head()[0])
""")
    assert process.read_line() == "listening"
    for seq in (1, 2, 3):
        add(engine, f"j{seq}")
        assert process.read_line() == f"True {seq}"


def rings(engine: Engine, kind: str) -> list[bool]:
    """Whether listeners of that kind are notified after each of the commands below."""
    bell = engine.listen(kind)
    heard: list[bool] = []

    def listen() -> None:
        heard.append(bell.wait(0.05))
        bell.clear()

    try:
        listen()  # nothing has happened
        add(engine, "a")
        listen()
        [(_, lease)] = claim(engine, "w")
        listen()
        change(engine, "a", CancelRequested())
        listen()
        report(engine, lease)
        listen()
        start_worker(engine, "w")
        listen()
        with engine.transaction() as tx:
            tx.append([Write("worker:w", tx.worker("w"), [Heartbeat()])], ACTOR)
        listen()
        with engine.transaction() as tx:
            tx.append([Write("worker:w", tx.worker("w"), [StopRequested()])], ACTOR)
        listen()
        with engine.transaction() as tx:
            tx.append([Write("config", tx.config(), [ConfigSet(key="timeout", value="5")])], ACTOR)
        listen()
        with engine.transaction():
            pass
        listen()
    finally:
        bell.close()
    return heard


def test_every_append_notifies_log_listeners(engine: Engine) -> None:
    assert rings(engine, "log") == [False, *[True] * 8, False]


def test_events_that_concern_workers_notify_work_listeners(engine: Engine) -> None:
    #                                no     add   claim  cancel done   up     beat   stop  config nothing
    assert rings(engine, "work") == [False, True, False, True, False, False, False, True, True, False]


@pytest.mark.parametrize(
    "ending", [["failed", "retried"], ["released"], ["requeued"]]
)  # what makes a job claimable again wakes workers
def test_a_job_waiting_again_notifies_work_listeners(engine: Engine, ending: list[str]) -> None:
    add(engine, "a", max_retries=0 if ending == ["requeued"] else 3)
    [(_, lease)] = claim(engine, "w")
    if ending == ["requeued"]:
        report(engine, lease)
    bell = engine.listen("work")
    with engine.transaction() as tx:
        job = tx.job("a")
        assert job is not None
        if ending == ["requeued"]:
            events = decisions.requeue(job, tx.now)
        elif ending == ["released"]:
            events = ends.release(job, lease)
        else:
            events = ends.report(job, lease, decisions.Outcome(cause="exit"), tx.now, 0.5)
        tx.append([Write("job:a", job, events)], ACTOR)
    assert [event.type for event in events] == ending
    assert bell.wait(10)
    bell.close()


def test_a_failed_transaction_notifies_no_listener(engine: Engine) -> None:
    bell = engine.listen("log")

    def half() -> None:
        with engine.transaction() as tx:
            tx.append([enqueued(tx, "a")], ACTOR)
            raise Boom

    with pytest.raises(Boom):
        half()
    assert not bell.wait(0.05)
    bell.close()


def test_a_report_is_fenced_by_every_open_engine(engine: Engine, site: Site) -> None:
    add(engine, "a")
    [(_, old)] = claim(engine, "w1")
    change(engine, "a", Completed(attempt=1))
    with site.again().transaction() as tx:
        job = tx.job("a")
        assert job is not None
        with pytest.raises(Fenced):
            ends.report(job, old, decisions.Outcome(), tx.now, 0.5)


def test_a_closed_engine_can_be_closed_again(site: Site) -> None:
    engine = site.again()
    add(engine, "a")
    engine.close()
    engine.close()
    assert found(site.again(), "a").state == "pending"


def test_upkeep_changes_nothing(engine: Engine) -> None:
    add(engine, "a")
    engine.truncate_wal()
    engine.set_durability("normal")
    engine.set_worker("w")
    add(engine, "b")
    engine.set_durability("full")
    with engine.snapshot() as view:
        assert view.counts() == {"pending": 2}
