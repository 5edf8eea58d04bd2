"""What the log says in the words of OCEL 2.0 (https://www.ocel-standard.org): events, the objects that they concern,
and what became of these. How that is written down is for `ocel_json` and `ocel_sqlite`.

An event's type is ours, its attributes are its payload, its number and who did it. Objects are jobs, workers, queues,
schedules and settings: all that the exported events concern, each with its whole history up to the end of the export,
folded from the log as ever. The standard has no word for "not any more": an attribute keeps its last value.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from projections import evolve
from projections.batches import BatchState, stream
from projections.dependencies import DEPENDENCY_KINDS
from projections.jobs import Job
from projections.schedules import ScheduleState
from projections.workers import Worker
from queuectl.clock import text
from queuectl.engines.scratch_database import ScratchDatabase
from queuectl.engines.view import Filter, View
from queuectl.errors import Unusable
from queuectl.events import (
    BATCH,
    VOCABULARY,
    Claimed,
    ConfigSet,
    Enqueued,
    Heartbeat,
    Recorded,
    ScheduleFired,
    Unreadable,
    encode,
)
from queuectl.export.rows import Source, kinds
from queuectl.queue import Queue

PAGE = 1000
"""Events read at a time."""

OBJECTS = 200
"""Objects folded at a time."""


def _attribute_types(struct: type[msgspec.Struct], *names: str) -> dict[str, str]:
    all = kinds(struct)
    return {name: all[name] for name in names}


EVENT_TYPES: dict[str, dict[str, str]] = {
    name: {"seq": "integer", "actor": "string"}
    | {field: "string" if kind == "json" else kind for field, kind in kinds(payload).items()}
    for name, payload in VOCABULARY.payloads.items()
}
"""The attributes of each type of event, each with its type in the standard; lists and objects are text, as JSON."""

OBJECT_TYPES: dict[str, dict[str, str]] = {
    "job": {"command": "string"}
    | _attribute_types(
        Job, "state", "queue", "priority", "run_at", "enqueued_by", "max_retries", "timeout", "attempt", "failures",
        "worker", "finished_at", "exit_code", "signal", "cause", "error",
    ),
    "worker": _attribute_types(Worker, "state", "host", "pid", "slots", "drain", "started_at", "ended_at", "reason"),
    "queue": {},
    "resource": {},
    "batch": _attribute_types(BatchState, "halt", "opened_by", "halted_at"),
    "schedule": _attribute_types(
        ScheduleState, "cron", "tz", "every", "catch_up", "overlap", "added_by", "paused_at", "removed", "fired",
        "skipped",
    ),
    "setting": {"value": "string"},
}  # fmt: skip
"""The attributes of each type of object. Its id begins with the type, as that of its stream does."""

CHANGING = tuple(name for name in VOCABULARY.payloads if name != "heartbeat")
"""The types of events that change an attribute of an object: of a worker's millions, hardly any."""


class OcelEvent(msgspec.Struct, frozen=True):
    """One event."""

    id: str
    type: str
    at: int
    attributes: dict[str, Any]
    """What is known; moments are RFC 3339."""
    objects: dict[str, str]
    """The ids of the objects that it concerns, each with the part that it plays (its qualifier)."""


class OcelObject(msgspec.Struct):
    """One object, with what its attributes were from when on."""

    id: str
    values: dict[tuple[int, str], Any]
    """What an attribute became at a moment, in order; what it was only within a transaction is not told."""
    objects: dict[str, str]
    """The ids of the objects that it belongs to, each with what that one is to it."""

    @property
    def type(self) -> str:
        """What it is."""
        return type_of(self.id)


def type_of(id: str) -> str:
    """The type of the object of this id."""
    return id.partition(":")[0]


def events(source: Source) -> Iterator[list[OcelEvent]]:
    """The events of a source, in pages. Raises Unusable for one that can't be read."""
    for page in source.pages():
        try:
            yield [_event(record, record.event) for record in page]
        except Unreadable as error:
            raise Unusable(f"{source.queue.url}: {error}") from error


def _event(record: Recorded, event: Any) -> OcelEvent:
    attributes = {"seq": record.seq, "actor": record.actor} | {
        name: encode(value).decode() if isinstance(value, list | tuple | dict | msgspec.Struct) else value
        for name, value in msgspec.structs.asdict(event).items()
        if value not in (None, [], (), {})
    }
    return OcelEvent(f"event:{record.seq}", record.type, record.at, attributes, _concerned(record, event))


def _concerned(record: Recorded, event: Any) -> dict[str, str]:
    parts = {f"setting:{event.key}" if isinstance(event, ConfigSet) else record.stream: "subject"}
    if isinstance(event, Enqueued):
        parts[f"queue:{event.queue}"] = "queue"
        if event.trigger is not None and event.trigger.schedule is not None:
            parts[f"schedule:{event.trigger.schedule}"] = "schedule"
    elif isinstance(event, ScheduleFired):
        parts[f"job:{event.job}"] = "fired"
    elif isinstance(event, Claimed):
        parts[f"worker:{event.worker}"] = "worker"
    elif isinstance(event, Heartbeat):
        parts |= {f"job:{held.job}": "held" for held in event.attempts}
    if record.actor.startswith("worker:"):
        parts.setdefault(record.actor, "worker")
    return {id: part for id, part in parts.items() if type_of(id) in OBJECT_TYPES}


# -- objects ---------------------------------------------------------------------------------------------------------


class Objects:
    """The objects that were named so far, each once: too many for memory, so their ids lie in the standard's table."""

    def __init__(self, store: ScratchDatabase) -> None:
        self._store = store
        store.execute(
            """
            create table object (
                ocel_id TEXT primary key, ocel_type TEXT not null references object_map_type (ocel_type)
            )
            """
        )

    def add(self, ids: Iterable[str]) -> None:
        """Take in those that are new."""
        self._store.executemany(
            "insert or ignore into object values (?, ?)", [(id, type_of(id)) for id in dict.fromkeys(ids)]
        )

    def read(self, queue: Queue, upto: int) -> Iterator[list[OcelObject]]:
        """All of them in batches, those that they belong to as well, as event `upto` of the log has left them."""
        last = 0
        while rows := self._store.execute(
            "select rowid, ocel_id from object where rowid > ? order by rowid limit ?", (last, OBJECTS)
        ):
            last = rows[-1][0]
            with queue.engine.snapshot() as view:
                batch = [_fold(view, id, upto) for _, id in rows]
            self.add(other for each in batch for other in each.objects)
            yield batch


def _fold(view: View, id: str, upto: int) -> OcelObject:
    """The object with what the log tells of it."""
    folded = OcelObject(id, {}, {})
    subject: Any = None
    known: dict[str, Any] = {}
    for record in _records(view, "config" if type_of(id) == "setting" else id, upto):
        event = record.event
        subject = evolve(subject, record, event)
        if isinstance(event, ConfigSet):
            now = {"value": subject.values.get(id.partition(":")[2])}
        else:
            now = _attributes(subject, record.type, OBJECT_TYPES[folded.type])
        folded.values |= {
            (record.at, name): value for name, value in now.items() if value is not None and value != known.get(name)
        }
        known = now
        folded.objects |= _belongs_to(subject)
    return folded


def _records(view: View, stream: str, upto: int) -> Iterator[Recorded]:
    where, after = Filter(streams=(stream,), types=CHANGING), 0
    while after < upto:
        page = view.events(after=after, upto=upto, limit=PAGE, where=where)
        yield from page
        after = page[-1].seq if len(page) == PAGE else upto


def _belongs_to(subject: Any) -> dict[str, str]:
    if isinstance(subject, Job):
        batch = {stream(subject.batch): "batch"} if subject.batch is not None else {}
        others = {
            (id if id.startswith(BATCH) else f"job:{id}"): kind
            for kind in DEPENDENCY_KINDS
            for id in getattr(subject.policy, kind)
        }
        source = subject.triggered_by or ""
        schedule = {source: "schedule"} if type_of(source) == "schedule" else {}
        return {f"queue:{subject.queue}": "queue", **others, **batch, **schedule}
    if isinstance(subject, Worker):
        return dict.fromkeys((f"queue:{name}" for name in subject.queues), "serves")
    return {}


def _attributes(subject: Any, last: str, types: dict[str, str]) -> dict[str, Any]:
    if subject is None:
        return {"state": last}  # purged or archived
    return {name: _value(getattr(subject, name), kind) for name, kind in types.items()}


def _value(value: Any, kind: str) -> Any:
    return text(value) if kind == "time" and value is not None else value
