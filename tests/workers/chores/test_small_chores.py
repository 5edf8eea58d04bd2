"""The time limit and the reaping of what commands leave behind."""

import os

from queuectl.clock import monotonic
from queuectl.workers.chores import reaping
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.chores.reaping import Reaping
from queuectl.workers.chores.time_limit import TimeLimit
from tests.support.chore_host import Host


def test_a_worker_without_a_limit_is_never_stopped() -> None:
    assert TimeLimit(Host(), None).due == NEVER


def test_the_limit_stops_the_worker_once() -> None:
    host = Host()
    limit = TimeLimit(host, 5.0)
    assert 4 < limit.due - monotonic() <= 5
    limit.run(limit.due)
    assert host.stopped == ["time is up"]
    assert limit.due == NEVER


def test_children_are_reaped_but_for_those_spared() -> None:
    spared, other = (os.posix_spawn("/bin/true", ["true"], {}) for _ in range(2))
    for pid in (spared, other):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    chore, now = Reaping(lambda: {spared}), monotonic()

    chore.run(now)

    assert chore.due == now + reaping.INTERVAL
    assert os.waitpid(spared, 0)[0] == spared
    assert not os.path.exists(f"/proc/{other}")
