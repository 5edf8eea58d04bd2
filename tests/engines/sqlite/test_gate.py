"""The gate (R5), with real processes: exclusion, waiting, time-outs, and fairness."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.engines.sqlite import gate as gates
from queuectl.engines.sqlite.gate import Gate
from queuectl.errors import Unusable
from tests.support.scripts import GATE, INSIDE, Start, expect_line, send_line, starter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workers").mkdir()
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    with starter(GATE, folder) as start:
        yield start


def new_gate(folder: Path, stuck: float = 1.0) -> Gate:
    return Gate(f"{folder}/gate", stuck=stuck)


def test_only_one_process_is_inside_at_a_time(folder: Path, start: Start) -> None:
    (folder / "counter").write_text("0")
    count = """
for _ in range(150):
    with gate.hold(None):
        with open(sys.argv[1] + "/counter") as file:
            number = int(file.read())
        os.sched_yield()
        with open(sys.argv[1] + "/counter", "w") as file:
            file.write(str(number + 1))
"""
    processes = [start(count) for _ in range(8)]
    assert [process.wait(30) for process in processes] == [0] * 8
    assert (folder / "counter").read_text() == "1200"


def test_greedy_processes_all_get_their_share(start: Start) -> None:
    greedy = """
say("up")
begin, waits = float(sys.stdin.readline()), []
while time.monotonic() < begin:
    time.sleep(0.001)
while (asked := time.monotonic()) < begin + 2:
    with gate.hold(None):
        got = time.monotonic()
        while time.monotonic() < got + 0.001:
            pass
    waits.append(got - asked)
say(f"{len(waits)} {max(waits)}")
"""
    for process in (processes := [start(greedy) for _ in range(8)]):
        expect_line(process, "up")
    begin = str(time.monotonic() + 0.1)
    for process in processes:
        send_line(process, begin)
    told = [process.communicate(timeout=50)[0].split() for process in processes]
    counts = sorted(int(count) for count, _ in told)
    assert counts[0] > sum(counts) / 8 / 4
    assert max(float(wait) for _, wait in told) < 1


def test_a_rare_user_enters_between_greedy_turns(folder: Path, start: Start) -> None:
    greedy = start("""
say("begun")
while True:
    with gate.hold(None):
        got = time.monotonic()
        while time.monotonic() < got + 0.001:
            pass
""")
    expect_line(greedy, "begun")
    gate, waits = new_gate(folder), list[float]()
    for _ in range(20):
        time.sleep(0.02)
        asked = time.monotonic()
        with gate.hold(5):
            waits.append(time.monotonic() - asked)
    assert sorted(waits)[10] < 0.5


def test_it_costs_microseconds(folder: Path) -> None:
    gate, costs = new_gate(folder), list[float]()
    for _ in range(20):
        begin = time.perf_counter()
        for _ in range(200):
            with gate.hold(1):
                pass
        costs.append((time.perf_counter() - begin) / 200)
    assert min(costs) < 30e-6


def test_a_killed_holder_releases_the_gate(folder: Path, start: Start) -> None:
    holder = start(INSIDE)
    expect_line(holder, "inside")
    holder.kill()
    with new_gate(folder).hold(5):
        pass


def test_a_timeout_names_the_pid_of_the_holder(folder: Path, start: Start) -> None:
    holder = start(INSIDE)
    expect_line(holder, "inside")
    begin = time.monotonic()
    with pytest.raises(Unusable, match=rf"process {holder.pid} \(.*python.*busy") as caught, new_gate(folder).hold(0.3):
        pass
    assert time.monotonic() - begin >= 0.3
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    with pytest.raises(Unusable, match=str(holder.pid)), new_gate(folder).hold(0):
        pass
    send_line(holder)
    assert holder.wait(10) == 0


def test_a_waiter_that_gave_up_blocks_nothing_later(folder: Path, start: Start) -> None:
    holder = start(INSIDE)
    expect_line(holder, "inside")
    gate = new_gate(folder)
    kept: list[object] = []  # with their tracebacks, and what those hold
    for _ in range(3):
        with pytest.raises(Unusable) as caught, gate.hold(0.05):
            pass
        kept.append(caught)
    send_line(holder)
    assert holder.wait(10) == 0
    after = start(INSIDE)
    expect_line(after, "inside")
    send_line(after)
    with gate.hold(5):
        pass


def test_a_forked_child_leaves_its_parents_lock_held(folder: Path, start: Start) -> None:
    parent = start("""
with gate.hold(10):
    child = os.fork()
    if child:
        say("inside")
        wait_for_line()
if not child:  # it came out of the block, but never was inside
    try:
        with gate.hold(0.2):
            os._exit(1)
    except Exception as error:
        if str(os.getppid()) not in str(error):
            os._exit(2)
    say("refused")
    with gate.hold(10):
        say("child inside")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
with gate.hold(10):
    say("parent again")
""")
    assert parent.stdout is not None
    assert sorted(parent.stdout.readline() for _ in range(2)) == ["inside\n", "refused\n"]
    with pytest.raises(Unusable, match=str(parent.pid)), new_gate(folder).hold(0.1):
        pass
    send_line(parent)
    expect_line(parent, "child inside")
    expect_line(parent, "parent again")
    assert parent.wait(10) == 0


def test_a_forked_child_keeps_no_dead_parents_lock(folder: Path, start: Start) -> None:
    parent = start("""
with gate.hold(10):
    child = os.fork()
    if not child:
        time.sleep(60)
    say(child)
    wait_for_line()
""")
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        with new_gate(folder).hold(5):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_nested_in_one_thread_is_refused_at_once(folder: Path) -> None:
    one, two = new_gate(folder), new_gate(folder)
    with one.hold(None):
        for gate in (one, two):
            with pytest.raises(Unusable, match="this thread is writing already"), gate.hold(None):
                pass
    with two.hold(0), pytest.raises(Unusable), one.hold(0):
        pass
    with one.hold(0):
        pass


@pytest.mark.parametrize("shared", [True, False])
def test_threads_take_turns(folder: Path, shared: bool) -> None:
    one = new_gate(folder)
    inside, worst = 0, 0

    def pass_through() -> None:
        nonlocal inside, worst
        gate = one if shared else new_gate(folder)
        for _ in range(50):
            with gate.hold(10):
                inside += 1
                worst = max(worst, inside)
                time.sleep(0.0001)
                inside -= 1

    threads = [threading.Thread(target=pass_through) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert worst == 1
    assert inside == 0


def test_a_thread_inside_for_too_long_is_reported(folder: Path) -> None:
    gate = new_gate(folder)
    errors: list[Unusable] = []

    def try_it() -> None:
        try:
            with gate.hold(0.05):
                pass
        except Unusable as error:
            errors.append(error)

    with gate.hold(1):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join(10)
    assert "another thread" in str(errors[0])


def test_a_signal_does_not_end_a_wait(folder: Path, start: Start) -> None:
    holder = start(INSIDE)
    expect_line(holder, "inside")
    waiter = start("""
def on_signal(*_):
    say("signal")
signal.signal(signal.SIGUSR1, on_signal)
say("waiting")
with gate.hold(None):
    say("got it")
""")
    expect_line(waiter, "waiting")
    time.sleep(0.1)
    for _ in range(3):
        waiter.send_signal(signal.SIGUSR1)
        expect_line(waiter, "signal")
    send_line(holder)
    expect_line(waiter, "got it")
    assert waiter.wait(10) == 0


def test_ctrl_c_ends_a_wait_without_blocking_others(folder: Path, start: Start) -> None:
    holder = start(INSIDE)
    expect_line(holder, "inside")
    waiter = start("""
say("waiting")
try:
    with gate.hold(None):
        say("inside")
except KeyboardInterrupt:
    say("interrupted")
wait_for_line()
""")
    expect_line(waiter, "waiting")
    time.sleep(0.1)
    waiter.send_signal(signal.SIGINT)
    expect_line(waiter, "interrupted")
    send_line(holder)
    with new_gate(folder).hold(5):
        pass


def test_a_raising_signal_handler_never_leaves_it_locked(folder: Path, start: Start) -> None:
    battered = start("""
class Blow(Exception):
    pass
def strike(*_):
    raise Blow
signal.signal(signal.SIGALRM, strike)
blows, end = 0, time.monotonic() + 1
while time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00005 + blows % 97 * 0.000003)
        while True:
            with gate.hold(None):
                pass
    except Blow:
        blows += 1
signal.setitimer(signal.ITIMER_REAL, 0)
with gate.hold(1):
    pass
say(blows)
wait_for_line()
""")
    assert battered.stdout is not None
    assert int(battered.stdout.readline()) > 200
    with new_gate(folder).hold(2):
        pass


@pytest.mark.parametrize("umask", ["0", "0o777"])
def test_its_file_is_private_under_any_umask(folder: Path, start: Start, umask: str) -> None:
    assert start(f"os.umask({umask})\nwith gate.hold(1): pass").wait(10) == 0
    assert (folder / "gate").stat().st_mode & 0o7777 == 0o600


def test_a_gate_that_cannot_be_opened_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="No such file"), new_gate(tmp_path / "missing").hold(1):
        pass


def test_a_failed_thread_start_is_unusable(folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    holder = start(INSIDE)
    expect_line(holder, "inside")
    gate, before = new_gate(folder), len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(gates, "start_new_thread", refuse)
        with pytest.raises(Unusable, match="can't start new thread"), gate.hold(5):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
    send_line(holder)
    with gate.hold(5):
        pass


def test_a_closed_gate_is_free_and_opens_again(folder: Path) -> None:
    gate = new_gate(folder)
    with gate.hold(1):
        pass
    for _ in range(2):
        gate.close()
    with new_gate(folder).hold(0), pytest.raises(Unusable), gate.hold(0):
        pass
    with gate.hold(0):
        pass
