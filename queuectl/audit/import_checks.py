"""Checks of imported events: each line is checked before it is stored.

A log from elsewhere may be damaged, or made to do harm. What `enqueue` or `config set` would refuse is refused here by
the same code, and so is what no program of ours can have written; so that what is taken in can be worked with.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec import ValidationError, convert
from msgspec.structs import asdict, astuple

from projections.jobs import FINAL
from queuectl import amounts, bounds, host_lease, limits, settings, spec, units
from queuectl.audit.seal import read_seal
from queuectl.clock import micros
from queuectl.environment import digest
from queuectl.errors import Invalid
from queuectl.events import (
    CALLBACK_PRIORITY,
    VOCABULARY,
    Archived,
    BatchOpened,
    CancelRequested,
    Claimed,
    ConfigSet,
    Edited,
    Enqueued,
    EnvironmentKept,
    Noted,
    QueueLimited,
    Recorded,
    Released,
    Requeued,
    ResourceSet,
    ScheduleAdded,
    ScheduleEdited,
    ScheduleFired,
    ScheduleSkipped,
    ScheduleTerms,
    Sealed,
    Trigger,
    Unreadable,
    WorkerStarted,
)
from queuectl.halt import halt_rule
from queuectl.job_fields import Spec
from queuectl.option_kinds import SIGNAL
from queuectl.options import IN_EVENT, OF_NAME
from queuectl.schedule_terms import check_schedule, check_terms

LIMIT = 1 << 53
"""Above every number that a log comes to, and below what JSON and SQLite can't hold any more."""

WORKER_TYPES = frozenset({"worker_started", "heartbeat", "stop_requested", "worker_stopped", "worker_lost"})
STREAM_KINDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(WORKER_TYPES, ("worker",)),
    "config_set": ("config",),
    "sealed": ("audit",),
    **dict.fromkeys(("queue_paused", "queue_resumed"), ("queue", "queues")),
    "queue_limited": ("queue",),
    **dict.fromkeys(("batch_opened", "batch_halted", "batch_reopened"), ("batch",)),
    "cascaded": ("job", "batch"),
    **dict.fromkeys(("resource_set", "resource_unset"), ("resource",)),
    **dict.fromkeys((each for each in VOCABULARY.payloads if each.startswith("schedule_")), ("schedule",)),
    "archived": ("job", "worker"),
    "environment_kept": ("env",),
}
"""The kinds of stream in which events of a type stand; of every other type a job's."""

FIRST_TYPES = frozenset({"enqueued", "worker_started"})
"""What a job's, and a worker's, stream begins with, and what never comes later."""


class LogCheck:
    """A log read from its beginning: whether each event can follow those before it. Keeps some 100 bytes a stream."""

    def __init__(self) -> None:
        self._last = (0, 0)
        self._versions: dict[str, int] = {}

    def check(self, record: Recorded) -> None:
        """Raise Invalid for an event that can't come now, or can't be at all."""
        seq, at = self._last
        if not 0 < record.seq < LIMIT:
            raise Invalid(f"event {record.seq}: no event has such a number")
        if record.seq <= seq:
            raise Invalid(f"event {record.seq} comes after event {seq}")
        if not 0 <= record.at < units.LATEST:  # room behind the last event: each is later than the one before
            raise Invalid(f"event {record.seq}: its moment lies before 1970 or after the year 9000")
        if record.at < at:
            raise Invalid(f"event {record.seq} is older than event {seq} before it")
        self._last = (record.seq, record.at)
        event: Any = record.event
        try:
            _check_stream(record)
            self._check_version(record, event)
            _check_values(event)
            if check := _CHECKS.get(record.type):
                check(record, event)
        except (Invalid, Unreadable) as error:
            raise Invalid(f"event {record.seq} ({record.type} of {record.stream!a}): {error}") from None

    def _check_version(self, record: Recorded, event: Any) -> None:
        before = self._versions.get(record.stream, 0)
        is_first = record.version == 1
        if isinstance(event, Archived):
            before = before or event.events
            if event.events + 1 != record.version:
                raise Invalid("the number of its events is not that of those before it")
        elif record.stream.partition(":")[0] in ("job", "worker") and is_first != (record.type in FIRST_TYPES):
            raise Invalid(f"a stream does not {'begin' if is_first else 'go on'} with that")
        if before < 0 or not 0 < record.version == before + 1 < LIMIT:
            raise Invalid("events of its stream are missing, or out of order")
        self._versions[record.stream] = record.version if not isinstance(event, Archived) else -1


def _check_stream(record: Recorded) -> None:
    kind, colon, id = record.stream.partition(":")
    kinds = STREAM_KINDS.get(record.type, ("job",))
    if kind not in kinds or bool(colon) != (kind not in ("config", "audit", "queues")):
        raise Invalid(f"stands in a stream of {' or '.join(kinds)}")
    if kind == "job" and id.isdecimal() and id.isascii():
        if str(int(id[:20])) != id or not 0 < int(id) < LIMIT:
            raise Invalid(f"id: {id!r} is no number that the queue gives")
    elif kind == "job":
        bounds.check_id(id)
    elif colon:
        bounds.check_name(kind, id)
    if not record.actor or "\0" in record.actor:
        raise Invalid("actor: is empty, or has a NUL byte in it")


def _check_values(value: Any, name: str = "") -> None:
    """Look at every number, moment and text in a payload."""
    match value:
        case bool() | None:
            pass
        case int():
            if abs(value) >= LIMIT:
                raise Invalid(f"{name}: {value} is too large")
        case float():
            if not math.isfinite(value):
                raise Invalid(f"{name}: {value} is no number")
        case str():
            if "\0" in value:
                raise Invalid(f"{name}: has a NUL byte in it")
            if name in MOMENT_FIELDS:
                _check_moment(name, value)
        case list() | tuple():
            for each in value:  # pyright: ignore[reportUnknownVariableType]
                _check_values(each, name)
        case dict():
            for key, each in value.items():  # pyright: ignore[reportUnknownVariableType]
                _check_values(key, name)
                _check_values(each, name)
        case _:
            for field, each in zip(value.__struct_fields__, astuple(value), strict=True):
                _check_values(each, field)


MOMENT_FIELDS = frozenset(
    {"run_at", "started_at", "at", "not_before", "until", "moment", "since", "first", "last", "anchor"}
)
"""The fields that hold moments, wherever they stand."""


def _check_moment(name: str, text: str) -> None:
    try:
        if 0 <= micros(text) <= units.LATEST:
            return
    except (ValueError, OverflowError):
        pass
    raise Invalid(f"{name}: {text!r} is no moment from 1970 to the year 9000, as 2026-11-24T09:00:00Z is")


def _check_enqueued(_: Recorded, event: Enqueued) -> None:
    spec.check(Spec(command=event.command, argv=tuple(event.argv) if event.argv is not None else None))
    if not event.cwd.startswith("/"):
        raise Invalid(f"cwd: {event.cwd!r} is not an absolute path")
    for name in IN_EVENT:
        value = getattr(event, name)
        if value is None or name in ("cwd", "secrets", "stdin"):
            continue
        if (
            name == "priority"
            and value == CALLBACK_PRIORITY
            and event.trigger is not None
            and event.trigger.is_callback
        ):
            continue  # which nobody can ask for
        if OF_NAME[name].kind.check(name, value) != value:
            raise Invalid(f"{name}: {value!r} is not how it is written")
    _check_names(event.secrets)
    if event.stdin is not None and not re.fullmatch("[0-9a-f]{64}", event.stdin):
        raise Invalid(f"stdin: {event.stdin!r} names no input that was kept")
    if event.environment is not None:
        _check_environment_name(event.environment)
    if event.trigger is not None:
        _check_trigger(event.trigger)


def _check_trigger(trigger: Trigger) -> None:
    if trigger.schedule is not None:
        bounds.check_name("schedule", trigger.schedule)
    if trigger.job is not None:
        bounds.check_name("job", trigger.job)
    if trigger.event not in (None, "empty", *FINAL):
        raise Invalid(f"trigger: {trigger.event!r} is no end of a job")
    if not trigger.source:
        raise Invalid("trigger: names nothing")


def _check_names(secrets: Collection[str] | None) -> None:
    bounds.check_variables("secrets", dict.fromkeys(secrets or (), ""))


def _check_edited(record: Recorded, event: Edited) -> None:
    new = {name: after for name, (_, after) in event.changes.items()}
    if unknown := new.keys() - set(Enqueued.__struct_fields__):
        raise Invalid(f"changes: {min(unknown)!r} is nothing that a job has")
    plain = Enqueued(
        command=None if new.get("argv") else "true", run_at="2000-01-01T00:00:00Z", cwd="/", max_retries=0,
        backoff_base=2.0, backoff_max=1.0,
    )  # fmt: skip
    try:
        changed = convert(asdict(plain) | new, Enqueued)
    except ValidationError as error:
        raise Invalid(f"changes: {error}") from None
    _check_values(changed)
    _check_enqueued(record, changed)


def _check_environment(record: Recorded, event: EnvironmentKept) -> None:
    _check_environment_name(record.subject)
    bounds.check_env(event.variables, event.variables)
    if record.subject != digest(event):  # jobs that are added later would be given what they never had
        raise Invalid("does not hold what its name says: the name is a hash of it")
    if event.umask is not None and not re.fullmatch("[0-7]{1,4}", event.umask):
        raise Invalid(f"umask: {event.umask!r} is none")


def _check_environment_name(name: str) -> None:
    if not re.fullmatch("[0-9a-f]{32}", name):
        raise Invalid(f"environment: {name!r} names none")


def _check_requeued(_: Recorded, event: Requeued) -> None:
    _check_names(event.secrets)


def _check_cancel_requested(_: Recorded, event: CancelRequested) -> None:
    if event.signal is not None:
        SIGNAL.check("signal", event.signal)


def _check_claimed(record: Recorded, event: Claimed) -> None:
    bounds.check_name("worker", event.worker)
    if event.attempt < 1:
        raise Invalid(f"attempt: {event.attempt} is below 1")
    for name, given in event.granted.items():
        amounts.check_needs({name: given if isinstance(given, int) else len(given)})
        if not isinstance(given, int) and amounts.indices(amounts.ranges(given)) != given:
            raise Invalid(f"granted: {given} are not numbers of pieces, in order")
    _check_rates(record, event)


def _check_rates(_: Recorded, event: Claimed | Released) -> None:
    for queue, next_start in event.rates.items():
        bounds.check_queue(queue)
        _check_moment("rates", next_start)


def _check_limited(_: Recorded, event: QueueLimited) -> None:
    limits.check_limits(event)


def _check_noted(_: Recorded, event: Noted) -> None:
    bounds.check_note(event.text)
    if event.attempt is not None and event.attempt < 1:
        raise Invalid(f"attempt: {event.attempt} is below 1")


def _check_batch(_: Recorded, event: BatchOpened) -> None:
    if event.halt is not None and str(halt_rule(event.halt)) != event.halt:
        raise Invalid(f"halt: {event.halt!r} is not how it is written")


def _check_resource(record: Recorded, event: ResourceSet) -> None:
    amounts.check_needs({record.subject: event.capacity})
    if event.indices is not None and len(amounts.indices(event.indices)) != event.capacity:
        raise Invalid("capacity: is not the number of its indices")


def _check_schedule(record: Recorded, event: ScheduleTerms) -> None:
    check_schedule(record.subject)
    check_terms(event)
    if isinstance(event, ScheduleAdded) and event.since is None:
        raise Invalid("since: is missing")
    if event.job.trigger is not None or not {*event.said} <= {*IN_EVENT}:
        raise Invalid("job, said: are not those of a schedule")
    _check_enqueued(record, event.job)


def _check_fired(_: Recorded, event: ScheduleFired) -> None:
    bounds.check_name("job", event.job)
    if event.cause not in (None, "run", "backfill"):
        raise Invalid(f"cause: {event.cause!r} is none")


def _check_skipped(_: Recorded, event: ScheduleSkipped) -> None:
    if event.count < 1 or micros(event.first) > micros(event.last):
        raise Invalid("count, first, last: are those of no moments")


def _check_worker(_: Recorded, event: WorkerStarted) -> None:
    for queue in event.queues:
        bounds.check_queue(queue)
    if not re.fullmatch("[0-9a-f]*", event.identity):
        raise Invalid(f"identity: {event.identity!r} is none")
    for name, offered in event.resources.items():
        amounts.check_needs({name: offered if isinstance(offered, int) else len(amounts.indices(offered))})
    if any(limit is not None and limit <= 0 for limit in (event.max_load, event.min_free_memory)):
        raise Invalid("max_load, min_free_memory: are not above 0")
    if event.lease is not None and not 0 < event.lease <= host_lease.LONGEST:
        raise Invalid(f"lease: {event.lease:g} is not a number of seconds above 0, up to {host_lease.LONGEST:g}")
    if event.clock_ahead is not None and abs(event.clock_ahead) > units.LONGEST:
        raise Invalid(f"clock_ahead: {event.clock_ahead:g} seconds are too many")
    if event.cgroup is not None and not event.cgroup.startswith("/"):
        raise Invalid(f"cgroup: {event.cgroup!r} is not an absolute path")
    if event.slots < 0 or event.pid < 0:
        raise Invalid("slots, pid: are below 0")


def _check_setting(_: Recorded, event: ConfigSet) -> None:
    if settings.setting(event.key).key != event.key:
        raise Invalid(f"key: {event.key!r} is not how it is written")
    if event.value is not None:
        settings.parse(event.key, event.value)


def _check_seal(record: Recorded, _: Sealed) -> None:
    read_seal(record)


def _check_tombstone(_: Recorded, event: Archived) -> None:
    if not event.file.startswith("/") or event.events < 1 or not event.passed:
        raise Invalid("tells of no archive: it needs an absolute path, events and what it passed through")
    if event.queue is not None:
        bounds.check_queue(event.queue)
    for each in event.moved:
        bounds.check_queue(each.queue)


_CHECKS: dict[str, Callable[[Recorded, Any], None]] = {
    Enqueued.type: _check_enqueued,
    Edited.type: _check_edited,
    EnvironmentKept.type: _check_environment,
    Requeued.type: _check_requeued,
    CancelRequested.type: _check_cancel_requested,
    Claimed.type: _check_claimed,
    Released.type: _check_rates,
    WorkerStarted.type: _check_worker,
    **dict.fromkeys((ScheduleAdded.type, ScheduleEdited.type), _check_schedule),
    ScheduleFired.type: _check_fired,
    ScheduleSkipped.type: _check_skipped,
    ResourceSet.type: _check_resource,
    QueueLimited.type: _check_limited,
    BatchOpened.type: _check_batch,
    Noted.type: _check_noted,
    ConfigSet.type: _check_setting,
    Sealed.type: _check_seal,
    Archived.type: _check_tombstone,
}
