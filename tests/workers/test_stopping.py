"""How workers are stopped, and what happens to them otherwise (R16)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from projections.workers import Worker
from queuectl import Queue
from queuectl.errors import NotFound
from queuectl.events import Interrupted, WorkerStopped
from queuectl.workers.recovery import attempt_table, rescuer
from queuectl.workers.start_options import WorkerOptions
from queuectl.workers.supervisor import CANT_WRITE, Supervisor, SupervisorOptions
from tests.support.lab import START, Fifo, Lab, gone, kill_all


def reasons(lab: Lab) -> list[str | None]:
    found: list[str | None] = []
    for record in lab.records("worker_stopped"):
        event = record.event
        assert isinstance(event, WorkerStopped)
        found.append(event.reason)
    return found


def busy(lab: Lab, fifo: Fifo, **options: object) -> tuple[subprocess.Popen[str], str, int, str]:
    """A worker whose command waits for a line: its supervisor, the job, the command's pid, and a job behind it."""
    go = lab.folder / "go"
    os.mkfifo(go)
    id = lab.queue.enqueue(f"echo $$ > {fifo}; read line < {go}", timeout=None, max_retries=1, backoff_base=1)
    behind = lab.queue.enqueue("true")
    parent = lab.start(**options)
    return parent, id, int(fifo.line()), behind


def let_go(lab: Lab) -> None:
    """Have that command end."""
    (lab.folder / "go").write_text("go\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_finishes_what_runs_starts_nothing(lab: Lab, fifo: Fifo, number: signal.Signals) -> None:
    parent, id, _, behind = busy(lab, fifo)

    parent.send_signal(number)
    time.sleep(0.2)
    let_go(lab)

    assert lab.ended(parent) == (0, "")
    assert lab.queue.job(id).state == "completed"
    assert lab.queue.job(behind).state == "pending"
    assert reasons(lab) == ["signal"]
    assert lab.queue.workers() == []


def test_two_signals_end_and_requeue_what_runs(lab: Lab, fifo: Fifo) -> None:
    parent, id, pid, _ = busy(lab, fifo)

    parent.send_signal(signal.SIGINT)
    parent.send_signal(signal.SIGTERM)

    assert lab.ended(parent, 5) == (0, "")
    assert gone(pid)
    assert given_back(lab, id) in (("SIGINT", None), ("SIGTERM", None))
    assert lab.queue.attempts(id)[0].signal == signal.SIGTERM


def given_back(lab: Lab, id: str) -> tuple[str | None, str | None]:
    """Assert that the only attempt was interrupted and uses up no retry; returns by whom and why."""
    [event] = [record.event for record in lab.records("interrupted", id)]
    assert isinstance(event, Interrupted)
    job = lab.queue.job(id)
    assert lab.log(id) == ["enqueued", "claimed", "interrupted"]
    assert (job.state, job.failures, job.attempt) == ("pending", 0, 1)
    assert lab.queue.check() == []
    return event.by, event.reason


@pytest.mark.parametrize("gently", [True, False])
def test_signal_followed_by_kill_gives_the_job_back(lab: Lab, fifo: Fifo, gently: bool) -> None:
    """As systemd and a reboot do it: to all processes, or first to the main one alone."""
    lab.queue.set_config("on-lost", "dead")
    parent, id, pid, _ = busy(lab, fifo)
    [worker] = lab.queue.workers()
    for each in (parent.pid,) if gently else (pid, worker.pid, parent.pid):
        os.kill(each, signal.SIGTERM)
    if gently:
        lab.until(lambda: attempt_table.read_stop(f"{lab.queue.home.workers}/{worker.id}"))
        kill_all(lab)
        os.kill(pid, signal.SIGKILL)
        rescuer.recover(lab.queue)
    else:
        assert lab.ended(parent) == (0, "")

    assert given_back(lab, id) == ("SIGTERM", None)


def test_doubtful_end_waits_and_nothing_starts_meanwhile(lab: Lab, fifo: Fifo) -> None:
    parent, id, pid, behind = busy(lab, fifo)
    os.kill(pid, signal.SIGTERM)
    lab.until(lambda: not Path(f"/proc/{pid}").exists())
    parent.send_signal(signal.SIGTERM)

    assert lab.ended(parent) == (0, "")
    assert given_back(lab, id) == ("SIGTERM", None)
    assert lab.log(behind) == ["enqueued"]


def test_third_signal_skips_the_grace_period(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"trap '' TERM; echo $$ > {fifo}; while :; do sleep 9; done", timeout=None, grace=1000.0)
    parent = lab.start()
    pid = int(fifo.line())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        parent.send_signal(number)
        time.sleep(0.2)

    code, _ = lab.ended(parent, 4)
    assert code == 0
    assert gone(pid)
    assert given_back(lab, id)[0] == "SIGINT"


def test_job_that_stops_its_own_worker_fails(lab: Lab) -> None:
    stop = "from queuectl import Queue; import sys; Queue(sys.argv[1]).stop_workers(now=True, timeout=9)"
    id = lab.queue.enqueue([sys.executable, "-c", stop, lab.database], timeout=None, max_retries=0)
    assert lab.ended(lab.start())[0] == 0
    job = lab.queue.job(id)
    assert (job.state, job.cause, job.error) == ("dead", "interrupted", "it had its own worker stopped")


def test_a_command_that_a_stranger_killed_has_failed(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo $$ > {fifo}; sleep 60", timeout=None, max_retries=0)
    lab.start()
    os.kill(int(fifo.line()), signal.SIGTERM)
    [job] = lab.queue.wait(id, timeout=10)
    assert (job.state, job.cause, job.signal) == ("dead", "signal", signal.SIGTERM)


def test_signal_ignored_at_start_stays_ignored(lab: Lab) -> None:
    """As by nohup; but commands begin with all signals as they were born."""
    begin = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {START}"
    parent = lab.python(begin, lab.database, "{}")
    lab.up()
    parent.send_signal(signal.SIGHUP)
    id = lab.queue.enqueue("kill -HUP $$", max_retries=0)

    assert lab.queue.wait(id, timeout=10)[0].signal == signal.SIGHUP
    assert parent.poll() is None
    parent.send_signal(signal.SIGTERM)
    assert lab.ended(parent) == (0, "")


def test_modules_in_the_working_directory_are_not_run(lab: Lab) -> None:
    for name in ("random", "msgspec"):
        (lab.folder / f"{name}.py").write_text("raise SystemExit('not ours')")
    id = lab.queue.enqueue("true")
    begin = f"import os, queuectl.workers.supervisor; os.chdir({str(lab.folder)!r}); {START}"
    parent = lab.python(begin, lab.database, '{"drain": true}')
    assert lab.ended(parent) == (0, "")
    assert lab.queue.job(id).state == "completed"


def test_several_hangups_count_as_one_signal(lab: Lab, fifo: Fifo) -> None:
    parent, id, pid, _ = busy(lab, fifo)

    for _ in range(3):
        parent.send_signal(signal.SIGHUP)
        time.sleep(0.1)

    assert not gone(pid)
    let_go(lab)
    assert lab.ended(parent) == (0, "")
    assert lab.queue.job(id).state == "completed"


def test_ctrl_c_for_the_whole_group_counts_once(lab: Lab, fifo: Fifo) -> None:
    parent, id, pid, _ = busy(lab, fifo, count=2)

    # In groups of their own, they hear of it from their parent alone.
    assert all(os.getpgid(worker.pid) == worker.pid for worker in lab.up(2))

    os.killpg(parent.pid, signal.SIGINT)
    time.sleep(0.3)
    assert not gone(pid)
    let_go(lab)

    assert lab.ended(parent) == (0, "")
    assert lab.queue.job(id).state == "completed"
    assert reasons(lab) == ["signal", "signal"]


def test_workers_stop_in_order_without_their_supervisor(lab: Lab, fifo: Fifo) -> None:
    parent, id, pid, behind = busy(lab, fifo, count=2)
    lab.until(lambda: lab.queue.job(behind).state == "completed")

    parent.kill()
    lab.until(lambda: len(lab.records("worker_stopped")) == 1)  # the idle one
    after = lab.queue.enqueue("true")
    assert not gone(pid)
    let_go(lab)

    lab.until(lambda: reasons(lab) == ["parent gone"] * 2)
    assert lab.queue.job(id).state == "completed"
    assert lab.queue.job(after).state == "pending"


def test_signal_releases_claims_that_were_not_started(lab: Lab) -> None:
    lab.queue.enqueue_many(["true"] * 2000)
    parent = lab.start(slots=2)
    lab.until(lambda: lab.queue.status().counts["completed"] > 100)

    parent.send_signal(signal.SIGTERM)

    assert lab.ended(parent) == (0, "")
    counts = lab.queue.status().counts
    assert counts["processing"] == 0
    assert counts["pending"] + counts["completed"] == 2000
    assert lab.records("released")
    assert {job.attempt for job in lab.queue.jobs(state="completed")} <= {1, 2}


def test_all_workers_are_stopped_by_asking(lab: Lab) -> None:
    parent = lab.start(count=2)
    up = lab.up(2)

    stopped = lab.queue.stop_workers(reason="enough", timeout=10)

    assert sorted(stopped) == sorted(worker.id for worker in up)
    assert lab.ended(parent, 5) == (0, "")
    assert {record.actor for record in lab.records("stop_requested")} == {lab.queue.actor}
    assert [worker.state for worker in lab.queue.workers(all=True)] == ["stopped", "stopped"]
    assert lab.queue.stop_workers() == []


def test_stop_waits_for_the_process_without_its_files(lab: Lab) -> None:
    parent = lab.start()
    [worker] = lab.up()
    for name in os.listdir(lab.queue.home.workers):
        os.unlink(f"{lab.queue.home.workers}/{name}")

    assert lab.queue.stop_workers() == [worker.id]

    assert gone(worker.pid)
    assert gone(parent.pid)
    assert lab.log()[-1] == "worker_stopped"


def test_stopped_worker_is_not_replaced(lab: Lab) -> None:
    parent = lab.start(count=2)
    first, second = lab.up(2)

    assert lab.queue.stop_workers(first.id, timeout=10) == [first.id]

    time.sleep(1.2)
    assert [worker.id for worker in lab.queue.workers()] == [second.id]
    assert parent.poll() is None
    with pytest.raises(NotFound):
        lab.queue.stop_workers("nobody")
    id = lab.queue.enqueue("true")
    lab.queue.wait(id, timeout=10)


def test_stop_now_overrides_a_waiting_stop(lab: Lab, fifo: Fifo) -> None:
    parent, id, pid, _ = busy(lab, fifo)
    [worker] = lab.queue.workers()
    lab.python(f"from queuectl import Queue; Queue({lab.database!r}).stop_workers()")
    lab.until(lambda: _state(lab, worker) == "stopping")
    assert not gone(pid)

    lab.queue.stop_workers(now=True, timeout=10, reason="the machine goes down")

    assert lab.ended(parent, 5) == (0, "")
    assert given_back(lab, id) == (lab.queue.actor, "the machine goes down")


def _state(lab: Lab, worker: Worker) -> str:
    return next(each.state for each in lab.queue.workers(all=True) if each.id == worker.id)


def test_crashed_worker_is_replaced_without_overlapping_attempts(lab: Lab, fifo: Fifo) -> None:
    marks = lab.folder / "marks"
    command = f"""
        mkdir {lab.folder}/inside || echo overlap >> {marks}
        echo $$ > {fifo}; [ $QUEUECTL_ATTEMPT = 2 ] || {{ sleep 60 & wait; }}
        rmdir {lab.folder}/inside; echo end >> {marks}
    """
    (lab.folder / "job.sh").write_text(f"trap 'rmdir {lab.folder}/inside; exit 1' TERM; {command}")
    id = lab.queue.enqueue("exec sh job.sh", cwd=str(lab.folder), timeout=None, backoff_base=1)
    parent = lab.start()
    pid = int(fifo.line())
    [worker] = lab.queue.workers()

    os.kill(worker.pid, signal.SIGKILL)

    fifo.line()
    [job] = lab.queue.wait(id, timeout=20)
    assert gone(pid)
    assert (job.state, job.attempt) == ("completed", 2)
    assert lab.log(id) == ["enqueued", "claimed", "failed", "retried", "claimed", "completed"]
    assert marks.read_text() == "end\n"
    [lost] = lab.records("worker_lost")
    assert (lost.subject, lost.actor) == (worker.id, f"recovery:{worker.id}")
    assert len(lab.queue.workers()) == 1
    parent.send_signal(signal.SIGTERM)
    code, said = lab.ended(parent)
    assert code == 0
    assert said.startswith(f"queuectl: worker {worker.id} (process {worker.pid}) was killed, perhaps for memory")
    assert said.endswith("; starting another\n")


def test_a_time_limit_stops_workers(lab: Lab) -> None:
    began = time.monotonic()

    assert lab.ended(lab.start(seconds=0.7, count=2), 10) == (0, "")

    assert time.monotonic() - began >= 0.7
    assert reasons(lab) == ["time is up"] * 2


def test_detached_workers_outlive_their_starter(lab: Lab) -> None:
    starter = lab.start(detach=True, count=2)
    code, said = lab.ended(starter, 10)
    assert code == 0
    assert "run in the background" in said
    lab.up(2)

    id = lab.queue.enqueue("cut -d ' ' -f 6 /proc/$PPID/stat; true")

    lab.queue.wait(id, timeout=10)
    log = lab.folder / "q.db.d" / "logs" / "worker.log"
    assert log.stat().st_mode & 0o777 == 0o600
    parents = [pid for pid in lab.ours() if os.getsid(pid) == pid]
    assert len(parents) == 1
    assert not os.path.exists(f"/proc/{parents[0]}/fd/9") or os.readlink(f"/proc/{parents[0]}/fd/9")[:4] != "pipe"
    lab.queue.stop_workers(timeout=10)
    lab.until(lambda: all(gone(pid) for pid in parents))
    assert log.read_text() == ""


@pytest.mark.parametrize(
    "options, code", [('{{"type": "supervisor", "worker": {}, "count": 1}}', 4), ("{}", CANT_WRITE)]
)
def test_unusable_database_is_exit_code_4(lab: Lab, tmp_path: Path, options: str, code: int) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"SQLite format 3\0 is what it says, but it is not" * 100)

    main = "import sys; from queuectl.workers.__main__ import main; sys.exit(main(sys.argv[1:]))"
    process = lab.python(main, options.format(f'{{"type": "worker", "url": "{other}", "worker": "w"}}'))

    status, said = lab.ended(process)
    assert status == code
    assert said.startswith(f"queuectl: {other}")
    assert len(said.splitlines()) == 1


def test_a_detached_start_that_fails_says_so(lab: Lab) -> None:
    logs = lab.folder / "logs"
    logs.write_text("a file where a folder should be")

    code, said = lab.ended(lab.start(detach=True, logs=str(logs / "deeper")), 10)

    assert code != 0
    assert said


def test_supervisor_abandons_a_recovery_that_cannot_write(tmp_path: Path) -> None:
    """Without workers, and with a full disk, it would try for ever: whoever can write again recovers them."""

    class Failing:
        next_tick, failing, left = 0.0, True, False

        def tick(self, now: float) -> bool:
            return False

        def abandon(self) -> None:
            self.left = True

    with Queue(tmp_path / "q.db") as queue:
        supervisor, failing = Supervisor(SupervisorOptions(WorkerOptions(queue.url, "", 1), 0), queue), Failing()
        supervisor._rescuers.append(failing)  # type: ignore[arg-type]
        supervisor._code = 4
        assert supervisor.run() == 4
    assert failing.left
