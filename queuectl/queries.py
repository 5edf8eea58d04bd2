"""The questions people ask of a queue, each answered from one moment of the log."""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Self

import msgspec

from projections.attempts import Attempt
from projections.config import Config
from projections.environments import Environment
from projections.job_list import JobFilter
from projections.jobs import STATES, Job
from projections.workers import Worker
from queuectl import disk, environment, filters, history, settings
from queuectl.clock import text
from queuectl.disk import Disk
from queuectl.dotenv import EnvFile
from queuectl.engines.base import Engine, Progress
from queuectl.engines.view import Filter, View
from queuectl.errors import Invalid, NotFound, QueueError
from queuectl.events import Recorded
from queuectl.history import Moment
from queuectl.home import Home
from queuectl.listing import PAGE, Listing
from queuectl.liveness import Life, liveness
from queuectl.settings import Resolved, Settings
from queuectl.units import Then


class Status(msgspec.Struct, frozen=True):
    """Jobs by state, and how many workers there are, as of one event of the log."""

    counts: dict[str, int]
    """Every state, in the order of `projections.jobs.STATES`."""
    workers: int
    seq: int
    at: int
    """Microseconds UTC of the last event; 0 in an empty log."""
    held: int = 0
    """How many of those that wait are held."""

    @property
    def total(self) -> int:
        """Jobs of all states."""
        return sum(self.counts.values())

    def json(self) -> dict[str, Any]:
        """The document of `status --json`: the seed's keys first."""
        counts = self.counts
        seed = ("pending", "processing", "completed", "failed", "dead")
        return {
            **{state: counts[state] for state in seed},
            "total": self.total,
            "workers": self.workers,
            "blocked": counts["blocked"],
            "cancelled": counts["cancelled"],
            "as_of": {"seq": self.seq, "at": text(self.at) if self.seq else None},
            "held": self.held,
        }


class Endings(msgspec.Struct, frozen=True):
    """How jobs have ended: how many completed, and the ids of those that did not."""

    completed: int
    dead: list[str]
    cancelled: list[str]


class Queries:
    """What can be asked of the queue in one database. `Queue` adds what can be done to it."""

    logs: str
    """The folder of `worker.jsonl` and the reports of recoveries."""
    _engine: Engine
    _env_file: EnvFile
    """The `.env` of the working directory, as it was when the queue was opened."""
    _in_force: tuple[Mapping[bytes, bytes], Mapping[str, str], Settings] | None = None
    """The settings as they were found last: in which environment, with what stored."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. Harmless when repeated."""
        self._engine.close()

    @property
    def url(self) -> str:
        """The absolute path of the database."""
        return self._engine.url

    @property
    def home(self) -> Home:
        """The queue's folder on this host."""
        return self._engine.home

    @property
    def engine(self) -> Engine:
        """Where log and projections live; for workers."""
        return self._engine

    def resolve(self, id: str, prefix: bool = True) -> str:
        """The id that is meant: exactly this one, or else the only one that begins so (made ids only exactly).

        Raises NotFound, which names the file where it was archived, or Invalid where several begin so.
        """
        with self._engine.snapshot() as view:
            if view.job(id) is not None:
                return id
            if records := view.stream(f"job:{id}"):
                if records[-1].type == "archived":
                    raise history.not_found(id, records)
                return id
            found = view.ids(id, 4) if prefix and id and not id.isdecimal() else []
        if len(found) == 1:
            return found[0]
        if found:
            more = ", …" if len(found) > 3 else ""
            raise Invalid(f"{id!r} is ambiguous: it could be {', '.join(found[:3])}{more}")
        raise NotFound(f"no job {id!r}; see `queuectl list`")

    def job(self, id: str) -> Job:
        """The job of that id. Raises NotFound."""
        with self._engine.snapshot() as view:
            return get_job(view, id)

    def environment(self, name: str) -> Environment | None:
        """What jobs that name this environment (by its hash) are given; None where the log has it not."""
        with self._engine.snapshot() as view:
            return view.environment(name)

    def attempts(self, id: str) -> list[Attempt]:
        """The attempts of a job, first to last."""
        with self._engine.snapshot() as view:
            return view.attempts(id)

    def callbacks(self, id: str) -> list[Job]:
        """The callbacks that the ends of a job have added, first to last, but for those that are gone."""
        with self._engine.snapshot() as view:
            return view.callbacks(id)

    def jobs(
        self,
        *,
        state: str | Sequence[str] | None = None,
        queue: str | None = None,
        batch: str | None = None,
        since: int | None = None,
        until: int | None = None,
        ended_since: int | None = None,
        where: str = "",
        limit: int | None = None,
        brief: bool = False,
        then: Then | None = None,
        progress: Progress | None = None,
    ) -> Listing:
        """Jobs as they are, or as they were `then`: first what is processing, then what waits in the order in which it
        will run, then what has ended, the latest end first.

        Of one state or several, of one queue, of one batch, enqueued between `since` and `until`, ended at
        `ended_since` or later (moments µs UTC); `where` is a filter (R39), which must hold as well. At most `limit`; a
        `brief` list has only some, and knows how many more there are. Raises Invalid for a state that there is not or a
        wrong filter, and where it is iterated NotFound for a moment before the log began.
        """
        states = (state,) if isinstance(state, str) else tuple(state) if state is not None else None
        for each in states or ():
            if each not in STATES:
                raise Invalid(f"no state {each!r}; there are {', '.join(STATES)}")
        listed = JobFilter(states=states, queue=queue, batch=batch, since=since, until=until, ended_since=ended_since)
        listing = Listing(filters.condition(filters.parse(where), listed, self._engine.now()), limit, brief)
        listing.rows = self._listed(listing, then, progress)
        return listing

    def _listed(self, listing: Listing, then: Then | None, progress: Progress | None) -> Iterator[Job]:
        if then is None:
            yield from listing.read(self._engine.snapshot, self._engine.now())
            return
        with self.as_of(then, ("jobs", "counts", "notes"), progress) as view:
            yield from listing.read(lambda: nullcontext(view), then.at or view.head()[1])

    @contextmanager
    def as_of(self, then: Then | None, names: Collection[str], progress: Progress | None) -> Generator[View]:
        """A view of the present, or of what these projections were. Raises NotFound for one before the log began."""
        if then is None:
            with self._engine.snapshot() as view:
                yield view
            return
        with self._engine.snapshot() as view:
            seq = min(then.seq, view.head()[0]) if then.seq is not None else view.seq_at(then.at or 0)
        if not seq:
            raise NotFound("the log had not begun at that moment: nothing was there")
        with self._engine.past(seq, names, progress) as view:
            yield view

    def status(
        self,
        queue: str | None = None,
        *,
        batch: str | None = None,
        then: Then | None = None,
        progress: Progress | None = None,
    ) -> Status:
        """Jobs by state (of one queue, if named) and the number of workers, as of now or as they were `then`.

        Of a `batch`, in the place of a queue, only as they are now.

        The past is folded from the log, which takes a second for some 100,000 events; `progress` is called meanwhile.
        Raises NotFound for a moment before the log began.
        """
        with self.as_of(then, ("counts", "workers"), progress) as view:
            if batch is not None:
                counts = view.batch_counts(batch)
                held = sum(each.jobs for each in view.waiting_members(batch) if each.held)
            else:
                queues = (queue,) if queue is not None else ()
                counts, held = view.counts(queues), view.held_jobs(queues)
            seq, at = view.head()
            return Status({state: counts.get(state, 0) for state in STATES}, view.running_workers(), seq, at, held)

    def history(self, id: str) -> list[Moment]:
        """Everything that happened to a job, replayed from the log, with the job after each event. Raises NotFound."""
        with self._engine.snapshot() as view:
            return history.history(view, id)

    def job_at(self, id: str, *, at: int | None = None, seq: int | None = None, version: int | None = None) -> Job:
        """The job as it was at a moment (µs UTC), after event `seq` of the log, or after its own event `version`."""
        return history.as_of(self.history(id), at=at, seq=seq, version=version)

    def events(
        self,
        *,
        after: int = 0,
        follow: bool = False,
        job: str | None = None,
        type: str | None = None,
        queue: str | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> Iterator[Recorded]:
        """The log in order, after seq `after`, all of it or what the filters let through (moments µs UTC).

        Of a `queue` these are the events of its jobs, its own (paused, resumed, limited), and those of all queues.

        `follow` goes on for ever with what is appended, by whatever process; otherwise it ends at what was the end when
        it began. Read in pages: nothing is kept open between two. Raises QueueError at the end where events were
        archived meanwhile, so that some may be missing.
        """
        streams = (f"job:{job}",) if job is not None else None
        where = Filter(streams=streams, types=(type,) if type else None, queue=queue, since=since, until=until)
        bell = self._engine.listen("log") if follow else None
        try:
            while True:
                with self._engine.snapshot() as view:
                    end = view.head()[0]
                while after < end:
                    with self._engine.snapshot() as view:
                        page = view.events(after=after, upto=end, limit=PAGE, where=where)
                    yield from page
                    after = page[-1].seq if len(page) == PAGE else end
                if bell is None:
                    with self._engine.snapshot() as view:
                        if view.tombstones(after=end, limit=1):
                            raise QueueError("events were archived while the log was read: read it again")
                    return
                bell.wait(5.0)
                bell.clear()
        finally:
            if bell is not None:
                bell.close()

    def all_attempts(self, queue: str | None = None) -> Iterator[Attempt]:
        """Every attempt there was, of all queues or of one, in the order of their claims. Read in pages."""
        after = 0
        while True:
            with self._engine.snapshot() as view:
                page = view.page_of_attempts(after=after, queue=queue, limit=PAGE)
            if not page:
                return
            yield from page
            after = page[-1].seq

    # -- settings ----------------------------------------------------------------------------------------------------

    def settings(self, view: View) -> Settings:
        """The settings in force, with what `config set` has stored as of this view."""
        stored, environ = _stored(view), environment.snapshot()
        last = self._in_force
        if last is None or last[:2] != (environ, stored):
            last = self._in_force = (environ, stored, settings.settings(stored, env_file=self._env_file))
        return last[2]

    def config(self) -> dict[str, Resolved]:
        """Every setting: its value, its text and where it comes from."""
        with self._engine.snapshot() as view:
            return settings.resolve(_stored(view), env_file=self._env_file)

    def disk(self) -> Disk:
        """The free space on the queue's disk, and the floor below which no new job starts."""
        with self._engine.snapshot() as view:
            return disk.space(self.home, self.settings(view))

    # -- workers -----------------------------------------------------------------------------------------------------

    def workers(self, *, all: bool = False) -> list[Worker]:
        """The workers that have started and not ended, in the log; or all there ever were."""
        with self._engine.snapshot() as view:
            return view.workers(live=not all)

    def endings(self, after: int) -> Endings:
        """How the jobs that have ended since event `after` of the log did so; of each one its latest end."""
        others: dict[str, Recorded] = {}
        for state in ("dead", "cancelled"):
            for record in self.events(after=after, type=state):
                if record.subject not in others or others[record.subject].seq < record.seq:
                    others[record.subject] = record
        completed = 0
        for record in self.events(after=after, type="completed"):
            completed += 1
            if record.subject in others and others[record.subject].seq < record.seq:
                del others[record.subject]
        named = {
            state: [id for id, record in others.items() if record.type == state] for state in ("dead", "cancelled")
        }
        return Endings(completed, **named)

    def held(self, worker: str) -> list[Job]:
        """The jobs that a worker holds."""
        with self._engine.snapshot() as view:
            return view.jobs_of(worker)

    def liveness(self, worker: Worker) -> Life:
        """Whether the worker's process lives, is gone, or can't be seen from here."""
        return liveness(worker, self._engine)

    def sees(self, worker: Worker) -> bool | None:
        """Whether the worker's process lives; None where that can't be told from here."""
        life = self.liveness(worker)
        return None if life is Life.UNKNOWN else life is Life.LIVES

    def alive(self, worker: str) -> bool:
        """Whether the process of the worker with this id lives and can be seen from here."""
        with self._engine.snapshot() as view:
            known = view.worker(worker)
        return known is not None and self.sees(known) is True


def get_job(view: View, id: str) -> Job:
    """The job of that id. Raises NotFound, which tells a purged or archived one from one that never was."""
    job = view.job(id)
    if job is None:
        raise history.not_found(id, view.stream(f"job:{id}"))
    return job


def _stored(view: View) -> dict[str, str]:
    stored: Config | None = view.config()
    return stored.values if stored is not None else {}
