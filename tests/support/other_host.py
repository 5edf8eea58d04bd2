"""Workers of other hosts, as the log has them: this process says that it is there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

from queuectl import Queue
from queuectl.engines.sqlite.engine import SqliteEngine
from queuectl.host import procfs
from queuectl.workers.turn import TurnWriter


@contextmanager
def many_hosts() -> Iterator[None]:
    """A context in which SQLite says that other hosts can reach its databases."""
    with patch.object(SqliteEngine, "many_hosts", new=True):
        yield


@contextmanager
def on_host(name: str) -> Iterator[None]:
    """A context in which this process is on a host of that name."""
    with (
        many_hosts(),
        patch.object(os, "uname", lambda: SimpleNamespace(nodename=name)),
        patch.object(procfs, "boot_id", lambda: f"boot of {name}"),
        patch.object(procfs, "machine_id", lambda: f"machine {name}"),
    ):
        yield


def worker_on(queue: Queue, host: str, id: str, *, claims: int = 1) -> TurnWriter:
    """Start a worker of another host that claims so many jobs."""
    with on_host(host):
        worker = TurnWriter(queue, id, (), "cafe")
        worker.start(1)
        if claims:
            assert len(worker.turn([], [], claims).claims) == claims
    return worker
