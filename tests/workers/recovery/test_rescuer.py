"""What becomes of the jobs of workers that died: found, ended, tried again, each by one recoverer (R11, R18, R19)."""

import json
import os
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import apsw
import pytest

from queuectl import Queue, decisions
from queuectl.clock import monotonic
from queuectl.engines.view import Write
from queuectl.events import Event, Failed, Released, WorkerLost, WorkerStarted, WorkerStopped
from queuectl.host import procfs
from queuectl.workers import monitor
from queuectl.workers.chores.recovery_watch import RecoveryWatch
from queuectl.workers.recovery import attempt_table, rescuer, worker_lock
from queuectl.workers.recovery.termination import Termination
from queuectl.workers.turn import TurnWriter
from tests.support.lab import Fifo, Lab, gone, kill_all


def pretend(lab: Lab, id: str, **started: str) -> str:
    """Write into the log that a worker started and claimed a job, as one that died right then would have."""
    event = WorkerStarted(
        host="here",
        pid=1,
        slots=1,
        start_ticks=1 << 60,  # no process
        boot_id=started.get("boot_id", procfs.boot_id()),
        pid_namespace=started.get("pid_namespace", procfs.pid_namespace()),
        machine_id=started.get("machine_id", procfs.machine_id()),
        identity=started.get("identity", lab.queue.home.identity()),
    )
    with lab.queue.engine.transaction() as tx:
        tx.append([Write("worker:w1", None, [event])], "test")
        job = tx.job(id)
        assert job is not None
        tx.append([Write(f"job:{id}", job, decisions.claim(job, "w1", tx.now))], "test")
    return "w1"


def sql(lab: Lab, statement: str) -> None:
    """What another program does to the tables."""
    db = apsw.Connection(lab.database)
    db.execute(statement)
    db.close()


def abandoned(lab: Lab, worker: str) -> None:
    """Leave a lock file that nobody holds."""
    worker_lock.take(lab.queue.home.workers, worker).close(keep=True)


@pytest.mark.parametrize("hidden", ["", "exec >/dev/null 2>&1; ", "exec setsid nohup sh left.sh >/dev/null 2>&1"])
def test_recovery_ends_processes_and_retries_the_job(lab: Lab, fifo: Fifo, hidden: str) -> None:
    body = f"echo $$ > {fifo}; while :; do sleep 0.05; echo $$ >> marks; done"
    (lab.folder / "left.sh").write_text(body)
    command = f"{hidden}{'' if 'left' in hidden else body}"
    id = lab.queue.enqueue(f"({command}) & wait", cwd=str(lab.folder), timeout=None)
    lab.start()
    pid = int(fifo.line())
    worker = kill_all(lab)
    assert not gone(pid)

    report = rescuer.recover(lab.queue)

    assert gone(pid)
    [found] = report.jobs
    assert (found.job, found.attempt, found.worker, found.outcome, found.then) == (id, 1, worker.id, "failed", "failed")
    assert lab.log(id) == ["enqueued", "claimed", "failed", "retried"]
    assert lab.queue.job(id).cause == "lost"
    assert lab.queue.workers() == []
    assert os.listdir(lab.queue.home.workers) == []
    assert lab.queue.check() == []
    size = (lab.folder / "marks").stat().st_size if (lab.folder / "marks").exists() else 0
    time.sleep(0.2)
    assert size == ((lab.folder / "marks").stat().st_size if size else 0)


def test_recovery_writes_a_report_for_its_owner_only(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo $$ > {fifo}; sleep 60", timeout=None)
    lab.start()
    fifo.line()
    worker = kill_all(lab)

    rescuer.recover(lab.queue)
    assert rescuer.recover(lab.queue) == rescuer.RecoveryReport(workers=[], jobs=[], left=[])

    [path] = (lab.folder / "q.db.d" / "logs").glob("recovered_jobs_*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert document["workers"] == [worker.id]
    assert [job["job"] for job in document["jobs"]] == [id]


def test_claim_that_never_started_uses_no_attempt(lab: Lab) -> None:
    id = lab.queue.enqueue("true", max_retries=0)
    worker = pretend(lab, id)
    abandoned(lab, worker)

    report = rescuer.recover(lab.queue)

    assert [(found.outcome, found.then) for found in report.jobs] == [("released", "pending")]
    [record] = lab.records("released")
    event = record.event
    assert isinstance(event, Released)
    assert record.actor.startswith("recovery:")
    assert lab.queue.job(id).failures == 0
    # The worker, should it live after all, finds the path taken.
    assert os.path.isdir(lab.queue.home.output_of(lab.queue.home.identity(), id, 2))
    lab.drain()
    assert lab.queue.job(id).state == "completed"


def test_a_worker_that_lives_is_recovered_by_nobody(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo > {fifo}; sleep 60", timeout=None)
    lab.start()
    fifo.line()
    [worker] = lab.queue.workers()
    os.kill(worker.pid, signal.SIGSTOP)

    report = rescuer.recover(lab.queue)

    assert report == rescuer.RecoveryReport(workers=[], jobs=[], left=[])
    assert lab.queue.job(id).state == "processing"
    os.kill(worker.pid, signal.SIGCONT)


def test_of_two_recoverers_one_acts(lab: Lab, fifo: Fifo) -> None:
    slow = f"trap 'sleep 0.3; exit' TERM; echo > {fifo}; while :; do sleep 0.05; done"
    ids = [lab.queue.enqueue(slow, timeout=None) for _ in range(3)]
    lab.start(slots=3)
    for _ in ids:
        fifo.line()
    kill_all(lab)
    reports: list[rescuer.RecoveryReport] = []

    def recover() -> None:
        with Queue(lab.database) as queue:
            reports.append(rescuer.recover(queue))

    threads = [threading.Thread(target=recover) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(len(report.jobs) for report in reports) == [0, 3]
    assert len(lab.records("failed")) == len(lab.records("retried")) == 3
    assert len(lab.records("worker_lost")) == 1


def test_attempt_is_lost_after_a_reboot(lab: Lab) -> None:
    id = lab.queue.enqueue("true", max_retries=0)
    worker = pretend(lab, id, boot_id="another boot")
    abandoned(lab, worker)
    began = time.monotonic()

    report = rescuer.recover(lab.queue)

    assert time.monotonic() - began < 4
    assert [(found.outcome, found.then) for found in report.jobs] == [("failed", "dead")]
    event = lab.records("failed", id)[0].event
    assert isinstance(event, Failed)
    assert event.cause == "lost"
    assert lab.queue.job(id).state == "dead"


def test_copied_queue_spares_processes_of_the_original(lab: Lab) -> None:
    id = lab.queue.enqueue("true")
    worker = pretend(lab, id, identity="the original's")
    abandoned(lab, worker)

    report = rescuer.recover(lab.queue)

    assert [found.outcome for found in report.jobs] == ["failed"]
    assert "is not the one in which it ran" in (report.jobs[0].error or "")
    assert not os.path.exists(lab.queue.home.output_of("the original's", id, 2))


@pytest.mark.parametrize("path, theirs", [("q.db", True), ("original.db", False)])
def test_leftovers_are_found_after_folder_was_replaced(lab: Lab, path: str, theirs: bool) -> None:
    id = lab.queue.enqueue("true")
    pretend(lab, id, identity="former")
    tagged = {"QUEUECTL_TAG": f"former:{id}:2", "QUEUECTL_DB": str(lab.folder / path)}
    with subprocess.Popen(["sleep", "60"], env=tagged, start_new_session=True) as process:
        rescuer.recover(lab.queue)
        assert (process.poll() is not None) == theirs
        process.kill()


@pytest.mark.parametrize("machine, words", [(None, "the machine went down"), ("m", "another machine (here)")])
def test_error_says_how_the_worker_ended(lab: Lab, machine: str | None, words: str) -> None:
    id = lab.queue.enqueue("true")
    abandoned(lab, pretend(lab, id, boot_id="before", machine_id=machine or procfs.machine_id()))
    rescuer.recover(lab.queue)
    assert words in (lab.queue.job(id).error or "")


def test_unseen_worker_is_recovered_only_when_hung(lab: Lab) -> None:
    id = lab.queue.enqueue("true")
    worker = pretend(lab, id, pid_namespace="pid:[1]")
    assert rescuer.recover(lab.queue).jobs == []
    assert lab.queue.job(id).state == "processing"
    assert [found.job for found in rescuer.recover(lab.queue, silent={worker: "was silent"}).jobs] == [id]


def test_worker_without_lock_file_is_recovered(lab: Lab) -> None:
    id = lab.queue.enqueue("true")
    pretend(lab, id)
    assert os.listdir(lab.queue.home.workers) == []

    report = rescuer.recover(lab.queue)

    assert report.workers == ["w1"]
    assert lab.queue.job(id).state == "pending"
    assert os.listdir(lab.queue.home.workers) == []


@pytest.mark.parametrize("last", [WorkerStopped(), WorkerLost(), None])
def test_job_of_any_ended_worker_is_recovered(lab: Lab, last: Event | None) -> None:
    id = lab.queue.enqueue("true")
    pretend(lab, id)
    with lab.queue.engine.transaction() as tx:
        if last is not None:
            tx.append([Write("worker:w1", tx.worker("w1"), [last])], "test")
    if last is None:
        sql(lab, "delete from workers")

    report = rescuer.recover(lab.queue)

    assert [(found.job, found.then) for found in report.jobs] == [(id, "pending")]
    assert report.workers == []
    assert os.listdir(lab.queue.home.workers) == []


def test_a_worker_that_was_declared_lost_claims_nothing(lab: Lab) -> None:
    worker = TurnWriter(lab.queue, "w1", (), lab.queue.home.identity())
    worker.start(1)
    with lab.queue.engine.transaction() as tx:
        tx.append([Write("worker:w1", tx.worker("w1"), [WorkerLost()])], "test")
    lab.queue.enqueue("true")

    turn = worker.turn((), (), 1)

    assert (turn.claims, turn.stop) == ([], True)


def test_lock_file_of_unknown_worker_is_removed(lab: Lab) -> None:
    abandoned(lab, "never-said-a-word")

    report = rescuer.recover(lab.queue)

    assert (report.workers, report.jobs) == ([], [])
    assert os.listdir(lab.queue.home.workers) == []


def test_worker_recovers_jobs_of_another_dead_worker(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(
        f"[ $QUEUECTL_ATTEMPT = 1 ] || exit 0; echo > {fifo}; sleep 60", timeout=None, backoff_base=1, backoff_max=0.1
    )
    lab.start()
    fifo.line()
    dead = kill_all(lab)

    lab.start(drain=True)

    [job] = lab.queue.wait(id, timeout=20)
    assert (job.state, job.attempt) == ("completed", 2)
    [lost] = lab.records("worker_lost")
    assert lost.subject == dead.id
    journal = (lab.folder / "q.db.d" / "logs" / "worker.jsonl").read_text()
    assert '"event":"recovered"' in journal


def test_job_with_cancel_request_becomes_cancelled(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo $$ > {fifo}; sleep 60", timeout=None)
    lab.start()
    pid = int(fifo.line())
    [worker] = lab.queue.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    lab.queue.cancel(id)
    kill_all(lab)

    rescuer.recover(lab.queue)

    assert gone(pid)
    assert lab.log(id) == ["enqueued", "claimed", "cancel_requested", "cancelled"]


def test_failed_recovery_is_reported_and_tried_again(lab: Lab) -> None:
    id = lab.queue.enqueue("true")
    worker = pretend(lab, id)
    abandoned(lab, worker)
    output = lab.queue.home.output
    os.rename(output, output + ".away")

    report = rescuer.recover(lab.queue, patience=0.1)

    assert report.jobs == []
    assert worker in report.left[0]
    os.rename(output + ".away", output)
    assert [found.job for found in rescuer.recover(lab.queue).jobs] == [id]


def test_the_monitor_recovers_by_itself(lab: Lab) -> None:
    id = lab.queue.enqueue("true")
    abandoned(lab, pretend(lab, id))

    report = next(monitor.monitor(lab.queue))

    assert [found.job for found in report.jobs] == [id]


def test_other_workers_wait_for_the_parent_to_recover(lab: Lab) -> None:
    """The parent alone knows how the worker's commands ended (R19)."""
    id = lab.queue.enqueue("true")
    abandoned(lab, pretend(lab, id))
    with monitor.observer(lab.queue) as me:
        looking, now = RecoveryWatch(lab.queue, me), monotonic()
        seen = [(after, bool(looking.look(now + after))) for after in (1.1, 2.2, 3.0)]
        assert seen == [(1.1, False), (2.2, False), (3.0, False)]
        assert lab.log(id) == ["enqueued", "claimed"]
        looking.look(now + 3.4)
        assert looking.look(now + 3.5)
    assert lab.log(id) == ["enqueued", "claimed", "released"]


def test_one_clean_look_is_not_enough(tmp_path: Path) -> None:
    """What was just being started may show only at the second (R18)."""
    termination = Termination(str(tmp_path / "output"), "cafe:1:2", grace=5.0)
    now = monotonic()
    assert [termination.tick(now), termination.tick(now + 1)] == [False, True]
    termination.close()


def test_abandoned_recovery_is_left_to_the_next(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"trap '' TERM; echo $$ > {fifo}; read line < {fifo}.never", timeout=None)
    os.mkfifo(f"{fifo}.never")
    lab.start()
    pid = int(fifo.line())
    worker = kill_all(lab)

    report = rescuer.recover(lab.queue, patience=0.0)

    assert report.left == [f"job {id}: process {pid} can't be ended"]
    assert (report.jobs, report.workers, lab.queue.job(id).state) == ([], [], "processing")
    assert os.listdir(lab.queue.home.workers) == [worker.id]
    os.kill(pid, signal.SIGKILL)
    assert [job.then for job in rescuer.recover(lab.queue).jobs] == ["failed"]


def test_known_kill_is_not_blamed_on_memory(lab: Lab) -> None:
    id = lab.queue.enqueue("true")
    worker = pretend(lab, id)
    lease = lab.queue.job(id).lease
    assert lease is not None
    Path(lab.queue.home.output_of(lab.queue.home.identity(), id, lease)).touch()
    abandoned(lab, worker)
    attempt_table.write_kill_reason(f"{lab.queue.home.workers}/{worker}", "was killed: it had said nothing for 15 s")

    rescuer.recover(lab.queue)

    assert lab.queue.job(id).error == (
        "its worker was killed: it had said nothing for 15 s; what it ran was found and ended"
    )
