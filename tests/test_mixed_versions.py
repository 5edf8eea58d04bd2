"""Programs of two versions on one queue: whichever is newer goes on, and nothing that the older one runs is lost.

`data/versions` holds the sources of versions whose tables were others, by the day on which they were current.
"""

import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import later_version
from tests.support.paths import ROOT
from tests.support.shell import Shell

KEPT = sorted((ROOT / "tests" / "data" / "versions").glob("*.tar.xz"))
WAITS = "until [ -e go ]; do sleep 0.05; done; echo through"
"""A command that runs until the test lets it end."""


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The folder of a later version."""
    return later_version.make(tmp_path / "newer")


@pytest.fixture(params=KEPT, ids=lambda path: path.name.removesuffix(".tar.xz"))
def older(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The folder of an earlier version."""
    folder = tmp_path / "older"
    with tarfile.open(request.param) as kept:
        kept.extractall(folder, filter="data")
    return folder


def program(queuectl: Shell, folder: Path) -> Shell:
    """The command of another version on the same queue."""
    other = Shell(queuectl.folder)
    other.env = queuectl.env | {"PYTHONPATH": str(folder)}
    return other


class Worker:
    """`queuectl worker start` of one version, with one job that runs and one that waits."""

    def __init__(self, program: Shell) -> None:
        self._folder = program.folder
        for command in (WAITS, "echo second"):
            program.in_new_process("enqueue", "--max-retries", "1", command).ok()
        self.process = program.start("worker", "start")
        while program.in_new_process("status", "--json").ok().json["processing"] != 1:
            assert self.process.poll() is None

    def let_go(self) -> None:
        """Let its job end."""
        (self._folder / "go").touch()

    def ended(self) -> tuple[int, str]:
        """Wait for its end: exit code and what it said."""
        _, said = self.process.communicate(timeout=50)
        return self.process.returncode, said.decode()


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    started: list[Worker] = []
    yield started
    for each in started:
        each.let_go()
        each.process.terminate()
        each.ended()


def attempts(program: Shell, job: str) -> list[tuple[str | None, int | None]]:
    """Of each attempt the cause of its failure and its exit code."""
    found = program.in_new_process("inspect", job, "--json").ok().json["attempts"]
    return [(each["cause"], each["exit_code"]) for each in found]


# -- a worker of this version, and a later command ---------------------------------------------------------------------


def test_an_outdated_worker_lets_its_job_end(queuectl: Shell, newer: Path, workers: list[Worker]) -> None:
    later, worker = program(queuectl, newer), Worker(queuectl)
    workers.append(worker)
    assert later.in_new_process("status").ok().json["processing"] == 1
    journal = queuectl.folder / "q.db.d" / "logs" / "worker.jsonl"
    while "claims no more, ends with what it runs" not in journal.read_text():
        assert worker.process.poll() is None
    assert later.in_new_process("status").ok().json["pending"] == 1
    worker.let_go()
    code, said = worker.ended()
    assert code == 4
    assert "claims no more, ends with what it runs" in said
    later.in_new_process("worker", "start", "--drain").ok()
    assert attempts(later, "1") == attempts(later, "2") == [(None, 0)]
    assert later.in_new_process("logs", "1").ok().out == "through\n"
    assert later.in_new_process("replay", "--check").ok()


def test_an_outdated_workers_job_fails_as_it_does(queuectl: Shell, newer: Path, workers: list[Worker]) -> None:
    later = program(queuectl, newer)
    queuectl.in_new_process("enqueue", "--max-retries", "0", f"{WAITS}; exit 7").ok()
    worker = Worker(queuectl)
    workers.append(worker)
    later.in_new_process("status").ok()
    worker.let_go()
    assert worker.ended()[0] == 4
    later.in_new_process("recover").ok()
    assert attempts(later, "1") == [("exit", 7)]
    assert later.in_new_process("status").ok().json["dead"] == 1


def test_a_second_order_interrupts_an_outdated_worker(queuectl: Shell, newer: Path, workers: list[Worker]) -> None:
    later, worker = program(queuectl, newer), Worker(queuectl)
    workers.append(worker)
    later.in_new_process("status").ok()
    worker.process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        worker.process.wait(8)  # a heartbeat is due meanwhile, at which it sees that it is outdated
    worker.process.terminate()
    assert worker.ended()[0] == 4
    later.in_new_process("recover").ok()
    job = later.in_new_process("inspect", "1", "--json").ok().json
    assert (job["state"], [each["outcome"] for each in job["attempts"]]) == ("pending", ["interrupted"])


@pytest.mark.timeout(180)
def test_an_outdated_worker_is_not_taken_for_hung(queuectl: Shell, newer: Path, workers: list[Worker]) -> None:
    later, worker = program(queuectl, newer), Worker(queuectl)
    workers.append(worker)
    later.in_new_process("worker", "start", "--for", "25s").ok()  # an observer loses patience after 15 to 20 s
    assert worker.process.poll() is None
    assert attempts(later, "2") == [(None, 0)]
    worker.let_go()
    assert worker.ended()[0] == 4
    later.in_new_process("recover").ok()
    assert attempts(later, "1") == [(None, 0)]


def test_a_log_takes_the_way_back(queuectl: Shell, newer: Path) -> None:
    later = program(queuectl, newer)
    later.in_new_process("run", "echo there").ok()
    assert "upgraded by a newer queuectl" in queuectl.in_new_process("status").refused(4)
    later.in_new_process("export", "-o", "log.ndjson").ok()
    queuectl.in_new_process("import", "--db", "old.db", "log.ndjson").ok()
    assert queuectl.in_new_process("list", "--db", "old.db", "--json").ok().json["state"] == "completed"
    assert queuectl.in_new_process("run", "--db", "old.db", "echo back").ok().out == "back\n"


# -- a worker of an earlier version, and a command of this one ---------------------------------------------------------


def test_an_earlier_workers_jobs_are_run_again(queuectl: Shell, older: Path, workers: list[Worker]) -> None:
    """What these versions run is ended once they notice, or found and ended by recovery."""
    worker = Worker(program(queuectl, older))
    workers.append(worker)
    assert queuectl.in_new_process("status").ok().json["processing"] == 1
    code, said = worker.ended()
    assert code == 4
    assert "upgraded by a newer queuectl (projection 'jobs'): restart" in said
    worker.let_go()
    queuectl.in_new_process("worker", "start", "--drain").ok()
    assert queuectl.in_new_process("status").ok().json["completed"] == 2
    assert attempts(queuectl, "2") == [(None, 0)]
    assert attempts(queuectl, "1")[-1] == (None, 0)
    assert queuectl.in_new_process("doctor").ok()


def test_an_earlier_command_changes_nothing_later(queuectl: Shell, older: Path) -> None:
    earlier = program(queuectl, older)
    earlier.in_new_process("enqueue", "true").ok()
    queuectl.in_new_process("enqueue", "true").ok()
    seq = queuectl.in_new_process("status").ok().json["as_of"]
    for words in (["enqueue", "true"], ["status"], ["list"], ["worker", "start", "--drain"]):
        assert re.search("upgraded by a newer queuectl|upgrade it", earlier.in_new_process(*words).refused(4))
    assert queuectl.in_new_process("status").ok().json["as_of"] == seq


def test_each_state_outlives_an_upgrade(queuectl: Shell, older: Path) -> None:
    earlier = program(queuectl, older)
    for words in (
        ["true"], ["--max-retries", "0", "exit 3"], ["--delay", "1d", "echo later"], ["--priority", "-1", "echo last"],
        ["--max-retries", "5", "exit 4"],
    ):  # fmt: skip
        earlier.in_new_process("enqueue", *words).ok()
    earlier.in_new_process("worker", "start", "--for", "2s").ok()
    earlier.in_new_process("enqueue", "echo cancelled").ok()
    earlier.in_new_process("cancel", "6").ok()
    earlier.in_new_process("enqueue", "echo waits").ok()
    before = {job["id"]: (job["state"], job["command"]) for job in earlier.in_new_process("list", "--json").ok().ndjson}
    events = earlier.in_new_process("events", "--json").ok().ndjson
    assert {state for state, _ in before.values()} == {"completed", "dead", "pending", "failed", "cancelled"}
    found = {job["id"]: (job["state"], job["command"]) for job in queuectl.in_new_process("list", "--json").ok().ndjson}
    assert found == before
    assert queuectl.in_new_process("events", "--json").ok().ndjson == events
    assert queuectl.in_new_process("replay", "--check").ok()
    queuectl.in_new_process("dlq", "retry", "2").ok()
    queuectl.in_new_process("worker", "start", "--for", "1s").ok()
    assert queuectl.in_new_process("logs", "7").ok().out == "waits\n"
    assert len(attempts(queuectl, "2")) == 2
    assert queuectl.in_new_process("doctor").ok()
