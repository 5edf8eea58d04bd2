"""Workers: where each process was started, and how it ended."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from projections.store import Questions, Store
from projections.table import Codec, Table
from queuectl.events import (
    Archived,
    Heartbeat,
    Recorded,
    StopRequested,
    Unreadable,
    WorkerLost,
    WorkerStarted,
    WorkerStopped,
    encode,
)

if TYPE_CHECKING:
    from projections import Change


class Worker(msgspec.Struct, frozen=True, gc=False):
    """The fold of a worker's events. Moments are microseconds UTC."""

    seq: int
    id: str
    version: int
    state: str
    """running, stopping, stopped or lost."""
    host: str
    pid: int
    start_ticks: int | None
    """Start time of its process in clock ticks since boot; None where that was not recorded."""
    slots: int
    queues: tuple[str, ...]
    boot_id: str
    pid_namespace: str
    machine_id: str
    identity: str
    drain: bool
    inside: str | None
    resources: dict[str, int | str]
    """What it offers of the resources of its host: how much, or the numbers of the pieces as `0-3`."""
    max_load: float | None
    """The load average from which on it claims nothing."""
    min_free_memory: int | None
    """Bytes of free memory below which it claims nothing."""
    cgroup: str | None
    """The control group in which attempts with a memory limit get one of their own; None: RLIMIT_AS keeps these."""
    private: bool
    """Whether it runs given jobs only."""
    lease: float | None
    """Seconds for which it may go unheard before other hosts take over; None: none can."""
    clock_ahead: float | None
    """Seconds by which its host's clock was ahead of the database's when it started; None: that is the same clock."""
    started_at: int
    heartbeat_at: int
    """Moment of its latest heartbeat. For display only: whether it is hung is not judged by stamps (R20)."""
    ended_at: int | None = None
    stop_now: bool = False
    reason: str | None = None

    @property
    def live(self) -> bool:
        """Whether it has started and not ended, by the log."""
        return self.state in ("running", "stopping")


def evolve(worker: Worker | None, record: Recorded, event: Any) -> Worker | None:
    """The worker after one more event of its stream; None after it was archived.

    Raises Unreadable for an impossible history.
    """
    if isinstance(event, WorkerStarted):
        return Worker(
            seq=record.seq,
            id=record.subject,
            version=record.version,
            state="running",
            host=event.host,
            pid=event.pid,
            start_ticks=event.start_ticks,
            slots=event.slots,
            queues=tuple(event.queues),
            boot_id=event.boot_id,
            pid_namespace=event.pid_namespace,
            machine_id=event.machine_id,
            identity=event.identity,
            drain=event.drain,
            inside=event.inside,
            resources=event.resources,
            max_load=event.max_load,
            min_free_memory=event.min_free_memory,
            cgroup=event.cgroup,
            private=event.private,
            lease=event.lease,
            clock_ahead=event.clock_ahead,
            started_at=record.at,
            heartbeat_at=record.at,
        )
    if isinstance(event, Archived):
        return None
    if worker is None:
        raise Unreadable(f"{record.stream} has a {record.type!r} event (seq {record.seq}) but was never started")
    change: dict[str, Any] = {"version": record.version}
    if isinstance(event, Heartbeat):
        change |= {"heartbeat_at": record.at}
    elif isinstance(event, StopRequested):
        change |= {"state": "stopping", "stop_now": worker.stop_now or event.now, "reason": event.reason}
    elif isinstance(event, WorkerStopped | WorkerLost):
        state = "stopped" if isinstance(event, WorkerStopped) else "lost"
        change |= {"state": state, "ended_at": record.at, "reason": event.reason or worker.reason}
    return msgspec.structs.replace(worker, **change)


name = "workers"
version = 6
tables = ("workers",)
reads = None

LIVE = "state in ('running', 'stopping')"
"""Condition of the partial index below. A query must repeat it word for word to use the index."""

TABLE = Table(
    "workers",
    Worker,
    ("seq",),
    unique=("id",),
    codecs={
        "resources": Codec(
            "text",
            lambda offers: encode(offers).decode() if offers else None,
            lambda text: msgspec.json.decode(text) if text is not None else {},
        )
    },
)

schema = f"""
{TABLE.schema}
create index workers_live on workers (seq) where {LIVE};
"""


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Write the latest state of each worker in the batch; delete those that were archived."""
    latest: dict[int, Worker] = {}
    gone: list[int] = []
    for change in changes:
        if isinstance(change.after, Worker):
            latest[change.after.seq] = change.after
        elif isinstance(change.before, Worker):
            latest.pop(change.before.seq, None)
            gone.append(change.before.seq)
    store.upsert(TABLE, latest.values())
    store.delete(TABLE, "seq", gone)


_COLUMNS = ", ".join(TABLE.columns)


class WorkerQuestions(Questions):
    """What is asked of the workers."""

    def worker(self, id: str) -> Worker | None:
        """The worker of exactly this id."""
        rows = self._store.execute(f"select {_COLUMNS} from workers where id = ?", (id,))
        return TABLE.read(rows[0]) if rows else None

    def workers(self, *, live: bool = True) -> list[Worker]:
        """The workers that started and have not ended, or all there were."""
        where = f"where {LIVE}" if live else ""
        return [TABLE.read(row) for row in self._store.rows(f"select {_COLUMNS} from workers {where} order by seq")]

    def offers(self) -> list[Worker]:
        """The workers that have not ended and offer resources of their hosts."""
        sql = f"select {_COLUMNS} from workers where {LIVE} and resources is not null order by seq"
        return [TABLE.read(row) for row in self._store.rows(sql)]

    def running_workers(self) -> int:
        """How many workers have started and not ended, those that only recover aside."""
        return self._store.execute(f"select count(*) from workers where {LIVE} and slots > 0")[0][0]
