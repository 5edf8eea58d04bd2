"""OCEL 2.0 exports keep the rules of the standard (https://www.ocel-standard.org), and say what the log says."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

import projections
from queuectl import Queue
from queuectl.audit.import_log import load
from queuectl.clock import micros, text
from queuectl.errors import Invalid, Unusable
from queuectl.export import Export, export
from queuectl.export.ocel import OBJECT_TYPES
from queuectl.export.rows import Selection
from tests.support.paths import DATA

LOG = DATA / "queue_v1.ndjson"
PYTHON = {"string": str, "time": str, "integer": int, "float": (int, float), "boolean": bool}
BESIDE = {"event_map_type", "event_object", "object_map_type", "object_object"}


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        load(queue, LOG.read_bytes().splitlines(keepends=True))
        yield queue


def document(queue: Queue, **wanted: Any) -> dict[str, Any]:
    return msgspec.json.decode(b"".join(export(queue, format="ocel-json", **wanted)))


def database(queue: Queue, path: Path, **wanted: Any) -> apsw.Connection:
    Export(queue, Selection(**wanted), "ocel-sqlite").write(str(path))
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


def keeps_the_rules(log: dict[str, Any]) -> None:
    """What the standard asks of a JSON log."""
    assert set(log) == {"eventTypes", "objectTypes", "events", "objects"}
    types: dict[str, dict[str, dict[str, str]]] = {}
    for kind in ("event", "object"):
        declared = log[f"{kind}Types"]
        types[kind] = {each["name"]: {a["name"]: a["type"] for a in each["attributes"]} for each in declared}
        assert len(types[kind]) == len(declared)
        assert all(set(each["attributes"][0]) == {"name", "type"} for each in declared if each["attributes"])
        assert {type for each in types[kind].values() for type in each.values()} <= set(PYTHON)
    objects = {each["id"] for each in log["objects"]}
    assert len(objects) == len(log["objects"])
    events = {each["id"] for each in log["events"]}
    assert len(events) == len(log["events"])
    assert not objects & events
    for kind in ("event", "object"):
        for each in log[f"{kind}s"]:
            for attribute in each["attributes"]:
                type = types[kind][each["type"]][attribute["name"]]
                assert isinstance(attribute["value"], PYTHON[type]), (each["id"], attribute)
                assert isinstance(attribute["value"], bool) == (type == "boolean")
                if type == "time":
                    micros(attribute["value"])
            said = [(attribute["name"], attribute.get("time")) for attribute in each["attributes"]]
            assert len(set(said)) == len(said), "an attribute has one value at a moment"
            assert all((time is not None) == (kind == "object") for _, time in said)
            related = [relation["objectId"] for relation in each["relationships"]]
            assert set(related) <= objects
            assert len(set(related)) == len(related)
            assert all(relation["qualifier"] for relation in each["relationships"])
    assert all(micros(one["time"]) <= micros(later["time"]) for one, later in pairwise(log["events"]))


def attributes(each: dict[str, Any]) -> dict[str, Any]:
    return {attribute["name"]: attribute["value"] for attribute in each["attributes"]}


def relations(each: dict[str, Any]) -> set[tuple[str, str]]:
    return {(relation["objectId"], relation["qualifier"]) for relation in each["relationships"]}


def test_the_document_is_valid_and_complete(queue: Queue) -> None:
    log = document(queue)
    keeps_the_rules(log)
    assert [(e["id"], e["type"], e["time"], attributes(e)["actor"]) for e in log["events"]] == [
        (f"event:{record.seq}", record.type, text(record.at), record.actor) for record in queue.events()
    ]
    assert all(each["relationships"] for each in log["events"]), "or process miners throw it away"


def test_an_event_has_its_payload_and_qualified_objects(queue: Queue) -> None:
    events = document(queue)["events"]
    for record, event in zip(queue.events(), events, strict=True):
        told = attributes(event)
        for name, value in msgspec.json.decode(record.data).items():
            simple = not isinstance(value, list | dict)
            assert told[name] == value if simple else msgspec.json.decode(told[name]) == value
        assert (record.stream, "subject") in relations(event) or record.stream == "config"
    by_type = {event["type"]: event for event in events}
    enqueued, claimed, beat, setting = (by_type[t] for t in ("enqueued", "claimed", "heartbeat", "config_set"))
    assert ("queue:" + attributes(enqueued)["queue"], "queue") in relations(enqueued)
    assert ("worker:" + attributes(claimed)["worker"], "worker") in relations(claimed)
    held = msgspec.json.decode(attributes(beat)["attempts"])
    assert {id for id, part in relations(beat) if part == "held"} == {f"job:{each['job']}" for each in held} != set()
    assert relations(setting) == {("setting:" + attributes(setting)["key"], "subject")}


def test_an_object_has_its_value_at_each_time(queue: Queue) -> None:
    compared = 0
    for each in document(queue)["objects"]:
        if each["type"] != "job" or not each["attributes"]:
            continue  # the recorded heartbeats speak of a job that never was
        became = {(a["name"], a["time"]): a["value"] for a in each["attributes"]}
        last = {moment.record.at: moment for moment in queue.history(each["id"].partition(":")[2])}
        now: dict[str, Any] = {}
        for at, moment in last.items():
            now |= {name: value for (name, time), value in became.items() if time == text(at)}
            if moment.job is None:
                assert now["state"] == "purged"
                continue
            for name in ("state", "queue", "priority", "attempt", "failures", "max_retries", "command"):
                assert now[name] == getattr(moment.job, name)
                compared += 1
            assert now["run_at"] == text(moment.job.run_at)
        assert relations(each) == {(f"queue:{now['queue']}", "queue")}
    assert compared > 500


def test_settings_and_workers_are_objects_too(queue: Queue) -> None:
    objects = document(queue)["objects"]
    workers = {each["id"]: attributes(each)["state"] for each in objects if each["type"] == "worker"}
    assert workers == {f"worker:{worker.id}": worker.state for worker in queue.workers(all=True)}
    changes: list[Any] = [record.event for record in queue.events(type="config_set")]
    settings = {each["id"]: [a["value"] for a in each["attributes"]] for each in objects if each["type"] == "setting"}
    assert settings == {
        f"setting:{key}": [change.value for change in changes if change.key == key and change.value is not None]
        for key in {change.key for change in changes}
    }


def test_jobs_are_related_to_what_they_depend_on(queue: Queue) -> None:
    queue.enqueue("true", id="a", batch="b")
    queue.enqueue("true", id="c", after=("a",), after_any=("batch:b",))
    log = document(queue)
    keeps_the_rules(log)
    [a, c] = [each for each in log["objects"] if each["id"] in ("job:a", "job:c")]
    assert relations(a) == {("queue:default", "queue"), ("batch:b", "batch")}
    assert relations(c) == {("queue:default", "queue"), ("job:a", "after"), ("batch:b", "after_any")}


def test_jobs_belong_to_the_schedule_that_fired(queue: Queue) -> None:
    queue.schedules.add("nightly", "true", cron="@daily", tz="UTC")
    id = queue.schedules.run("nightly")
    log = document(queue)
    keeps_the_rules(log)
    [job] = [each for each in log["objects"] if each["id"] == f"job:{id}"]
    assert ("schedule:nightly", "schedule") in relations(job)
    [fired] = [each for each in log["events"] if each["type"] == "schedule_fired"]
    assert relations(fired) == {("schedule:nightly", "subject"), (f"job:{id}", "fired")}


def test_each_kind_of_stream_has_an_object_type() -> None:
    assert set(projections.EVOLVE) - {"config", "env", "queues"} <= set(OBJECT_TYPES), "give it a row in OBJECT_TYPES"


def test_a_partial_export_has_complete_objects(queue: Queue) -> None:
    whole = {each["id"]: each for each in document(queue)["objects"]}
    for wanted in ({"type": "dead"}, {"after": 150}, {"job": "1"}, {"queue_name": "mail"}):
        part = document(queue, **wanted)
        keeps_the_rules(part)
        assert 0 < len(part["events"]) < 182
        assert len(part["objects"]) < len(whole)
        assert all(each == whole[each["id"]] for each in part["objects"])
    nothing = document(queue, after=182)
    keeps_the_rules(nothing)
    assert (nothing["events"], nothing["objects"]) == ([], [])


def test_changes_during_the_export_are_left_out(queue: Queue) -> None:
    before = b"".join(export(queue, format="ocel-json"))
    chunks = export(queue, format="ocel-json")
    begun = b""
    while b"event:182" not in begun:
        begun += next(chunks)
    queue.retry(queue.dead()[0])
    assert begun + b"".join(chunks) == before
    assert b"".join(export(queue, format="ocel-json")) != before


# -- SQLite ----------------------------------------------------------------------------------------------------------


def columns(db: apsw.Connection, table: str) -> dict[str, tuple[str, int]]:
    """The columns of a table, each with its type and its place in the primary key."""
    rows = db.execute("select name, type, pk from pragma_table_info(?)", (table,))
    return {name: (type, key) for name, type, key in rows}


def refers(db: apsw.Connection, table: str) -> set[tuple[str, str, str]]:
    """What the table refers to: its column, the other table and the column there."""
    return set(db.execute('select "from", "table", "to" from pragma_foreign_key_list(?)', (table,)))


def test_the_database_keeps_the_rules(queue: Queue, tmp_path: Path) -> None:
    db = database(queue, tmp_path / "log.sqlite")
    tables = {name for (name,) in db.execute("select name from sqlite_master where type = 'table'")}
    assert tables >= BESIDE | {"event", "object"}
    for kind in ("event", "object"):
        maps = dict(db.execute(f"select ocel_type, ocel_type_map from {kind}_map_type"))
        own = {f"{kind}_{name}" for name in maps.values()}
        assert {table for table in tables if table.startswith(f"{kind}_")} - BESIDE == own
        assert columns(db, f"{kind}_map_type")["ocel_type"][1] == 1
        assert columns(db, kind) == {"ocel_id": ("TEXT", 1), "ocel_type": ("TEXT", 0)}
        assert refers(db, kind) == {("ocel_type", f"{kind}_map_type", "ocel_type")}
        for table in own:
            assert columns(db, table)["ocel_id"] == ("TEXT", int(kind == "event"))
            assert columns(db, table)["ocel_time"] == ("TIMESTAMP", 0)
            assert ("ocel_changed_field" in columns(db, table)) == (kind == "object")
            assert {type for type, _ in columns(db, table).values()} <= {
                "TEXT", "TIMESTAMP", "INTEGER", "REAL", "BOOLEAN",
            }  # fmt: skip
            assert refers(db, table) == {("ocel_id", kind, "ocel_id")}
    assert [key for _, key in columns(db, "event_object").values()] == [1, 2, 3]
    assert [key for _, key in columns(db, "object_object").values()] == [1, 2, 3]
    assert refers(db, "event_object") == {
        ("ocel_event_id", "event", "ocel_id"),
        ("ocel_object_id", "object", "ocel_id"),
    }
    assert refers(db, "object_object") == {
        ("ocel_source_id", "object", "ocel_id"),
        ("ocel_target_id", "object", "ocel_id"),
    }
    assert list(db.execute("pragma foreign_key_check")) == []
    assert list(db.execute("pragma integrity_check")) == [("ok",)]


def test_the_database_and_the_document_say_the_same(queue: Queue, tmp_path: Path) -> None:
    for path, wanted in (("whole", {}), ("part", {"type": "failed"})):
        log = document(queue, **wanted)
        db = database(queue, tmp_path / path, **wanted)
        events: dict[str, Any] = {}
        values: defaultdict[str, set[tuple[str, str, Any]]] = defaultdict(set)
        for (type,) in db.execute("select ocel_type from event_map_type"):
            names = list(columns(db, f"event_{type}"))
            for row in db.execute(f'select * from "event_{type}"'):
                found = dict(zip(names, row, strict=True))
                known = {name: value for name, value in found.items() if value is not None}
                events[known.pop("ocel_id")] = (type, known.pop("ocel_time"), known)
        for (type,) in db.execute("select ocel_type from object_map_type"):
            names = list(columns(db, f"object_{type}"))[3:]
            for id, time, changed, *row in db.execute(f'select * from "object_{type}"'):
                told = {(name, time, value) for name, value in zip(names, row, strict=True) if value is not None}
                assert (changed is None) == (id not in values), "one row of what it was first, then its changes"
                assert changed is None or [name for name, _, _ in told] == [changed]
                assert not values[id] & told
                values[id] |= told
        assert events == {e["id"]: (e["type"], e["time"], attributes(e)) for e in log["events"]}
        assert dict(db.execute("select ocel_id, ocel_type from event")) == {e["id"]: e["type"] for e in log["events"]}
        assert dict(values) == {
            o["id"]: {(a["name"], a["time"], a["value"]) for a in o["attributes"]}
            for o in log["objects"]
            if o["attributes"] or o["id"] in values
        }
        assert dict(db.execute("select ocel_id, ocel_type from object")) == {o["id"]: o["type"] for o in log["objects"]}
        assert set(values) == {o["id"] for o in log["objects"]}, "each has a first row, or it is not seen"
        for table, kind in (("event_object", "events"), ("object_object", "objects")):
            assert set(db.execute(f"select * from {table}")) == {
                (each["id"], *relation) for each in log[kind] for relation in relations(each)
            }


def test_sqlite_needs_a_file_and_all_events(queue: Queue) -> None:
    with pytest.raises(Invalid, match="ocel-sqlite can only be written into a file: give --output FILE"):
        export(queue, format="ocel-sqlite")
    with pytest.raises(Invalid, match="ocel-json is a format of events, not of jobs"):
        export(queue, format="ocel-json", what="jobs")


def test_a_full_disk_leaves_no_database(queue: Queue, tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(Unusable):
            database(queue, tmp_path / "log.sqlite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir() if "log" in path.name] == []
