"""Finding the processes of an attempt from outside, and ending them and no others."""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuectl import clock
from queuectl.host import flock, processes, procfs
from queuectl.runnable import Shell
from queuectl.workers.execution import traces
from queuectl.workers.execution.attempt import AttemptProcess, Start, launch
from queuectl.workers.recovery.termination import Survivors, Termination
from tests.support.termination import end, terminate

TAG = f"{os.getpid():x}cafe:job1:7"  # our own: this test may run twice at a time
Leave = Callable[[str], int]


class Scene:
    """An attempt whose worker is gone: its main process has ended, or lives on; here is one process of it."""

    def __init__(self, folder: Path) -> None:
        self.output = str(folder / "output")
        self._ready = str(folder / "ready")
        self._script = folder / "detached.py"
        self._script.write_text(
            "import os, sys, time\n"
            "if 'session' in sys.argv: os.setsid()\n"
            "if 'close' in sys.argv: os.closerange(0, 100)\n"
            f"with open({self._ready!r}, 'w') as ready: print(os.getpid(), file=ready)\n"
            "time.sleep(1000)\n"
        )
        os.mkfifo(self._ready)
        self._fd = os.open(self._ready, os.O_RDWR)
        self._attempt: AttemptProcess | None = None
        self._pidfds: list[int] = []

    def begin(self, command: str) -> AttemptProcess:
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PY": sys.executable,
            "DETACHED": str(self._script),
            "READY": self._ready,
            traces.TAG: TAG,
        }
        self._attempt = launch(Start(run=Shell(command), output=self.output, env=env, keep_children=True))
        self._attempt.close_output()
        return self._attempt

    def pid(self) -> int:
        """The pid of the next process that writes its own."""
        assert select.select([self._fd], [], [], 10)[0], "the command did not come so far"
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self._fd, 1)
        self._pidfds.append(os.pidfd_open(int(line)))
        return int(line)

    def leave(self, command: str) -> int:
        """Let the main process end, leaving one process behind."""
        attempt = self.begin(command)
        pid = self.pid()
        assert select.select([attempt], [], [], 10)[0]
        attempt.collect(clock.monotonic())
        assert attempt.outcome is not None
        return pid

    def has_ended(self, seconds: float = 0) -> bool:
        """Whether the process named last has ended."""
        return bool(select.select([self._pidfds[-1]], [], [], seconds)[0])

    def close(self) -> None:
        for pidfd in self._pidfds:
            if not select.select([pidfd], [], [], 0)[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        if self._attempt is not None and self._attempt.outcome is None:
            self._attempt.end("lost", clock.monotonic(), grace=0)
            while self._attempt.collect(clock.monotonic()) is None:
                select.select([self._attempt], [], [], 1)
        if os.path.exists(self.output):
            terminate(self.output, TAG, soon(), grace=0)
        os.close(self._fd)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def soon(seconds: float = 10) -> float:
    return clock.monotonic() + seconds


# The table of R18. A process says that it is there by `echo $$ >$READY`, or by itself where it is Python.
SAY = "echo $$ >$READY; exec sleep 1000"


@pytest.mark.parametrize(
    "command, by_lock, by_file, by_tag",
    [
        (f"sh -c '{SAY}' &", True, True, True),
        (f"sh -c '{SAY}' >/dev/null 2>&1 &", True, True, True),
        (f"setsid nohup sh -c '{SAY}' >/dev/null 2>&1 &", True, True, True),
        (f"setsid sh -c '{SAY}' 77>&- &", True, True, True),
        (f"env -i READY=$READY sh -c '{SAY}' 77>&- &", True, True, False),
        (f"setsid env -i READY=$READY sh -c '{SAY}' >/dev/null 2>&1 &", True, True, False),
        ("$PY $DETACHED close &", False, False, True),
        ("$PY $DETACHED close session &", False, False, True),
    ],
)
def test_remaining_processes_are_found_and_terminated(
    scene: Scene, command: str, by_lock: bool, by_file: bool, by_tag: bool
) -> None:
    pid = scene.leave(command)
    assert bool(flock.locked(scene.output)) is by_lock
    assert (pid in processes.writers(scene.output)) is by_file
    assert (pid in traces.by_tag(TAG)) is by_tag
    assert not terminate(scene.output, TAG, soon())
    assert scene.has_ended()
    assert flock.locked(scene.output) is False


def test_the_subreaper_finds_processes_without_lock_or_tag() -> None:
    program = """
import os, select, sys
from queuectl.host import processes, subreaper
subreaper.become_subreaper()
ready, say = os.pipe()
command = "env -i setsid sh -c 'echo $$; exec >/dev/null sleep 1000' & exit 3"
child = os.posix_spawn("/bin/sh", ["sh", "-c", command], {}, file_actions=[(os.POSIX_SPAWN_DUP2, say, 1)])
orphan = int(os.read(ready, 20))
select.select([os.pidfd_open(child)], [], [])
assert sorted(subreaper.children()) == sorted([child, orphan]), subreaper.children()
assert subreaper.reap({child}) == []
os.kill(orphan, 9)
select.select([os.pidfd_open(orphan)], [], [])
assert processes.state(orphan) == "Z"
assert subreaper.reap({child}) == [(orphan, 9)]
assert processes.state(orphan) is None
assert subreaper.reap(()) == [(child, 3 << 8)]
assert subreaper.reap(()) == []
"""
    env = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ.get("PATH", os.defpath)}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, env=env)


def test_a_process_in_a_tagged_session_is_found(scene: Scene) -> None:
    attempt = scene.begin("env -i $PY $DETACHED close & wait")
    pid = scene.pid()
    assert pid not in traces.by_tag(TAG)
    assert pid not in processes.writers(scene.output)
    assert not terminate(scene.output, TAG, soon())
    assert scene.has_ended()
    assert attempt.collect(clock.monotonic()) is not None  # the tagged one too


def test_termination_follows_processes_started_while_it_works(scene: Scene, tmp_path: Path) -> None:
    heir = tmp_path / "heir"
    heir.write_text("echo $$ >$READY; echo >$READY.2; exec sleep 1000")
    os.mkfifo(tmp_path / "ready.2")  # whoever is ended waits there until its heir lives
    scene.begin(f"trap 'setsid sh {heir} & read x <$READY.2; exit' TERM; echo $$ >$READY; while :; do sleep 0.05; done")
    scene.pid()
    assert not terminate(scene.output, TAG, soon())
    scene.pid()
    assert scene.has_ended()


def test_a_process_that_ignores_sigterm_is_killed(scene: Scene) -> None:
    scene.begin("trap '' TERM; echo $$ >$READY; while :; do sleep 1000; done")
    pid = scene.pid()
    left = terminate(scene.output, TAG, soon(0.3), grace=1000)
    assert pid in left.pids
    assert left
    assert not scene.has_ended()
    assert not terminate(scene.output, TAG, soon(), grace=0.1)
    assert scene.has_ended()


def test_a_termination_step_never_waits(scene: Scene) -> None:
    scene.begin("trap '' TERM; echo $$ >$READY; while :; do sleep 1000; done")
    scene.pid()
    termination = Termination(scene.output, TAG, grace=30.0)
    assert not termination.tick(1000.0)
    assert termination.left.pids
    assert not select.select([termination], [], [], 0.2)[0]
    assert not termination.tick(1029.0)
    assert not termination.tick(1030.0)
    now = 1030.0
    while not termination.tick(now):
        if termination.fileno() >= 0:
            assert select.select([termination], [], [], 10)[0]
        assert now < termination.next_tick <= now + 0.25
        now = termination.next_tick
    assert not termination.left
    assert termination.fileno() == -1
    termination.close()
    assert scene.has_ended()


def test_termination_ends_at_once_without_processes(tmp_path: Path) -> None:
    (tmp_path / "output").touch()
    assert not terminate(str(tmp_path / "output"), TAG, soon())
    assert not terminate(str(tmp_path / "missing"), TAG, soon())


def test_a_lock_without_a_known_holder_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "output"
    with path.open("w") as file:  # by us: a termination never ends its own process
        fcntl.flock(file, fcntl.LOCK_EX)
        assert terminate(str(path), TAG, soon(0.1)) == Survivors((), True)
        assert Survivors((), True)
    assert not terminate(str(path), TAG, soon())


def test_a_reader_of_the_output_is_not_terminated(scene: Scene) -> None:
    Path(scene.output).touch()
    reader = subprocess.Popen(["tail", "-f", scene.output], stdout=subprocess.DEVNULL)
    try:
        while not any(os.path.basename(scene.output) in link for link in links_of(reader.pid)):
            os.sched_yield()
        assert reader.pid not in processes.writers(scene.output)
        assert not terminate(scene.output, TAG, soon())
        assert reader.poll() is None
    finally:
        reader.kill()
        reader.wait()


def test_a_writer_of_another_file_is_not_found(scene: Scene, tmp_path: Path) -> None:
    Path(scene.output).touch()
    (tmp_path / "other").mkdir()
    with open(tmp_path / "other" / os.path.basename(scene.output), "w") as other:
        writer = subprocess.Popen(["sleep", "1000"], stdout=other)
    try:
        assert writer.pid not in processes.writers(scene.output)
    finally:
        writer.kill()
        writer.wait()


def links_of(pid: int) -> list[str]:
    found: list[str] = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def test_another_attempts_tag_does_not_match(scene: Scene) -> None:
    pid = scene.leave("$PY $DETACHED close &")
    for other in (TAG[:-1], TAG + "1", TAG[1:], ""):
        assert pid not in traces.by_tag(other)
    assert pid in traces.by_tag(TAG)


def test_a_lock_is_free_when_nobody_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "output"
    assert flock.locked(str(path)) is None
    with path.open("w") as file:
        assert flock.locked(str(path)) is False
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and asking has left no lock behind
        assert flock.locked(str(path))
    with path.open() as asker:
        fcntl.flock(asker, fcntl.LOCK_SH)  # somebody who asks at the same time
        assert flock.locked(str(path)) is False
    (tmp_path / "folder").mkdir()  # how recovery takes an attempt that never started
    assert flock.locked(str(tmp_path / "folder")) is False


def test_state_group_session_and_start_time_are_read(scene: Scene) -> None:
    attempt = scene.begin(f"sh -c '{SAY}' & exec sleep 1000")
    child = scene.pid()
    assert sorted(processes.group(attempt.pid)) == sorted([attempt.pid, child])
    assert processes.session(child) == attempt.pid
    assert processes.in_group(child, attempt.pid)
    assert not processes.in_group(child, child)
    began = processes.start_time(child)
    assert began is not None
    assert began == processes.start_time(child)
    assert began >= (processes.start_time(os.getpid()) or 0)
    assert processes.state(os.getpid()) == "R"
    os.kill(attempt.pid, signal.SIGKILL)
    assert select.select([attempt], [], [], 10)[0]
    assert processes.state(attempt.pid) == "Z"
    assert processes.group(attempt.pid) == [child]  # zombies count as gone
    assert processes.session(attempt.pid) == 0


def test_descendants_are_found_without_lists_too(monkeypatch: pytest.MonkeyPatch) -> None:
    script = """(sh -c 'sh -c "echo \\$\\$; sleep 60" & wait' & wait)"""
    top = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert top.stdout is not None
        last = int(top.stdout.readline())
        assert processes.state(last) is not None
        assert last in procfs.descendants(top.pid)
        monkeypatch.setattr(os.path, "exists", lambda path: False)
        assert last in procfs.descendants(top.pid)
    finally:
        os.killpg(top.pid, signal.SIGKILL)
        top.communicate()


def test_a_process_may_have_any_name(tmp_path: Path) -> None:
    odd = tmp_path / ") Z 1 1"
    odd.symlink_to(shutil.which("sleep") or "/bin/sleep")
    child = subprocess.Popen([odd, "1000"])
    try:
        assert processes.session(child.pid) == os.getsid(0)
        assert processes.in_group(child.pid, os.getpgrp())
    finally:
        child.kill()
        child.wait()


def test_nothing_is_read_of_an_unused_pid(scene: Scene) -> None:
    attempt = scene.begin("exit 0")
    select.select([attempt], [], [], 10)
    assert processes.is_taken(attempt.pid)  # a zombie still has it
    attempt.collect(clock.monotonic())
    gone = attempt.pid
    assert not processes.is_taken(gone)
    assert (processes.state(gone), processes.start_time(gone), processes.session(gone)) == (None, None, 0)
    assert not traces.is_tagged(gone, TAG)
    assert not processes.is_writer(gone, scene.output)


def test_end_lets_a_process_handle_sigterm(scene: Scene) -> None:
    scene.begin("trap 'exit 7' TERM; echo $$ >$READY; while :; do sleep 0.01; done")
    pid = scene.pid()
    assert end([pid], 1000, lambda found: found == pid) == []
    attempt = scene._attempt
    assert attempt is not None
    attempt.collect(clock.monotonic())
    assert attempt.outcome is not None
    assert attempt.outcome.exit_code == 7


def test_end_kills_a_process_that_ignores_sigterm(scene: Scene) -> None:
    scene.begin("trap '' TERM; echo $$ >$READY; while :; do sleep 1000; done")
    pid = scene.pid()
    assert end([pid], 0.1, lambda _: True) == []
    assert scene.has_ended()


def test_end_returns_processes_that_did_not_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.begin(SAY)
    pid = scene.pid()
    with monkeypatch.context() as patched:
        patched.setattr(signal, "pidfd_send_signal", lambda fd, number: None)
        assert end([pid], 0.05, lambda _: True, patience=0.05) == [pid]


def test_end_spares_unrelated_processes_and_its_own_ancestors(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.begin(SAY)
    pid = scene.pid()
    neighbour = subprocess.Popen(["sleep", "1000"])  # in our own process group
    sent: list[int] = []
    before = os.listdir("/proc/self/fd")
    try:
        with monkeypatch.context() as patched:
            patched.setattr(signal, "pidfd_send_signal", lambda fd, number: sent.append(number))
            assert end([pid], 0, lambda _: False, patience=0) == []  # not any longer what we looked for
            for above in (1, os.getpid(), neighbour.pid, 4_194_305):  # the last is a pid that Linux never gives
                assert end([above], 0, lambda _: True, patience=0) == []
            patched.setattr(os, "getppid", lambda: pid)
            assert end([pid], 0, lambda _: True, patience=0) == []
        assert sent == []
        assert os.listdir("/proc/self/fd") == before
    finally:
        neighbour.kill()
        neighbour.wait()


def test_boot_namespace_and_machine_have_names() -> None:
    assert len(procfs.boot_id()) == 36
    assert procfs.pid_namespace() == os.readlink(f"/proc/{os.getpid()}/ns/pid")
    assert procfs.machine_id().isalnum() or procfs.machine_id() == ""
