"""Queries of a queue, each answered from one moment of the log."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time

from queuectl import Queue, Spec, decisions
from queuectl.clock import micros
from queuectl.decisions import Outcome
from queuectl.engines.sqlite.location import locate
from queuectl.engines.view import Write
from queuectl.errors import Invalid, NotFound, OutputGone
from queuectl.events import Heartbeat, HeldAttempt
from queuectl.queries import PAGE
from tests.support import ends
from tests.support.engine_actions import ACTOR, claim, report, start_worker
from tests.support.paths import ROOT
from tests.support.stories import Story


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        yield queue


def named(*ids: str) -> list[Spec]:
    return [Spec(command="true", id=id) for id in ids]


# -- ids -------------------------------------------------------------------------------------------------------------


def test_an_exact_id_outranks_an_unambiguous_prefix(queue: Queue) -> None:
    queue.enqueue_many([*named("backup", "backup-2", "mail-1", "mail-2"), *["true"] * 12])
    assert queue.resolve("backup") == "backup"
    assert queue.resolve("backup-") == "backup-2"
    assert queue.resolve("1") == "1"
    with pytest.raises(Invalid, match=r"'mail' is ambiguous: it could be mail-1, mail-2$"):
        queue.resolve("mail")
    for nobody in ("x", "", "13"):
        with pytest.raises(NotFound):
            queue.resolve(nobody)
    with pytest.raises(NotFound):
        queue.resolve("backup-", prefix=False)


def test_a_generated_id_has_no_prefix_match(queue: Queue) -> None:
    queue.enqueue_many(["true"] * 12)
    queue.cancel("1")
    queue.purge("1")
    assert queue.resolve("1") == "1"  # its history is still there
    queue.enqueue("true", id="20b")
    with pytest.raises(NotFound):
        queue.resolve("20")


def test_an_ambiguous_prefix_names_some_ids(queue: Queue) -> None:
    queue.enqueue_many(named("a1", "a2", "a3", "a4", "a5"))
    with pytest.raises(Invalid, match="a1, a2, a3, …"):
        queue.resolve("a")


def test_an_unknown_job_is_not_found(queue: Queue) -> None:
    for ask in (queue.job, queue.history, queue.output):
        with pytest.raises(NotFound, match="no job 'nobody'") as error:
            ask("nobody")
        assert error.value.exit_code == 1


# -- lists -----------------------------------------------------------------------------------------------------------


def test_waiting_jobs_are_listed_before_ended_ones(queue: Queue) -> None:
    with freeze_time("2026-11-24T12:00:00Z"):
        queue.enqueue_many(["true"] * 3)
    with freeze_time("2026-11-25T12:00:00Z"):
        queue.enqueue("true", queue="q")
        queue.enqueue("true")
    queue.cancel("2", "5")
    assert [job.id for job in queue.jobs()] == ["1", "3", "4", "5", "2"]
    assert [job.id for job in queue.jobs(limit=2)] == ["1", "3"]
    assert [job.id for job in queue.jobs(limit=0)] == []
    assert [job.id for job in queue.jobs(state="cancelled")] == ["5", "2"]
    assert [job.id for job in queue.jobs(queue="q")] == ["4"]
    assert [job.id for job in queue.jobs(since=micros("2026-11-25T00:00:00Z"))] == ["4", "5"]
    assert [job.id for job in queue.jobs(state=["pending", "cancelled"], queue="default")] == ["1", "3", "5", "2"]
    with pytest.raises(Invalid, match="no state 'canceled'; there are pending, blocked"):
        queue.jobs(state="canceled")


def test_lists_longer_than_a_page_are_complete(queue: Queue) -> None:
    n = 2 * PAGE + 1
    queue.enqueue_many(["true"] * n)
    assert [job.id for job in queue.jobs()] == [str(i + 1) for i in range(n)]
    assert sum(1 for _ in queue.jobs(limit=PAGE + 1)) == PAGE + 1
    assert [record.seq for record in queue.events()] == list(range(1, n + 1))
    assert [record.subject for record in queue.events(job="7")] == ["7"]
    claim(queue.engine, "w", n)
    assert [attempt.job for attempt in queue.all_attempts()] == [str(i + 1) for i in range(n)]


def test_status_has_counts_and_its_last_event(queue: Queue) -> None:
    empty = queue.status().json()
    assert empty["as_of"] == {"seq": 0, "at": None}
    assert list(empty) == [
        "pending", "processing", "completed", "failed", "dead", "total", "workers", "blocked", "cancelled", "as_of",
        "held",
    ]  # fmt: skip
    with freeze_time("2026-11-24T12:00:00Z"):
        queue.enqueue_many([*["true"] * 3, Spec(command="true", queue="q")])
    with freeze_time("2026-11-24T12:00:01Z"):
        start_worker(queue.engine, "w", slots=2)
        start_worker(queue.engine, "monitor", slots=0)
        claim(queue.engine, "w", 1)
    status = queue.status()
    assert status.json() == {
        "pending": 3, "processing": 1, "completed": 0, "failed": 0, "dead": 0, "total": 4, "workers": 1, "blocked": 0,
        "cancelled": 0, "as_of": {"seq": 7, "at": "2026-11-24T12:00:01.000002Z"},
        "held": 0,
    }  # fmt: skip
    assert (queue.status("q").total, queue.status("none").total) == (1, 0)
    assert queue.status("q").seq == status.seq


# -- the log ---------------------------------------------------------------------------------------------------------


def test_events_are_filtered(queue: Queue) -> None:
    queue.enqueue_many([*named("a", "b"), Spec(command="true", id="c", queue="q")])
    queue.cancel("a", "c")
    seqs = [record.seq for record in queue.events()]
    assert [record.type for record in queue.events(job="a")] == ["enqueued", "cancelled"]
    assert [record.subject for record in queue.events(type="cancelled")] == ["a", "c"]
    assert [record.type for record in queue.events(queue="q")] == ["enqueued", "cancelled"]
    assert [record.seq for record in queue.events(after=seqs[2])] == seqs[3:]
    at = [record.at for record in queue.events()]
    assert [record.seq for record in queue.events(since=at[3])] == seqs[3:]
    assert [record.seq for record in queue.events(until=at[0])] == seqs[:3]


def test_without_follow_later_events_are_not_read(queue: Queue) -> None:
    queue.enqueue_many(["true"] * 3)
    log = queue.events()
    assert next(log).seq == 1
    queue.enqueue_many(["true"] * 3)
    assert [record.seq for record in log] == [2, 3]


def test_following_sees_appends_of_another_process(queue: Queue) -> None:
    queue.enqueue("true", id="first")
    script = """
import sys
from queuectl import Queue
with Queue(sys.argv[1]) as queue:
    for line in sys.stdin:
        queue.enqueue("true", id=line.strip())
        queue.enqueue("true", id="other-" + line.strip(), queue="other")
"""
    writer = subprocess.Popen([sys.executable, "-c", script, queue.url], cwd=ROOT, stdin=subprocess.PIPE, text=True)
    assert writer.stdin is not None
    log = queue.events(follow=True, queue="default")
    assert next(log).subject == "first"
    for id in ("second", "third", "fourth"):
        writer.stdin.write(f"{id}\n")
        writer.stdin.flush()
        assert next(log).subject == id
    writer.stdin.close()
    assert writer.wait(30) == 0
    assert len(os.listdir(locate(queue.url).bells)) == 1
    log.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert os.listdir(locate(queue.url).bells) == []


# -- history ---------------------------------------------------------------------------------------------------------


def told(queue: Queue, id: str) -> list[tuple[str, str | None]]:
    return [(moment.record.type, moment.job.state if moment.job else None) for moment in queue.history(id)]


@pytest.fixture
def lived(queue: Queue) -> Queue:
    """A job that failed, was retried by hand and completed; a worker's heartbeats went with it."""
    with freeze_time("2026-11-24T12:00:00Z") as frozen:
        start_worker(queue.engine, "w")
        queue.enqueue("true", id="a", max_retries=0)
        for cause in ("exit", None):
            frozen.tick(10)
            [(_, lease)] = claim(queue.engine, "w")
            for attempts in ([HeldAttempt("a", lease.attempt)], [HeldAttempt("b", 1)], [HeldAttempt("a", 9)]):
                with queue.engine.transaction() as tx:
                    tx.append([Write("worker:w", tx.worker("w"), [Heartbeat(attempts=attempts)])], ACTOR)
            report(queue.engine, lease, cause)
            if cause:
                queue.retry("a")
        frozen.tick(10)
        with queue.engine.transaction() as tx:
            tx.append([Write("worker:w", tx.worker("w"), [Heartbeat(attempts=[HeldAttempt("a", 2)])])], ACTOR)
        queue.purge("a")
    return queue


def test_history_has_states_and_heartbeats(lived: Queue) -> None:
    assert told(lived, "a") == [
        ("enqueued", "pending"), ("claimed", "processing"), ("heartbeat", "processing"), ("failed", "failed"),
        ("dead", "dead"), ("requeued", "pending"), ("claimed", "processing"), ("heartbeat", "processing"),
        ("completed", "completed"), ("purged", None),
    ]  # fmt: skip
    seqs = [moment.record.seq for moment in lived.history("a")]
    assert seqs == sorted(seqs)


def test_a_running_job_shows_the_heartbeats_so_far(queue: Queue) -> None:
    start_worker(queue.engine, "w")
    queue.enqueue("true", id="a")
    claim(queue.engine, "w")
    with queue.engine.transaction() as tx:
        tx.append([Write("worker:w", tx.worker("w"), [Heartbeat(attempts=[HeldAttempt("a", 1)])])], ACTOR)
    assert told(queue, "a")[-1] == ("heartbeat", "processing")


def test_history_ends_with_the_state_of_the_tables(queue: Queue) -> None:
    queue.enqueue("true", id="a", max_retries=1)
    for cause in ("exit", "signal"):
        with freeze_time("2027-01-01T00:00:00Z" if cause == "exit" else "2027-01-02T00:00:00Z"):
            [(_, lease)] = claim(queue.engine, "w")
            report(queue.engine, lease, cause)
            assert queue.history("a")[-1].job == queue.job("a")
    assert queue.job("a").state == "dead"


def test_a_past_job_by_moment_seq_and_version(lived: Queue) -> None:
    noon = micros("2026-11-24T12:00:00Z")
    moments = lived.history("a")
    for moment in moments[:-1]:
        assert moment.job is not None
        assert lived.job_at("a", seq=moment.record.seq).state == moment.job.state
        if moment.record.stream == "job:a":
            assert lived.job_at("a", version=moment.record.version) == moment.job
    assert lived.job_at("a", at=noon + 5_000_000).state == "pending"
    assert lived.job_at("a", at=noon + 15_000_000).failures == 0  # requeued
    assert lived.job_at("a", at=noon + 25_000_000).state == "completed"
    assert lived.job_at("a", at=moments[1].record.at).state == "processing"
    assert lived.job_at("a", at=moments[1].record.at - 1).state == "pending"


def test_no_job_before_enqueue_or_after_purge(lived: Queue) -> None:
    first, last = lived.history("a")[0].record, lived.history("a")[-1].record
    for where in ({"at": first.at - 1}, {"seq": first.seq - 1}, {"version": 0}):
        with pytest.raises(NotFound, match="did not exist yet"):
            lived.job_at("a", **where)
    for where in ({"at": last.at}, {"seq": last.seq}, {"version": last.version}, {"seq": 10_000}):
        with pytest.raises(NotFound, match="had been purged by then"):
            lived.job_at("a", **where)
    assert lived.job_at("a", seq=last.seq - 1).state == "completed"


# -- output and workers ----------------------------------------------------------------------------------------------


def test_a_removed_output_is_reported(tmp_path: Path) -> None:
    story = Story()
    story.enqueue("a")
    story.claim("a")
    seen = Outcome(exit_code=0, started_at=story.begin, run_seconds=1.0, output_bytes=6)
    story.decide("a", lambda job: ends.report(job, decisions.lease(job), seen, story.begin, 0.5))
    with Queue(tmp_path / "told.db") as told:
        story.told(told)
        with pytest.raises(OutputGone, match=r"attempt 1 of job a wrote 6 B, and its output file is gone: .*/a\.2\."):
            told.output("a")


def test_the_output_belongs_to_the_attempts_lease(queue: Queue) -> None:
    queue.enqueue("true", id="a", backoff_max=0)
    start_worker(queue.engine, "w")
    leases: list[int] = []
    for cause in ("exit", None):
        [(_, lease)] = claim(queue.engine, "w")
        leases.append(lease.version)
        with pytest.raises(NotFound, match="no output"):
            queue.output("a", lease.attempt)
        Path(queue.home.output_of("", "a", lease.version)).write_text(f"attempt {lease.attempt}")
        report(queue.engine, lease, cause)
    assert Path(queue.output("a")).read_text() == "attempt 2"
    assert Path(queue.output("a", 1)).read_text() == "attempt 1"
    assert queue.stderr("a") is None
    Path(apart := f"{queue.output('a')}.err").touch()
    assert queue.stderr("a") == apart
    assert queue.stderr("a", 1) is None
    with pytest.raises(NotFound, match="no attempt 3"):
        queue.output("a", 3)


def test_workers_have_the_jobs_they_hold(queue: Queue) -> None:
    start_worker(queue.engine, "w")
    queue.enqueue_many(named("a", "b"))
    claim(queue.engine, "w", 1)
    assert [worker.id for worker in queue.workers()] == ["w"]
    assert [job.id for job in queue.held("w")] == ["a"]
    assert not queue.alive("w")
