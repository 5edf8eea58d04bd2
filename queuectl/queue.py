"""The queue: each command of a user as one transaction: load, decide, append."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Unpack

from projections.config import Config
from projections.jobs import FINAL, Job
from projections.workers import Worker
from queuectl import decisions, dotenv, enclosing_jobs, engines, environment, policy, settings
from queuectl.bounds import check_codes
from queuectl.clock import monotonic
from queuectl.decisions import Cancel
from queuectl.engines.base import Progress
from queuectl.engines.view import Transaction, View, Write
from queuectl.errors import Deadline, Invalid, NotFound, Refused
from queuectl.events import ConfigSet, Enqueued, Event, StopRequested
from queuectl.flow_control import FlowControl, jobs_among
from queuectl.host.user import caller
from queuectl.host.working_directory import working_directory
from queuectl.job_fields import Changes, Fields, Spec
from queuectl.liveness import Life, any_lives, parents
from queuectl.option_kinds import SIGNAL
from queuectl.queries import get_job
from queuectl.rest import live_jobs
from queuectl.settings import Settings
from queuectl.spec import as_spec, build
from queuectl.units import span

PARTING = 2.0
"""Seconds that the parent of workers that were stopped is waited for: it may have others to recover."""
CHUNK = 2000
"""Jobs that are made into events at a time while many are enqueued (it is one transaction all the same): so few that
what is made of them stays in the processor's cache."""


class Queue(FlowControl):
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
        self._made_of: tuple[Settings, str, str | None] | None = None
        self._kept: str | None = None
        """The environment that the log is known to have: none is ever taken out of it."""
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

    # -- adding ------------------------------------------------------------------------------------------------------

    def enqueue(self, command: str | Sequence[str] | Spec, **fields: Unpack[Fields]) -> str:
        """Add a job and return its id once it is durable.

        `command` is a line of shell, a sequence of words to run without a shell, or a whole Spec; `fields` are those of
        Spec. Raises Invalid for a bad value, Refused for an id that is taken.
        """
        return self._enqueue([as_spec(command, fields)])[0]

    def enqueue_many(
        self, specs: Iterable[str | Sequence[str] | Spec], *, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """Add many jobs, all or none, in one transaction; returns their ids in order.

        `progress` is called with how many are in. Raises as `enqueue` does.
        """
        return self._enqueue([as_spec(spec, {}) for spec in specs], progress)

    def _enqueue(self, wanted: Sequence[Spec], progress: Callable[[int], None] | None = None) -> list[str]:
        """Add the jobs of checked specs."""
        asked = {spec.stdin for spec in wanted if spec.stdin}  # once: there is but one standard input
        inputs = {path: policy.copy_stdin(path, self.home, self._engine.owns) for path in asked}
        folder = _here() if any(spec.cwd is None for spec in wanted) else "/"
        ids: list[str] = []
        with self._engine.transaction() as tx:
            settings = self.settings(tx)
            plain = self._template(settings, folder, self._keep_environment(tx, settings) if wanted else None)
            for start in range(0, len(wanted), CHUNK):
                chunk = wanted[start : start + CHUNK]
                self._refuse_taken(tx, chunk)
                self.refuse_beyond(tx, chunk)
                numbers = map(str, tx.numbers(len(chunk)))
                ids += [next(numbers) if spec.id is None else spec.id for spec in chunk]
                groups = policy.alike(chunk, ids[start:], settings, plain, tx.now, inputs)
                tx.enqueue(groups, self.actor)
                if any(group.policy.secrets for group in groups):
                    for spec, id in zip(chunk, ids[start:], strict=True):
                        tx.keep_secrets(id, spec.secrets)
                if progress is not None:
                    progress(len(ids))
        self._kept = plain.environment  # only now is it sure to be in the log
        return ids

    def _template(self, settings: Settings, folder: str, environment: str | None) -> Enqueued:
        """The policy of a job of which nothing was said, kept while none of these changes."""
        made_of = (settings, folder, environment)
        if self._made_of != made_of:
            self._made_of, self._plain = made_of, policy.template(settings, folder, environment)
        return self._plain

    def _keep_environment(self, tx: Transaction, settings: Settings) -> str | None:
        """Have what jobs are given of this process's environment in the log; returns the hash that names it.

        None where that is nothing.
        """
        found = self._environment.read(settings.keep_env)
        if found is None:
            return None
        name, kept = found
        if name != self._kept and tx.last(f"env:{name}") is None:
            tx.append([Write(f"env:{name}", None, [kept])], self.actor)
        return name

    @staticmethod
    def _refuse_taken(tx: Transaction, specs: Iterable[Spec]) -> None:
        seen: set[str] = set()
        for spec in specs:
            if spec.id is None:
                continue
            if spec.id in seen:
                raise Refused(f"id {spec.id!r} is given twice: every job needs its own")
            if tx.stream(f"job:{spec.id}"):
                raise Refused(f"there is a job {spec.id!r} already (ids are never used again): choose another id")
            seen.add(spec.id)

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
                yield Cancel(job.id, reason, name)

        with self._engine.transaction() as tx:
            tx.end(cancels(tx), self.actor, jobs)
        return [*jobs]

    def retry(self, *ids: str, among: Collection[str] | None = None, **changes: Unpack[Changes]) -> list[str]:
        """Run finished jobs again, all or none, each with its retry budget anew.

        `changes` are fields of Spec (see `enqueue`; also command or argv) that are others from now on; None, but as a
        timeout, leaves one as it is. `env` adds to what the jobs have, `secrets` gives values anew, `reason` is that of
        the retry. Raises Invalid for a bad value, Refused for a job that is not finished, or that needs secret values
        that are not in the database. `among` and what is returned are as of `cancel`.
        """
        fields: dict[str, Any] = {
            name: value for name, value in changes.items() if value is not None or name == "timeout"
        }
        for name in fields:
            if name not in Changes.__optional_keys__:
                raise Invalid(f"{name} can't be changed; what can: {', '.join(sorted(Changes.__optional_keys__))}")
        if "command" not in fields and "argv" not in fields:
            fields["command"] = "true"
        spec = build(fields)
        stdin = policy.copy_stdin(spec.stdin, self.home, self._engine.owns) if spec.stdin else None
        said = {name: getattr(spec, name) for name in fields if name in changes and name not in ("secrets", "reason")}
        secrets = sorted(spec.secrets) if "secrets" in fields else None

        def again(tx: Transaction, job: Job) -> list[Event]:
            stored = tx.secrets(job.id) if job.secrets else {}
            if spec.secrets:
                tx.keep_secrets(job.id, spec.secrets)
            requeued = decisions.requeue(job, tx.now, secrets, spec.reason, stored=stored)
            check_codes((wanted := policy.changed(job.policy, said, stdin=stdin)).ok_codes, wanted.no_retry_codes)
            return [*decisions.edit(job, wanted), *requeued]

        return self._change(ids, among, again)

    def purge(self, *ids: str, among: Collection[str] | None = None, reason: str | None = None) -> list[str]:
        """Take finished jobs out of the tables for good, all or none; their history stays in the log.

        `among` and what is returned are as of `cancel`.
        """

        def away(tx: Transaction, job: Job) -> list[Event]:
            tx.forget_secrets([job.id])
            return decisions.purge(job, reason)

        return self._change(ids, among, away)

    def dead(self, queue: str | None = None) -> list[str]:
        """The ids of the jobs in the dead letter queue, the latest death first."""
        return [job.id for job in self.jobs(state="dead", queue=queue)]

    def wait(
        self,
        *ids: str,
        timeout: float | None = None,
        progress: Callable[[int, int], None] | None = None,
        meanwhile: Callable[[Iterable[Job]], None] | None = None,
    ) -> list[Job]:
        """Wait until these jobs have ended (none named: until nothing is left to do) and return them.

        `timeout` is in seconds; `progress(ended, all)` is called whenever something changed, `meanwhile` about once a
        second which of these jobs have ended by now. Within a job what can't end before that job is left out of all.
        Raises Deadline, NotFound, and Refused for a job that would wait for itself so.
        """
        deadline = monotonic() + timeout if timeout is not None else None
        inside = enclosing_jobs.inside(self._engine)
        with self._engine.snapshot() as view:
            for id in ids:
                enclosing_jobs.refuse_own(view, inside, id)
        bell = self._engine.listen("log")
        ended: dict[str, Job] = {}
        most = 0
        try:
            while True:
                with self._engine.snapshot() as view:
                    for id in ids:
                        if id not in ended and (job := get_job(view, id)).state in FINAL:
                            ended[id] = job
                    if ids:
                        left = len(set(ids)) - len(ended)
                    else:
                        left = live_jobs(view) - enclosing_jobs.waiting_inside(view, inside)
                most = max(most, left)
                if progress is not None:
                    progress(len(ended) if ids else most - left, len(set(ids)) if ids else most)
                if meanwhile is not None:
                    meanwhile(ended.values())
                if left == 0:
                    return [ended[id] for id in dict.fromkeys(ids)]
                rest = deadline - monotonic() if deadline is not None else 5.0
                if rest <= 0:
                    raise Deadline(f"after {span(timeout or 0)} still waiting for {self._left(ids, left)}")
                bell.wait(min(rest, 5.0 if meanwhile is None else 1.0))
                bell.clear()
        finally:
            bell.close()

    def _left(self, ids: Sequence[str], count: int) -> str:
        """What is left to wait for, in words: each of the named jobs, as far as there is room; of all how many."""
        jobs = f"{count:,} job{'s' if count != 1 else ''}"
        if not ids:
            states = self.status().counts
            return f"{jobs}: {', '.join(f'{n:,} {state}' for state, n in states.items() if n and state not in FINAL)}"
        with self._engine.snapshot() as view:
            left = [job for id in dict.fromkeys(ids) if (job := get_job(view, id)).state not in FINAL]
        more = ", …" if len(left) > 5 else ""
        return f"{jobs}: {', '.join(f'{job.id} ({job.state})' for job in left[:5])}{more}"

    # -- settings ----------------------------------------------------------------------------------------------------

    def set_config(self, key: str, value: str | None, reason: str | None = None) -> None:
        """Store a setting for jobs to come, or take it back (None). Raises Invalid for a bad key or value."""
        setting = settings.setting(key)
        if value is not None:
            settings.parse(key, value)
        with self._engine.transaction() as tx:
            before: Config | None = tx.config()
            tx.append([Write("config", before, [ConfigSet(key=setting.key, value=value, reason=reason)])], self.actor)

    # -- workers -----------------------------------------------------------------------------------------------------

    def stop_workers(
        self, *ids: str, now: bool = False, reason: str | None = None, timeout: float | None = None
    ) -> list[str]:
        """Ask workers (all, where none is named) to stop, and wait until they are gone; returns the ids of those.

        Within a job its `hosting` workers are asked, and not waited for. `now` kills what they run. Raises NotFound
        for a worker that is not there, Deadline after `timeout` seconds.
        """
        with self._engine.transaction() as tx:
            live = {worker.id: worker for worker in tx.workers() if worker.slots > 0}
            for id in ids:
                if id not in live:
                    raise NotFound(f"no worker {id!r} is up; see `queuectl worker list`")
            chosen = list(dict.fromkeys(ids)) or list(live)
            ask = [StopRequested(now=now, reason=reason, inside=enclosing_jobs.inside(self._engine))]
            asked = [live[id] for id in chosen if live[id].state == "running" or now > live[id].stop_now]
            tx.append([Write(f"worker:{worker.id}", worker, ask) for worker in asked], self.actor)
            own = self._hosting(tx)
            chosen = [id for id in chosen if id not in own]
            others = parents([worker for id, worker in live.items() if id not in chosen], self._engine)
            above = parents([live[id] for id in chosen], self._engine)  # asked now: who has ended has no parent
        deadline = monotonic() + timeout if timeout is not None else None
        bell = self._engine.listen("log")
        try:
            while left := self._still_up([live[id] for id in chosen]):
                if deadline is not None and monotonic() >= deadline:
                    raise Deadline(f"still up after {span(timeout or 0)}: {', '.join(sorted(left))}")
                bell.wait(0.1 if left < set(chosen) else 0.5)
                bell.clear()
            above = {pid: started for pid, started in above.items() if pid not in others}
            until = monotonic() + PARTING
            while any_lives(above) and monotonic() < until:
                bell.wait(0.02)
        finally:
            bell.close()
        return chosen

    def refuse_own(self, id: str) -> None:
        """Raises Refused where this process runs inside of this job, or of one that it waits for."""
        with self._engine.snapshot() as view:
            enclosing_jobs.refuse_own(view, enclosing_jobs.inside(self._engine), id)

    def hosting(self) -> list[str]:
        """The workers that can't end before the job inside which this process runs; [] outside of a job."""
        with self._engine.snapshot() as view:
            return self._hosting(view)

    def _hosting(self, view: View) -> list[str]:
        hosts = enclosing_jobs.hosts(view, enclosing_jobs.inside(self._engine))
        return [host.worker for host in hosts if host.worker is not None]

    def _still_up(self, workers: Iterable[Worker]) -> set[str]:
        """Those whose processes live, whatever their files and the log say; of what can't be seen the log must do."""
        lives = {worker.id: self.liveness(worker) for worker in workers}
        unseen = {id for id, life in lives.items() if life is Life.UNKNOWN}
        unseen &= {worker.id for worker in self.workers()} if unseen else set()
        return unseen | {id for id, life in lives.items() if life is Life.LIVES}

    # -- the log itself ----------------------------------------------------------------------------------------------

    def replay(self, *names: str, progress: Progress | None = None) -> int:
        """Drop the tables of all (or the named) projections and fold them anew from the log; returns the events folded.

        Also registers the projections that installed packages offer. Raises NotFound for an unknown name.
        """
        return self._engine.replay(names, progress)

    def check(self, progress: Progress | None = None) -> list[str]:
        """Fold the log into scratch tables and compare: a line for each difference, none when all is true."""
        return self._engine.check(progress)


def _here() -> str:
    try:
        return working_directory()
    except FileNotFoundError:
        raise Invalid("the working directory is gone: change to one that exists, or give --cwd") from None
