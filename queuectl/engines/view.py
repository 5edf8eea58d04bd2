"""What can be asked of an engine at one point of the log (`View`), and what a transaction can do (`Transaction`)."""

import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from projections import Change, evolve
from projections.attempts import Attempt
from projections.config import Config
from projections.environments import Environment
from projections.jobs import Job
from projections.replay import Progress
from projections.workers import Worker
from queuectl.decisions import Ending, Ends, finish
from queuectl.events import Event, Recorded


class Write(msgspec.Struct, frozen=True, gc=False):
    """Events to append to one stream after `before`, the subject they were decided on."""

    stream: str
    before: Any
    """The subject (Job, Worker, Config) as it was loaded; None for a new stream."""
    events: Sequence[Event]
    version: int = 0
    """Of the stream's last event, where it has no subject that knows: seals, and jobs that were purged."""


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """What is kept of an event for ever, to prove that it is what it was (R23)."""

    seq: int
    at: int
    """Microseconds UTC."""
    hash: bytes
    """32 bytes, of all that is stored of the event."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are asked for; every None lets all pass. Moments are microseconds UTC."""

    streams: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    queue: str | None = None
    """Only events of jobs of this queue."""
    since: int | None = None
    until: int | None = None


ALL = Filter()


class ProjectionStatus(msgspec.Struct, frozen=True):
    """How far a projection has come."""

    name: str
    seq: int
    """The last event that it has folded."""
    source: str | None
    """The import path of a user's own; None for ours."""
    broken: str | None
    """What it raised, where it was set aside."""


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are asked for; every None lets all pass. Moments are microseconds UTC."""

    states: tuple[str, ...] | None = None
    queue: str | None = None
    since: int | None = None
    """Enqueued at this moment or later."""
    until: int | None = None
    """Enqueued at this moment or earlier."""
    ended_since: int | None = None
    """Ended (completed, dead or cancelled, and not retried since) at this moment or later."""


class View(ABC):
    """Reading, all of it at one point of the log."""

    @abstractmethod
    def head(self) -> tuple[int, int]:
        """(seq, at) of the last event; (0, 0) in an empty log."""

    @abstractmethod
    def events(
        self, *, after: int = 0, upto: int | None = None, limit: int = 1000, where: Filter = ALL
    ) -> list[Recorded]:
        """A page of the log: events with `after` < seq <= `upto`, in order."""

    @abstractmethod
    def stream(self, stream: str) -> list[Recorded]:
        """All events of one stream, in order."""

    @abstractmethod
    def last(self, stream: str) -> Recorded | None:
        """The last event of a stream; None where it has none."""

    @abstractmethod
    def tombstones(self, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """A page of the `archived` events with a seq above `after`, in order."""

    @abstractmethod
    def leaves(self, *, after: int = 0, upto: int | None = None, limit: int = 1000) -> list[Leaf]:
        """A page of the leaves: those with `after` < seq <= `upto`, in order."""

    @abstractmethod
    def job(self, id: str) -> Job | None:
        """The job of exactly this id."""

    @abstractmethod
    def job_seqs(self, where: JobFilter, now: int, limit: int | None = None) -> Sequence[int]:
        """The seqs of these jobs, in the order of lists; at most `limit`, for which no more than those are read.

        What is processing comes first, by its claim. Then what waits, in the order in which it will run: what is due at
        `now` as `ready` has it, then the rest by `run_at`, priority and seq. Then what is blocked, as it came, and what
        has ended, the latest end first.
        """

    @abstractmethod
    def count_jobs(self, where: JobFilter) -> int:
        """How many jobs there are of these."""

    @abstractmethod
    def jobs(self, seqs: Sequence[int]) -> list[Job]:
        """The jobs with these seqs, in this order; those that are gone are left out."""

    @abstractmethod
    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """Ids of jobs that begin with `prefix`."""

    @abstractmethod
    def attempts(self, job: str) -> list[Attempt]:
        """The attempts of a job, first to last."""

    @abstractmethod
    def page_of_attempts(self, *, after: int = 0, queue: str | None = None, limit: int = 1000) -> list[Attempt]:
        """A page of the attempts of all queues or of one, in the order of their claims: those with a seq above."""

    @abstractmethod
    def jobs_of(self, worker: str) -> list[Job]:
        """The jobs that this worker holds."""

    @abstractmethod
    def workers_with_jobs(self) -> list[str]:
        """The ids of the workers that hold any job, in no order; ended ones and unknown ones too."""

    @abstractmethod
    def counts(self, queues: Sequence[str] = ()) -> dict[str, int]:
        """Jobs by state, of all queues or of some; states without jobs are left out."""

    @abstractmethod
    def waiting_by_queue(self) -> dict[str, int]:
        """How many jobs wait (pending or failed) in each queue that has any."""

    @abstractmethod
    def worker(self, id: str) -> Worker | None:
        """The worker of exactly this id."""

    @abstractmethod
    def workers(self, *, live: bool = True) -> list[Worker]:
        """The workers that started and have not ended, or all there were."""

    @abstractmethod
    def running_workers(self) -> int:
        """How many workers have started and not ended, those that only recover aside."""

    @abstractmethod
    def archivable(self, at: int, states: Collection[str]) -> dict[str, int]:
        """The streams that were through by then (µs UTC), each with the version of its last event.

        Those of jobs that came to one of these final states, of purged jobs, and of workers that ended and of whose
        attempts only those of jobs that are named with them are left.
        """

    @abstractmethod
    def config(self) -> Config | None:
        """The stored settings, or None where none was ever stored."""

    def environment(self, name: str) -> Environment | None:
        """What jobs that name this environment (by its hash) are given; None where the log has it not."""
        record = self.last(f"env:{name}")
        return evolve(None, record, record.event) if record is not None else None

    @abstractmethod
    def due(self, queues: Sequence[str], limit: int, now: int) -> list[Job]:
        """The waiting jobs that are due at `now`, in the order of claims: of all queues where none are named."""

    @abstractmethod
    def next_due(self, queues: Sequence[str] = ()) -> int | None:
        """The earliest `run_at` (µs UTC) of the waiting jobs, or None."""

    @abstractmethod
    def seq_at(self, at: int) -> int:
        """The last event that had happened at that moment (µs UTC), archived ones too; 0 where none had."""

    @abstractmethod
    def query(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows, by column, of a query of the tables that others may read (docs/reference/tables.md).

        All of them at once: ask for few. It is for questions that the documentation defines as SQL. Raises Invalid
        where the query would change something.
        """

    # What `doctor` asks.

    @abstractmethod
    def damage(self, progress: Progress | None = None) -> list[str]:
        """What the database finds wrong with itself, a line each; none where it is sound. Reads all of it at once.

        `progress` is called with (pages read, 0), for the total is not known.
        """

    @abstractmethod
    def schema_differences(self) -> list[str]:
        """What belongs to the log's schema (its indexes, and what keeps it append-only) and is not there, or not so."""

    @abstractmethod
    def highest_seq(self) -> int:
        """The highest seq that an event ever had, 0 where there was none; above the head where the end was removed."""

    @abstractmethod
    def streams(self, *, after: str = "", upto: int, limit: int = 1000) -> list[tuple[str, int, int]]:
        """A page of the streams up to event `upto`, by name: each with how many events it had, and the last version.

        Those that were archived count.
        """

    @abstractmethod
    def projection_statuses(self) -> list[ProjectionStatus]:
        """How far each projection has come."""

    @abstractmethod
    def wal_backlog(self) -> int:
        """Bytes that are committed and can't be written back into the database yet (SQLite's WAL).

        To be asked first in a snapshot: later it would be one of those who are in the way.
        """


class Transaction(View):
    """Reading and writing, alone: no other process appends until it ends. It ends in a commit, or in nothing at all."""

    now: int
    """The raw clock, read once the write lock was held: every due time is computed from it and compared with it."""
    at: int
    """What the events of this transaction are stamped with: `now`, or later, so that the log never goes back."""

    @abstractmethod
    def append(self, writes: Iterable[Write], actor: str) -> list[Change]:
        """Append events and fold them into every projection. Raises Conflict where a stream has moved on."""

    def end(self, endings: Iterable[Ending], actor: str, known: Mapping[str, Job]) -> Ends:
        """Decide these endings together (R32), append what becomes of the jobs, and forget what is not needed any more.

        `known`: jobs that need not be loaded, since most often nothing has happened to them since they were. Raises
        Conflict as `append` does, and Refused as `decisions.finish` does.
        """
        ends = finish(endings, lambda id: known.get(id) or self.job(id), self.now, random.random)
        self.append([Write(f"job:{end.job.id}", end.job, end.events) for end in ends.jobs], actor)
        self.forget_secrets(ends.forget)
        return ends

    @abstractmethod
    def ready(self, queues: Sequence[str], limit: int) -> list[Job]:
        """The jobs that may be claimed now, best first: of all queues where none are named."""

    @abstractmethod
    def numbers(self, count: int) -> range:
        """`count` new numbers, never given before in this database, for the ids of the jobs appended next."""

    @abstractmethod
    def keep_secrets(self, job: str, values: Mapping[str, str]) -> None:
        """Keep the values of a job's secret variables, apart from the log."""

    @abstractmethod
    def secrets(self, job: str) -> dict[str, str]:
        """The values of a job's secret variables that are here."""

    @abstractmethod
    def forget_secrets(self, jobs: Iterable[str]) -> None:
        """Forget all secret values of these jobs."""

    @abstractmethod
    def keep_leaves(self, leaves: Iterable[Leaf]) -> None:
        """Keep leaves that are not there yet."""

    @abstractmethod
    def remove(self, streams: Iterable[str]) -> None:
        """Remove the events of these streams but the last, an `archived`; each must have its leaf.

        Raises Refused where a projection has not folded them, or not their tombstones: it never could.
        """
