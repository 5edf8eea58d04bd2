"""Every engine: reading. No SQL, no type of a database and no path: see `conftest.py`."""

import pytest

from projections.config import Config
from queuectl.clock import SECOND
from queuectl.engines.base import Engine
from queuectl.engines.view import Filter, Write
from queuectl.errors import NotFound
from queuectl.events import ConfigSet, Heartbeat, HeldAttempt, Purged, StopRequested, WorkerLost, WorkerStopped
from tests.engines.conftest import Site
from tests.support import ends
from tests.support.engine_actions import ACTOR, add, change, claim, policy, report, start_worker


def ready(engine: Engine, limit: int = 100, queues: tuple[str, ...] = ()) -> list[str]:
    with engine.transaction() as tx:
        return [job.id for job in tx.ready(queues, limit)]


# -- what may be claimed ---------------------------------------------------------------------------------------------


def test_ready_jobs_come_by_priority_due_time_seq(engine: Engine) -> None:
    with engine.transaction() as tx:
        for id, priority, before in [("c", 0, 0), ("d", 0, 0), ("b", 0, 5), ("e", -7, 9), ("a", 9, 0)]:
            tx.append([Write(f"job:{id}", None, [policy(tx.now - before, priority=priority)])], ACTOR)
    assert ready(engine) == ["a", "b", "c", "d", "e"]
    assert ready(engine, 2) == ["a", "b"]
    assert ready(engine, 0) == []


def test_jobs_not_due_hide_no_ready_jobs(engine: Engine) -> None:
    add(engine, "later", "later still", priority=9, delay=3600 * SECOND)
    assert ready(engine) == []
    add(engine, "low", priority=-1)
    add(engine, "now")
    assert ready(engine, 1) == ["now"]
    assert ready(engine) == ["now", "low"]


def test_a_job_is_ready_from_its_due_microsecond(engine: Engine) -> None:
    with engine.transaction() as tx:
        tx.append([Write("job:due", None, [policy(tx.now)]), Write("job:late", None, [policy(tx.now + 1)])], ACTOR)
        assert [job.id for job in tx.ready((), 10)] == ["due"]


def test_ready_jobs_of_some_queues(engine: Engine) -> None:
    add(engine, "a1", "a2", queue="a")
    add(engine, "b1", queue="b", priority=5)
    add(engine, "c1", queue="c", priority=9)
    assert ready(engine) == ["c1", "b1", "a1", "a2"]
    assert ready(engine, queues=("a",)) == ["a1", "a2"]
    assert ready(engine, queues=("a", "b")) == ["b1", "a1", "a2"]
    assert ready(engine, 2, queues=("a", "b", "a")) == ["b1", "a1"]
    assert ready(engine, queues=("none",)) == []


def test_only_waiting_jobs_are_ready(engine: Engine) -> None:
    add(engine, "done", "dead", "held", "cancelled", "waits", max_retries=0)
    leases = {lease.job: lease for _, lease in claim(engine, "w", 3)}
    report(engine, leases["done"])
    report(engine, leases["dead"], "exit")
    with engine.transaction() as tx:
        job = tx.job("cancelled")
        assert job is not None
        tx.append([Write("job:cancelled", job, ends.cancel(job))], ACTOR)
    assert ready(engine) == ["waits"]


def test_a_retry_is_ready_after_its_delay(engine: Engine) -> None:
    add(engine, "soon", backoff_max=0.0)
    add(engine, "later")
    for _, lease in claim(engine, "w"):
        report(engine, lease, "exit")
    assert ready(engine) == ["soon"]


def test_ready_jobs_have_all_their_fields(engine: Engine) -> None:
    add(engine, "a", queue="q", argv=["x", "y z"], command=None, secrets=["K"], timeout=1.5, reason="because")
    with engine.transaction() as tx:
        [job] = tx.ready((), 1)
        assert job == tx.job("a")
    assert (job.command, job.policy.argv, job.secrets, job.timeout) == ("x 'y z'", ["x", "y z"], ("K",), 1.5)
    assert (job.policy.reason, job.seq, job.version, job.enqueued_by) == ("because", 1, 1, ACTOR)


def test_next_due_is_the_earliest_waiting_job(engine: Engine) -> None:
    with engine.snapshot() as view:
        assert view.next_due() is None
    with engine.transaction() as tx:
        now = tx.now
        due = [("a", 50, 0), ("b", 30, 9), ("c", 40, -9)]
        tx.append([Write(f"job:{q}", None, [policy(now + d * SECOND, queue=q, priority=p)]) for q, d, p in due], ACTOR)
        assert tx.next_due() == now + 30 * SECOND
        assert tx.next_due(("a", "c")) == now + 40 * SECOND
        assert tx.next_due(("none",)) is None
    add(engine, "held", queue="a")
    claim(engine, "w")
    with engine.snapshot() as view:
        assert view.next_due(("a",)) == now + 50 * SECOND


# -- following the log -----------------------------------------------------------------------------------------------


def test_a_follower_sees_every_event_once_during_writes(engine: Engine, site: Site) -> None:
    script = """
say("up")
wait_for_line()
for n in range(100):
    add(engine, f"{sys.argv[1]}-{n}a", f"{sys.argv[1]}-{n}b")
"""
    bell = engine.listen("log")
    processes = [site.process(script, f"p{n}") for n in range(4)]
    for process in processes:
        assert process.read_line() == "up"
    for process in processes:
        process.send_line()
    seen: list[int] = []
    streams: list[str] = []
    while len(seen) < 800:
        with engine.snapshot() as view:
            page = view.events(after=seen[-1] if seen else 0, limit=7)
        seen += [record.seq for record in page]
        streams += [record.stream for record in page]
        if not page:
            assert bell.wait(30)
            bell.clear()
    bell.close()
    assert [process.end() for process in processes] == [0] * 4
    assert seen == sorted(set(seen))
    assert sorted(streams) == sorted(f"job:p{p}-{n}{x}" for p in range(4) for n in range(100) for x in "ab")
    with engine.snapshot() as view:
        assert view.head()[0] == seen[-1]
        assert view.counts() == {"pending": 800}
    assert engine.check() == []


def test_a_snapshot_stands_still_while_another_writes(engine: Engine, site: Site) -> None:
    other = site.again()
    add(other, "a")
    with engine.snapshot() as view:
        head = view.head()
        claim(other, "w")
        add(other, "b")
        assert view.head() == head
        assert view.counts() == {"pending": 1}
        assert [job.id for job in view.jobs([1, 2])] == ["a"]
        assert len(view.events()) == 1
        assert view.attempts("a") == []
    with engine.snapshot() as view:
        assert view.head()[0] == 3
        assert view.counts() == {"pending": 1, "processing": 1}


def test_events_come_in_pages(engine: Engine) -> None:
    for n in range(5):
        add(engine, f"j{n}")
    with engine.snapshot() as view:
        everything = view.events()
        assert [record.subject for record in everything] == ["j0", "j1", "j2", "j3", "j4"]
        assert view.events(limit=2) == everything[:2]
        assert view.events(after=everything[1].seq, limit=2) == everything[2:4]
        assert view.events(after=everything[1].seq, upto=everything[2].seq) == everything[2:3]
        assert view.events(after=everything[-1].seq) == []


def test_events_are_filtered(engine: Engine) -> None:
    add(engine, "a", queue="q")
    add(engine, "b")
    add(engine, "c", queue="q")
    start_worker(engine, "w")
    [(_, lease), _] = claim(engine, "w", queues=["q"])
    report(engine, lease)
    change(engine, "a", Purged())
    with engine.snapshot() as view:
        log = view.events()

        def shown(**where: object) -> list[tuple[str, str]]:
            found = view.events(where=Filter(**where))  # pyright: ignore[reportArgumentType]
            assert found == [record for record in log if record in found]
            return [(record.subject, record.type) for record in found]

        assert shown(streams=("job:b",)) == [("b", "enqueued")]
        assert shown(streams=("job:b", "worker:w")) == [("b", "enqueued"), ("w", "worker_started")]
        assert shown(types=("claimed",)) == [("a", "claimed"), ("c", "claimed")]
        of_q = [("a", "enqueued"), ("c", "enqueued"), ("a", "claimed"), ("c", "claimed"), ("a", "completed")]
        assert shown(queue="q") == [*of_q, ("a", "purged")]  # a purged job's events too
        assert shown(queue="default") == [("b", "enqueued")]
        assert shown(queue="q", types=("enqueued",)) == [("a", "enqueued"), ("c", "enqueued")]
        assert shown(streams=()) == []
        third = log[2].at
        assert shown(since=third, until=log[3].at) == [("c", "enqueued"), ("w", "worker_started")]
        assert len(shown(since=third + 1)) == len(log) - 3
        assert len(view.events(where=Filter(queue="q"), limit=2)) == 2


def test_a_stream_is_read_whole_and_in_order(engine: Engine) -> None:
    add(engine, "a", "b")
    [(_, lease), _] = claim(engine, "w")
    report(engine, lease)
    with engine.snapshot() as view:
        assert [(r.version, r.type) for r in view.stream("job:a")] == [
            (1, "enqueued"),
            (2, "claimed"),
            (3, "completed"),
        ]
        assert view.stream("job:none") == []


# -- tables ----------------------------------------------------------------------------------------------------------


def test_a_job_is_found_by_its_exact_id(engine: Engine) -> None:
    add(engine, "alpha", "Alpha", "äöü ☃")
    with engine.snapshot() as view:
        assert view.job("alph") is None
        assert view.job("ALPHA") is None
        for id in ("alpha", "Alpha", "äöü ☃"):
            job = view.job(id)
            assert job is not None
            assert job.id == id


def test_ids_are_found_by_their_beginning(engine: Engine) -> None:
    add(engine, "ab", "abc", "b", "a%", "a_", "ab\U0001f600")
    with engine.snapshot() as view:
        assert view.ids("ab") == ["ab", "abc", "ab\U0001f600"]
        assert view.ids("a_") == ["a_"]
        assert view.ids("a%") == ["a%"]
        assert view.ids("x") == []
        assert len(view.ids("a", 2)) == 2


def test_attempts_are_read_in_order_and_in_pages(engine: Engine) -> None:
    add(engine, "a", backoff_max=0.0)
    add(engine, "b")
    [(_, first), (_, other)] = claim(engine, "w1")
    report(engine, first, "signal", signal=9, started_at=5, run_seconds=0.5, max_rss=7, output_bytes=3, error="hm")
    [(_, second)] = claim(engine, "w2")
    report(engine, second, exit_code=0, cpu_seconds=0.25)
    with engine.snapshot() as view:
        one, two = view.attempts("a")
        assert (one.number, one.worker, one.outcome, one.cause, one.signal, one.error) == (
            1, "w1", "failed", "signal", 9, "hm",
        )  # fmt: skip
        assert (one.started_at, one.run_seconds, one.max_rss, one.output_bytes) == (5, 0.5, 7, 3)
        assert (one.lease, first.version) == (2, 2)
        assert (two.number, two.worker, two.outcome, two.cause, two.exit_code, two.cpu_seconds) == (
            2, "w2", "completed", None, 0, 0.25,
        )  # fmt: skip
        assert two.lease == second.version == 5
        [held] = view.attempts("b")
        assert (held.outcome, held.ended_at, held.lease) == (None, None, other.version)
        everything = view.page_of_attempts()
        assert [(a.job, a.number) for a in everything] == [("a", 1), ("b", 1), ("a", 2)]
        assert view.page_of_attempts(limit=2) == everything[:2]
        assert view.page_of_attempts(after=everything[1].seq) == everything[2:]


def test_counts_by_state_and_queue(engine: Engine) -> None:
    add(engine, "a", "b", "c", queue="q", max_retries=0)
    add(engine, "d", "e", queue="r")
    leases = claim(engine, "w", 2, ["q"])
    report(engine, leases[0][1])
    report(engine, leases[1][1], "exit")
    with engine.snapshot() as view:
        assert view.counts() == {"completed": 1, "dead": 1, "pending": 3}
        assert view.counts(["q"]) == {"completed": 1, "dead": 1, "pending": 1}
        assert view.counts(["q", "r"]) == view.counts()
        assert view.counts(["none"]) == {}
    change(engine, "a", Purged())
    with engine.snapshot() as view:
        assert view.counts(["q"]) == {"dead": 1, "pending": 1}


def test_jobs_held_by_a_worker(engine: Engine) -> None:
    add(engine, "a", "b", "c")
    [(_, lease), _] = claim(engine, "w1", 2)
    claim(engine, "w2")
    with engine.snapshot() as view:
        assert sorted(job.id for job in view.jobs_of("w1")) == ["a", "b"]
        assert [job.id for job in view.jobs_of("w2")] == ["c"]
        assert view.jobs_of("w3") == []
    report(engine, lease)
    with engine.snapshot() as view:
        assert [job.id for job in view.jobs_of("w1")] == ["b"]


def test_jobs_that_are_processing_by_queue(engine: Engine) -> None:
    add(engine, "1", "2", queue="a")
    add(engine, "3", "4", queue="b")
    claim(engine, "x", 1, ["b"])
    claim(engine, "y", 1, ["a"])
    with engine.snapshot() as view:
        assert [job.id for job in view.processing()] == ["1", "3"]
        assert [job.id for job in view.processing("b")] == ["3"]
        assert view.processing("c") == []


def test_workers_from_their_start_to_their_end(engine: Engine) -> None:
    for id in ("w1", "w2", "w3"):
        start_worker(engine, id, slots=3)
    with engine.transaction() as tx:
        tx.append([Write("worker:w1", tx.worker("w1"), [Heartbeat(attempts=[HeldAttempt("a", 1)])])], ACTOR)
        beat = tx.at
        tx.append([Write("worker:w2", tx.worker("w2"), [StopRequested(reason="enough"), WorkerStopped()])], ACTOR)
        tx.append([Write("worker:w3", tx.worker("w3"), [WorkerLost(reason="gone")])], ACTOR)
    with engine.snapshot() as view:
        assert [worker.id for worker in view.workers()] == ["w1"]
        one, two, three = view.workers(live=False)
        assert view.worker("w1") == one
        assert view.worker("w") is None
    assert (one.state, one.live, one.heartbeat_at, one.slots, one.ended_at) == ("running", True, beat, 3, None)
    assert (two.state, two.live, two.reason, two.ended_at) == ("stopped", False, "enough", beat)
    assert (three.state, three.reason) == ("lost", "gone")


def test_the_last_value_of_a_setting_counts(engine: Engine) -> None:
    with engine.snapshot() as view:
        assert view.config() is None
    for value in ("1", "2", None):
        with engine.transaction() as tx:
            tx.append([Write("config", tx.config(), [ConfigSet(key="jitter", value=value)])], ACTOR)
    with engine.transaction() as tx:
        assert tx.config() == Config(3, {})
        tx.append([Write("config", tx.config(), [ConfigSet(key="timeout", value="5")])], ACTOR)
        assert tx.config() == Config(4, {"timeout": "5"})


# -- replay ----------------------------------------------------------------------------------------------------------


def lively(engine: Engine) -> None:
    """Append events of jobs in several states, of a worker and of the settings."""
    add(engine, "a", "b", "c", "d", "12", max_retries=0, secrets=["K"])
    start_worker(engine, "w")
    leases = [lease for _, lease in claim(engine, "w", 4)]
    report(engine, leases[0])
    report(engine, leases[1], "lost")
    report(engine, leases[2])
    change(engine, "c", Purged())
    with engine.transaction() as tx:
        tx.append([Write("config", None, [ConfigSet(key="timeout", value="5")])], ACTOR)


def test_a_replay_gives_the_same_answers(engine: Engine, site: Site) -> None:
    lively(engine)

    def answers() -> list[object]:
        with engine.snapshot() as view:
            return [
                view.jobs(range(1, 99)), view.page_of_attempts(), view.counts(), view.workers(live=False),
                view.config(), view.events(), view.head(),
            ]  # fmt: skip

    before = answers()
    told: list[tuple[int, int]] = []
    events = engine.replay(progress=lambda done, total: told.append((done, total)))
    with engine.snapshot() as view:
        assert events == len(view.events())
    assert told[-1] == (events, events)
    assert answers() == before
    assert engine.replay(["counts", "jobs"]) == events
    assert answers() == before
    assert site.again().check() == []


def test_a_replay_of_an_unknown_projection_is_refused(engine: Engine) -> None:
    with pytest.raises(NotFound, match=r"no projection 'nothing'.*jobs"):
        engine.replay(["jobs", "nothing"])


def test_a_check_finds_nothing_while_another_process_writes(engine: Engine, site: Site) -> None:
    lively(engine)
    process = site.process("""
for n in range(200):
    add(engine, f"j{n}")
    if n == 20:
        say("going")
say("through")
""")
    assert process.read_line() == "going"
    told: list[tuple[int, int]] = []
    for _ in range(3):
        assert engine.check(lambda done, total: told.append((done, total))) == []
    assert told
    assert process.read_line() == "through"
