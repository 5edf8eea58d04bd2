"""The table of tests that the original QueueCTL has, with real worker processes."""

import os
from collections import Counter
from pathlib import Path

from queuectl.clock import micros
from queuectl.events import Retried
from tests.support.lab import Lab


def test_basic_job_runs_with_its_output_kept(lab: Lab) -> None:
    id = lab.queue.enqueue("echo hello; echo oops >&2")

    lab.drain()

    assert lab.queue.job(id).state == "completed"
    assert Path(lab.queue.output(id)).read_text() == "hello\noops\n"
    assert lab.log(id) == ["enqueued", "claimed", "completed"]


def test_failing_job_is_retried_when_due_then_dead(lab: Lab) -> None:
    id = lab.queue.enqueue("exit 3", max_retries=2, backoff_base=1.3)

    lab.drain()

    job = lab.queue.job(id)
    assert (job.state, job.exit_code, job.cause) == ("dead", 3, "exit")
    assert lab.log(id) == ["enqueued", *["claimed", "failed", "retried"] * 2, "claimed", "failed", "dead"]
    retried = [record.event for record in lab.records("retried", id)]
    assert [event.delay for event in retried if isinstance(event, Retried)] == [1.3, 1.69]
    due = [micros(event.run_at) for event in retried if isinstance(event, Retried)]
    claimed = [record.at for record in lab.records("claimed", id)][1:]
    late = [(at - moment) / 1e6 for at, moment in zip(claimed, due, strict=True)]
    assert all(0 <= seconds < 4 for seconds in late), late
    assert lab.queue.dead() == [id]


def test_many_workers_run_every_job_exactly_once(lab: Lab) -> None:
    ran = lab.folder / "ran"
    command = f'echo "start $QUEUECTL_JOB_ID" >> {ran}; echo "end $QUEUECTL_JOB_ID" >> {ran}'
    ids = lab.queue.enqueue_many([command] * 300)

    lab.drain(count=4, slots=4)

    lines = Counter(ran.read_text().splitlines())
    assert lines == Counter(f"{what} {id}" for id in ids for what in ("start", "end"))
    assert lab.queue.status().counts["completed"] == 300
    assert len({attempt.worker for attempt in lab.queue.all_attempts()}) > 1
    assert lab.queue.check() == []


def test_a_command_that_does_not_exist_fails_cleanly(lab: Lab) -> None:
    shell = lab.queue.enqueue("no-such-command-here", max_retries=0)
    bare = lab.queue.enqueue(["no-such-program-here"], max_retries=0)

    lab.drain()

    for id, cause in ((shell, "exit"), (bare, "spawn")):
        job = lab.queue.job(id)
        assert (job.state, job.exit_code, job.cause) == ("dead", 127, cause)
    assert "no-such-command-here" in Path(lab.queue.output(shell)).read_text()
    assert "no-such-program-here: not found" in Path(lab.queue.output(bare)).read_text()
    assert "not found" in (lab.queue.job(bare).error or "")


def test_everything_survives_a_restart(lab: Lab) -> None:
    ran = lab.folder / "ran"
    ids = lab.queue.enqueue_many([f"echo $QUEUECTL_JOB_ID >> {ran}; sleep 0.02"] * 60)
    lab.start(count=2, slots=2)
    lab.until(lambda: lab.queue.status().counts["completed"] >= 10)

    stopped = lab.queue.stop_workers()

    assert len(stopped) == 2
    counts = lab.queue.status().counts
    assert counts["processing"] == 0
    assert counts["pending"] > 0
    lab.drain(count=2, slots=2)
    assert lab.queue.status().counts["completed"] == 60
    assert Counter(ran.read_text().split()) == Counter(ids)
    assert lab.queue.check() == []
    assert os.listdir(lab.queue.home.workers) == []
