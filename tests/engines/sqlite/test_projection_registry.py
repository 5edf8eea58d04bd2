"""Positions of projections: a missing, late or other version is rebuilt, or opening says why not (R1, R4)."""

from pathlib import Path
from typing import Any

import apsw
import pytest

import projections
from projections import Change, Store, attempts, builtin, counts, replay
from queuectl import Queue
from queuectl.engines import projection_registry
from queuectl.errors import Outdated, Unusable
from tests.support.engine_actions import add, claim, report

TABLES = [table for projection in builtin() for table in projection.tables]


def sql(path: Path, *statements: str) -> list[tuple[Any, ...]]:
    """What another program does to the file; the rows of the last statement."""
    db = apsw.Connection(str(path))
    rows: list[tuple[Any, ...]] = []
    try:
        for statement in statements:
            rows = list(db.execute(statement))
    finally:
        db.close()
    return rows


def dump(path: Path) -> dict[str, list[str]]:
    """Every row of every projection's table, in the order of the tables, and their schema."""
    return {
        table: [
            *(repr(row) for row in sql(path, f"select * from {table}")),
            *(
                repr(row)
                for row in sql(path, f"select sql from sqlite_master where tbl_name = '{table}' order by name")
            ),
        ]
        for table in TABLES
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with jobs in several states and a setting."""
    path = tmp_path / "q.db"
    with Queue(path) as queue:
        queue.enqueue_many(["true"] * 4)
        add(queue.engine, "a", "b", queue="q", max_retries=0, secrets=["K"])
        leases = [lease for _, lease in claim(queue.engine, "w")]
        report(queue.engine, leases[0])
        for lease in leases[1:4]:
            report(queue.engine, lease, "exit", exit_code=3, run_seconds=0.1)
        report(queue.engine, leases[4], "lost")
        queue.purge("a")
        queue.cancel("b", "2", reason="enough")
        queue.set_config("timeout", "5")
    return path


def test_dropped_tables_are_replayed_byte_for_byte(path: Path) -> None:
    before = dump(path)
    sql(path, *(f"drop table {table}" for table in TABLES), "delete from projection_state")
    with Queue(path) as queue:
        queue.replay()
    assert dump(path) == before


def test_a_replay_discards_foreign_changes_of_the_tables(path: Path) -> None:
    before = dump(path)
    sql(
        path,
        "update jobs set state = 'completed'",
        "delete from attempts",
        "insert into counts values ('x', 'dead', 0, 9)",
    )
    with Queue(path) as queue:
        differences = queue.check()
        assert {line.split(" ")[0].rstrip(":") for line in differences} == {"jobs", "attempts", "counts"}
        queue.replay()
        assert queue.check() == []
    assert dump(path) == before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(("drop table counts",), id="a table is missing"),
        pytest.param(tuple(f"drop table {table}" for table in TABLES), id="all tables are missing"),
        pytest.param(("delete from projection_state where name = 'attempts'",), id="a standing is missing"),
        pytest.param(("delete from projection_state",), id="all standings are missing"),
        pytest.param(
            ("update projection_state set version = 0 where name = 'counts'", "update counts set jobs = 77"),
            id="it is of an older version",
        ),
        pytest.param(
            ("drop table workers", "create table workers (other)", "update projection_state set version = 0"),
            id="the tables of the older version were others",
        ),
    ],
)
def test_opening_rebuilds_missing_tables(path: Path, damage: tuple[str, ...]) -> None:
    before = dump(path)
    sql(path, *damage)
    told: list[tuple[int, int]] = []
    with Queue(path, progress=lambda done, total: told.append((done, total))) as queue:
        assert queue.check() == []
        events = len(list(queue.events()))
    assert told[-1] == (events, events)
    assert dump(path) == before


def test_opening_a_sound_database_replays_nothing(path: Path) -> None:
    told: list[tuple[int, int]] = []
    Queue(path, progress=lambda *progress: told.append(progress)).close()
    assert told == []


def behind(path: Path, name: str) -> None:
    """Set a projection back by the last transactions, as a program without it leaves it."""
    before = sql(path, f"select seq from projection_state where name = '{name}'")[0][0]
    rows = sql(path, f"select * from {name}")
    with Queue(path) as queue:
        queue.enqueue_many(["true", "false"])
        [(_, lease), _] = claim(queue.engine, "w")
        report(queue.engine, lease)
    marks = ", ".join("?" * len(rows[0]))
    db = apsw.Connection(str(path))
    db.execute(f"delete from {name}")
    db.executemany(f"insert into {name} values ({marks})", rows)
    db.execute("update projection_state set seq = ? where name = ?", (before, name))
    db.close()


@pytest.mark.parametrize("name", ["jobs", "attempts", "counts"])
def test_opening_catches_up_a_projection_that_is_behind(path: Path, name: str) -> None:
    behind(path, name)
    with Queue(path) as queue:
        assert queue.check() == []
        assert queue.status().counts["completed"] == 2


@pytest.mark.parametrize("name", ["jobs", "attempts", "counts"])
def test_a_projection_catches_up_before_it_folds(path: Path, name: str) -> None:
    with Queue(path) as queue:
        behind(path, name)
        queue.enqueue("true")
        assert queue.check() == []
    # Each catches up alone, from the log: the others are not rebuilt for it.
    with Queue(path) as queue:
        assert queue.status().total == sum(1 for _ in queue.jobs())


def test_newer_code_at_the_database_stops_older_code(path: Path) -> None:
    with Queue(path) as queue:
        sql(path, "update projection_state set version = 99 where name = 'jobs'")
        before = queue.status()
        with pytest.raises(Outdated, match=r"upgraded by a newer queuectl \(projection 'jobs'\): restart"):
            queue.enqueue("true")
        assert queue.status() == before
    with pytest.raises(Outdated, match="upgraded") as error:
        Queue(path)
    assert error.value.exit_code == 4
    assert sql(path, "select version from projection_state where name = 'jobs'") == [(99,)]


def test_newer_code_rebuilds_what_older_code_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counts2:
        name, version, tables, reads = "counts", counts.version + 1, ("counts",), counts.reads
        schema = """
            create table counts (
                queue text, state text, held integer, jobs integer, extra text, primary key (queue, state, held)
            );
        """

        def fold(self, changes: list[Change], store: Store) -> None:
            counts.fold(changes, store)

    old = Queue(path)
    with monkeypatch.context() as newer:
        others = tuple(projection for projection in builtin() if projection.name != "counts")
        newer.setattr(projections, "builtin", lambda: (*others, Counts2()))
        newer.setattr("queuectl.engines.projection_registry.builtin", projections.builtin)
        with Queue(path) as queue:
            assert queue.check() == []
            assert sql(path, "select count(*) from pragma_table_info('counts') where name = 'extra'") == [(1,)]
    with pytest.raises(Outdated):
        old.enqueue("true")
    old.close()


def test_an_impossible_log_makes_opening_fail(path: Path) -> None:
    sql(path, "insert into events select 1000, 'job:ghost', 1, 'claimed', 1, at + 9, actor, "
              "'{\"attempt\":1,\"worker\":\"w\"}' from events order by seq desc limit 1")  # fmt: skip
    for _ in range(2):
        with pytest.raises(Unusable, match="job:ghost has a 'claimed' event"):
            Queue(path)


def test_a_replay_refuses_streams_without_their_first_event(path: Path) -> None:
    before = dump(path)
    sql(path, "drop trigger events_no_delete", "delete from events where stream = 'job:3' and version = 1")
    with Queue(path) as queue, pytest.raises(Unusable, match="3 events belong to streams of which the first event"):
        queue.replay()
    assert dump(path) == before


def test_a_raising_fold_rolls_back_the_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(changes: object, store: object) -> None:
        raise OSError("out of luck")

    with Queue(path) as queue:
        id = queue.enqueue("true")
        before = list(queue.events())
        with monkeypatch.context() as broken:
            broken.setattr(attempts, "fold", explode)
            with pytest.raises(OSError, match="out of luck"):
                queue.cancel(id)
        assert list(queue.events()) == before
        assert queue.check() == []
        queue.cancel(id)


def test_the_names_of_tables_that_others_may_read(path: Path) -> None:
    names = {name for (name,) in sql(path, "select name from sqlite_master where type = 'table'")}
    assert {"events", "jobs", "attempts", "counts", "workers"} <= names
    assert sql(path, "select sum(jobs) from counts") == sql(path, "select count(*) from jobs")


def test_a_replay_keeps_every_index_of_the_schemas(path: Path) -> None:
    fresh = apsw.Connection(":memory:")
    for projection in builtin():
        for _ in fresh.execute(projection.schema):
            pass
    indexes = "select name, sql from sqlite_master where type = 'index' and sql is not null and tbl_name in ({})"
    wanted = indexes.format(", ".join(repr(table) for table in TABLES)) + " order by name"
    with Queue(path) as queue:
        queue.replay()
    assert sql(path, wanted) == list(fresh.execute(wanted)) != []


def test_evicted_subjects_are_read_from_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(path)
    monkeypatch.setattr(projection_registry, "PAGE", 1)
    monkeypatch.setattr(replay.Subjects.__init__, "__defaults__", (0,))
    sql(path, *(f"delete from {table}" for table in TABLES), "update projection_state set seq = 0")
    with Queue(path) as queue:
        assert queue.check() == []
    assert dump(path) == before


def test_check_refuses_streams_without_their_first_event(path: Path) -> None:
    sql(path, "drop trigger events_no_delete", "delete from events where stream = 'job:3' and version = 1")
    with Queue(path) as queue, pytest.raises(Unusable, match="3 events belong to streams of which the first event"):
        queue.check()
