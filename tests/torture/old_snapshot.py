"""Somebody holds a snapshot open while jobs run: what these leave behind can't be cleaned up, and turns get slower.

One process claims and finishes jobs, a few at a time, as workers do. A turn may take at most `SLOWER` times what it
took before, in the same run, and the doctor warns of whoever holds the snapshot, and of what has piled up.
"""

import os
import shutil
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import psycopg

from queuectl import Queue, Spec, doctor
from queuectl.clock import monotonic
from queuectl.decisions import Outcome, Report
from queuectl.doctor import InspectedQueue
from queuectl.engines.postgres import server_health
from queuectl.workers.turn import TurnWriter
from tests.support.postgres import replication
from tests.support.postgres.keeper import OWNER, Keeper, make_owner, room
from tests.support.postgres.servers import Servers
from tests.torture.verdict import Breach, Figures, Run

SLOWER = 3.0
BATCH = 16
"""Jobs of a turn."""


class Drain:
    """The only worker of a queue, which has no processes."""

    def __init__(self, queue: Queue) -> None:
        self._writer = TurnWriter(queue, "w1", (), queue.home.identity())
        self._writer.start(BATCH)
        self._reports: list[Report] = []

    def turns(self, jobs: int) -> list[float]:
        """Run so many jobs; returns the seconds that each turn took."""
        seconds: list[float] = []
        while jobs > 0:
            began = monotonic()
            claims = self._writer.turn(self._reports, [], BATCH).claims
            seconds.append(monotonic() - began)
            self._reports = [Report(claim.lease, Outcome(exit_code=0)) for claim in claims]
            jobs -= len(claims)
        return seconds


def run(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """50,000 jobs beside the snapshot, or 5,000. Nothing here is drawn at random: the seed is ignored."""
    where = folder if folder is not None else Path(tempfile.mkdtemp(prefix="queuectl-torture-"))
    count = 50_000 if full else 5000
    few = count // 10
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, XDG_STATE_HOME=str(where)))
        keeper = stack.enter_context(Keeper())
        server = stack.enter_context(Servers(room(keeper.name))).create(replication.DURABLE)
        server.start()
        make_owner(server.address)
        url = server.address.url(OWNER, OWNER, "snapshot")
        queue = stack.enter_context(Queue(url))
        queue.enqueue_many([Spec(command="true")] * (count + 2 * few + 4 * BATCH))
        drain = Drain(queue)
        drain.turns(few)  # plans are made and memory is warm
        before = statistics.median(drain.turns(few))
        with psycopg.connect(url.partition("?")[0]) as reader:
            reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            reader.execute("select 1")
            began = monotonic()
            drain.turns(count - few)
            after = statistics.median(drain.turns(few))
            told = _told(url, monotonic() - began, count)
            pid = reader.info.backend_pid
        faults = [f"a turn takes {after / before:.1f} times as long"] if after > SLOWER * before else []
        if not any(f"session {pid} (" in line for line in told):
            faults.append("the doctor does not say who holds a snapshot")
        if not any("dead rows" in line for line in told):
            faults.append("the doctor does not say what has piled up")
    figures: Figures = {
        "jobs beside the snapshot": count,
        "turn before, ms": round(before * 1000, 2),
        "turn at the end, ms": round(after * 1000, 2),
        "times as long": round(after / before, 2),
        "dead rows": "; ".join(line for line in told if "dead rows" in line),
    }
    if faults:
        raise Breach(faults, figures)
    if folder is None:
        shutil.rmtree(where)
    return figures


def _told(url: str, seconds: float, count: int) -> list[str]:
    """What the doctor says, who tells in good time of a snapshot as old as this one, and of so many dead rows."""
    with (
        patch.object(server_health, "SNAPSHOT", seconds),
        patch.object(server_health, "DEAD", min(server_health.DEAD, count)),
        psycopg.connect(url.partition("?")[0], autocommit=True) as session,
        InspectedQueue(url) as queue,
    ):
        session.execute("select pg_stat_force_next_flush()")
        found = doctor.CHECKS["server"](queue, lambda what: lambda done, total: None)
        return [finding.what for finding in found if finding.severity != "ok"]


RUNS: dict[str, Run] = {"old-snapshot": run}
