"""The umask is asked for, and stays what it is for other threads and after an interruption."""

import os
import subprocess
import sys
import threading

import pytest

from queuectl.host import procfs
from tests.support.paths import ROOT

INTERRUPTED = """
import os, signal
from queuectl.host import procfs

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
os.umask(0o027)
interrupted = 0
for delay in range(5_000):
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + delay % 10))
        for _ in range(5):
            procfs.umask()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
    assert (mask := os.umask(0o027)) == 0o027, f"{mask:o} after {delay}"
print(interrupted)
"""


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
@pytest.mark.parametrize("threads", [0, 1])
def test_it_is_the_umask_of_this_process(umask: int, threads: int) -> None:
    done = threading.Event()
    others = [threading.Thread(target=done.wait) for _ in range(threads)]
    for other in others:
        other.start()
    before = os.umask(umask)
    try:
        assert [procfs.umask(), procfs.umask()] == [umask, umask]
    finally:
        assert os.umask(before) == umask
        done.set()
        for other in others:
            other.join()


def test_an_interruption_leaves_it_as_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 0, "no interruption came at the right moment"


def test_beside_other_threads_it_is_never_set(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        monkeypatch.delattr(os, "umask")
        assert procfs.umask() >= 0
    finally:
        done.set()
        other.join()
