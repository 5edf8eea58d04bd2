"""How a command ended is known though its worker died before it could say so (R18)."""

import os
import signal
import time
from pathlib import Path

import pytest

from queuectl.workers.recovery import attempt_table, rescuer
from queuectl.workers.recovery.attempt_table import AttemptTable, TableEntry
from tests.support.lab import Lab


def test_attempt_table_outlives_its_worker(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    mine = AttemptTable(str(path), 3)
    places = [mine.add(100 + n, n, 7, 5_000 + n) for n in range(3)]
    assert places[1] is not None
    mine.set_end(places[1], 250_000, -9)
    assert TableEntry(101, 1, 7, 5_001, 250_000, -9) in attempt_table.read(str(path))
    mine.remove(places[1])
    assert sorted(entry.pid for entry in attempt_table.read(str(path))) == [100, 102]
    mine.add(103, 3, 8, 6_000)
    assert TableEntry(103, 3, 8, 6_000, 0, attempt_table.RUNNING) in attempt_table.read(str(path))
    assert attempt_table.read(str(tmp_path / "none")) == []


def test_full_attempt_table_takes_no_more_until_reports(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    mine = AttemptTable(str(path), 1)
    places = [mine.add(100, n, 1, 0) for n in range(attempt_table.UNREPORTED + 1)]
    assert None not in places
    assert mine.add(100, 500, 1, 0) is None
    assert places[0] is not None
    mine.remove(places[0])
    assert mine.add(100, 500, 1, 0) is not None


def test_kill_reason_is_kept_in_the_lock_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    assert attempt_table.read_kill_reason(str(path)) is None
    mine = AttemptTable(str(path), 1)
    mine.add(100, 1, 7, 5_000)
    assert attempt_table.read_kill_reason(str(path)) is None
    attempt_table.write_kill_reason(str(path), "was killed: it had said nothing for 15 s")
    assert attempt_table.read_kill_reason(str(path)) == "was killed: it had said nothing for 15 s"
    assert [entry.pid for entry in attempt_table.read(str(path))] == [100]


def test_a_damaged_lock_file_tells_nothing(lab: Lab) -> None:
    """As one of a version that had another form; recovery goes on."""
    id = lab.queue.enqueue("touch began; sleep 60", cwd=str(lab.folder), max_retries=0)
    worker = lab.worker()
    lab.until((lab.folder / "began").exists)
    worker.kill()
    worker.wait()
    Path(lab.queue.home.workers, "alone").write_bytes(bytes(range(255, 0, -1)) * 20)
    [job] = rescuer.recover(lab.queue).jobs
    assert (job.job, job.outcome, lab.queue.job(id).state) == (id, "failed", "dead")


@pytest.mark.parametrize("command, state, type", [("exit 0", "completed", "completed"), ("exit 7", "dead", "failed")])
def test_command_ended_under_stopped_worker_is_not_lost(
    lab: Lab, tmp_path: Path, command: str, state: str, type: str
) -> None:
    """The worker is stopped, its command ends, the worker is killed: the parent reaps the command and knows."""
    id = lab.queue.enqueue(f"echo up >> said; while ! test -e go; do sleep 0.02; done; {command}", cwd=str(tmp_path),
                           max_retries=0)  # fmt: skip
    parent = lab.start()
    lab.until(lambda: (tmp_path / "said").exists())
    worker = lab.queue.workers()[0].pid
    job = next(int(pid) for pid in os.listdir("/proc") if pid.isdecimal() and parent_of(int(pid)) == worker)
    os.kill(worker, signal.SIGSTOP)
    (tmp_path / "go").touch()
    lab.until(lambda: state_of(job) == "Z")
    os.kill(worker, signal.SIGKILL)

    lab.queue.wait(id, timeout=20)

    assert lab.queue.job(id).state == state
    last = list(lab.queue.events(job=id, type=type))
    assert len(last) == 1
    assert last[0].actor.startswith("recovery:")
    assert lab.queue.job(id).exit_code == int(command.split()[1])
    parent.send_signal(signal.SIGTERM)
    assert lab.ended(parent)[0] == 0


@pytest.mark.parametrize("command, state", [("exit 0", "completed"), ("exit 7", "dead"), ("kill -KILL $$", "dead")])
def test_unreported_outcome_is_not_lost(lab: Lab, command: str, state: str) -> None:
    """Others keep the database while the command ends; then the worker and its parent are killed."""
    id = lab.queue.enqueue(f"touch began; while ! test -e go; do sleep 0.02; done; {command}", cwd=str(lab.folder),
                           max_retries=0)  # fmt: skip
    parent = lab.start()
    lab.until((lab.folder / "began").exists)
    [worker] = lab.queue.workers()
    path = f"{lab.queue.home.workers}/{worker.id}"
    with lab.queue.engine.transaction():
        (lab.folder / "go").touch()
        while all(entry.code == attempt_table.RUNNING for entry in attempt_table.read(path)):
            time.sleep(0.01)
        parent.kill()
        os.kill(worker.pid, signal.SIGKILL)

    lab.until(lambda: not lab.queue.alive(worker.id))
    rescuer.recover(lab.queue)

    job = lab.queue.job(id)
    assert job.state == state
    assert len(lab.queue.attempts(id)) == 1
    assert lab.queue.attempts(id)[0].run_seconds or 0 > 0
    if "KILL" in command:
        assert (job.signal, job.cause) == (9, "signal")
        assert (job.error or "").startswith("killed, perhaps for memory; its worker ")
    else:
        assert job.exit_code == int(command.split()[1])


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
