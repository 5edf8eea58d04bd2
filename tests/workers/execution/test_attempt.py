"""What becomes of a command: its outcome, and how it and what it leaves behind are ended."""

import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from queuectl import clock
from queuectl.decisions import Outcome
from queuectl.host import processes
from queuectl.runnable import Argv, Shell
from queuectl.workers.execution.attempt import AttemptProcess, Start, launch

Begin = Callable[..., AttemptProcess]
BASE = {"PATH": os.environ.get("PATH", os.defpath)}


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Launch a shell command; whatever still runs at the end of the test is killed."""
    made: list[AttemptProcess] = []

    def begin(line: str = "", *, argv: tuple[str, ...] | None = None, **what: object) -> AttemptProcess:
        what.setdefault("env", {**BASE, "READY": str(tmp_path / "ready")})
        what.setdefault("output", str(tmp_path / f"output{len(made)}"))
        made.append(launch(Start(run=Shell(line) if argv is None else Argv(argv), **what)))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for attempt in made:
        if attempt.outcome is None:
            attempt.end("lost", clock.monotonic(), grace=0)
            finish(attempt)


class Ready:
    """A FIFO ($READY) on which a command says that it has come so far, and which pid it has."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR)

    def pid(self) -> int:
        assert select.select([self._fd], [], [], 10)[0], "the command did not come so far"
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self._fd, 1)
        return int(line)

    def pidfd(self) -> int:
        return os.pidfd_open(self.pid())


@pytest.fixture
def ready(tmp_path: Path) -> Ready:
    return Ready(tmp_path / "ready")


def finish(attempt: AttemptProcess, seconds: float = 10) -> Outcome:
    """What the worker's loop does, for one attempt."""
    until = clock.monotonic() + seconds
    while attempt.outcome is None:
        now = clock.monotonic()
        assert now < until, "the attempt does not end"
        due = min(until, attempt.next_deadline or until)
        if select.select([attempt], [], [], max(0, due - now))[0]:
            attempt.collect(clock.monotonic())
        else:
            attempt.tick(clock.monotonic())
    return attempt.outcome


def wait_until_ended(attempt: AttemptProcess) -> None:
    assert select.select([attempt], [], [], 10)[0]


def has_ended(pidfd: int, seconds: float = 0) -> bool:
    return bool(select.select([pidfd], [], [], seconds)[0])


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_the_exit_code_is_recorded(begin: Begin, code: int) -> None:
    before = clock.now()
    outcome = finish(begin(f"exit {code}"))
    cause = "exit" if code else None
    assert (outcome.cause, outcome.exit_code, outcome.signal, outcome.error) == (cause, code, None, None)
    assert before <= (outcome.started_at or 0) <= clock.now()
    assert 0 < (outcome.run_seconds or 0) < 10


def test_a_signal_by_somebody_else_is_recorded(begin: Begin) -> None:
    outcome = finish(begin("kill -SEGV $$"))
    assert (outcome.cause, outcome.exit_code, outcome.signal) == ("signal", None, signal.SIGSEGV)


def test_cpu_time_and_output_size_are_recorded(begin: Begin) -> None:
    outcome = finish(begin(argv=(sys.executable, "-c", "print(sum(range(3_000_000)))")))
    assert (outcome.cpu_seconds or 0) > 0.01
    assert outcome.output_bytes == len("4499998500000\n")


def test_peak_memory_is_only_the_commands_own(begin: Begin) -> None:
    import resource

    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    outcome = finish(begin(argv=(sys.executable, "-c", f"b'x' * {own + (64 << 20)}")))
    assert outcome.max_rss is not None
    assert own + (64 << 20) < outcome.max_rss < own + (1 << 30)
    assert finish(begin("true")).max_rss is None


def test_timeout_sends_term_first(begin: Begin, ready: Ready) -> None:
    attempt = begin("trap 'echo bye; exit 7' TERM; echo $$ >$READY; while :; do sleep 0.05; done", timeout=1000.0)
    ready.pid()
    deadline = attempt.next_deadline
    assert deadline is not None
    assert 990 < deadline - clock.monotonic() <= 1000
    attempt.tick(deadline - 1)
    assert attempt.next_deadline == deadline
    attempt.tick(deadline)
    assert attempt.next_deadline == deadline + attempt.start.grace
    outcome = finish(attempt)
    assert (outcome.cause, outcome.exit_code, outcome.signal) == ("timeout", 7, None)
    assert Path(attempt.start.output).read_text().endswith("bye\n")


def test_another_stop_signal_asks_the_group_first(begin: Begin, ready: Ready) -> None:
    line = "trap 'sleep 0.3; echo bye; exit 7' INT; echo $$ >$READY; while :; do sleep 0.05; done"
    attempt = begin(line, timeout=1000.0, stop_signal=signal.SIGINT)
    ready.pid()
    attempt.tick(clock.monotonic() + 1000)
    outcome = finish(attempt)
    assert (outcome.cause, outcome.exit_code, outcome.signal) == ("timeout", 7, None)
    assert Path(attempt.start.output).read_text().endswith("bye\n")


def test_a_further_call_sends_another_signal_once(begin: Begin, ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = begin("trap '' TERM HUP; echo $$ >$READY; while :; do sleep 1000; done", grace=1000.0)
    ready.pid()
    sent: list[int] = []
    kill = os.killpg
    monkeypatch.setattr(os, "killpg", lambda pid, number: (sent.append(number), kill(pid, number)))
    for number in (None, signal.SIGTERM, signal.SIGHUP, signal.SIGHUP, None, signal.SIGKILL):
        attempt.end("cancel", clock.monotonic(), number=number)
    wait_until_ended(attempt)
    assert [number for number in sent if number != signal.SIGCONT] == [15, 1, 9, 9]
    assert finish(attempt).signal == signal.SIGKILL


def test_leftovers_get_the_signal_of_a_later_cancel(begin: Begin, ready: Ready) -> None:
    command = (
        "mkfifo $READY.2; sh -c 'trap \"\" TERM; echo $$ >$READY; echo >$READY.2; sleep 1000; :' & read x <$READY.2"
    )
    attempt = begin(command, grace=1000.0)
    child = ready.pidfd()
    wait_until_ended(attempt)
    assert not attempt.collect(clock.monotonic())
    attempt.end("cancel", clock.monotonic(), number=signal.SIGHUP)
    assert has_ended(child, 10)
    assert finish(attempt).cause is None


def test_leftovers_that_ignore_the_stop_signal_get_term(begin: Begin, ready: Ready) -> None:
    """What a shell starts in the background ignores SIGINT."""
    attempt = begin("sh -c 'echo $$ >$READY; exec sleep 1000' & exit 4", grace=1000.0, stop_signal=signal.SIGINT)
    child = ready.pidfd()
    assert finish(attempt, 10).exit_code == 4
    assert has_ended(child)


def test_an_exit_code_may_be_success(begin: Begin) -> None:
    orphans: list[int] = []
    for code, cause, asked in ((3, None, 0), (0, None, 0), (4, "exit", 1)):
        orphans.clear()
        attempt = begin(f"exit {code}", ok_codes=(0, 3))
        attempt._orphans = lambda: orphans.append(1) or []  # pyright: ignore[reportPrivateUsage]
        outcome = finish(attempt)
        assert (outcome.cause, outcome.exit_code, len(orphans)) == (cause, code, asked), "a success keeps its orphans"


def test_command_that_ignores_term_is_killed(begin: Begin, ready: Ready) -> None:
    attempt = begin("trap '' TERM; echo $$ >$READY; while :; do sleep 1000; done", timeout=1000.0, grace=30.0)
    ready.pid()
    now = clock.monotonic() + 1000
    attempt.tick(now)
    assert attempt.next_deadline == pytest.approx(now + 30)
    assert not has_ended(attempt.pidfd, 0.2)
    attempt.tick(now + 29.9)
    assert not has_ended(attempt.pidfd, 0.1)
    attempt.tick(now + 30)
    outcome = finish(attempt)
    assert (outcome.cause, outcome.exit_code, outcome.signal) == ("timeout", None, signal.SIGKILL)


def test_a_real_timeout_is_kept(begin: Begin) -> None:
    outcome = finish(begin("sleep 1000", timeout=0.2))
    assert (outcome.cause, outcome.signal) == ("timeout", signal.SIGTERM)
    assert (outcome.run_seconds or 0) >= 0.2


def test_term_goes_to_the_whole_group(begin: Begin, ready: Ready) -> None:
    attempt = begin("trap : TERM; sh -c 'echo $$ >$READY; exec sleep 1000' & while :; do wait; sleep 0.1; done")
    child = ready.pidfd()
    attempt.end("cancel", clock.monotonic(), grace=1000)
    assert has_ended(child, 10)
    assert not has_ended(attempt.pidfd)
    attempt.end("cancel", clock.monotonic(), grace=0)
    assert finish(attempt).signal == signal.SIGKILL


def test_group_is_signalled_before_its_leader_is_reaped(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = begin("true")
    wait_until_ended(attempt)
    done: list[str] = []
    kill, wait = os.killpg, os.wait4
    monkeypatch.setattr(os, "killpg", lambda pid, number: (done.append(f"signal {number}"), kill(pid, number)))
    monkeypatch.setattr(os, "wait4", lambda pid, options: (done.append("reap"), wait(pid, options))[1])
    attempt.collect(clock.monotonic())
    assert done == ["signal 15", "reap", "signal 0"]


def test_a_stopped_command_gets_the_term_too(begin: Begin) -> None:
    attempt = begin("kill -STOP $$; sleep 1000", grace=1000.0)
    while processes.state(attempt.pid) != "T":
        os.sched_yield()
    assert attempt.end("cancel", clock.monotonic())
    assert finish(attempt).signal == signal.SIGTERM


def test_the_whole_process_group_is_ended(begin: Begin, ready: Ready) -> None:
    attempt = begin("for i in 1 2 3; do sh -c 'echo $$ >$READY; sleep 1000; :' & done; wait")
    children = [ready.pidfd() for _ in range(3)]
    attempt.end("cancel", clock.monotonic())
    assert finish(attempt).cause == "cancel"
    assert all(has_ended(child) for child in children)


def test_leftovers_are_ended_before_the_outcome(begin: Begin, ready: Ready) -> None:
    attempt = begin("sh -c 'echo $$ >$READY; exec sleep 1000' & exit 4")
    child = ready.pidfd()
    outcome = finish(attempt)
    assert has_ended(child)
    assert (outcome.cause, outcome.exit_code, outcome.kept) == ("exit", 4, False)


def test_leftovers_that_ignore_term_are_killed(begin: Begin, ready: Ready) -> None:
    # The main process waits until the trap is set: `read` gets the line that the child echoes after it.
    command = (
        "mkfifo $READY.2; sh -c 'trap \"\" TERM; echo $$ >$READY; echo >$READY.2; sleep 1000; :' & read x <$READY.2"
    )
    attempt = begin(command, grace=30.0)
    child = ready.pidfd()
    wait_until_ended(attempt)
    now = clock.monotonic()
    assert not attempt.collect(now)
    assert attempt.pidfd == -1
    assert attempt.next_deadline == pytest.approx(now + 30)
    assert not has_ended(child, 0.2)
    assert attempt.stuck == ()
    attempt.tick(now + 30)
    outcome = finish(attempt)
    assert has_ended(child)
    assert (outcome.cause, outcome.exit_code) == (None, 0)


def test_keep_children_leaves_them_alone_and_says_so(begin: Begin, ready: Ready) -> None:
    attempt = begin("sh -c 'echo $$ >$READY; exec sleep 1000' & exit 0", keep_children=True)
    child = ready.pidfd()
    outcome = finish(attempt)
    assert (outcome.cause, outcome.kept) == (None, True)
    assert not has_ended(child, 0.2)
    signal.pidfd_send_signal(child, signal.SIGKILL)
    assert has_ended(child, 10)
    assert not finish(begin("true", keep_children=True)).kept


def test_timeout_ends_children_despite_keep_children(begin: Begin, ready: Ready) -> None:
    command = "sh -c 'trap \"\" TERM; echo $$ >$READY; sleep 1000; :' & wait"
    attempt = begin(command, keep_children=True, timeout=1000.0, grace=0.1)
    child = ready.pidfd()
    attempt.tick(clock.monotonic() + 1000)
    attempt.end("cancel", clock.monotonic(), grace=0.1)  # the grace period began far in the future
    assert finish(attempt).cause == "timeout"
    assert has_ended(child)


def test_ended_command_keeps_its_own_outcome(begin: Begin) -> None:
    attempt = begin("exit 5", timeout=1.0)
    wait_until_ended(attempt)
    assert not attempt.end("cancel", clock.monotonic())
    attempt.tick(clock.monotonic() + 10)
    outcome = finish(attempt)
    assert (outcome.cause, outcome.exit_code) == ("exit", 5)
    assert not attempt.end("cancel", clock.monotonic())
    assert attempt.next_deadline is None


def test_the_second_stop_signal_kills_at_once(begin: Begin, ready: Ready) -> None:
    attempt = begin("trap '' TERM; echo $$ >$READY; while :; do sleep 1000; done")
    ready.pid()
    attempt.end("lost", clock.monotonic(), grace=0)
    outcome = finish(attempt, 3)
    assert (outcome.cause, outcome.signal) == ("lost", signal.SIGKILL)


def test_first_cause_counts_and_later_shortens_the_wait(begin: Begin, ready: Ready) -> None:
    attempt = begin("trap '' TERM; echo $$ >$READY; while :; do sleep 1000; done", grace=1000.0)
    ready.pid()
    attempt.end("cancel", clock.monotonic())
    attempt.end("lost", clock.monotonic(), grace=0)
    outcome = finish(attempt, 3)
    assert (outcome.cause, outcome.signal) == ("cancel", signal.SIGKILL)


def test_what_cannot_be_ended_is_named(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = begin("sleep 1000", grace=5.0)
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", lambda group, number: None)  # as if it hung in a dead disk's driver
        now = clock.monotonic()
        attempt.end("cancel", now)
        for later in (5, 6):
            assert attempt.stuck == ()
            attempt.tick(now + later)
        assert attempt.stuck == (attempt.pid,)
        assert not attempt.collect(now + 7)
        assert attempt.next_deadline is not None
    attempt.tick(now + 10)
    assert finish(attempt).cause == "cancel"
    assert attempt.stuck == ()


def test_collecting_too_early_does_no_harm(begin: Begin, ready: Ready) -> None:
    attempt = begin("echo $$ >$READY; sleep 1000")
    ready.pid()
    assert not attempt.collect(clock.monotonic())
    assert not has_ended(attempt.pidfd, 0.1)


def test_a_finished_attempt_holds_no_descriptor(begin: Begin, tmp_path: Path) -> None:
    finish(begin("true"))
    (tmp_path / "input").touch()
    before = os.listdir("/proc/self/fd")
    finish(begin("sleep 1000 & exit 1"))
    finish(begin(f"true {'x' * 200_000}", cwd=str(tmp_path), stdin=str(tmp_path / "input")))
    finish(begin(argv=("no-such-program",)))
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("free", [0, 1, 2])
def test_a_full_table_of_descriptors_starts_nothing(begin: Begin, tmp_path: Path, free: int) -> None:
    """None for the output, for the pidfd, for the input: it is for a later try, and is no failure."""
    (tmp_path / "input").touch()
    finish(begin("true"))  # after which all is open that stays so
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    taken: list[int] = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(free):
            os.close(taken.pop())
        with pytest.raises(OSError, match="Too many open files"):
            begin(f"touch {tmp_path}/ran", stdin=str(tmp_path / "input"))
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not (tmp_path / "ran").exists()
