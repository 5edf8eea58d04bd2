"""Schedules: the commands about them, and their firing, which any worker does (R37, R38)."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypedDict, Unpack

from msgspec.structs import replace

from projections.new_jobs import Alike
from projections.schedules import ScheduleState, stream
from queuectl import bounds, inputs, policy, recurrence, settings, units
from queuectl.clock import SECOND, now, text
from queuectl.decisions import schedule as decisions
from queuectl.decisions.schedule import ScheduleFacts
from queuectl.editing import Editing
from queuectl.engines.base import Progress
from queuectl.engines.view import Transaction, View
from queuectl.enqueueing import here
from queuectl.errors import Invalid, Refused
from queuectl.events import Enqueued, Event, ScheduleAdded, ScheduleEdited, ScheduleFired, Trigger
from queuectl.job_fields import Edits, Spec
from queuectl.options import IN_EVENT
from queuectl.schedule_summary import ScheduleSummary, any_fires, summarize
from queuectl.schedule_terms import NOT_SCHEDULED, check_schedule, check_terms, job_id, recurrence_of
from queuectl.spec import as_spec, said
from queuectl.units import Then

BACKFILLED = 1000
"""Jobs that one transaction of a backfill enqueues."""
MOST_BACKFILLED = 100_000
"""Jobs that one backfill enqueues."""
SETTLED = 10
"""Decisions on what has come that are made before a schedule is edited; what is left after them is skipped."""


class Terms(TypedDict, total=False):
    """When a schedule enqueues a job: see `events.ScheduleTerms`. Durations are seconds, moments µs UTC."""

    cron: str
    tz: str
    every: float
    anchor: int
    catch_up: Literal["none", "last", "all"]
    window: float
    overlap: Literal["skip", "queue", "allow"]
    jitter: float
    until: int | None
    pause_on_failure: bool


class Schedules:
    """The schedules of a queue: `Queue.schedules`."""

    def __init__(self, queue: Editing) -> None:
        self._queue = queue
        self._engine = queue.engine

    def add(
        self, name: str, command: str | Sequence[str] | Spec, *, reason: str | None = None, **terms: Unpack[Terms]
    ) -> ScheduleState:
        """Add a schedule, by which workers enqueue a job again and again; returns its state.

        There is `cron`, an expression for a clock in the time zone `tz` (this process's, where none is named), or
        `every`, whole seconds, counted from `anchor` (now). `command` is as of `enqueue`; folder, environment, input
        and secrets are those of now, the settings are those of each job's own time. Raises Invalid for a bad value, and
        Refused where there is a schedule of this name.
        """
        check_schedule(name)
        spec = as_spec(command, {})
        if unfit := said(spec).keys() & {*NOT_SCHEDULED}:
            raise Invalid(f"{min(unfit)}: a job of a schedule can't have that")
        stdin = inputs.copy(spec.stdin, self._engine) if spec.stdin else None
        folder = here() if spec.cwd is None else "/"
        with self._engine.transaction() as tx:
            in_force = self._queue.settings(tx)
            self._queue.refuse_beyond(tx, [spec])
            base = policy.template(in_force, folder, self._queue.keep_environment(tx, in_force))
            job = replace(policy.resolve(spec, base, tx.now, stdin), reason=None)
            asked = tuple(each for each in said(spec) if each in IN_EVENT and each != "reason")
            event = ScheduleAdded(
                job=job, said=asked, since=text(tx.now), reason=reason, **_stored(None, terms, tx.now)
            )  # fmt: skip
            check_terms(event)
            before = tx.schedule(name)
            tx.append_to(stream(name), before, decisions.add(before, event), self._queue.actor)
            tx.keep_secrets(_secrets_of(name), spec.secrets)
            self._check_first(tx, name)
            return _there(tx, name)

    def edit(
        self,
        name: str,
        *,
        terms: Terms | None = None,
        whole: Collection[str] = (),
        **changes: Unpack[Edits],
    ) -> bool:
        """Change `terms` of a schedule, or its jobs to come; returns whether anything is another now.

        `changes` and `whole` are as of `edit`. Where the moments are others, those that have come by now are enqueued
        or skipped first. Raises NotFound, and Invalid for a bad value.
        """
        known = Edits.__optional_keys__ - {*NOT_SCHEDULED}
        change = self._queue.checked(changes, known, whole)
        with self._engine.transaction() as tx:
            schedule = _there(tx, name)
            stored = _stored(schedule, terms or {}, tx.now)
            if any(stored[key] != before for key, before in _moments(schedule).items()):
                schedule = self._settle(tx, schedule)
                stored["since"] = text(tx.now)
            job = policy.changed(schedule.job, change.said, tx.now, change.stdin, change.whole)
            secrets = tuple(sorted({*job.secrets, *(change.secrets or ())}))
            job = replace(job, secrets=secrets)
            _check_job(job)
            asked = dict.fromkeys((*schedule.said, *(each for each in change.said if each in IN_EVENT)))
            event = ScheduleEdited(job=job, said=(*asked,), reason=change.reason, **stored)
            check_terms(event)
            tx.keep_secrets(_secrets_of(name), change.secrets or {})
            events = decisions.edit(schedule, event)
            tx.append_to(stream(name), schedule, events, self._queue.actor)
            return bool(events or change.secrets)

    def pause(self, name: str, *, reason: str | None = None) -> bool:
        """Have a schedule enqueue nothing until it is resumed; returns whether it did. Raises NotFound."""
        return self._decide(name, lambda tx, schedule: decisions.pause(schedule, reason))

    def resume(self, name: str, *, reason: str | None = None) -> bool:
        """Have a schedule enqueue again, for the moments from now on; returns whether it was paused.

        Raises NotFound.
        """
        return self._decide(name, lambda tx, schedule: decisions.resume(schedule, tx.now, reason))

    def remove(self, name: str, *, reason: str | None = None) -> None:
        """Remove a schedule. The jobs that it has enqueued stay. Raises NotFound."""

        def decide(tx: Transaction, schedule: ScheduleState) -> list[Event]:
            tx.forget_secrets([_secrets_of(name)])
            return decisions.remove(schedule, tx.now, reason)

        self._decide(name, decide)

    def run(self, name: str) -> str:
        """Enqueue a job of a schedule now, beside its moments and also while it is paused; returns its id.

        Raises NotFound.
        """
        with self._engine.transaction() as tx:
            schedule = _there(tx, name)
            [number] = tx.numbers(1)
            event = ScheduleFired(moment=text(tx.now), job=str(number), cause="run")
            self._append(tx, schedule, [event])
            return event.job

    def backfill(
        self, name: str, since: int, until: int | None = None, *, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """Enqueue the jobs of past moments (µs UTC; up to now, where there is no `until`) that have none.

        Returns their ids in order; none of moments after its last one. They are enqueued a thousand at a time: where
        that is broken off, it can be repeated. `progress` is called with how many are in. Raises NotFound, Invalid for
        moments that lie ahead, Refused where there are very many.
        """
        with self._engine.snapshot() as view:
            schedule = _there(view, name)
        until = until if until is not None else self._engine.now()
        if until > self._engine.now() or since > until:
            raise Invalid("the moments to make up for have to lie behind: from an earlier one to a later one")
        until = min(until, schedule.until) if schedule.until is not None else until
        count = recurrence_of(schedule).count(since - 1, until)
        if count > MOST_BACKFILLED:
            raise Refused(f"these are {count:,} moments; at most {MOST_BACKFILLED:,} at once: name an earlier --to")
        ids: list[str] = []
        moments = _between(schedule, since - 1, until)
        while page := [*islice(moments, BACKFILLED)]:
            with self._engine.transaction() as tx:
                schedule = _there(tx, name)
                missing = [each for each in page if not _exists(tx, name, each)]
                events = [
                    ScheduleFired(moment=text(each), job=job_id(name, each), cause="backfill") for each in missing
                ]
                self._append(tx, schedule, events)
            ids += [event.job for event in events]
            if progress is not None:
                progress(len(ids))
        return ids

    # -- questions ---------------------------------------------------------------------------------------------------

    def summaries(self, *, then: Then | None = None, progress: Progress | None = None) -> list[ScheduleSummary]:
        """All of them, as they are or as they were `then`, by name.

        Raises NotFound for a moment before the log began.
        """
        with self._queue.as_of(then, ("schedules",), progress) as view:
            moment = self._engine.now() if then is None else then.at or view.head()[1]
            return [summarize(state, moment) for state in view.schedules()]

    def get(self, name: str) -> ScheduleSummary:
        """One schedule. Raises NotFound."""
        with self._engine.snapshot() as view:
            return summarize(_there(view, name), self._engine.now())

    def is_idle(self) -> bool:
        """Whether no worker is up that would fire."""
        return not any_fires(self._queue)

    def upcoming(self, name: str, count: int) -> list[int]:
        """The next moments of a schedule (µs UTC), as if it were not paused. Raises NotFound."""
        with self._engine.snapshot() as view:
            schedule = _there(view, name)
        return [*islice(decisions.upcoming(schedule, self._engine.now()), count)]

    # -- firing ------------------------------------------------------------------------------------------------------

    def fire(self, *names: str, patience: float | None = None) -> bool:
        """Enqueue or skip what has come of the moments of these schedules; returns whether there was anything.

        Then there may be more. Raises Busy where others write for longer than `patience` seconds, Invalid where the
        moments of one can't be told here.
        """
        any_events, left = False, decisions.PAGE
        with self._engine.transaction(patience) as tx:
            for name in names:
                schedule = tx.schedule(name)
                fired = self._fire(tx, schedule) if schedule is not None else []
                any_events, left = any_events or bool(fired), left - len(fired)
                if left <= 0:
                    break
        return any_events

    def _fire(self, tx: Transaction, schedule: ScheduleState) -> list[Event]:
        events = decisions.due(schedule, _facts(tx, schedule), tx.now)
        self._append(tx, schedule, events)
        return events

    def _settle(self, tx: Transaction, schedule: ScheduleState) -> ScheduleState:
        """Enqueue or skip what has come by now."""
        if schedule.paused_at is not None:
            events = [*decisions.settled(schedule, tx.now, "paused")]
        else:
            for _ in range(SETTLED):
                if not self._fire(tx, schedule):
                    return schedule
                schedule = _there(tx, schedule.name)
            events = [*decisions.settled(schedule, tx.now, "down")]
        tx.append_to(stream(schedule.name), schedule, events, self._queue.actor)
        return _there(tx, schedule.name)

    def _append(self, tx: Transaction, schedule: ScheduleState, events: Sequence[Event]) -> None:
        """Append these events of a schedule, and enqueue the jobs that it fires."""
        import random

        tx.append_to(stream(schedule.name), schedule, events, self._queue.actor)
        fired = [event for event in events if isinstance(event, ScheduleFired)]
        if not fired:
            return
        config = tx.config()
        in_force = settings.stored_settings(config.values if config is not None else {})
        job = policy.renewed(schedule.job, schedule.said, in_force)
        secrets = tx.secrets(_secrets_of(schedule.name)) if job.secrets else {}
        groups: list[Alike] = []
        for event in fired:
            # Not in the past: it would go before what was enqueued since.
            late = round(random.random() * schedule.jitter * SECOND) if event.cause is None else 0
            trigger = Trigger(schedule=schedule.name, moment=event.moment)
            ahead = tx.running_jobs(schedule.name) if event.cause is None and schedule.overlap == "queue" else []
            made = replace(
                job, run_at=text(tx.now + late), trigger=trigger, after_any=(*ahead,),
                watching=ahead[-1] if ahead else None,
            )  # fmt: skip
            groups.append(Alike(made, [(event.job, job.command)]))
        tx.enqueue(groups, self._queue.actor)
        for event in fired:
            tx.keep_secrets(event.job, secrets)

    def _decide(self, name: str, decide: Callable[[Transaction, ScheduleState], list[Event]]) -> bool:
        with self._engine.transaction() as tx:
            schedule = _there(tx, name)
            events = decide(tx, schedule)
            tx.append_to(stream(name), schedule, events, self._queue.actor)
            return bool(events)

    def _check_first(self, tx: Transaction, name: str) -> None:
        """Raise Invalid for a new schedule that has no moment at all."""
        schedule = _there(tx, name)
        if decisions.next_look(schedule, tx.now) is None:
            raise Invalid(
                "until: no moment comes before that" if schedule.until is not None else "no moment ever comes"
            )


def refuse_terms(terms: Terms) -> None:
    """Raise Invalid for terms that no schedule can have, before there is a queue to which one is added."""
    job = policy.template(settings.stored_settings({}), "/")
    check_terms(ScheduleAdded(job=job, **_stored(None, terms, now())))


def _there(view: View, name: str) -> ScheduleState:
    return decisions.there(view.schedule(name), name)


def _exists(view: View, name: str, moment: int) -> bool:
    return view.last(f"job:{job_id(name, moment)}") is not None


def _facts(view: View, schedule: ScheduleState) -> ScheduleFacts:
    return ScheduleFacts(view.unended_states(schedule.name), lambda moment: _exists(view, schedule.name, moment))


def _between(schedule: ScheduleState, after: int, upto: int) -> Iterator[int]:
    """The moments later than one and no later than another."""
    moments, moment = recurrence_of(schedule), after
    while (following := moments.after(moment)) is not None and following <= upto:
        yield (moment := following)


def _secrets_of(name: str) -> str:
    """By what the secret values of a schedule are kept: no job can have such an id."""
    return f"schedule/{name}"


def _moments(schedule: ScheduleState) -> dict[str, Any]:
    """The terms that decide which moments there are, as events state them."""
    anchor = text(schedule.anchor) if schedule.anchor is not None else None
    return {"cron": schedule.cron, "tz": schedule.tz, "every": schedule.every, "anchor": anchor}


def _stored(schedule: ScheduleState | None, given: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The terms of an event, but for the job: those of a schedule (None: the defaults) with what was given."""
    terms: dict[str, Any] = {}
    if schedule is not None:
        names = ("catch_up", "window", "overlap", "jitter", "pause_on_failure")
        terms = _moments(schedule) | {name: getattr(schedule, name) for name in names}
        terms["until"] = text(schedule.until) if schedule.until is not None else None
    if unknown := given.keys() - Terms.__optional_keys__:
        raise Invalid(f"{min(unknown)}: is no term of a schedule; known: {', '.join(sorted(Terms.__optional_keys__))}")
    if given.get("cron") is not None and given.get("every") is not None:
        raise Invalid("give a cron expression or an interval, not both")
    if given.get("cron") is not None:
        expression = recurrence.check_expression(given["cron"])
        zone = given.get("tz") or terms.get("tz") or recurrence.local_zone()
        terms |= {"cron": expression, "tz": zone, "every": None, "anchor": None}
        recurrence.find_zone(str(zone))
    elif given.get("every") is not None:
        anchor = terms.get("anchor") or text(now // SECOND * SECOND)
        terms |= {"cron": None, "tz": None, "every": _whole_seconds(given["every"]), "anchor": anchor}
    for name, value in given.items():
        if name in ("cron", "every") or (value is None and name != "until"):
            continue
        if name == "tz":
            recurrence.find_zone(str(value))
        terms[name] = _moment_text(name, value) if name in ("anchor", "until") and value is not None else value
    return terms


def _moment_text(name: str, moment: int) -> str:
    if not 0 <= moment <= units.LATEST:
        raise Invalid(f"{name}: lies before 1970 or after the year 9000")
    return text(moment // SECOND * SECOND if name == "anchor" else moment)


def _whole_seconds(every: float) -> int:
    if every != int(every) or not 1 <= every <= units.LONGEST:
        raise Invalid(f"every: {every:g} are not whole seconds, from 1 to those of 100 years")
    return int(every)


def _check_job(job: Enqueued) -> None:
    """Raise Invalid where edits together make what can't be."""
    bounds.check_codes(job.ok_codes, job.no_retry_codes)
    bounds.check_tags(job.tags)
    bounds.check_variables("env", job.env)
    if twice := job.env.keys() & {*job.secrets}:
        raise Invalid(f"{min(twice)} is given as a secret and not as one: choose")
