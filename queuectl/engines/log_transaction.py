"""Appending to the log, the same in every engine: events become rows of the log and of every projection."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from msgspec.structs import astuple

from projections import Change, Projection, evolve, new_jobs
from projections.batches import BatchState
from projections.config import Config
from projections.jobs import Job
from projections.new_jobs import Alike
from projections.queues import QueueGate
from queuectl.engines.nul import refuse_nul
from queuectl.engines.projection_registry import Registry
from queuectl.engines.view import Transaction, Write
from queuectl.errors import Conflict, Refused
from queuectl.events import (
    BatchOpened,
    ConfigSet,
    Edited,
    Enqueued,
    Forced,
    Interrupted,
    QueueLimited,
    QueuePaused,
    QueueResumed,
    Recorded,
    Released,
    ScheduleAdded,
    stored,
)


class Known:
    """What a connection knows of the database, so that its next transaction reads it again only where it has changed.

    The engine has a number that every commit changes, of whatever connection: what is known holds as long as that is
    the same. Within a transaction, and after one that failed, nothing is known.
    """

    __slots__ = ("at", "config", "contents", "empty", "folding", "has_config", "number", "seq")

    def __init__(self) -> None:
        self.contents = -1
        self.seq = self.at = 0
        self.folding: list[Projection] = []
        self.config: Config | None = None
        self.has_config = False
        self.number: int | None = None
        """The highest that was given to a job."""
        self.empty: set[str] = set()
        """The values of `_FILLS` of which there is nothing."""


_FILLS = {
    QueuePaused.type: "queues",
    QueueResumed.type: "queues",
    QueueLimited.type: "queues",
    Enqueued.type: "dependencies",
    Edited.type: "dependencies",
    BatchOpened.type: "batches",
    ScheduleAdded.type: "schedules",
    Forced.type: "forced",
    Released.type: "forced",  # what is given back is as it was before its claim
    Interrupted.type: "forced",
}
"""By type of event: what there may be something of after it. A worker asks for these at each turn."""


class LogTransaction(Transaction):
    """The write transaction of an engine, which says how rows are inserted into the log."""

    def __init__(self, registry: Registry, known: Known, now: int) -> None:
        """`known` is true of the database as it is; `now` is the clock, read under the write lock (µs UTC)."""
        self._registry = registry
        self._known = known
        known.contents = -1
        self.seq = known.seq
        self._folding = known.folding
        self.now = now
        self.at = max(now, known.at + 1)
        self.wakes = False
        self.types: set[str] = set()
        self._numbers = range(0)
        self._conflict: Conflict | None = None

    @abstractmethod
    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert these rows, the fields of `Recorded`, into the log.

        Raises the Conflict that it keeps in `_conflict`, here or when the transaction ends.
        """

    @abstractmethod
    def _contents(self) -> int:
        """The engine's number for what is in the database, as of the commit that was just made."""

    def append(self, writes: Iterable[Write], actor: str) -> list[Change]:
        changes: list[Change] = []
        rows: list[tuple[Any, ...]] = []
        seq, at = self.seq, self.at
        for write in writes:
            before = write.before
            version = write.version if before is None else before.version
            for event in write.events:
                seq += 1
                version += 1
                data = stored(event)
                record = Recorded(seq, write.stream, version, event.type, event.v, at, actor, data)
                after = evolve(before, record, event)
                changes.append(Change(record, event, before, after))
                rows.append(astuple(record))
                self.types.add(event.type)
                before = after
        if not changes:
            return changes
        refuse_nul(rows)
        self._insert(rows)
        self._registry.fold(self._folding, changes)
        self._appended(changes[-1].record)
        return changes

    def enqueue(self, groups: Sequence[Alike], actor: str) -> None:
        if not self._registry.only_ours:  # users' projections are given every change
            super().enqueue(groups, actor)
            return
        rows: list[tuple[Any, ...]] = []
        new: list[tuple[Job, Alike]] = []
        seq, at, kind, v = self.seq + 1, self.at, Enqueued.type, Enqueued.v
        for group in groups:
            made = zip(group.jobs, group.payloads(), strict=True)
            first = len(rows)
            rows += [(seq, f"job:{id}", 1, kind, v, at, actor, data) for seq, ((id, _), data) in enumerate(made, seq)]
            seq += len(group.jobs)
            new.append((evolve(None, Recorded(*rows[first]), group.policy), group))
        refuse_nul(rows)
        self._insert(rows)
        new_jobs.insert(new, self._store)
        self.types.add(kind)
        self._appended(Recorded(*rows[-1]))

    def _appended(self, record: Recorded) -> None:
        """Note what the events up to this one make unknown. Where it has the last number given, that is the highest."""
        self.seq = record.seq
        if ConfigSet.type in self.types:
            self._known.has_config = False
        if self._known.empty:
            self._known.empty.difference_update([_FILLS[kind] for kind in self.types if kind in _FILLS])
        last = record.subject
        self._known.number = int(last) if self._numbers and last == str(self._numbers[-1]) else None

    def finish(self) -> None:
        """Note how far the projections are, last thing before the commit. Raises the Conflict that a caller caught."""
        if self._conflict is not None:
            raise self._conflict
        if self.types:
            self._registry.advance(self._folding, self.seq)

    def committed(self) -> None:
        """Keep what is known for the next transaction, unless users' projections are looked after each time."""
        known = self._known
        if self.types:
            known.seq, known.at = self.seq, self.at
        if self._registry.only_ours:
            known.contents = self._contents()

    def numbers(self, count: int) -> range:
        known = self._known
        if known.number is None:
            known.number = super().numbers(0).start - 1
        self._numbers = range(known.number + 1, known.number + 1 + count)
        return self._numbers

    def config(self) -> Config | None:
        known = self._known
        if not known.has_config:
            known.config = super().config()
            known.has_config = True
        return known.config

    def gates(self, names: Sequence[str] | None = None) -> dict[str, QueueGate]:
        if "queues" in self._known.empty:
            return {}
        found = super().gates(names)
        if not found and names is None:
            self._known.empty.add("queues")
        return found

    def forced(self, queues: Sequence[str] = ()) -> list[Job]:
        if "forced" in self._known.empty:
            return []
        found = super().forced()
        if not found:
            self._known.empty.add("forced")
        return [job for job in found if not queues or job.queue in queues]

    def depended_on(self, ids: Collection[str]) -> set[str]:
        if "dependencies" in self._known.empty:
            return set()
        if not self._store.execute("select exists (select 1 from dependencies)")[0][0]:
            self._known.empty.add("dependencies")
            return set()
        return super().depended_on(ids)

    def cascading_batch(self) -> BatchState | None:
        return super().cascading_batch() if self._has_batches() else None

    def halting_batches(self) -> frozenset[str]:
        return super().halting_batches() if self._has_batches() else frozenset()

    def schedule_events(self) -> int:
        if "schedules" in self._known.empty:
            return 0
        found = super().schedule_events()
        if not found:
            self._known.empty.add("schedules")
        return found

    def _has_batches(self) -> bool:
        if "batches" in self._known.empty:
            return False
        if not self._store.execute("select exists (select 1 from batches)")[0][0]:
            self._known.empty.add("batches")
        return "batches" not in self._known.empty

    def _refuse_removal(self) -> None:
        """Raise Refused where a projection has not folded all events: it never could, once some are removed."""
        folding = {projection.name for projection in self._folding}
        for row in self._registry.rows().values():
            if row.broken is not None or row.name not in folding:
                why = row.broken or "its code is not installed here"
                raise Refused(f"the projection {row.name!r} would miss it ({why}): mend that, then `queuectl replay`")
