"""Adding jobs: what is asked for becomes events, all of it or nothing, in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Unpack

import msgspec

from projections.queues import stream
from queuectl import decisions, enclosing_jobs, inputs, policy
from queuectl.batches import join_batches
from queuectl.circles import refuse_circle
from queuectl.decisions import LimitChanges
from queuectl.engines.callbacks import refuse_too_deep
from queuectl.engines.view import Transaction, Write
from queuectl.environment import EnvironmentReader
from queuectl.errors import Exists, Invalid, Refused
from queuectl.events import Enqueued, Trigger
from queuectl.host.working_directory import working_directory
from queuectl.job_fields import Fields, Spec
from queuectl.labels import NewStandings, depends, resolve
from queuectl.options import SETTINGS
from queuectl.settings import Settings
from queuectl.spec import as_spec
from queuectl.uniqueness import Duplicates, find_duplicates
from queuectl.worker_control import WorkerControl

CHUNK = 2000
"""Jobs that are made into events at a time while many are enqueued (it is one transaction all the same): so few that
what is made of them stays in the processor's cache."""


class Added(msgspec.Struct, frozen=True):
    """A job that was asked for."""

    id: str
    deduplicated: bool = False
    """Whether it was there already: its unique key was taken, or it was to be added only where it is absent."""


class Enqueueing(WorkerControl):
    """The commands that add jobs. `Queue` has them."""

    _environment: EnvironmentReader
    _made_of: tuple[Settings, str, str | None, Trigger | None] | None = None
    """Of what the template was made."""
    _template: Enqueued
    """The policy of a job of which nothing was said."""
    _kept: str | None = None
    """The environment that the log is known to have: none is ever taken out of it."""

    def enqueue(self, command: str | Sequence[str] | Spec, **fields: Unpack[Fields]) -> str:
        """Add a job and return its id once it is durable; that of the job that has its unique key, where one does.

        `command` is a line of shell, a sequence of words to run without a shell, or a whole Spec; `fields` are those of
        Spec. Raises Invalid for a bad value, Exists for an id or a key that is taken, and Refused for a job that would
        never start.
        """
        return self._add([as_spec(command, fields)])[0].id

    def enqueue_many(
        self, specs: Iterable[str | Sequence[str] | Spec], *, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """Add many jobs, all or none, in one transaction; returns their ids in order.

        `progress` is called with how many are in. Raises as `enqueue` does.
        """
        return [added.id for added in self.add(specs, progress=progress)]

    def add(
        self,
        specs: Iterable[str | Sequence[str] | Spec],
        *,
        concurrency: Mapping[str, int] = {},
        progress: Callable[[int], None] | None = None,
        patience: float | None = 30.0,
    ) -> list[Added]:
        """As `enqueue_many`; also tells which jobs were there already.

        `concurrency`: by queue, how many of its jobs are processing at most, where that was not limited yet. Raises
        Busy where others write for longer than `patience` seconds.
        """
        return self._add([as_spec(spec, {}) for spec in specs], progress, concurrency, patience)

    def require_enqueuer(self) -> Settings:
        """The settings in force. Raises, as QueueError, what would keep this process from adding any job at all: a
        setting, a variable that jobs are to have, its working directory."""
        here()
        with self._engine.snapshot() as view:
            settings = self.settings(view)
        settings.require("keep_env", *(option.name for option in SETTINGS))
        self._environment.read(settings.keep_env)
        return settings

    def _add(
        self,
        wanted: Sequence[Spec],
        progress: Callable[[int], None] | None = None,
        concurrency: Mapping[str, int] = {},
        patience: float | None = 30.0,
    ) -> list[Added]:
        """Add the jobs of checked specs, and limit their queues."""
        asked = {spec.stdin for spec in wanted if spec.stdin}  # once: there is but one standard input
        copies = {path: inputs.copy(path, self._engine) for path in asked}
        folder = here() if any(spec.cwd is None for spec in wanted) else "/"
        duplicates: Duplicates | None = None
        with self._engine.transaction(patience) as tx:
            if concurrency:
                tx.append(_limits(tx, concurrency), self.actor)
            settings = self.settings(tx)
            environment = self.keep_environment(tx, settings) if wanted else None
            template = self._template_for(settings, folder, environment, self._trigger(tx))
            if any(spec.unique is not None or spec.if_absent for spec in wanted):
                duplicates = find_duplicates(tx, wanted, folder)
            ids, wanted = _resolved(tx, wanted, duplicates)
            new, new_ids = wanted, ids
            if duplicates is not None:
                places = [place for place in range(len(wanted)) if duplicates.is_new(place)]
                new, new_ids = [wanted[place] for place in places], [ids[place] for place in places]
            standings = NewStandings(tx, new, new_ids)
            join_batches(tx, new, new_ids, self.actor)
            for start in range(0, len(new), CHUNK):
                chunk, chunk_ids = new[start : start + CHUNK], new_ids[start : start + CHUNK]
                self.refuse_beyond(tx, chunk)
                groups = policy.alike(chunk, chunk_ids, settings, template, tx.now, copies, standings.watching)
                for group in groups:
                    refuse_too_deep(tx, group.policy)
                tx.enqueue(groups, self.actor)
                if any(group.policy.secrets for group in groups):
                    for spec, id in zip(chunk, chunk_ids, strict=True):
                        tx.keep_secrets(id, spec.secrets)
                if progress is not None:
                    progress(start + len(chunk))
            if duplicates is not None and duplicates.replaced:
                self._replace(tx, duplicates, wanted, settings, template, copies)
        self._kept = template.environment  # only now is it sure to be in the log
        if duplicates is None:
            return [Added(id) for id in ids]
        return [Added(id, not duplicates.is_new(place)) for place, id in enumerate(ids)]

    def _replace(
        self,
        tx: Transaction,
        duplicates: Duplicates,
        wanted: Sequence[Spec],
        settings: Settings,
        template: Enqueued,
        copies: Mapping[str, str],
    ) -> None:
        """Change the jobs that wait and whose keys are asked for to what is asked for."""
        for place, job in duplicates.replaced.items():
            spec = wanted[place]
            refuse_circle(tx, job, spec)
            self.refuse_beyond(tx, [spec])
            watching = NewStandings(tx, [spec], [job.id]).watching
            [group] = policy.alike([spec], [job.id], settings, template, tx.now, copies, watching)
            tx.keep_secrets(job.id, spec.secrets)
            # It stays where it is, and whoever triggered it did.
            wanted_policy = msgspec.structs.replace(group.policy, batch=job.batch, trigger=job.policy.trigger)
            held = decisions.hold(job, spec.reason) if spec.held else []
            tx.append_of_jobs([(job, [*decisions.edit(job, wanted_policy, spec.reason), *held])], self.actor)

    def _template_for(
        self, settings: Settings, folder: str, environment: str | None, trigger: Trigger | None
    ) -> Enqueued:
        """The policy of a job of which nothing was said, kept while none of these changes."""
        made_of = (settings, folder, environment, trigger)
        if self._made_of != made_of:
            self._made_of, self._template = made_of, policy.template(settings, folder, environment, trigger)
        return self._template

    def _trigger(self, tx: Transaction) -> Trigger | None:
        """The job inside which this process runs, as long as it does."""
        found = enclosing_jobs.hosts(tx, enclosing_jobs.inside(self._engine))
        return Trigger(job=found[0].id) if found else None

    def keep_environment(self, tx: Transaction, settings: Settings) -> str | None:
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


def _limits(tx: Transaction, concurrency: Mapping[str, int]) -> list[Write]:
    """The limits of those of these queues that have none."""
    states = {name: tx.queue_state(name) for name in concurrency}
    return [
        Write(stream(name), state, decisions.limit(state, LimitChanges(concurrency=concurrency[name])))
        for name, state in states.items()
        if state is None or state.concurrency is None
    ]


def _resolved(
    tx: Transaction, wanted: Sequence[Spec], duplicates: Duplicates | None
) -> tuple[list[str], Sequence[Spec]]:
    """The ids of these jobs, and the jobs with what they depend on by its ids. Raises Exists, Refused and Invalid."""
    if duplicates is None:
        duplicates = Duplicates({}, {}, {})
    new = wanted
    if duplicates.there or duplicates.again:
        new = [spec for place, spec in enumerate(wanted) if duplicates.is_new(place)]
    _refuse_taken(tx, new)
    ids = duplicates.ids(wanted, [*map(str, tx.numbers(len(new)))])
    if any(spec.name is not None or depends(spec) for spec in wanted):
        wanted = resolve(wanted, ids)
    return ids, wanted


def _refuse_taken(tx: Transaction, specs: Iterable[Spec]) -> None:
    """Raise Exists for an id that is or was a job's, Refused for one that is given twice."""
    seen: set[str] = set()
    for spec in specs:
        if spec.id is None:
            continue
        if spec.id in seen:
            raise Refused(f"id {spec.id!r} is given twice: every job needs its own")
        if tx.stream(f"job:{spec.id}"):
            raise Exists(f"there is a job {spec.id!r} already (ids are never used again): choose another id", spec.id)
        seen.add(spec.id)


def here() -> str:
    """The working directory. Raises Invalid where it is gone."""
    try:
        return working_directory()
    except FileNotFoundError:
        raise Invalid("the working directory is gone: change to one that exists, or give --cwd") from None
