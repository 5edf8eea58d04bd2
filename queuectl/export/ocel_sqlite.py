"""OCEL 2.0 as a SQLite database: tables of all events and all objects, and one for each type of either."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from queuectl.clock import text
from queuectl.engines.scratch_database import ScratchDatabase, scratch_database
from queuectl.export import ocel
from queuectl.export.ocel import EVENT_TYPES, OBJECT_TYPES, OcelEvent, OcelObject
from queuectl.export.rows import Source

SCHEMA = (
    "create table event_map_type (ocel_type TEXT primary key, ocel_type_map TEXT not null)",
    "create table object_map_type (ocel_type TEXT primary key, ocel_type_map TEXT not null)",
    "create table event (ocel_id TEXT primary key, ocel_type TEXT not null references event_map_type (ocel_type))",
    """
    create table event_object (
        ocel_event_id TEXT not null references event (ocel_id),
        ocel_object_id TEXT not null references object (ocel_id),
        ocel_qualifier TEXT not null,
        primary key (ocel_event_id, ocel_object_id, ocel_qualifier)
    ) without rowid
    """,
    """
    create table object_object (
        ocel_source_id TEXT not null references object (ocel_id),
        ocel_target_id TEXT not null references object (ocel_id),
        ocel_qualifier TEXT not null,
        primary key (ocel_source_id, ocel_target_id, ocel_qualifier)
    ) without rowid
    """,
)
"""The tables that don't depend on the types; `object` is made by `ocel.Objects`."""

TYPES = {"string": "TEXT", "time": "TIMESTAMP", "integer": "INTEGER", "float": "REAL", "boolean": "BOOLEAN"}
"""How the types of attributes are called here."""


def write(source: Source, path: str) -> None:
    """Fill an empty file."""
    upto = source.queue.status().seq
    with scratch_database(path) as store:
        objects = ocel.Objects(store)
        for statement in (*SCHEMA, *_tables()):
            store.execute(statement)
        for table, types in (("event_map_type", EVENT_TYPES), ("object_map_type", OBJECT_TYPES)):
            store.executemany(f"insert into {table} values (?, ?)", [(name, name) for name in types])
        for page in ocel.events(source):
            objects.add(id for event in page for id in event.objects)
            _write_events(store, page)
        for batch in objects.read(source.queue, max(upto, source.last)):
            _write_objects(store, batch)


def _tables() -> list[str]:
    """A table for each type. An object has a row for what it was first, and one for each change of an attribute."""
    events = [
        f"""
        create table "event_{name}" (
            ocel_id TEXT primary key references event (ocel_id), ocel_time TIMESTAMP not null{_columns(attributes)}
        )
        """
        for name, attributes in EVENT_TYPES.items()
    ]
    objects = [
        f"""
        create table "object_{name}" (
            ocel_id TEXT not null references object (ocel_id), ocel_time TIMESTAMP not null,
            ocel_changed_field TEXT{_columns(attributes)}
        )
        """
        for name, attributes in OBJECT_TYPES.items()
    ]
    return events + objects


def _columns(attributes: dict[str, str]) -> str:
    return "".join(f', "{name}" {TYPES[type]}' for name, type in attributes.items())


def _insert(table: str, width: int) -> str:
    return f'insert into "{table}" values ({", ".join("?" * width)})'


def _write_events(store: ScratchDatabase, page: list[OcelEvent]) -> None:
    rows: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for event in page:
        rows[event.type].append((event.id, text(event.at), *map(event.attributes.get, EVENT_TYPES[event.type])))
    store.executemany("insert into event values (?, ?)", [(event.id, event.type) for event in page])
    for type, some in rows.items():
        store.executemany(_insert(f"event_{type}", 2 + len(EVENT_TYPES[type])), some)
    store.executemany(
        "insert into event_object values (?, ?, ?)",
        [(event.id, *other) for event in page for other in event.objects.items()],
    )


def _write_objects(store: ScratchDatabase, batch: list[OcelObject]) -> None:
    rows: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for each in batch:
        rows[each.type] += _rows(each)
    for type, some in rows.items():
        store.executemany(_insert(f"object_{type}", 3 + len(OBJECT_TYPES[type])), some)
    store.executemany(
        "insert into object_object values (?, ?, ?)",
        [(each.id, *other) for each in batch for other in each.objects.items()],
    )


def _rows(each: OcelObject) -> Iterator[tuple[Any, ...]]:
    """What it was first (at the moment zero, where nothing is known of it), then its changes."""
    names = OBJECT_TYPES[each.type]
    began = min(each.values, default=(0, ""))[0]
    first = {name: value for (at, name), value in each.values.items() if at == began}
    yield (each.id, text(began), None, *map(first.get, names))
    for (at, name), value in each.values.items():
        if at != began:
            yield (each.id, text(at), name, *(value if name == other else None for other in names))
