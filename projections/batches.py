"""Batches: what was enqueued together under one name, and how many of its jobs are in which state."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from projections.dependencies import PLACE
from projections.jobs import FINAL, SELECT, STATES, Job, read
from projections.store import Questions, Store, marks
from projections.table import Table
from queuectl.events import Archived, BatchHalted, BatchOpened, BatchReopened, Cascaded, Recorded, Unreadable

if TYPE_CHECKING:
    from projections import Change


class BatchState(msgspec.Struct, frozen=True, gc=False):
    """The fold of a batch's events. Moments are microseconds UTC."""

    name: str
    version: int
    opened_at: int
    opened_by: str
    halt: str | None = None
    """The rule by which it is halted (see `queuectl.halt`); None: there is none."""
    halted_at: int | None = None
    """Since when it is halted; None: it is not."""
    cascading: bool = False
    """Whether it is halted and not all that waited has been cancelled."""

    @property
    def is_halted(self) -> bool:
        """Whether nothing is added to it, and none of its jobs waits for long."""
        return self.halted_at is not None


class BatchCount(msgspec.Struct, frozen=True, order=True):
    """How many jobs of a batch are in a state. Those that were archived stay; those that were purged don't."""

    batch: str
    state: str
    jobs: int


def stream(name: str) -> str:
    """The stream of a batch."""
    return f"batch:{name}"


def evolve(batch: BatchState | None, record: Recorded, event: Any) -> BatchState:
    """The batch after one more event. Raises Unreadable where it can't follow on those before."""
    match event:
        case BatchOpened() if batch is None:
            return BatchState(record.subject, record.version, record.at, record.actor, event.halt)
        case BatchHalted() if batch is not None and batch.halt is not None:
            return replace(batch, version=record.version, halted_at=record.at, cascading=event.cascade)
        case Cascaded() if batch is not None:
            return replace(batch, version=record.version, cascading=False)
        case BatchReopened() if batch is not None:
            return replace(batch, version=record.version, halted_at=None)
        case _:
            raise Unreadable(f"{record.stream} has a {record.type!r} event (seq {record.seq}) that can't be there")


name = "batches"
version = 1
tables = ("batches", "batch_counts")
reads = None
TABLE = Table("batches", BatchState, ("name",))
COUNTS = Table("batch_counts", BatchCount, ("batch", "state"), merge={"jobs": "batch_counts.jobs + excluded.jobs"})
schema = f"""
{TABLE.schema}
create index batches_cascading on batches (name) where cascading = 1;
{COUNTS.schema}
"""


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Write the latest state of each batch, and sum up how its jobs changed."""
    latest: dict[str, BatchState] = {}
    delta: dict[tuple[str, str], int] = {}
    for change in changes:
        before, after = change.before, change.after
        if isinstance(after, BatchState):
            latest[after.name] = after
        elif isinstance(change.event, Archived):
            # What the tombstone stands for is counted once: by the job that it follows, or by itself where its events
            # are gone.
            if before is None and change.event.batch is not None and change.event.state in FINAL:
                _add(delta, change.event.batch, change.event.state, 1)
        else:
            for job, jobs in ((before, -1), (after, 1)):
                if isinstance(job, Job) and job.batch is not None:
                    _add(delta, job.batch, job.state, jobs)
    if latest:
        store.upsert(TABLE, latest.values())
    changed = sorted(BatchCount(batch, state, jobs) for (batch, state), jobs in delta.items() if jobs)
    if changed:
        store.upsert(COUNTS, changed)
        if any(count.jobs < 0 for count in changed):
            store.delete(COUNTS, "jobs", [0])


def _add(delta: dict[tuple[str, str], int], batch: str, state: str, jobs: int) -> None:
    delta[batch, state] = delta.get((batch, state), 0) + jobs


_SELECT = f"select {TABLE.select('b')} from batches b"


class WaitingMembers(msgspec.Struct, frozen=True):
    """Jobs of a batch that wait alike."""

    queue: str
    state: str
    held: bool
    demand: str
    forced: bool
    jobs: int


class BatchQuestions(Questions):
    """What is asked of the batches."""

    def batch_state(self, name: str) -> BatchState | None:
        """The batch of this name; None where there never was one."""
        rows = self._store.execute(f"{_SELECT} where b.name = ?", (name,))
        return TABLE.read(rows[0]) if rows else None

    def batch_states(self) -> list[BatchState]:
        """All batches, the one that was opened last first."""
        return [TABLE.read(row) for row in self._store.rows(f"{_SELECT} order by b.opened_at desc, b.name")]

    def cascading_batch(self) -> BatchState | None:
        """A batch that is halted, and of which not all that waited has been cancelled."""
        rows = self._store.execute(f"{_SELECT} where b.cascading = 1 order by b.name limit 1")
        return TABLE.read(rows[0]) if rows else None

    def halting_batches(self) -> frozenset[str]:
        """The names of all such batches."""
        return frozenset(name for (name,) in self._store.execute("select name from batches where cascading = 1"))

    def batch_counts(self, name: str) -> dict[str, int]:
        """How many jobs of a batch are in each state, by state; states without jobs are left out."""
        return dict(self._store.execute("select state, jobs from batch_counts where batch = ?", (name,)))

    def all_batch_counts(self) -> dict[str, dict[str, int]]:
        """The same of all batches, by name."""
        found: dict[str, dict[str, int]] = {}
        for batch, state, jobs in self._store.execute("select batch, state, jobs from batch_counts"):
            found.setdefault(batch, {})[state] = jobs
        return found

    def members(self, batch: str, states: Collection[str] = STATES) -> list[Job]:
        """The jobs of a batch in these states, as they came."""
        sql = f"{SELECT} where j.batch = ? and j.state in ({marks(states)}) order by j.seq"
        return [read(row) for row in self._store.rows(sql, (batch, *states))]

    def dependent_members(self, batch: str) -> list[Job]:
        """The jobs of a batch that depend on others, as they came."""
        depends = "exists (select 1 from dependencies d where d.child = j.seq)"
        return [
            read(row) for row in self._store.rows(f"{SELECT} where j.batch = ? and {depends} order by j.seq", (batch,))
        ]

    def waiting_members(self, batch: str) -> list[WaitingMembers]:
        """What waits of a batch."""
        sql = """
            select queue, state, held, demand, forced, count(*) from jobs
            where batch = ? and state in ('pending', 'failed', 'blocked') group by 1, 2, 3, 4, 5
        """
        rows = self._store.rows(sql, (batch,))
        return [WaitingMembers(row[0], row[1], bool(row[2]), row[3], bool(row[4]), row[5]) for row in rows]

    def unended_members(self, batch: str, limit: int, *, running: bool) -> list[Job]:
        """The jobs of a batch that wait, as they came; with `running` also what runs and is not being cancelled."""
        which = "or (j.state = 'processing' and j.cancel_requested = 0)" if running else ""
        sql = f"""
            {SELECT} where j.batch = ? and (j.state in ('pending', 'failed', 'blocked') {which}) order by j.seq limit ?
        """
        return [read(row) for row in self._store.rows(sql, (batch, limit))]

    def deciding_members(self, batch: str, most: int) -> list[tuple[str, str, tuple[int, ...]]]:
        """What others have to know of a batch on which they depend: the jobs, each with its state and its place.

        These are the last of those that have not ended, and `most` that were dead or cancelled; none of either, some
        job that has completed. See `projections.dependencies.Parent` for the place.
        """
        of_batch = f"select j.id, j.state, {PLACE} from jobs j where j.batch = ? and j.state"
        last = ", ".join(f"{column} desc" for column in range(3, 8))
        unended = f"{of_batch} in ('pending', 'failed', 'blocked', 'processing') order by {last} limit 1"
        rows = self._store.execute(unended, (batch,))
        rows += self._store.execute(f"{of_batch} in ('dead', 'cancelled') order by j.seq limit ?", (batch, most))
        rows = rows or self._store.execute(f"{of_batch} = 'completed' limit 1", (batch,))
        return [(row[0], row[1], row[2:]) for row in rows]
