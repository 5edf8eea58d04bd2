"""What can be asked of an engine at one point of the log (`View`), and what a transaction can do (`Transaction`)."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
from msgspec.structs import replace

from projections import Change, schedules
from projections.attempts import AttemptQuestions
from projections.batches import BatchQuestions
from projections.claimable import ClaimQuestions
from projections.config import ConfigQuestions
from projections.dependencies import DependencyQuestions
from projections.environments import EnvironmentQuestions
from projections.grants import GrantQuestions
from projections.job_list import JobLists
from projections.jobs import Job
from projections.new_jobs import Alike
from projections.notes import NoteQuestions
from projections.numbers import NumberQuestions
from projections.queues import QueueQuestions, stream
from projections.replay import Progress
from projections.resources import ResourceQuestions
from projections.schedules import ScheduleQuestions
from projections.workers import WorkerQuestions
from queuectl.clock import micros
from queuectl.decisions import Ending, Ends, Lease, enqueue, finish
from queuectl.engines.dependants import Dependants
from queuectl.engines.log_questions import LogQuestions
from queuectl.events import Claimed, Dead, Enqueued, Event, Recorded
from queuectl.rate import Rate


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


class Secret(msgspec.Struct, frozen=True, gc=False):
    """The value of one secret variable of a job, which stands in no event (R22)."""

    job: str
    name: str
    value: str


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are asked for; every None lets all pass. Moments are microseconds UTC."""

    streams: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    queue: str | None = None
    """Only events of jobs of this queue, and those of the queue itself and of all queues at once."""
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
    version: int
    """Of its tables."""


class View(
    LogQuestions,
    ClaimQuestions,
    JobLists,
    AttemptQuestions,
    WorkerQuestions,
    ConfigQuestions,
    QueueQuestions,
    ResourceQuestions,
    GrantQuestions,
    DependencyQuestions,
    BatchQuestions,
    NoteQuestions,
    ScheduleQuestions,
    EnvironmentQuestions,
):
    """Reading, all of it at one point of the log. The questions of each subject are beside its table."""

    def is_cascading(self) -> bool:
        """Whether jobs to which the ends of others matter were left for later: see `Transaction.cascade`."""
        return bool(self.cascading(1)) or self.cascading_batch() is not None

    @abstractmethod
    def events(
        self, *, after: int | None = 0, upto: int | None = None, limit: int = 1000, where: Filter = ALL
    ) -> list[Recorded]:
        """A page of the log: events with `after` < seq <= `upto`, in order.

        None: from the lowest, which is below 1 only where something was put in by hand.
        """

    @abstractmethod
    def size(self, upto: int) -> int:
        """How many events there are up to event `upto`; those that were archived are not."""

    @abstractmethod
    def stream(self, stream: str) -> list[Recorded]:
        """All events of one stream, in order."""

    @abstractmethod
    def tombstones(self, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """A page of the `archived` events with a seq above `after`, in order."""

    @abstractmethod
    def leaves(self, *, after: int | None = 0, upto: int | None = None, limit: int = 1000) -> list[Leaf]:
        """A page of the leaves: those with `after` < seq <= `upto`, in order, as with `events`."""

    @abstractmethod
    def every_secret(self) -> list[Secret]:
        """The values of all secret variables that are here."""

    @abstractmethod
    def failed_jobs(self, *, after: int, upto: int, queue: str | None, limit: int) -> list[tuple[int, str]]:
        """A page of the jobs enqueued after event `after` and up to `upto` that have ever failed: seq and stream."""

    @abstractmethod
    def history(self, streams: Collection[str], before: int) -> Iterable[Recorded]:
        """The events of these streams before seq `before`, each stream's in order."""

    @abstractmethod
    def figure(self, name: str, *, after: int, upto: int, queue: str | None, limit: int) -> list[dict[str, Any]]:
        """A figure of `queuectl stats`: the rows, by column, of the query of this name in `figures.sql`."""

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
    def free_space(self) -> int:
        """Bytes within the database that are free to be used again; 0 where the engine can't tell."""

    @abstractmethod
    def schema_version(self) -> int:
        """The version of the schema of the log (see `queuectl.versions`)."""

    @abstractmethod
    def wal_backlog(self) -> int:
        """Bytes that are committed and can't be written back into the database yet (SQLite's WAL).

        To be asked first in a snapshot: later it would be one of those who are in the way.
        """


class Rerun(ABC):
    """A queue as it was, which is taken forward through the log, transaction by transaction."""

    @abstractmethod
    def __iter__(self) -> Iterator[Sequence[Change]]:
        """The changes of each transaction, in order. What they change is in the view once they are taken.

        Raises QueueError at the end where events were archived meanwhile, so that some may be missing.
        """

    @abstractmethod
    def take(self, changes: Sequence[Change]) -> None:
        """Go on to after these: the next that came, and each in its turn."""

    @property
    @abstractmethod
    def view(self) -> View:
        """The queue as it is after what was taken; good until more is."""


class Transaction(View, NumberQuestions):
    """Reading and writing, alone: no other process appends until it ends. It ends in a commit, or in nothing at all."""

    now: int
    """The raw clock, read once the write lock was held: every due time is computed from it and compared with it."""
    at: int
    """What the events of this transaction are stamped with: `now`, or later, so that the log never goes back."""
    wakes: bool
    """Whether workers are to look for work, whatever was appended."""

    @abstractmethod
    def append(self, writes: Iterable[Write], actor: str) -> list[Change]:
        """Append events and fold them into every projection.

        Raises Conflict where a stream has moved on, here or at the latest when the transaction ends, and Invalid for an
        event of which the log could not read a field.
        """

    def enqueue(self, groups: Sequence[Alike], actor: str) -> None:
        """Append new jobs, those that are alike together. Raises as `append` does."""
        jobs = [(id, replace(group.policy, command=command)) for group in groups for id, command in group.jobs]
        self.append_new(jobs, actor)

    def end(self, endings: Iterable[Ending], actor: str, known: Mapping[str, Job]) -> Ends:
        """Decide these endings together (R32), append what becomes of the jobs, and forget what is not needed any more.

        So for the jobs that depend on these or are in halted batches, up to so many of them: see `cascade`. `known`:
        jobs that need not be loaded, since most often nothing has happened to them since they were. Raises Conflict as
        `append` does, and Refused as `decisions.finish` does.
        """
        ends = self.decide_ends(endings, known)
        self._dependants.end(ends, actor)
        return ends

    def cascade(self, actor: str) -> bool:
        """Do a part of what was left for later of jobs that depend on others, or are in halted batches.

        Returns whether there may be more.
        """
        return self._dependants.cascade(actor)

    @property
    def has_left_dependants(self) -> bool:
        """Whether jobs to which the ends here matter were left for later."""
        return self._dependants.left

    @cached_property
    def _dependants(self) -> Dependants:
        return Dependants(self)

    def decide_ends(self, endings: Iterable[Ending], known: Mapping[str, Job]) -> Ends:
        """Decide these endings together, and append nothing; arguments and errors as of `end`."""
        import random

        return finish(
            endings, lambda id: known.get(id) or self.job(id), self.now, random.random, self.gates(), self._charge
        )

    def append_ends(self, ends: Ends, actor: str) -> None:
        """Append what was decided of these jobs and their queues."""
        writes = [Write(f"job:{end.job.id}", end.job, end.events) for end in ends.jobs]
        self.append([*writes, *(Write(stream(state.name), state, events) for state, events in ends.queues)], actor)
        self._pause_schedules(ends, actor)
        self.wakes = self.wakes or ends.frees
        self.forget_secrets(ends.forget)

    def _pause_schedules(self, ends: Ends, actor: str) -> None:
        """Pause the schedules that want that, of which any of these jobs has died."""
        for end in ends.jobs:
            trigger = end.job.policy.trigger
            if trigger is None or trigger.schedule is None or not any(isinstance(each, Dead) for each in end.events):
                continue
            found = self.schedule(trigger.schedule)
            if found is not None and found.pause_on_failure and found.is_active:
                from queuectl.decisions.schedule import pause  # few queues need it

                self.append_to(schedules.stream(found.name), found, pause(found, job=end.job.id), actor)

    def append_new(self, jobs: Iterable[tuple[str, Enqueued]], actor: str) -> None:
        """Append new jobs, of which no two are alike: the id of each, and its policy."""
        self.append([Write(f"job:{id}", None, enqueue(policy)) for id, policy in jobs], actor)

    def append_of_jobs(self, decided: Iterable[tuple[Job, Sequence[Event]]], actor: str) -> None:
        """Append what was decided of jobs to their streams."""
        self.append([Write(f"job:{job.id}", job, events) for job, events in decided if events], actor)

    def append_to(self, stream: str, before: Any, events: Sequence[Event], actor: str) -> None:
        """Append what was decided of the subject of one stream (None: it is new)."""
        self.append([Write(stream, before, events)] if events else [], actor)

    def _charge(self, lease: Lease, rate: Rate) -> int:
        """By how much (µs) the claim of this lease has moved the theoretical arrival time of its queue's rate.

        0 once that time has passed: the stamp of the claim does not tell, where the clock was set back before it (R3).
        """
        for record in self.stream(f"job:{lease.job}"):
            if record.version == lease.version and isinstance(record.event, Claimed):
                for queue, stated in record.event.rates.items():
                    arrival = micros(stated)
                    return rate.added(arrival, self.arrival(queue, record.seq)) if arrival > self.now else 0
        return 0

    def ready(self, queues: Sequence[str], limit: int) -> list[Job]:
        """The jobs that may be claimed now, best first: of all queues where none are named."""
        return self.due(queues, limit, self.now)

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
