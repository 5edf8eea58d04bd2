"""What keeps a queue within bounds: a floor of free disk space, the output's limit, kills that nobody here sent."""

import os
import signal
from pathlib import Path

import pytest

from projections.jobs import Job
from queuectl.clock import micros
from queuectl.events import Failed, Retried, WorkerLost, encode
from queuectl.host.oom import OomKills
from queuectl.workers.start_options import WorkerOptions
from tests.support.lab import Fifo, Lab, gone


def failure(lab: Lab, id: str) -> Failed:
    """The last failure of a job."""
    event = lab.records("failed", id)[-1].event
    assert isinstance(event, Failed)
    return event


def test_no_job_starts_below_the_disk_floor(lab: Lab) -> None:
    going = lab.folder / "going"
    running = lab.queue.enqueue(f"touch {going}; while [ -e {going} ]; do sleep 0.05; done", timeout=None)
    worker = lab.worker(slots=2)
    lab.until(going.exists)

    lab.queue.set_config("disk-floor", "1024TiB")
    waiting = lab.queue.enqueue("true")
    disk = lab.queue.disk()
    assert disk.low
    assert disk.free == pytest.approx(os.statvfs(lab.folder).f_bavail * os.statvfs(lab.folder).f_frsize, rel=0.1)
    journal = Path(lab.queue.logs) / "worker.jsonl"
    lab.until(lambda: "no new job starts" in journal.read_text())
    going.unlink()
    lab.queue.wait(running, timeout=10)  # what runs is left alone
    assert lab.log(waiting) == ["enqueued"]

    lab.queue.set_config("disk-floor", None)
    [job] = lab.queue.wait(waiting, timeout=20)
    assert job.state == "completed"
    assert not lab.queue.disk().low
    lab.queue.stop_workers(timeout=10)
    _, said = lab.ended(worker)
    assert said.startswith("queuectl: worker alone: no new job starts: ")
    assert said.endswith("disk-floor is 1024 TiB\n")


def test_output_policy_kill_ends_the_command(lab: Lab) -> None:
    lab.queue.set_config("output-limit", "64KiB")
    lab.queue.set_config("output-policy", "kill")
    id = lab.queue.enqueue("yes", timeout=None, max_retries=0)

    lab.drain()

    event = failure(lab, id)
    assert (event.cause, event.signal) == ("output", signal.SIGTERM)
    assert event.error == "its output grew past 64 KiB (output-limit), and output-policy is kill"
    assert event.output_bytes is not None
    assert event.output_bytes > 64 << 10
    assert os.stat(lab.queue.output(id)).st_blocks * 512 <= 1 << 20, "and its middle is cut out all the same"


def test_foreign_kill_is_reported_and_uses_an_attempt(lab: Lab) -> None:
    id = lab.queue.enqueue("kill -KILL $$", max_retries=1, backoff_base=1)
    own = lab.queue.enqueue("kill -TERM $$", max_retries=0)

    lab.drain(slots=2)

    assert lab.queue.job(id).state == "dead"
    assert lab.log(id).count("failed") == 2
    event = failure(lab, id)
    assert (event.cause, event.signal) == ("signal", signal.SIGKILL)
    assert (event.error or "").startswith("killed, perhaps for memory: queuectl did not send this SIGKILL")
    assert failure(lab, own).error is None


COUNTED = """
import sys
from queuectl.host import oom
oom.OomKills.__init__.__defaults__ = ("/none", "/none", sys.argv[2])
from queuectl.workers.__main__ import main
sys.exit(main(sys.argv[1:2]))
"""


def test_exit_137_is_explained_when_kernel_counts_kills(lab: Lab) -> None:
    counts = lab.folder / "vmstat"
    counts.write_text("oom_kill 3\n")
    killed = lab.queue.enqueue(f"echo oom_kill 5 > {counts}; exit 137", max_retries=0)
    after = lab.queue.enqueue("kill -KILL $$", max_retries=0)
    chosen = lab.queue.enqueue("exit 137", max_retries=0)

    options = encode(WorkerOptions(lab.database, "alone", drain=True)).decode()
    assert lab.ended(lab.python(COUNTED, options, str(counts)))[0] == 0

    told = (
        "perhaps a process of it was killed for memory; the kernel counts 2 killed for memory on this machine meanwhile"
    )
    assert failure(lab, killed).error == told
    assert (failure(lab, after).error or "").endswith("the kernel counts 0 killed for memory on this machine meanwhile")
    assert failure(lab, chosen).error is None


def test_job_that_kills_its_workers_becomes_dead(lab: Lab) -> None:
    id = lab.queue.enqueue("kill -KILL $PPID; sleep 60", max_retries=1, backoff_base=1, timeout=None)
    after = lab.queue.enqueue("true")
    parent = lab.start()

    [poison, well] = lab.queue.wait(id, after, timeout=30)

    assert (poison.state, poison.cause, well.state) == ("dead", "lost", "completed")
    assert (failure(lab, id).error or "").startswith("its worker was killed, perhaps for memory")
    for record in lab.records("worker_lost"):
        assert isinstance(record.event, WorkerLost)
        assert "was killed, perhaps for memory" in (record.event.reason or "")
    assert len(lab.records("worker_lost")) == 2
    parent.send_signal(signal.SIGTERM)
    code, said = lab.ended(parent)
    assert (code, said.count("starting another")) == (0, 2)


def test_job_that_fails_at_once_backs_off(lab: Lab) -> None:
    ids = [lab.queue.enqueue("exit 1", max_retries=2, backoff_base=1, jitter=0.5) for _ in range(5)]

    lab.drain(slots=5)

    delays: set[float] = set()
    for id in ids:
        failed, claimed = lab.records("failed", id), lab.records("claimed", id)
        for before, after in zip(failed, claimed[1:], strict=False):
            retried = next(record for record in lab.records("retried", id) if record.seq > before.seq).event
            assert isinstance(retried, Retried)
            due = micros(retried.run_at)
            assert after.at >= due
            delays.add(due - before.at)
    assert len(delays) == 10, "the jitter makes each of its own length"
    assert all(400_000 < delay < 1_600_000 for delay in delays)


def test_kept_children_stand_in_the_event(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"sleep 60 >/dev/null 2>&1 & echo $! > {fifo}", keep_children=True)

    lab.drain()

    pid = int(fifo.line())
    assert not gone(pid)
    os.kill(pid, signal.SIGKILL)
    [completed] = lab.records("completed", id)
    assert '"kept":true' in completed.data
    job: Job = lab.queue.job(id)
    assert job.state == "completed"


def groups(folder: Path, line: str, path: str, content: str) -> OomKills:
    """The counter of a process that is in one control group, which counts in a file."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(content)
    (folder / "cgroup").write_text(f"9:name=systemd:/\n{line}\n")
    return OomKills(str(folder / "cgroup"), str(folder), str(folder / "vmstat"))


@pytest.mark.parametrize(
    "line, path",
    [
        ("0::/user/1", "user/1/memory.events"),
        ("4:memory:/jobs", "memory/jobs/memory.oom_control"),
        ("4:cpu,memory:/not/here", "memory/memory.oom_control"),
    ],
)
def test_oom_kills_are_counted_for_the_control_group(tmp_path: Path, line: str, path: str) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 70\n")
    killings = groups(tmp_path, line, path, "under_oom 0\noom_kill 3\n")
    before = killings.count()
    assert before == 3
    (tmp_path / path).write_text("oom_kill 5\n")
    assert killings.since(before) == "; the kernel counts 2 killed for memory in this control group meanwhile"


def test_oom_kills_are_else_counted_for_the_machine(
    tmp_path: Path,
) -> None:
    nothing = groups(tmp_path, "0::/", "else", "")
    assert nothing.count() is None
    assert nothing.since(None) == ""
    (tmp_path / "vmstat").write_text("oom_kill_other 4\noom_kill 1\n")
    machine = groups(tmp_path, "0::/", "else", "")
    assert machine.since(1) == "; the kernel counts 0 killed for memory on this machine meanwhile"
