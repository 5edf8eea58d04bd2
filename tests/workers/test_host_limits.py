"""Workers hold back while their host is busy: nothing is claimed, what runs goes on, and it is told why."""

import json
import re
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from queuectl import host_limits
from queuectl.cli.ui import hint, wording
from queuectl.cli.ui.event_wording import event_text
from queuectl.doctor import InspectedQueue, examine
from queuectl.documents import worker_document
from queuectl.events import encode
from queuectl.host import procfs
from queuectl.host.load import whole_memory
from queuectl.host_limits import HostLimits
from queuectl.workers.chores.host_watch import LOOK
from queuectl.workers.start_options import WorkerOptions
from tests.support.lab import Fifo, Lab
from tests.support.shell import Shell

ALONE = """
import sys
from pathlib import Path
from queuectl import host_limits
from queuectl.workers.__main__ import main
from queuectl.workers.chores import host_watch

def load():
    with open(sys.argv[2] + ".looks", "a") as looks:
        looks.write("x")
    return float(Path(sys.argv[2]).read_text())

host_limits.load, host_watch.LOOK = load, float(sys.argv[3])
sys.exit(main(sys.argv[1:2]))
"""
"""A worker for which the load is what a file says; it counts how often it looks."""


class Busy:
    """The load of a host."""

    def __init__(self, path: Path, load: float) -> None:
        self.path = path
        self.set(load)

    def set(self, load: float) -> None:
        """Change the load."""
        self.path.with_suffix(".new").write_text(str(load))
        self.path.with_suffix(".new").rename(self.path)

    @property
    def looks(self) -> int:
        """How often the worker has looked."""
        looks = self.path.with_name(self.path.name + ".looks")
        return len(looks.read_text()) if looks.exists() else 0


@pytest.fixture
def busy(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Busy:
    busy = Busy(lab.folder / "load", 9.0)
    monkeypatch.setattr(host_limits, "load", lambda: float(busy.path.read_text()))
    return busy


def alone(lab: Lab, busy: Busy, look: float, *, drain: bool = False, slots: int = 1) -> subprocess.Popen[str]:
    """A worker with a limit of 4 that looks again after so many seconds."""
    options = WorkerOptions(lab.database, "alone", slots, drain=drain, limits=HostLimits(max_load=4.0))
    return lab.python(ALONE, encode(options).decode(), str(busy.path), str(look))


def journal(lab: Lab) -> list[str]:
    lines = Path(lab.queue.logs, "worker.jsonl").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


def test_a_drain_waits_until_the_host_is_free(lab: Lab, busy: Busy) -> None:
    id = lab.queue.enqueue("true")
    worker = alone(lab, busy, 0.05, drain=True)
    lab.until(lambda: busy.looks >= 5)
    assert (lab.queue.job(id).state, worker.poll(), lab.log(id)) == ("pending", None, ["enqueued"])
    busy.set(3.9)
    code, said = lab.ended(worker)
    assert (code, said) == (0, "queuectl: worker alone: claims nothing for now: load 9.00, limit 4 (said once)\n")
    assert lab.queue.job(id).state == "completed"
    assert journal(lab) == ["started", "holds back", "error", "claims again", "completed", "stopped"]
    assert lab.queue.check() == []


def test_a_waiting_job_is_told_why(lab: Lab, busy: Busy) -> None:
    id = lab.queue.enqueue("true")
    alone(lab, busy, LOOK)
    lab.until(lambda: busy.looks)
    [reason] = lab.queue.reasons(id)
    assert (reason.kind, reason.text) == (
        "host",
        "the workers of the queue default hold back: load 9.00, limit 4",
    )
    assert reason.frees == "queuectl worker start --queue default"
    assert lab.queue.held_back() == {"default": reason.text}
    second = lab.queue.enqueue("true")
    assert [each.kind for each in lab.queue.reasons(second)] == ["host", "priority"]

    lab.start()  # as the reason says: a worker that does not look at the load
    lab.queue.wait(id, second, timeout=30)
    assert lab.queue.held_back() == {}


def test_commands_say_that_workers_hold_back(lab: Lab, busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    id = lab.queue.enqueue("true")
    alone(lab, busy, LOOK)
    lab.until(lambda: busy.looks)
    why = "the workers of the queue default hold back: load 9.00, limit 4"

    monkeypatch.setattr(hint, "PIPED", 0.0)
    told: list[str] = []
    say = hint.WaitHint(lab.queue, [id], told.append, terminal=False)
    say()
    say()
    assert told == [f"waiting: {why}; `queuectl worker start --queue default` frees it"]

    with InspectedQueue(lab.database) as queue:
        found = next(check.findings for check in examine(queue) if check.name == "workers")
    assert [(each.severity, each.what) for each in found] == [
        ("ok", "1 up, none dead or stuck"),
        ("ok", f"{why}; its jobs wait"),
    ]
    job, [worker] = lab.queue.job(id), lab.queue.workers()
    assert wording.state_detail(job, facts=lab.queue.facts()) == "its workers hold back"
    assert wording.host_limits(worker, host_limits.holds_back(worker)) == "load 4; holds back: load 9.00"
    document = msgspec.to_builtins(worker_document(worker, [], True, lab.database, lab.queue.engine.now()))
    assert (document["max_load"], document["min_free_memory"], document["holds_back"]) == (
        4.0,
        None,
        "load 9.00, limit 4",
    )
    [started] = lab.records("worker_started")
    assert event_text(started).endswith(", 1 slot, limits: load 4")


def test_nobody_looks_oftener_than_needed(lab: Lab, busy: Busy) -> None:
    lab.queue.enqueue("true")
    alone(lab, busy, 60.0)
    lab.until(lambda: busy.looks)
    for _ in range(5):
        lab.queue.enqueue("true")
    stop = lab.queue.stop_workers("alone", timeout=30)
    assert (stop, busy.looks) == (["alone"], 1), "it hears orders, and bells do not have it look"


def test_a_worker_that_holds_back_sleeps(lab: Lab, busy: Busy) -> None:
    lab.queue.enqueue("true")
    worker = alone(lab, busy, 60.0)
    lab.until(lambda: busy.looks)
    lab.queue.enqueue("true")
    before = cpu(worker.pid)
    time.sleep(1.0)
    assert cpu(worker.pid) - before < 30, "ticks of which there are a hundred in a second"


def cpu(pid: int) -> int:
    """User and system time of a process, in clock ticks."""
    fields = procfs.read(f"{pid}/stat").rpartition(b")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_what_runs_goes_on(lab: Lab, busy: Busy, fifo: Fifo) -> None:
    busy.set(0.0)
    go = Fifo(lab.folder / "go")
    first = lab.queue.enqueue(f"echo > {fifo}; read line < {go}", timeout=None)
    alone(lab, busy, LOOK, slots=2)
    fifo.line()
    busy.set(4.0)
    before = busy.looks
    second = lab.queue.enqueue("true")
    lab.until(lambda: busy.looks > before)
    Path(go.path).write_text("go\n")
    lab.until(lambda: lab.queue.job(first).state == "completed")
    assert lab.log(second) == ["enqueued"]


def test_too_little_memory_holds_back_as_well(lab: Lab) -> None:
    whole = whole_memory()
    assert whole is not None
    id = lab.queue.enqueue("true")
    lab.start(min_free_memory=whole)  # more is never free
    [worker] = lab.up()
    assert (worker.min_free_memory, worker.max_load) == (whole, None)
    [reason] = lab.queue.reasons(id)
    assert reason.kind == "host"
    assert "of memory free, limit" in reason.text
    lab.until(lambda: "holds back" in journal(lab))
    assert lab.log(id) == ["enqueued"]


def test_the_list_of_workers_has_their_limits(lab: Lab, queuectl: Shell) -> None:
    assert queuectl.folder == lab.folder
    lab.queue.enqueue("true")
    lab.start(max_load=1e6, min_free_memory=whole_memory())
    lab.up()
    heads, row = queuectl("worker", "list").ok().lines
    assert "LIMITS" in heads
    assert re.search(r" load 1000000, \S+ \S+ free; holds back: \S+ \S+ of memory free", row)
    assert "its workers hold back" in queuectl("list").ok().out
    lab.queue.stop_workers(timeout=30)
    [row] = queuectl("worker", "list", "--all").ok().lines[1:]
    assert "load 1000000" in row
    assert "holds back" not in row
