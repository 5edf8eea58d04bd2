"""`--drain`: until nothing is left that will run by itself; also from within a job."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from queuectl import Queue
from queuectl.clock import monotonic
from queuectl.engines.sqlite.location import locate
from queuectl.events import WorkerStopped
from queuectl.host import processes
from queuectl.workers.execution import traces
from tests.support.lab import START, Fifo, Lab


def test_an_empty_queue_is_drained_at_once(lab: Lab) -> None:
    lab.drain()

    [stopped] = lab.records("worker_stopped")
    assert isinstance(stopped.event, WorkerStopped)
    assert stopped.event.reason == "drained"


def test_drain_waits_for_retries_and_exits_0(lab: Lab) -> None:
    id = lab.queue.enqueue("exit 1", max_retries=2, backoff_base=1, backoff_max=0.3)

    lab.drain()

    assert (lab.queue.job(id).state, lab.queue.job(id).attempt) == ("dead", 3)


def test_drain_ignores_delayed_jobs_and_other_queues(lab: Lab) -> None:
    later = lab.queue.enqueue("true", delay=3600)
    lab.queue.enqueue("true")
    other = lab.queue.enqueue("true", queue="other")

    lab.drain(queues=["default"])

    assert lab.queue.job(later).state == "pending"
    assert lab.queue.job(other).state == "pending"
    assert lab.queue.status("default").counts["completed"] == 1


def test_drain_waits_for_jobs_of_other_workers(lab: Lab, fifo: Fifo) -> None:
    go = Fifo(lab.folder / "go")
    lab.queue.enqueue(f"echo > {fifo}; read line < {go}", timeout=None)
    parent = lab.start(drain=True, count=2)
    fifo.line()
    lab.up(2)
    lab.until(lambda: len([name for name in os.listdir(locate(lab.queue.url).bells) if name.startswith("log-")]) == 2)

    Path(go.path).write_text("go\n")
    began = monotonic()

    assert lab.ended(parent) == (0, "")
    assert monotonic() - began < 4.5  # and not at the next look, after 5 s
    stops = [record.at for record in lab.records("worker_stopped")]
    assert max(stops) - min(stops) < 4_500_000
    go.close()


def test_draining_idle_worker_takes_a_new_job(lab: Lab, fifo: Fifo) -> None:
    go = Fifo(lab.folder / "go")
    first = lab.queue.enqueue(f"echo > {fifo}; read line < {go}", timeout=None)
    parent = lab.start(drain=True, count=2)
    fifo.line()

    second = lab.queue.enqueue("true")
    lab.queue.wait(second, timeout=10)
    assert lab.queue.job(first).state == "processing"
    Path(go.path).write_text("go\n")

    assert lab.ended(parent) == (0, "")
    go.close()


def test_nested_worker_does_not_wait_for_its_job(lab: Lab) -> None:
    nested = "import sys; from queuectl.workers.supervisor import start; sys.exit(start(sys.argv[1], drain=True))"
    outer = lab.queue.enqueue([sys.executable, "-c", nested, lab.database], timeout=20, max_retries=0)
    inner = lab.queue.enqueue("tr '\\0' '\\n' < /proc/$PPID/environ; ls -l /proc/$PPID/fd")

    lab.drain()

    assert lab.queue.job(outer).state == "completed"
    assert lab.queue.job(inner).state == "completed"
    [mine] = lab.queue.attempts(inner)
    [its] = lab.queue.attempts(outer)
    said = Path(lab.queue.output(inner)).read_text()
    if mine.worker != its.worker:  # else the outer worker was quicker
        assert f"\n{traces.TAG}={traces.FREE}\n" in said
        assert its.job not in "".join(line for line in said.splitlines() if "77 ->" in line)


NESTED = "import sys; from queuectl.workers.supervisor import start; sys.exit(start(sys.argv[1], drain=True))"


def test_two_nested_drains_do_not_deadlock(lab: Lab) -> None:
    hosts = [lab.queue.enqueue([sys.executable, "-c", NESTED, lab.database], timeout=20) for _ in range(2)]
    lab.drain(slots=2)
    assert [lab.queue.job(id).state for id in hosts] == ["completed"] * 2
    assert [len(lab.queue.attempts(id)) for id in hosts] == [1, 1]


def test_draining_workers_may_be_nested_twice(lab: Lab) -> None:
    inner = shlex.join([sys.executable, "-c", NESTED, lab.database])
    enqueue = "import sys; from queuectl import Queue; Queue(sys.argv[1]).enqueue(sys.argv[2], timeout=20)"
    add = shlex.join([sys.executable, "-c", enqueue, lab.database, inner])
    outer = lab.queue.enqueue(f"{add} && {inner}", timeout=25)
    lab.drain()
    assert [job.state for job in lab.queue.jobs()] == ["completed"] * 2
    assert len(lab.queue.attempts(outer)) == 1


def test_nested_worker_drops_the_tag_and_lock(lab: Lab, fifo: Fifo) -> None:
    go = Fifo(lab.folder / "go")
    other = str(lab.folder / "other.db")
    Queue(other).close()
    start = shlex.join([sys.executable, "-c", START, other, '{"detach": true}'])
    outer = lab.queue.enqueue(f"{start} && echo > {fifo}; read line < {go}", timeout=None)
    lab.start()
    fifo.line()

    workers = [pid for pid in lab.ours() if other.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
    begun = [pid for pid in workers if b"-m\0queuectl.workers" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    assert len(begun) == 2
    for pid in begun:
        assert f"\0{traces.TAG}={traces.FREE}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        assert not processes.is_writer(pid, lab.queue.output(outer))
    Path(go.path).write_text("go\n")
    [job] = lab.queue.wait(outer, timeout=20)
    assert job.state == "completed"
    assert all(processes.state(pid) in ("S", "R") for pid in begun)
    for pid in begun:
        os.kill(pid, 9)
    go.close()


def test_drained_database_file_alone_is_the_queue(lab: Lab, tmp_path: Path) -> None:
    lab.queue.enqueue_many(["true"] * 3)
    lab.drain()
    copy = tmp_path / "copy" / "q.db"
    copy.parent.mkdir(mode=0o700)
    subprocess.run(["cp", lab.database, copy], check=True)  # not in this process, which has the file open
    with Queue(copy) as queue:
        assert queue.status().counts["completed"] == 3
