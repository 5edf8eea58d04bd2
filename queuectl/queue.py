"""The queue: each command of a user as one transaction: load, decide, append."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Unpack

from projections.config import Config
from projections.jobs import Job
from queuectl import decisions, dotenv, engines, environment, on_empty, settings
from queuectl.batches import halted_members, reopen_batches
from queuectl.decisions import Cancel
from queuectl.editing import Editing, EditRequest
from queuectl.engines.base import Progress
from queuectl.engines.dependants import cancelled_because
from queuectl.engines.parents import standing_again
from queuectl.engines.view import Transaction, Write
from queuectl.errors import Invalid, Refused
from queuectl.events import ConfigSet, Event
from queuectl.flow_control import jobs_among
from queuectl.host.user import caller
from queuectl.job_fields import Changes
from queuectl.noting import Noting
from queuectl.option_kinds import SIGNAL
from queuectl.output_queries import OutputQueries
from queuectl.uniqueness import is_key_free
from queuectl.wait_queries import WaitQueries

if TYPE_CHECKING:
    from queuectl.forecast import Forecasts
    from queuectl.joining import JoinedQueue
    from queuectl.scheduling import Schedules
    from queuectl.units import Then


class Queue(Editing, Noting, OutputQueries, WaitQueries):
    """A queue of shell commands in one database, which is made on first use. A context manager.

    `url` is a path or `sqlite:///path`; left out, it is found as the command line does (QUEUECTL_DB, DB_PATH, the
    user's state folder). With `create` false no database is made where there is none; `made` says whether one was. The
    `.env` of the working directory is read when the queue is opened. `actor` stands in the events as who did it.
    `logs` is the folder for what workers and recoveries write about themselves (left out: QUEUECTL_LOGS, or `logs/`
    beside the database). `progress(done, total)` is called while a database that needs it is healed by replay.

    One Queue belongs to one thread at a time. After a fork the child may go on using its copy, which opens anew.
    Nothing else in the process may open the database file meanwhile (sqlite3, DuckDB): closing it would drop SQLite's
    locks.

    Raises Unusable where the database can't be used (Absent where there is none), Invalid for a URL that names none.
    """

    def __init__(
        self,
        url: str | os.PathLike[str] | None = None,
        *,
        create: bool = True,
        actor: str | None = None,
        logs: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        url = os.fspath(url) if url is not None else settings.database().path
        self._env_file = dotenv.read()
        self.actor = actor if actor is not None else f"library:{caller()}"
        self._environment = environment.EnvironmentReader()
        self._engine = engines.connect(url, create=create, progress=progress)
        self.made = self._engine.made
        try:
            self.logs = os.path.abspath(logs or settings.logs(self._env_file) or self.home.logs)
            with self._engine.snapshot() as view:
                synchronous = self.settings(view).synchronous
            if synchronous != "full":
                self._engine.set_durability(synchronous)
        except BaseException:
            self._engine.close()
            raise

    @staticmethod
    def on(connection: object, *, schema: str = "queuectl", actor: str | None = None) -> "JoinedQueue":
        """The queue in a schema of the same PostgreSQL database, to enqueue within the transaction of `connection`.

        `connection` is a `psycopg.Connection`, or what SQLAlchemy wraps around it (`session.connection().connection`).
        It stays the caller's: no setting of it is changed, and closing it is the caller's part. The queue has to be
        there. Raises Invalid for any other connection, an asynchronous one included.
        """
        from queuectl.joining import JoinedQueue  # few programs need it

        return JoinedQueue(connection, schema, actor if actor is not None else f"library:{caller()}")

    # -- changing ----------------------------------------------------------------------------------------------------

    def cancel(
        self,
        *ids: str,
        among: Collection[str] | None = None,
        reason: str | None = None,
        signal: int | str | None = None,
    ) -> list[str]:
        """Cancel jobs, all or none: a waiting one at once, a running one as soon as its worker has ended it.

        `signal`, a name or a number, asks a running one to end in the place of its stop signal; a further cancel may
        name another one. Returns the ids of those that were changed: where states are named (`among`), who is in
        another by now is passed over, as who is gone is. Raises Invalid for what is no signal.
        """
        jobs: dict[str, Job] = {}
        name = SIGNAL.check("signal", signal) if signal is not None else None

        def cancels(tx: Transaction) -> Iterator[Cancel]:
            for job in jobs_among(tx, ids, among):
                jobs[job.id] = job
                yield Cancel(job.id, reason, signal=name)

        with self._engine.transaction() as tx, on_empty.coming_to_rest(tx, self.actor):
            tx.end(cancels(tx), self.actor, jobs)
        self.cascade()
        return [*jobs]

    def cascade(self) -> None:
        """Look at the jobs that depend on others that have ended, where that was left for later: so many at a time."""
        while self._is_cascading():
            with self._engine.transaction() as tx, on_empty.coming_to_rest(tx, self.actor):
                tx.cascade(self.actor)

    def _is_cascading(self) -> bool:
        with self._engine.snapshot() as view:
            return view.is_cascading()

    def retry(
        self,
        *ids: str,
        among: Collection[str] | None = None,
        batch: str | None = None,
        cascade: bool = False,
        ignore_dependencies: bool = False,
        **changes: Unpack[Changes],
    ) -> list[str]:
        """Run finished jobs again, all or none, each with its retry budget anew.

        A job that depends on others is blocked until those have ended, as when it was enqueued; where it would never
        start it is refused, unless `ignore_dependencies` is set and it is named: then it runs whatever has become of
        them. `cascade`
        also takes the jobs that were cancelled because these had ended as they did, and those that were cancelled
        because of them, unchanged, but for those that would never start all the same. A job whose unique key another
        one has by now is refused. Where states are named, or a batch, such jobs are passed over, and so are those that
        would never start.

        `batch`, in the place of ids: of its jobs the dead ones, those that were cancelled since it was halted, and
        those cancelled because of any of these. A halted batch of which anything runs again is halted no more.

        `changes` are fields of Spec (see `enqueue`; also command or argv) that are others from now on; None leaves one
        as it is, but as a timeout or a memory limit, of which it says that there is none. `env` adds to what the jobs
        have, `secrets` gives values anew, `reason` is that of the retry. Raises Invalid for a bad value, Refused for a
        job that is not finished, or that needs secret values that are not in the database. `among` and what is returned
        are as of `cancel`.
        """
        if ids and batch is not None:
            raise Invalid("batch: names the jobs: give it or ids")
        change = self.checked(changes, Changes.__optional_keys__)
        bulk = among is not None or batch is not None
        keys: dict[str, str] = {}

        def decide(tx: Transaction, job: Job, others: Collection[str], is_named: bool) -> list[Event]:
            if not is_key_free(tx, job, keys, bulk=bulk or not is_named):
                return []
            try:
                watching = None if ignore_dependencies and is_named else standing_again(tx, job, others).watching
            except Refused:
                if bulk or not is_named:
                    return []
                raise
            return self._requeued(tx, job, change, watching, is_changed=is_named)

        with self._engine.transaction() as tx:
            decided = _again(tx, _chosen(tx, ids, among, batch), decide, batch, cascade=cascade)
            reopen_batches(tx, [job for job, _ in decided], change.reason, self.actor)
            tx.append_of_jobs(decided, self.actor)
        return [job.id for job, _ in decided]

    def _requeued(
        self, tx: Transaction, job: Job, change: EditRequest, watching: str | None, *, is_changed: bool
    ) -> list[Event]:
        """Have a job run again, changed first if it is to be."""
        stored = tx.secrets(job.id) if job.secrets else {}
        if not is_changed:
            return decisions.requeue(job, tx.now, None, change.reason, stored=stored, watching=watching)
        if change.secrets:
            tx.keep_secrets(job.id, change.secrets)
        secrets = sorted(change.secrets) if change.secrets is not None else None
        requeued = decisions.requeue(job, tx.now, secrets, change.reason, stored=stored, watching=watching)
        return [*decisions.edit(job, self._wanted(tx, job, change)), *requeued]

    def purge(self, *ids: str, among: Collection[str] | None = None, reason: str | None = None) -> list[str]:
        """Take finished jobs out of the tables for good, all or none; their history stays in the log.

        What other hosts could read of their outputs is removed. `among` and what is returned are as of `cancel`.
        """
        leases: list[tuple[str, int]] = []

        def away(tx: Transaction, job: Job) -> list[Event]:
            tx.forget_secrets([job.id])
            leases.extend((job.id, each.lease) for each in tx.attempts(job.id))
            return decisions.purge(job, reason)

        purged = self._change(ids, among, away)
        if self._engine.shared_files is not None:
            self._engine.shared_files.forget_outputs(leases)
        return purged

    def dead(self, queue: str | None = None) -> list[str]:
        """The ids of the jobs in the dead letter queue, the latest death first."""
        return [job.id for job in self.jobs(state="dead", queue=queue)]

    # -- settings ----------------------------------------------------------------------------------------------------

    def set_config(self, key: str, value: str | None, reason: str | None = None) -> None:
        """Store a setting for jobs to come, or take it back (None). Raises Invalid for a bad key or value."""
        setting = settings.setting(key)
        if value is not None:
            settings.parse(key, value)
        with self._engine.transaction() as tx:
            before: Config | None = tx.config()
            tx.append([Write("config", before, [ConfigSet(key=setting.key, value=value, reason=reason)])], self.actor)

    @property
    def schedules(self) -> "Schedules":
        """The schedules, by which jobs are enqueued again and again."""
        from queuectl.scheduling import Schedules  # few commands need them

        return Schedules(self)

    def forecasts(self, then: "Then | None" = None) -> "Forecasts":
        """What gives the forecasts for jobs, as they are about now or as they were `then`."""
        from queuectl.forecast import Forecasts  # few commands need them

        return Forecasts(self, then)

    # -- the log itself ----------------------------------------------------------------------------------------------

    def replay(self, *names: str, progress: Progress | None = None) -> int:
        """Drop the tables of all (or the named) projections and fold them anew from the log; returns the events folded.

        Also registers the projections that installed packages offer. Raises NotFound for an unknown name.
        """
        return self._engine.replay(names, progress)

    def check(self, progress: Progress | None = None) -> list[str]:
        """Fold the log into scratch tables and compare: a line for each difference, none when all is true."""
        return self._engine.check(progress)


def _chosen(
    tx: Transaction, ids: Sequence[str], among: Collection[str] | None, batch: str | None
) -> tuple[Iterable[Job], Collection[str]]:
    """The jobs that are asked for, with their ids."""
    if among is None and batch is None:
        return jobs_among(tx, ids, None), {*ids}
    jobs = [*jobs_among(tx, ids, among)] if batch is None else halted_members(tx, batch)
    return sorted(jobs, key=lambda job: job.seq), {job.id for job in jobs}


def _again(
    tx: Transaction,
    chosen: tuple[Iterable[Job], Collection[str]],
    decide: Callable[[Transaction, Job, Collection[str], bool], list[Event]],
    batch: str | None,
    *,
    cascade: bool,
) -> list[tuple[Job, list[Event]]]:
    """What is decided of jobs that are to run again, and of those cancelled because of them.

    Of the latter only what is in the `batch`, unless `cascade` is set. One by one: of several that are wrong the first
    is named. Of which nothing is decided is passed over; what depends on that is decided anew.
    """
    jobs, named = chosen
    again = {*named}
    if batch is not None or cascade:
        jobs = [*jobs]
        jobs += [job for job in cancelled_because(tx, jobs) if job.id not in again and (cascade or job.batch == batch)]
        again.update(job.id for job in jobs)
    while True:
        before = len(again)
        decided: list[tuple[Job, list[Event]]] = []
        for job in jobs:
            if events := decide(tx, job, again, job.id in named):
                decided.append((job, events))
            else:
                again.discard(job.id)
        if len(again) == before:
            return decided
        jobs = [job for job, _ in decided]
