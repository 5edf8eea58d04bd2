"""Jobs that wait for jobs: a private worker runs those, and waiting in a circle is refused."""

import os
import signal
import sys
from pathlib import Path

import pytest

from queuectl import Queue, enclosing_jobs
from queuectl.errors import Refused
from queuectl.events import Trigger
from queuectl.host import flock
from queuectl.job_fields import Spec
from queuectl.workers.private_worker import PrivateWorker
from queuectl.workers.turn import TurnWriter
from tests.support.lab import Fifo, Lab

Q = f"{sys.executable} -m queuectl"


def job(lab: Lab, command: str, id: str | None = None) -> str:
    """A job of such commands, that must not run into its timeout."""
    return lab.queue.enqueue(Spec(command=command.replace("queuectl", Q), id=id, timeout=40, max_retries=0))


def written(lab: Lab, id: str) -> str:
    return Path(lab.queue.output(id)).read_text()


@pytest.mark.parametrize(
    "command, said",
    [
        ("queuectl run 'queuectl run \"echo deep\"'", "deep\n"),
        ("queuectl wait $(for i in 1 2 3; do queuectl enqueue true; done)", "queuectl: 3 completed\n"),
        ("queuectl enqueue true; queuectl enqueue true; queuectl wait", "2\n3\nqueuectl: 2 completed\n"),
    ],
)
def test_one_slot_runs_what_its_job_waits_for(lab: Lab, command: str, said: str) -> None:
    id = job(lab, command)
    lab.drain()
    assert (lab.queue.job(id).state, written(lab, id)) == ("completed", said)
    assert lab.queue.status().counts["completed"] == lab.queue.status().total
    assert all(len(lab.queue.attempts(each.id)) == 1 for each in lab.queue.jobs())


def test_waiting_for_an_enclosing_job_is_refused(lab: Lab) -> None:
    id = job(lab, "queuectl run --max-retries 0 'queuectl wait host'", id="host")
    lab.drain()
    told = "queuectl: job host would wait for itself: it waits for job 1, of which this command is a part\n"
    assert (lab.queue.job(id).exit_code, written(lab, id)) == (3, told)


def test_a_job_is_refused_to_wait_for_itself(lab: Lab) -> None:
    id = job(lab, "queuectl wait $QUEUECTL_JOB_ID; queuectl logs -f $QUEUECTL_JOB_ID; queuectl logs $QUEUECTL_JOB_ID")
    lab.drain()
    assert written(lab, id) == 4 * f"queuectl: job {id} would wait for itself: this command is a part of it\n"


def test_two_waiting_jobs_do_not_deadlock(lab: Lab) -> None:
    ids = [job(lab, "queuectl wait") for _ in range(2)]
    lab.drain(slots=2)
    assert [lab.queue.job(id).state for id in ids] == ["completed", "completed"]


def test_job_stopping_all_workers_excludes_its_own(lab: Lab) -> None:
    id = job(lab, "queuectl stop-workers")
    lab.drain()
    worker = lab.queue.attempts(id)[0].worker
    told = f"queuectl: worker {worker} runs this job: it is asked to stop too, and not waited for\n"
    assert (lab.queue.job(id).state, written(lab, id)) == ("completed", told)
    assert lab.log().count("stop_requested") == 1


def test_private_worker_finishes_its_job_after_its_command(lab: Lab, fifo: Fifo) -> None:
    go = Fifo(lab.folder / "go")
    child = f"echo up >{fifo}; read line <{go}; exit 1"
    host = job(lab, f"queuectl run --max-retries 5 --id child '{child}' & echo $! >{fifo}; wait")
    lab.start()
    pid = int(fifo.line())
    assert fifo.line() == "up"
    os.kill(pid, signal.SIGKILL)
    lab.queue.wait(host, timeout=20)
    assert lab.queue.job("child").state == "processing"
    assert flock.locked(lab.queue.output(host)) is False, "the helper has nothing of the job that started it"
    lab.queue.stop_workers(lab.queue.attempts(host)[0].worker)
    Path(go.path).write_text("go\n")
    lab.until(lambda: not lab.queue.workers())
    assert lab.queue.job("child").state == "failed"
    go.close()


def test_enclosing_job_is_identified_by_its_attempt(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = TurnWriter(lab.queue, "w", (), "cafe")
    writer.start(1)
    lab.queue.enqueue("true", id="a")
    writer.turn([], [], 1)
    monkeypatch.setenv("QUEUECTL_JOB_ID", "a")
    monkeypatch.setenv("QUEUECTL_DB", f"sqlite:///{lab.database}")
    for attempt, inside in (("1", True), ("2", False)):
        monkeypatch.setenv("QUEUECTL_ATTEMPT", attempt)
        assert lab.queue.hosting() == (["w"] if inside else [])
    monkeypatch.setenv("QUEUECTL_ATTEMPT", "1")
    with pytest.raises(Refused):
        lab.queue.wait("a", timeout=1)
    assert lab.queue.wait(timeout=1) == []
    with Queue(lab.folder / "other.db") as other:
        assert enclosing_jobs.inside(other.engine) is None


def test_a_job_tells_inside_which_it_was_enqueued(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = TurnWriter(lab.queue, "w", (), "cafe")
    writer.start(1)
    lab.queue.enqueue("true", id="a")
    writer.turn([], [], 1)
    monkeypatch.setenv("QUEUECTL_JOB_ID", "a")
    monkeypatch.setenv("QUEUECTL_DB", f"sqlite:///{lab.database}")
    monkeypatch.setenv("QUEUECTL_ATTEMPT", "2")
    lab.queue.enqueue("true", id="later")
    monkeypatch.setenv("QUEUECTL_ATTEMPT", "1")
    lab.queue.enqueue_many([Spec(id="b", command="true"), Spec(id="c", command="true")])
    assert [lab.queue.job(id).policy.trigger for id in ("later", "b")] == [None, Trigger(job="a")]
    for text in ("trigger:a", "trigger:job:*", "-trigger:x trigger:a,b"):
        assert [job.id for job in lab.queue.jobs(where=text)] == ["b", "c"]


def test_a_worker_for_one_job_serves_nobody_else(lab: Lab) -> None:
    lab.queue.enqueue("true", id="a")
    TurnWriter(lab.queue, "private", (), "cafe", ["a"]).start(1)
    assert not lab.queue.facts().serving("default")
    TurnWriter(lab.queue, "other", ("mail",), "cafe").start(1)
    facts = lab.queue.facts()
    assert (len(facts.serving("mail")), facts.serving("default")) == (1, [])


def test_outside_jobs_no_private_worker_starts_unasked(lab: Lab) -> None:
    id = lab.queue.enqueue("true")
    with PrivateWorker(lab.queue, [id]) as private:
        private.start_if_needed()
    with PrivateWorker(lab.queue, [id], alone=True):
        lab.queue.wait(id, timeout=20)
    assert [worker.private for worker in lab.queue.workers(all=True)] == [True]
