"""Claims: made ahead for short jobs, given back, and never started twice (R10, R11)."""

import os
import signal
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

from queuectl import decisions
from queuectl.clock import micros
from queuectl.decisions import Cancel
from queuectl.engines.view import Write
from queuectl.events import Released
from queuectl.host import processes
from queuectl.workers.turn import TurnWriter
from tests.support import ends
from tests.support.lab import Fifo, Lab, gone


def test_short_jobs_are_claimed_and_reported_in_batches(lab: Lab) -> None:
    lab.queue.enqueue_many(["true"] * 200)

    lab.drain(slots=2)

    claims = Counter(record.at for record in lab.records("claimed"))
    together = Counter(record.at for record in lab.records("completed"))
    assert sum(count > 2 for count in _sizes(claims)) >= 3
    assert sum(count > 2 for count in _sizes(together)) >= 3


def _sizes(stamps: Counter[int]) -> list[int]:
    """How many events each transaction wrote: within one they are stamped alike."""
    return list(stamps.values())


def test_long_jobs_are_not_claimed_ahead(lab: Lab) -> None:
    lab.queue.enqueue_many(["sleep 0.1"] * 6)

    lab.drain(slots=2)

    assert max(Counter(record.at for record in lab.records("claimed")).values()) <= 2
    assert not lab.records("released")


def test_claims_ahead_start_within_20_ms(lab: Lab) -> None:
    lab.queue.enqueue_many(["sleep 0.005"] * 40)

    lab.drain(slots=1)

    held = most = 0
    for record in lab.queue.events():
        held += (record.type == "claimed") - (record.type in ("completed", "released"))
        most = max(most, held)
    assert most <= 6  # four that take 5 ms, one that runs, one that has ended and is not reported


def test_short_job_never_waits_behind_a_long_one(lab: Lab, fifo: Fifo) -> None:
    # Short ones first, so that both workers claim ahead when the long one comes.
    lab.queue.enqueue_many([*["true"] * 60, f"read line < {fifo}", *["true"] * 60])
    parent = lab.start(count=2, slots=1, drain=True)

    lab.until(lambda: lab.queue.status().counts["completed"] == 120)

    Path(fifo.path).write_text("go\n")
    assert lab.ended(parent) == (0, "")
    assert lab.queue.status().counts["completed"] == 121


def test_released_claim_uses_up_nothing(lab: Lab, fifo: Fifo) -> None:
    lab.worker(slots=1, drain=True)
    lab.queue.enqueue_many([*["true"] * 40, f"echo > {fifo}; sleep 0.5", *["exit 1"] * 10])
    fifo.line()
    released = lab.until(lambda: lab.records("released"))

    lab.until(lambda: lab.records("retried"))

    for record in released:
        event = record.event
        assert isinstance(event, Released)
        assert event.reason == "not started in time"
        job = lab.queue.job(record.subject)
        assert (job.attempt, job.failures) in ((0, 0), (1, 0), (1, 1))
        numbers = [attempt.number for attempt in lab.queue.attempts(job.id)]
        assert set(numbers) == {1}


def test_claim_with_a_taken_output_path_is_released(lab: Lab) -> None:
    # As recovery does it, which took the worker for dead between its claim and its start.
    id = lab.queue.enqueue(f"echo $QUEUECTL_ATTEMPT >> {lab.folder}/ran")
    taken = lab.queue.home.output_of(lab.queue.home.identity(), id, 2)
    os.mkdir(taken)

    lab.drain()

    assert lab.log(id) == ["enqueued", "claimed", "released", "claimed", "completed"]
    assert (lab.folder / "ran").read_text() == "1\n"
    assert lab.queue.job(id).failures == 0
    assert [(a.number, a.lease, a.outcome) for a in lab.queue.attempts(id)] == [(1, 2, "released"), (1, 4, "completed")]
    assert lab.queue.check() == []


def test_leftovers_are_ended_before_the_next_attempt(lab: Lab, fifo: Fifo) -> None:
    # The main process leaves a session of its own behind, slow to end: only the lock and the tag tell of it.
    (lab.folder / "left.sh").write_text(f"trap 'sleep 0.5; exit' TERM; echo $$ > {fifo}; while :; do sleep 0.05; done")
    id = lab.queue.enqueue(
        f"[ $QUEUECTL_ATTEMPT = 2 ] && exec sh -c 'echo second > {fifo}'; setsid sh left.sh & sleep 0.3; exit 1",
        cwd=str(lab.folder),
        max_retries=1,
        backoff_base=1,
        backoff_max=0.05,
    )
    lab.start(drain=True)
    pid = int(fifo.line())

    assert fifo.line() == "second"

    assert gone(pid)
    [job] = lab.queue.wait(id, timeout=20)
    assert (job.state, job.attempt) == ("completed", 2)


def test_priority_comes_before_age_and_delays_hold(lab: Lab) -> None:
    ran = lab.folder / "ran"
    say = f"echo $QUEUECTL_JOB_ID >> {ran}"
    for id, fields in {"old": {}, "low": {"priority": -1}, "high": {"priority": 5}, "later": {"delay": 2}}.items():
        lab.queue.enqueue(say, id=id, **fields)
    lab.start()

    lab.queue.wait(timeout=20)

    assert ran.read_text().split() == ["high", "old", "low", "later"]
    [later] = lab.queue.attempts("later")
    assert 0 <= later.claimed_at - micros(lab.queue.job("later").policy.run_at) < 300_000


def test_workers_serve_their_queues_only(lab: Lab) -> None:
    mine = lab.queue.enqueue("true", queue="mine")
    other = lab.queue.enqueue("true", queue="other")

    lab.drain(queues=["mine"])

    assert (lab.queue.job(mine).state, lab.queue.job(other).state) == ("completed", "pending")


def test_report_under_a_lost_lease_is_refused(lab: Lab, fifo: Fifo) -> None:
    go = Fifo(lab.folder / "go")
    id = lab.queue.enqueue(f"echo > {fifo}; read line < {go}; exit 5", max_retries=0, timeout=None)
    lab.worker()
    fifo.line()
    with lab.queue.engine.transaction() as tx:
        job = tx.job(id)
        assert job is not None
        [change] = tx.append([Write(f"job:{id}", job, ends.release(job, decisions.lease(job), "test"))], "test")
        tx.end([Cancel(id)], "test", {id: change.after})  # before its worker can claim it again
    Path(go.path).write_text("go\n")
    go.close()
    journal = lab.folder / "q.db.d" / "logs" / "worker.jsonl"
    lab.until(lambda: '"fenced"' in journal.read_text())

    assert lab.log(id) == ["enqueued", "claimed", "released", "cancelled"]


def test_claims_back_off_when_nothing_can_start(lab: Lab) -> None:
    """Else a folder that can't be written would fill the log with claims that are given back."""
    output = Path(lab.queue.home.output)
    output.rmdir()
    output.write_text("no folder")
    ids = lab.queue.enqueue_many(["true"] * 6)  # of which each is due again only much later
    lab.worker(constants={"claims.PAUSE": 0.05})
    lab.until(lambda: len(lab.records("released")) >= 4)
    claims = [record.at for record in lab.records("claimed")]
    gaps = [later - earlier for earlier, later in pairwise(claims)]
    assert gaps == sorted(gaps), "each pause is longer than the one before"
    assert {lab.queue.job(id).failures for id in ids} == {0}

    output.unlink()
    output.mkdir(mode=0o700)

    lab.queue.wait(ids[-1], timeout=20)
    assert lab.queue.job(ids[-1]).state == "completed"


def test_kept_children_outlive_a_retry(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(
        f"test $QUEUECTL_ATTEMPT = 2 || (sleep 60 & echo $! > {fifo}; exit 1)",
        keep_children=True, backoff_base=1, max_retries=1,
    )  # fmt: skip
    lab.start()
    pid = int(fifo.line())
    lab.queue.wait(id, timeout=20)
    assert lab.queue.job(id).state == "completed"
    assert processes.state(pid) == "S"
    os.kill(pid, signal.SIGKILL)


def test_slots_beyond_the_file_limit_are_refused(lab: Lab) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200));"
        "from queuectl.workers.supervisor import start; start(sys.argv[1], slots=100)"
    )
    _, said = lab.ended(lab.python(code, lab.database))
    assert "--slots 100 needs 528 open files, the limit is 200" in said


def test_an_end_not_yet_reported_stays_known(lab: Lab) -> None:
    """A report waits behind that of a killed command, which an order to stop may explain, while the worker looks."""
    lab.queue.enqueue("kill -9 $$", max_retries=0)
    counted = lab.queue.enqueue("echo >> ran; exit 3", max_retries=0, cwd=str(lab.folder))
    worker = lab.worker(slots=2)
    lab.until(lambda: (lab.folder / "ran").exists())
    for _ in range(20):
        lab.queue.set_config("jitter", "0")  # which has the worker look
        time.sleep(0.02)
    lab.until(lambda: lab.queue.job(counted).state == "dead")
    assert (lab.folder / "ran").read_text() == "\n"
    assert lab.records("released", counted) == []
    lab.queue.stop_workers()
    lab.ended(worker)


def test_claim_unknown_to_its_worker_is_released(lab: Lab) -> None:
    """The turn was written, and yet reported as failed: nobody would ever start the job."""
    worker = TurnWriter(lab.queue, "w1", (), "cafe")
    worker.start(1)
    lost, kept = lab.queue.enqueue("true"), lab.queue.enqueue("true")
    worker.turn((), (), 1)
    [claim] = worker.turn((), (), 1).claims

    worker.turn((), (), 0, holding=[claim.lease], look=True)

    assert [lab.queue.job(id).state for id in (lost, kept)] == ["pending", "processing"]
