"""The doorbell: notifications reach other processes at once, and FIFOs of dead listeners are removed."""

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from queuectl.engines.sqlite.doorbell import listen, ring
from tests.support.paths import ROOT


def start(script: str, folder: Path) -> "subprocess.Popen[str]":
    script = "import os, sys\nfrom queuectl.engines.sqlite.doorbell import listen, ring\n" + script
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_notification_wakes_a_listener_in_another_process(tmp_path: Path) -> None:
    listener = start(
        "import time\n"
        "with listen(sys.argv[1], 'worker') as bell:\n"
        "    print('listening', flush=True)\n"
        "    print(bell.wait(30), time.monotonic(), flush=True)",
        tmp_path,
    )
    with listener:
        assert listener.stdout is not None
        listener.stdout.readline()
        time.sleep(0.05)
        rung_at = time.monotonic()
        assert ring(str(tmp_path), ("worker",)) == 1
        woken, at = listener.stdout.readline().split()
        assert woken == "True"
        assert float(at) - rung_at < 15, "and not when its time was up"
    assert os.listdir(tmp_path) == []


def test_notifications_before_the_wait_count_as_one(tmp_path: Path) -> None:
    with listen(str(tmp_path), "worker") as bell:
        for _ in range(5):
            ring(str(tmp_path), ("worker",))
        assert bell.wait(0)
        assert not bell.wait(0)


def test_a_listener_that_never_reads_blocks_no_sender(tmp_path: Path) -> None:
    with listen(str(tmp_path), "worker") as bell:
        with open(bell.path, "wb", buffering=0) as pipe:
            os.set_blocking(pipe.fileno(), False)
            while pipe.write(b"\0" * 4096):  # None when it is full
                pass
        assert ring(str(tmp_path), ("worker",)) == 1
        assert bell.clear()
        assert not bell.clear()


def test_only_the_requested_kinds_are_notified(tmp_path: Path) -> None:
    with (
        listen(str(tmp_path), "worker") as worker,
        listen(str(tmp_path), "follower") as follower,
        listen(str(tmp_path), "worker-w1") as one,
    ):
        assert ring(str(tmp_path), {"follower"}) == 1
        assert (worker.clear(), follower.clear(), one.clear()) == (False, True, False)
        assert ring(str(tmp_path), {"worker", "worker-w1"}) == 2
        assert (worker.clear(), follower.clear(), one.clear()) == (True, False, True)
        assert ring(str(tmp_path), ()) == 0


def test_all_listeners_of_one_kind_are_notified(tmp_path: Path) -> None:
    bells = [listen(str(tmp_path), "follower") for _ in range(3)]
    assert ring(str(tmp_path), ("follower",)) == 3
    for bell in bells:
        assert bell.wait(0)
        bell.close()


def test_the_fifo_of_a_dead_listener_is_removed(tmp_path: Path) -> None:
    listener = start("bell = listen(sys.argv[1], 'worker')\nprint(flush=True)\nsys.stdin.read()", tmp_path)
    with listener:
        assert listener.stdout is not None
        listener.stdout.readline()
        assert ring(str(tmp_path), ("worker",)) == 1
        listener.send_signal(signal.SIGKILL)
        listener.wait(10)
        assert len(os.listdir(tmp_path)) == 1
        assert ring(str(tmp_path), ("worker",)) == 0
        assert os.listdir(tmp_path) == []


def test_a_starting_listener_is_never_taken_for_dead(tmp_path: Path) -> None:
    ringer = start("print(flush=True)\nwhile True: ring(sys.argv[1], ('worker',))", tmp_path)
    assert ringer.stdout is not None
    ringer.stdout.readline()
    try:
        for _ in range(3000):
            with listen(str(tmp_path), "worker") as bell:
                assert os.path.exists(bell.path)
        with listen(str(tmp_path), "worker") as bell:
            assert bell.wait(10)
    finally:
        ringer.kill()
        ringer.communicate()


def test_a_listener_works_in_a_selector(tmp_path: Path) -> None:
    with selectors.DefaultSelector() as selector, listen(str(tmp_path), "worker") as bell:
        selector.register(bell, selectors.EVENT_READ)
        assert not selector.select(0)
        thread = threading.Thread(target=ring, args=(str(tmp_path), ("worker",)))
        thread.start()
        assert selector.select(10)
        thread.join()
        bell.clear()
        assert not selector.select(0)


def test_a_wait_ends_with_its_timeout(tmp_path: Path) -> None:
    with listen(str(tmp_path), "worker") as bell:
        begin = time.monotonic()
        assert not bell.wait(0.1)
        assert time.monotonic() - begin >= 0.1
        assert not bell.wait(-1)


def test_closing_a_listener_removes_its_fifo(tmp_path: Path) -> None:
    bell = listen(str(tmp_path), "worker")
    bell.close()
    bell.close()
    assert os.listdir(tmp_path) == []
    assert ring(str(tmp_path), ("worker",)) == 0


def test_a_listener_without_its_fifo_can_be_closed(tmp_path: Path) -> None:
    bell = listen(str(tmp_path), "worker")
    os.unlink(bell.path)
    bell.close()


def test_notifying_never_raises(tmp_path: Path) -> None:
    assert ring(f"{tmp_path}/missing", ("worker",)) == 0
    (tmp_path / "worker-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "worker-folder").mkdir()
    assert ring(str(tmp_path), ("worker",)) == 0
    assert not (tmp_path / "elsewhere").exists()


def test_a_failed_listen_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("refused")

    before = len(os.listdir("/proc/self/fd"))
    for name in ("chmod", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse)
            with pytest.raises(OSError, match="refused"):
                listen(str(tmp_path), "worker")
        assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_forked_child_keeps_its_parents_fifo(tmp_path: Path) -> None:
    script = """
bell = listen(sys.argv[1], 'worker')
child = os.fork()
if not child:
    bell.close()
    os._exit(0)
os.waitpid(child, 0)
assert ring(sys.argv[1], ('worker',)) == 1
assert bell.wait(0)
"""
    with start(script, tmp_path) as process:
        assert process.wait(10) == 0


def test_commands_do_not_inherit_it(tmp_path: Path) -> None:
    with listen(str(tmp_path), "worker") as bell:
        assert not os.get_inheritable(bell.fileno())


@pytest.mark.parametrize("umask", ["0", "0o777"])
def test_it_is_private_and_works_under_any_umask(tmp_path: Path, umask: str) -> None:
    script = f"""
os.umask({umask})
os.chdir(sys.argv[1])  # the folders above may be closed to whom we become
if os.geteuid() == 0:  # whom rights would not bind
    os.chown('.', 65534, 65534)
    os.setuid(65534)
bell = listen('.', 'worker')
assert os.stat(bell.path).st_mode & 0o7777 == 0o600
assert ring('.', ('worker',)) == 1 and bell.wait(0)
"""
    with start(script, tmp_path) as process:
        assert process.wait(10) == 0
