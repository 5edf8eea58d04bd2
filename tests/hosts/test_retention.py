"""Retention where hosts share the database: one of them archives, and another goes on when that is gone."""

import os
import time
from collections.abc import Callable

from queuectl.audit.verify import verify
from queuectl.clock import monotonic
from queuectl.events import Archived, Recorded
from tests.support.worker_hosts import WorkerHost, WorkerHosts


def archived(hosts: WorkerHosts) -> list[Recorded]:
    with hosts.queue.engine.snapshot() as view:
        return view.tombstones()


def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 50
    while not condition():
        assert monotonic() < deadline
        time.sleep(0.1)


def homes(records: list[Recorded]) -> set[str]:
    """The folders of hosts in which the archives are."""
    return {event.file.partition("/queuectl/")[0] for each in records if isinstance(event := each.event, Archived)}


def test_hosts_never_archive_twice(hosts: WorkerHosts, a: WorkerHost, b: WorkerHost) -> None:
    queue = hosts.queue
    first = b.worker("--slots", "4")
    hosts.up(1)
    a.worker("--count", "2", "--slots", "4")
    hosts.up(3)
    ids = queue.enqueue_many(["true"] * 60)
    queue.wait(timeout=50)
    queue.set_config("keep", "1s")
    until(lambda: len(archived(hosts)) == 60)
    assert homes(archived(hosts)) == {b.env["XDG_STATE_HOME"]}, "its worker has been up longest"

    first.terminate()
    first.communicate(timeout=50)
    ids += queue.enqueue_many(["true"] * 20)
    queue.wait(timeout=50)
    until(lambda: len({f"job:{id}" for id in ids} & {each.stream for each in archived(hosts)}) == 80)

    assert homes(archived(hosts)) == {b.env["XDG_STATE_HOME"], a.env["XDG_STATE_HOME"]}
    streams = [each.stream for each in archived(hosts)]
    assert len(streams) == len(set(streams))
    names = {os.path.basename(event.file) for each in archived(hosts) if isinstance(event := each.event, Archived)}
    assert all(os.uname().nodename in name for name in names)
    queue.set_config("keep", None)
    time.sleep(1)
    assert (verify(queue).findings, queue.check()) == ([], [])
