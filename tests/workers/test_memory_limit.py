"""The memory limit of an attempt is kept, by what, and told (R47).

RLIMIT_AS is tried by real commands everywhere, control groups by real ones where this process may make any. What a
worker does with the files of control groups is tried on a fake of them, which limits nothing.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from projections.attempts import Attempt
from queuectl.clock import monotonic
from queuectl.decisions import Outcome
from queuectl.events import encode
from queuectl.host import cgroup
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.chores.memory_groups import MemoryGroups
from queuectl.workers.execution import memory
from queuectl.workers.execution.memory import MemoryLimit
from queuectl.workers.recovery import rescuer
from queuectl.workers.start_options import WorkerOptions
from tests.support.fake_cgroups import FakeCgroups
from tests.support.lab import Fifo, Lab, gone

ALONE = """
import sys
from pathlib import Path
from queuectl.host import cgroup
from queuectl.workers.__main__ import main
from tests.support.fake_cgroups import FakeCgroups
cgroup.OWN = "/none"
if sys.argv[2]:
    FakeCgroups(Path(sys.argv[2])).install()
sys.exit(main(sys.argv[1:2]))
"""
"""A worker that finds no control group, or those of a fake."""

LIMIT = 64 << 20
HUNGRY = (sys.executable, "-c", "held = bytearray(200 << 20); print('had it')")
MODEST = (sys.executable, "-c", "held = bytearray(10 << 20); print('had it')")

can_group = pytest.mark.skipif(
    cgroup.delegated(memory.RESTING) is None, reason="no control group with memory is delegated to these tests"
)


def alone(lab: Lab, fake: Path | str = "") -> subprocess.Popen[str]:
    """A worker process without a parent, which ends when nothing is left to do."""
    options = WorkerOptions(lab.database, "alone", drain=True)
    return lab.python(ALONE, encode(options).decode(), str(fake))


def ran(lab: Lab, *words: str | tuple[str, ...], fake: Path | str = "", limit: int | None = LIMIT) -> list[Attempt]:
    """The attempts of jobs with these commands, which have one each."""
    ids = [lab.queue.enqueue(each, memory_limit=limit, max_retries=0, cwd=str(lab.folder)) for each in words]
    assert lab.ended(alone(lab, fake))[0] == 0
    assert lab.queue.check() == []
    return [attempt for id in ids for attempt in lab.queue.attempts(id)]


def said(lab: Lab, id: str) -> str:
    """What the job's latest attempt has printed."""
    return Path(lab.queue.output(id)).read_text()


# -- RLIMIT_AS -------------------------------------------------------------------------------------------------------


def test_a_hungry_process_is_refused_its_memory(lab: Lab) -> None:
    hungry, modest = ran(lab, HUNGRY, MODEST)
    assert (hungry.outcome, hungry.cause, hungry.exit_code, hungry.limited_by) == ("failed", "exit", 1, "rlimit")
    assert "MemoryError" in said(lab, hungry.job)
    assert (modest.outcome, modest.limited_by) == ("completed", "rlimit")
    [worker] = lab.queue.workers(all=True)
    assert worker.cgroup is None


def test_without_a_limit_nothing_is_refused(lab: Lab) -> None:
    [attempt] = ran(lab, HUNGRY, limit=None)
    assert (attempt.outcome, attempt.limited_by) == ("completed", None)


def test_each_process_has_the_limit_from_the_start(lab: Lab) -> None:
    line = "ulimit -v; ulimit -H -v; sh -c 'ulimit -v'"
    for attempt in ran(lab, line, ("sh", "-c", line)):
        assert said(lab, attempt.job).split() == ["65536"] * 3


def test_a_lower_limit_of_the_worker_stays(lab: Lab) -> None:
    id = lab.queue.enqueue("ulimit -v", memory_limit=1 << 50, max_retries=0)
    worker = subprocess.run(
        ["sh", "-c", 'ulimit -v 4000000; exec "$@"', "sh", sys.executable, "-c", ALONE,
         encode(WorkerOptions(lab.database, "alone", drain=True)).decode(), ""],
        check=True, timeout=50, capture_output=True, text=True,
    )  # fmt: skip
    assert (worker.stdout, worker.stderr) == ("", "")
    assert said(lab, id) in ("4000000\n", f"{1 << 40}\n"), "which a privileged worker may lift"


def test_a_limited_start_fails_as_any_other(lab: Lab) -> None:
    (lab.folder / "plain").touch()
    attempts = ran(lab, ("no-such-program",), ("./no-such-program",), ("./plain",))
    assert [(each.cause, each.exit_code) for each in attempts] == [("spawn", 127), ("spawn", 127), ("spawn", 126)]
    assert {each.limited_by for each in attempts} == {None}


# -- control groups, real --------------------------------------------------------------------------------------------


@can_group
def test_what_a_job_uses_together_is_limited(lab: Lab) -> None:
    each = f"{sys.executable} -c 'import time; held = bytearray(40 << 20); time.sleep(20)'"
    line = f"{each} & setsid {each} & wait"
    ids = [lab.queue.enqueue(what, memory_limit=LIMIT, max_retries=0) for what in (HUNGRY, line, MODEST)]
    lab.drain(slots=3)
    hungry, together, modest = (lab.queue.job(id) for id in ids)
    for job in (hungry, together):
        assert (job.state, job.cause, job.signal) == ("dead", "memory", signal.SIGKILL)
        assert job.error == "killed: it used more than its memory limit (64 MiB)"
    assert modest.state == "completed"
    assert {attempt.limited_by for id in ids for attempt in lab.queue.attempts(id)} == {"cgroup"}
    [worker] = lab.queue.workers(all=True)
    assert worker.cgroup is not None
    assert not list(Path(worker.cgroup).glob("queuectl-attempt-*"))


@can_group
def test_what_a_daemon_leaves_is_removed_with_it(lab: Lab, fifo: Fifo) -> None:
    daemon = f"setsid sh -c 'echo $$ > {fifo}; exec sleep 60' >/dev/null 2>&1 77>&- & read pid < {fifo}; echo $pid"
    id = lab.queue.enqueue(daemon, memory_limit=LIMIT, max_retries=0, keep_children=True)
    lab.start()
    lab.until(lambda: lab.queue.job(id).state == "completed")
    [worker] = lab.queue.workers()
    [group] = Path(worker.cgroup or "").glob("queuectl-attempt-*")
    os.kill(int(said(lab, id)), signal.SIGKILL)
    lab.until(lambda: not group.exists(), 90)


@can_group
def test_recovery_removes_a_group(lab: Lab, fifo: Fifo) -> None:
    lab.queue.enqueue(f"echo $$ > {fifo}; sleep 60", memory_limit=LIMIT, timeout=None, max_retries=0)
    lab.worker()
    pid = int(fifo.line())
    [worker] = lab.up()
    os.kill(worker.pid, signal.SIGKILL)
    [group] = Path(worker.cgroup or "").glob("queuectl-attempt-*")
    lab.until(lambda: not lab.queue.alive(worker.id))
    [job] = rescuer.recover(lab.queue).jobs
    assert (job.outcome, gone(pid), group.exists()) == ("failed", True, False)


# -- control groups, as files ----------------------------------------------------------------------------------------


@pytest.fixture
def groups(lab: Lab) -> FakeCgroups:
    groups = FakeCgroups(lab.folder / "cgroup")
    groups.make()
    groups.enter()
    return groups


IN_GROUP = "group=$(echo cgroup/queuectl-attempt-*); "
LEAVE = ": > $group/cgroup.procs; "
"""The fake does not notice that a process ends."""


def test_an_attempt_has_a_group_for_its_time(lab: Lab, groups: FakeCgroups) -> None:
    [attempt] = ran(lab, f"{IN_GROUP}cat $group/memory.max $group/cgroup.procs; {LEAVE}", fake=groups.root)
    assert said(lab, attempt.job).split() == ["671088640"]
    assert (attempt.outcome, attempt.limited_by) == ("completed", "cgroup")
    [worker] = lab.queue.workers(all=True)
    assert worker.cgroup == str(groups.root)
    assert [path.name for path in groups.root.iterdir() if path.is_dir()] == []


def test_a_kill_by_the_group_is_told(lab: Lab, groups: FakeCgroups) -> None:
    told = f"{IN_GROUP}echo 'oom_kill 1' > $group/memory.events; {LEAVE}"
    killed, failed, fine = ran(lab, f"{told}kill -9 $$", f"{told}exit 1", f"{told}exit 0", fake=groups.root)
    error = "killed: it used more than its memory limit (64 MiB)"
    assert (killed.cause, killed.signal, killed.error) == ("memory", signal.SIGKILL, error)
    assert (failed.cause, failed.exit_code, failed.error) == ("memory", 1, error)
    assert (fine.outcome, fine.cause, fine.error) == ("completed", None, None)


def test_a_timeout_stays_one(lab: Lab, groups: FakeCgroups) -> None:
    line = f"{IN_GROUP}echo 'oom_kill 1' > $group/memory.events; {LEAVE}sleep 60"
    id = lab.queue.enqueue(line, memory_limit=LIMIT, max_retries=0, timeout=0.5, cwd=str(lab.folder))
    assert lab.ended(alone(lab, groups.root))[0] == 0
    assert lab.queue.job(id).cause == "timeout"


def test_a_group_that_cannot_be_made_falls_back(lab: Lab, groups: FakeCgroups) -> None:
    (groups.root / "cgroup.type").touch()  # the root of a container
    (groups.root / "cgroup.procs").write_text("0\n")  # and a process of another in it, which can't be moved
    [attempt] = ran(lab, "ulimit -v", fake=groups.root)
    assert (said(lab, attempt.job), attempt.limited_by) == ("65536\n", "rlimit")
    [worker] = lab.queue.workers(all=True)
    assert worker.cgroup == str(groups.root), "it was to be tried"


def test_recovery_reads_and_removes_the_group(
    lab: Lab, groups: FakeCgroups, fifo: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"{IN_GROUP}echo 'oom_kill 1' > $group/memory.events; {LEAVE}echo $$ > {fifo}; sleep 60"
    id = lab.queue.enqueue(line, memory_limit=LIMIT, timeout=None, max_retries=0, cwd=str(lab.folder))
    worker = alone(lab, groups.root)
    pid = int(fifo.line())
    [group] = groups.root.glob("queuectl-attempt-*")
    os.kill(worker.pid, signal.SIGKILL)
    lab.until(lambda: not lab.queue.alive("alone"))
    groups.install(monkeypatch.setattr)
    [found] = rescuer.recover(lab.queue).jobs
    [attempt] = lab.queue.attempts(id)
    assert (attempt.cause, attempt.limited_by, found.error) == ("memory", "cgroup", attempt.error)
    assert attempt.error == "killed: it used more than its memory limit (64 MiB)"
    assert gone(pid)
    assert not group.exists()


def test_a_group_in_use_is_removed_later(groups: FakeCgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    groups.install(monkeypatch.setattr)
    chore = MemoryGroups(str(groups.root))
    path = chore.path("/q.db.d/output/1.2.abc")
    assert path == f"{groups.root}/queuectl-attempt-1.2.abc"
    limit = memory.limit(LIMIT, path)
    assert path is not None
    assert limit == MemoryLimit(LIMIT, path)
    assert limit is not None
    procs = Path(path, "cgroup.procs")
    procs.write_text("101\n")
    now = monotonic()
    chore.ended(limit, now)
    assert now < chore.due < now + 1
    chore.run(chore.due)
    assert procs.exists()
    pauses: list[float] = []
    for _ in range(20):
        chore.run(now)
        pauses.append(chore.due - now)
    assert pauses == sorted(pauses)
    assert 59 < pauses[-1] < 61, "less and less often, but each minute"
    procs.write_text("")
    chore.run(chore.due)
    assert (procs.exists(), chore.due) == (False, NEVER)


def test_an_outcome_is_judged_by_the_count(groups: FakeCgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    groups.install(monkeypatch.setattr)
    limit = memory.limit(LIMIT, str(groups.root / "one"))
    assert limit is not None
    lost, done = Outcome(cause="lost"), Outcome(exit_code=0)
    assert limit.judged(lost) == lost
    (groups.root / "one" / "memory.events").write_text("oom_kill 2\n")
    assert limit.judged(lost).cause == "memory"
    assert limit.judged(done) == done
    assert MemoryLimit(LIMIT).judged(lost) == lost
    assert memory.limit(LIMIT, str(groups.root / "one")) == MemoryLimit(LIMIT), "there is one of that name"
    assert memory.limit(None, str(groups.root / "two")) is None
