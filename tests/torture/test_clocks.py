"""The wall clock jumps by hours, back and forth: no job runs early or twice, and no worker is declared dead."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuectl import Queue, clock, units
from queuectl.clock import SECOND, micros, text
from queuectl.decisions import Lease, Outcome, Report
from queuectl.errors import TimeWarning
from queuectl.events import encode
from queuectl.workers.chores.heartbeat import heartbeat_of
from queuectl.workers.recovery import rescuer, worker_lock
from queuectl.workers.start_options import WorkerOptions
from queuectl.workers.turn import Claim, Turn, TurnWriter
from tests.support.paths import ROOT

HOUR = 3600 * SECOND
NOON = micros("2026-06-01T12:00:00Z")

JUMPY = """
import random, sys
from queuectl import clock
real, pick = clock.now, random.Random(sys.argv[2])
clock.now = lambda: real() + pick.choice((-5, -1, 0, 1, 5)) * 3600 * clock.SECOND
from queuectl.workers import claims
claims.LOOK = 0.1
from queuectl.workers.__main__ import main
sys.exit(main(sys.argv[1:2]))
"""
"""A worker process whose wall clock jumps at each reading."""


class Clock:
    """A wall clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def jump(self, hours: float = 0, *, seconds: float = 0) -> None:
        self.now += round(hours * HOUR + seconds * SECOND)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Clock:
    wall = Clock()
    monkeypatch.setattr(clock, "now", lambda: wall.now)
    return wall


@pytest.fixture
def queue(tmp_path: Path, wall: Clock) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        yield queue


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks that go forward on 2026-03-29 at 02:00 and back on 2026-10-25 at 03:00."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class SteppedWorker:
    """A worker in this process that holds its lock and takes a turn when the test calls it."""

    def __init__(self, queue: Queue, id: str = "w") -> None:
        self.lock = worker_lock.take(queue.home.workers, id)
        self.writer = TurnWriter(queue, id, (), queue.home.identity())
        self.writer.start(1)
        self.held: set[Lease] = set()

    def turn(self, *reports: Report, want: int = 10, look: bool = True) -> Turn:
        self.held -= {report.lease for report in reports}
        turn = self.writer.turn(reports, (), want, holding=[*self.held], look=look)
        self.held |= {claim.lease for claim in turn.claims}
        return turn


def failed(claim: Claim) -> Report:
    return Report(claim.lease, Outcome(cause="exit", exit_code=1))


def in_order(queue: Queue) -> None:
    """The log has no gaps, and every transaction is later than the one before."""
    records = list(queue.events())
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    moments = [record.at for record in records]
    assert moments == sorted(moments)


# -- due times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-7, -1, 1, 7])
def test_a_delayed_job_runs_once_by_raw_clock(queue: Queue, wall: Clock, hours: int) -> None:
    worker = SteppedWorker(queue)
    queue.enqueue("true", id="a", delay=30)
    due = wall.now + 30 * SECOND
    wall.jump(hours)
    claims = worker.turn().claims
    assert len(claims) == (wall.now >= due)
    for moment in (due - 1, due, due - 3 * HOUR, due + 3 * HOUR, due):
        wall.now = moment
        found = worker.turn().claims
        assert not found or moment >= due
        claims += found
    assert [claim.lease.attempt for claim in claims] == [1]


def test_a_retry_is_due_by_the_failures_clock(queue: Queue, wall: Clock) -> None:
    worker = SteppedWorker(queue)
    queue.enqueue("false", id="a", max_retries=5)
    [claim] = worker.turn().claims
    wall.jump(6)
    queue.enqueue("true", id="later", delay=9 * 3600)
    wall.jump(-6)
    assert worker.turn(failed(claim)).due_in == 2.0
    job = queue.job("a")
    assert job.run_at == wall.now + 2 * SECOND < max(record.at for record in queue.events())
    wall.jump(seconds=1.999999)
    assert worker.turn().claims == []
    wall.jump(seconds=0.000001)
    assert [claim.lease.attempt for claim in worker.turn().claims] == [2]
    in_order(queue)


def test_a_jumping_clock_runs_no_attempt_twice(queue: Queue, wall: Clock) -> None:
    worker = SteppedWorker(queue)
    for minutes in range(10):
        queue.enqueue("false", id=f"job-{minutes}", delay=minutes * 60.0, max_retries=3)
    seen: Counter[tuple[str, int]] = Counter()
    held: list[Claim] = []
    for hours in (0, 5, -5, -2, 0.05, 2, -1, 1, 0.1, 24, -24, 48):
        wall.jump(hours)
        turn = worker.turn(*map(failed, held), want=3)
        held = turn.claims
        assert all(claim.job.run_at <= wall.now for claim in held)
        seen.update((claim.lease.job, claim.lease.attempt) for claim in held)
    assert seen
    assert set(seen.values()) == {1}
    in_order(queue)
    assert queue.check() == []


def test_a_correction_of_the_clock_moves_no_retry(queue: Queue, wall: Clock) -> None:
    """The moment in the event counts, also after the clock was corrected."""
    worker = SteppedWorker(queue)
    queue.enqueue("false", id="a")
    wall.jump(3)
    [claim] = worker.turn().claims
    worker.turn(failed(claim), want=0)
    due = wall.now + 2 * SECOND
    wall.jump(-3)
    assert queue.job("a").run_at == due
    assert worker.turn().due_in == 3 * 3600 + 2
    wall.now = due
    assert [claim.lease.attempt for claim in worker.turn().claims] == [2]


# -- daylight saving -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("before", ["2026-10-25T00:30:00Z", "2026-03-29T00:30:00Z"])
def test_daylight_saving_does_not_change_a_delay(queue: Queue, wall: Clock, before: str) -> None:
    wall.now = micros(before)
    worker = SteppedWorker(queue)
    queue.enqueue("true", id="a", delay=3600)
    wall.jump(1, seconds=-0.000001)
    assert worker.turn().claims == []
    wall.jump(seconds=0.000001)
    assert [claim.lease.job for claim in worker.turn().claims] == ["a"]
    wall.jump(1)
    assert worker.turn().claims == []
    assert [record.at for record in queue.events(job="a")] == [micros(before) + 1, micros(before) + HOUR]


@pytest.mark.usefixtures("berlin")
def test_repeated_and_skipped_local_times_run_once(queue: Queue, wall: Clock) -> None:
    worker = SteppedWorker(queue)
    with pytest.warns(TimeWarning, match="the first after it"):
        skipped = units.moment("2026-03-29T02:30:00")
    for due, utc in (
        (units.moment("2026-10-25T02:30:00"), "2026-10-25T00:30:00.000000Z"),
        (skipped, "2026-03-29T01:00:00.000000Z"),
    ):
        assert text(due) == utc
        wall.now = due - 3 * HOUR
        id = queue.enqueue("true", at=due)
        fired: list[int] = []
        for _ in range(36):
            wall.jump(seconds=600)
            fired += [wall.now for claim in worker.turn().claims if claim.lease.job == id]
        assert fired == [due]


# -- who is alive ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-5, 5, 24 * 400])
def test_a_jumping_clock_declares_no_worker_dead(queue: Queue, wall: Clock, hours: int) -> None:
    worker = SteppedWorker(queue)
    queue.enqueue("sleep 9", id="a")
    [claim] = worker.turn().claims
    worker.writer.turn((), (), 0, holding=[claim.lease], heartbeat=heartbeat_of([claim.lease]))
    wall.jump(hours)
    report = rescuer.recover(queue)
    assert (report.workers, report.jobs, report.left) == ([], [], [])
    assert queue.job("a").worker == "w"
    assert not worker.turn(Report(claim.lease, Outcome(exit_code=0))).fenced
    assert queue.job("a").state == "completed"


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_dead_worker_is_found_despite_clock_jumps(
    queue: Queue, wall: Clock, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: ended.pid)
        worker = SteppedWorker(queue)
    queue.enqueue("true", id="a")
    assert worker.turn().claims
    wall.jump(hours)
    worker.lock.close(keep=True)
    assert [(each.job, each.outcome) for each in rescuer.recover(queue).jobs] == [("a", "released")]
    in_order(queue)


# -- real workers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def jumping_worker(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Return a function that starts a worker process with a jumping clock."""
    processes: list[subprocess.Popen[str]] = []

    def start(id: str) -> subprocess.Popen[str]:
        task = encode(WorkerOptions(str(tmp_path / "q.db"), id, slots=2, drain=True)).decode()
        command = [sys.executable, "-c", JUMPY, task, id]
        processes.append(
            subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, start_new_session=True,
            )
        )  # fmt: skip
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()


def test_workers_with_jumping_clocks_run_everything_once(
    tmp_path: Path, jumping_worker: Callable[[str], subprocess.Popen[str]]
) -> None:
    marks = tmp_path / "marks"
    line = f'echo "$QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT" >> {marks}; test "$QUEUECTL_ATTEMPT" -ge 2'
    with Queue(tmp_path / "q.db") as queue:
        for number in range(20):
            queue.enqueue(line, id=f"job-{number}", max_retries=3, backoff_base=1.0, delay=number % 3)
        for worker in [jumping_worker("one"), jumping_worker("two")]:
            said, _ = worker.communicate(timeout=40)
            assert (worker.returncode, said) == (0, "")
        assert {job.state for job in queue.jobs()} == {"completed"}
        attempts = [(a.job, a.number) for a in queue.all_attempts() if a.outcome != "released"]
        records = list(queue.events())
        assert queue.check() == []
        in_order(queue)
    assert len(set(attempts)) == len(attempts) == 40
    assert Counter(marks.read_text().split("\n")[:-1]) == Counter(f"{job} {n}" for job, n in attempts)
    assert not [record for record in records if record.type == "worker_lost"]
    assert not [record for record in records if '"cause":"lost"' in record.data]
    assert records[-1].at - records[0].at > HOUR  # they did jump
