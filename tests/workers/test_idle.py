"""A worker with nothing to do: awake within milliseconds, and otherwise asleep."""

import os
import signal
import statistics
import time
from pathlib import Path

from tests.support.lab import Fifo, Lab

TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """User and system time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def switches(pid: int) -> int:
    """How often it has gone to sleep."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_enqueue_elsewhere_wakes_an_idle_worker(lab: Lab) -> None:
    lab.start()
    lab.up()
    delays: list[float] = []
    for _ in range(21):
        id = lab.queue.enqueue("true")
        [job] = lab.queue.wait(id, timeout=10)
        [attempt] = lab.queue.attempts(id)
        delays.append(((attempt.started_at or 0) - job.enqueued_at) / 1000)

    print("milliseconds from the enqueue to the start:", [round(delay, 1) for delay in delays])
    assert statistics.median(delays) < 500, "and not at its next look, after 5 s; the benchmark has it exactly"


def test_an_idle_worker_burns_no_cpu(lab: Lab) -> None:
    id = lab.queue.enqueue("true")
    parent = lab.start()
    [worker] = lab.up()
    lab.queue.wait(id, timeout=10)
    time.sleep(1.2)  # in which it tidies up
    before = [(cpu(pid), switches(pid)) for pid in (worker.pid, parent.pid)]

    time.sleep(3)

    after = [(cpu(pid), switches(pid)) for pid in (worker.pid, parent.pid)]
    used = [late[0] - early[0] for early, late in zip(before, after, strict=True)]
    woken = [late[1] - early[1] for early, late in zip(before, after, strict=True)]
    print("seconds of CPU and wake-ups in 3 s, of worker and parent:", used, woken)
    assert sum(used) <= 0.03
    assert woken[0] < 30
    assert woken[1] < 5


def test_worker_with_one_long_command_is_idle(lab: Lab, fifo: Fifo) -> None:
    # With more to do than it may start: full slots must not make it look for work again and again.
    lab.queue.enqueue(f"echo > {fifo}; sleep 60", timeout=None)
    lab.queue.enqueue_many(["true"] * 5)
    lab.start()
    fifo.line()
    [worker] = lab.up()
    time.sleep(0.3)
    before, woken = cpu(worker.pid), switches(worker.pid)

    time.sleep(2)

    print("wake-ups in 2 s:", switches(worker.pid) - woken)
    assert cpu(worker.pid) - before <= 0.03
    assert switches(worker.pid) - woken < 40


def test_an_idle_worker_wakes_to_stop(lab: Lab) -> None:
    parent = lab.start()
    lab.up()
    began = time.monotonic()

    lab.queue.stop_workers(timeout=10)

    assert time.monotonic() - began < 4, "and not at its next look, after 5 s"
    assert lab.ended(parent, 5) == (0, "")


def test_a_busy_worker_wakes_to_cancel(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo > {fifo}; exec sleep 60", timeout=None)
    lab.start()
    fifo.line()
    began = time.monotonic()

    lab.queue.cancel(id)
    lab.queue.wait(id, timeout=10)

    assert time.monotonic() - began < 4, "and not at its next look, after 5 s"
    assert lab.queue.job(id).signal == signal.SIGTERM


def test_holding_claims_behind_a_long_job_is_idle(lab: Lab, fifo: Fifo) -> None:
    lab.queue.enqueue_many(["true"] * 30)
    lab.queue.enqueue(f"echo > {fifo}; sleep 1", timeout=None)
    lab.queue.enqueue_many(["true"] * 30)
    lab.start()
    fifo.line()
    [worker] = lab.up()
    before = cpu(worker.pid)

    time.sleep(0.5)

    assert cpu(worker.pid) - before <= 0.05
