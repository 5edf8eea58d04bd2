"""Queues: which are paused, and the limits of each. A queue of which nothing was ever said has no row."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from projections.jobs import PAST_LIMITS
from projections.store import Questions, Store, marks
from projections.table import Codec, Table
from queuectl.clock import micros
from queuectl.events import QueueLimited, QueuePaused, QueueResumed, Rate, Recorded, Unreadable, encode

if TYPE_CHECKING:
    from projections import Change

ALL = ""
"""The name of the row that stands for all queues at once, in the stream `queues`."""


class QueueState(msgspec.Struct, frozen=True, gc=False):
    """The fold of a queue's events. Moments are microseconds UTC."""

    name: str
    version: int
    concurrency: int | None = None
    rate: Rate | None = None
    pause_on_failure: bool = False
    paused_at: int | None = None
    """Since when it is paused; None: it is not."""
    paused_until: int | None = None
    """When that ends by itself; None: never."""
    paused_by: str | None = None
    paused_reason: str | None = None
    paused_job: str | None = None
    """The id of the job whose death paused it."""
    paused_suspends: bool = False
    """Whether that pause has suspended what ran."""

    def is_paused(self, now: int, *, callbacks: bool = False) -> bool:
        """Whether it is paused at `now`; with `callbacks`, for these too: a pause by the death of a job lets them pass,
        for they tell of it."""
        lasts = self.paused_at is not None and (self.paused_until is None or now < self.paused_until)
        return lasts and not (callbacks and self.paused_job is not None)

    def suspends(self, now: int) -> bool:
        """Whether it is paused at `now` so that what ran is suspended."""
        return self.paused_suspends and self.is_paused(now)

    @property
    def paused_for_good(self) -> bool:
        """Whether it is paused until somebody resumes it."""
        return self.paused_at is not None and self.paused_until is None

    @property
    def is_limited(self) -> bool:
        """Whether anything limits how many of its jobs start."""
        return self.concurrency is not None or self.rate is not None

    @property
    def has_limits(self) -> bool:
        """Whether `queue set` has said anything of it that holds."""
        return self.is_limited or self.pause_on_failure


def stream(name: str) -> str:
    """The stream of a queue; of `ALL`, that of all queues."""
    return f"queue:{name}" if name != ALL else "queues"


def evolve(queue: QueueState | None, record: Recorded, event: Any) -> QueueState:
    """The queue after one more event. Raises Unreadable where it is none of a queue."""
    if queue is None:
        queue = QueueState(record.subject, 0)
    match event:
        case QueuePaused():
            return replace(
                queue,
                version=record.version,
                paused_at=record.at,
                paused_until=micros(event.until) if event.until is not None else None,
                paused_by=record.actor,
                paused_reason=event.reason,
                paused_job=event.job,
                paused_suspends=event.suspend,
            )
        case QueueResumed():
            return replace(
                queue,
                version=record.version,
                paused_at=None,
                paused_until=None,
                paused_by=None,
                paused_reason=None,
                paused_job=None,
                paused_suspends=False,
            )
        case QueueLimited():
            return replace(
                queue,
                version=record.version,
                concurrency=event.concurrency,
                rate=event.rate,
                pause_on_failure=event.pause_on_failure,
            )
        case _:
            raise Unreadable(
                f"{record.stream} has a {record.type!r} event (seq {record.seq}), which is none of a queue"
            )


name = "queues"
version = 2
tables = ("queues",)
reads = frozenset({"queue_paused", "queue_resumed", "queue_limited"})
TABLE = Table(
    "queues",
    QueueState,
    ("name",),
    codecs={
        "rate": Codec(
            "text",
            lambda rate: encode(rate).decode() if rate is not None else None,
            lambda text: msgspec.json.decode(text, type=Rate) if text is not None else None,
        )
    },
)
schema = TABLE.schema


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Write the latest state of each queue in the batch."""
    latest = {change.after.name: change.after for change in changes if isinstance(change.after, QueueState)}
    store.upsert(TABLE, latest.values())


class QueueGate(msgspec.Struct, frozen=True, gc=False):
    """What decides whether a queue lets jobs start: what was said of it, and what it has started."""

    state: QueueState
    processing: int = 0
    """How many of its jobs are, those past its limits aside."""
    arrival: int | None = None
    """The theoretical arrival time of its rate (see `queuectl.rate`); None before the first start."""

    @property
    def is_full(self) -> bool:
        """Whether as many of its jobs are processing as its limit allows."""
        return self.state.concurrency is not None and self.processing >= self.state.concurrency

    def opens(self, now: int) -> int:
        """From when on its rate lets the next job start (µs UTC)."""
        rate = self.state.rate
        return rate.opens(self.arrival, now) if rate is not None else now

    def is_closed(self, now: int) -> bool:
        """Whether none of its jobs may be claimed at `now`, those that are forced aside."""
        return self.state.is_paused(now) or self.is_full or self.opens(now) > now

    def reopens(self, now: int) -> int | None:
        """When it opens by itself (µs UTC), as far as that is known; None: it is open, or something has to happen."""
        moments = [self.state.paused_until if self.state.is_paused(now) else None, self.opens(now)]
        return min((moment for moment in moments if moment is not None and moment > now), default=None)

    def started(self, now: int) -> "QueueGate":
        """The gate after one of its jobs was claimed."""
        rate = self.state.rate
        arrival = rate.started(self.arrival, now) if rate is not None else self.arrival
        return replace(self, processing=self.processing + 1, arrival=arrival)

    def refunded(self, added: int) -> "QueueGate":
        """The gate after a claim was given back, as if it had not been made: it had moved the arrival time so far."""
        arrival = self.arrival - added if self.arrival is not None else None
        return replace(self, processing=self.processing - 1, arrival=arrival)


_COLUMNS = TABLE.select("q")
_GATES = f"""
select {_COLUMNS},
    coalesce((select sum(jobs) from counts c where c.queue = q.name and c.state = 'processing'), 0),
    (select next from starts s where s.queue = q.name order by s.seq desc limit 1)
from queues q
"""

_PROCESSING_PAST_LIMITS = f"""
select queue, count(*) from jobs where {PAST_LIMITS} and state = 'processing' group by queue
"""


class QueueQuestions(Questions):
    """What is asked of the queues."""

    def queue_state(self, name: str) -> QueueState | None:
        """What was said of this queue (`ALL`: of all at once); None where nothing ever was."""
        rows = self._store.execute(f"select {_COLUMNS} from queues q where q.name = ?", (name,))
        return TABLE.read(rows[0]) if rows else None

    def arrival(self, queue: str, before: int) -> int | None:
        """The theoretical arrival time of a queue's rate before the event of this seq; None: nothing had started."""
        sql = "select next from starts where queue = ? and seq < ? order by seq desc limit 1"
        rows = self._store.execute(sql, (queue, before))
        return rows[0][0] if rows else None

    def gates(self, names: Sequence[str] | None = None) -> dict[str, QueueGate]:
        """The gates of these queues, by name; None: of all of which anything was said, also of `ALL`."""
        where = f"where q.name in ({marks(names)})" if names is not None else ""
        rows = self._store.rows(f"{_GATES} {where}", names or ())
        found = {row[0]: QueueGate(TABLE.read(row), row[-2], row[-1]) for row in rows}
        if any(gate.processing and gate.state.concurrency is not None for gate in found.values()):
            for queue, jobs in self._store.execute(_PROCESSING_PAST_LIMITS):
                if (gate := found.get(queue)) is not None:
                    found[queue] = replace(gate, processing=gate.processing - jobs)
        return found
