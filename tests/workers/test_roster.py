"""How a command ended is known though its worker died before it could say so (R18)."""

import os
import signal
from pathlib import Path

import pytest

from queuectl.workers import roster
from queuectl.workers.roster import Entry, Roster
from tests.workers.conftest import Lab


def test_a_roster_outlives_its_worker(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    mine = Roster(str(path), 3)
    places = [mine.enter(100 + n, n, 7, 5_000 + n) for n in range(3)]
    mine.leave(places[1])
    assert sorted(entry.pid for entry in roster.read(str(path))) == [100, 102]
    mine.enter(103, 3, 8, 6_000)
    assert Entry(103, 3, 8, 6_000) in roster.read(str(path))
    assert roster.read(str(tmp_path / "none")) == []


@pytest.mark.parametrize("command, state, type", [("exit 0", "completed", "completed"), ("exit 7", "dead", "failed")])
def test_a_command_that_ended_while_its_worker_was_stopped_is_not_lost(
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


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
