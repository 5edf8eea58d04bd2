"""Workers with leases of seconds, as if other hosts could reach their database: `python -m` this, or `shorten`.

The lease itself is said by QUEUECTL_LEASE, as anywhere. SHORT_LEASE_HOST names the host on which this process is to be;
SHORT_LEASE_UNFENCED keeps workers and their parents from ending anything because of a lease.
"""

import os
import sys

from queuectl import host_lease
from queuectl.engines.sqlite.engine import SqliteEngine
from queuectl.host import procfs
from queuectl.workers import worker_process
from queuectl.workers.chores import heartbeat, self_fencing
from queuectl.workers.recovery import hang_detector
from tests.support.paths import ROOT

LEASE = 8.0
"""Seconds of the lease."""


def environment(**more: str) -> dict[str, str]:
    """What processes need that call `shorten`, and `more`."""
    return {**os.environ, "QUEUECTL_LEASE": str(LEASE), "PYTHONPATH": str(ROOT), **more}


def shorten() -> None:
    """Have this process, and the workers that it spawns, count leases of `LEASE` seconds."""
    host_lease.SHORTEST, host_lease.MARGIN = 1.0, 2.0
    host_lease.TERM, host_lease.KILL, host_lease.PARENT = 4.0, 2.5, 1.5
    heartbeat.INTERVAL = hang_detector.INTERVAL = 0.5
    self_fencing.LOOK = 0.1
    SqliteEngine.many_hosts = True
    worker_process.command = _command
    if host := os.environ.get("SHORT_LEASE_HOST"):
        _be_on(host)
    if os.environ.get("SHORT_LEASE_UNFENCED"):
        self_fencing.SelfFencing.begin = _begin_nothing  # nor does the parent act, which is told no deadline


def _be_on(host: str) -> None:
    """Have this process take itself for one on another machine, from where others' processes can't be seen."""
    system, _, *rest = os.uname()
    name = os.uname_result((system, host, *rest))
    os.uname = lambda: name
    procfs.boot_id = procfs.machine_id = lambda: host
    real = procfs.environment

    def environment_here(pid: int) -> bytes:
        found = real(pid)
        return found if f"\0SHORT_LEASE_HOST={host}\0".encode() in found else b""

    procfs.environment = environment_here


def _begin_nothing(self: self_fencing.SelfFencing, seconds: float | None, sent: float, now: float) -> None:
    pass


def _command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "tests.support.short_lease", *words]


if __name__ == "__main__":
    shorten()
    from queuectl.workers.__main__ import main

    sys.exit(main(sys.argv[1:]))
