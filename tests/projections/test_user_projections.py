"""A user's own projection: filled by replay, maintained by every append, and unable to break ours (R4)."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import apsw
import pytest

from projections import Change, Store
from queuectl import Queue
from queuectl.engines import projection_registry
from queuectl.errors import Invalid, NotFound, QueueError
from queuectl.events import Enqueued
from tests.support.engine_actions import claim, report
from tests.support.paths import ROOT


class PerCommand:
    """How often each command was enqueued."""

    name = "per_command"
    version = 1
    tables: Sequence[str] = ("per_command",)
    schema = "create table per_command (command text primary key, times integer not null);"

    def fold(self, changes: Sequence[Change], store: Store) -> None:
        for change in changes:
            if isinstance(change.event, Enqueued):
                store.execute(
                    "insert into per_command values (?, 1) on conflict (command) do update set times = times + 1",
                    (change.after.command,),
                )
                if change.after.command == "poison":
                    raise RuntimeError("does not like it")


class Offer:
    """What is installed, as far as the queue can see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.module = ModuleType("somebodys")
        self.names: dict[str, str] = {}
        monkeypatch.setitem(sys.modules, "somebodys", self.module)
        monkeypatch.setattr(projection_registry, "installed", lambda: self.names)

    def put(self, kind: type, name: str = "per_command") -> None:
        """Install a projection under a name."""
        setattr(self.module, kind.__name__, kind)
        self.names[name] = f"somebodys:{kind.__name__}"

    def hide(self) -> None:
        """Another installation, which does not have it."""
        self._monkeypatch.setitem(sys.modules, "somebodys", None)  # pyright: ignore[reportArgumentType]

    def show(self) -> None:
        self._monkeypatch.setitem(sys.modules, "somebodys", self.module)


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    return Offer(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    db = apsw.Connection(str(path))
    try:
        return list(db.execute(statement))
    finally:
        db.close()


def counted(path: Path) -> dict[str, int]:
    return dict(sql(path, "select command, times from per_command"))


def stands(path: Path, name: str = "per_command") -> tuple[int, str | None]:
    [row] = sql(path, f"select seq, broken from projection_state where name = '{name}'")
    return row[0], row[1]


def test_replay_fills_it_and_appends_maintain_it(path: Path, offer: Offer) -> None:
    offer.put(PerCommand)
    with Queue(path) as queue:
        queue.enqueue_many(["a", "b", "a"])
        assert sql(path, "select name from sqlite_master where name = 'per_command'") == []
        queue.replay("per_command")
        assert counted(path) == {"a": 2, "b": 1}
        queue.enqueue("a")
    with Queue(path) as queue:
        queue.enqueue("c")
        assert counted(path) == {"a": 3, "b": 1, "c": 1}
        assert stands(path) == (5, None)
        assert queue.check() == []
        queue.replay()
        assert counted(path) == {"a": 3, "b": 1, "c": 1}


def test_it_folds_every_event_in_log_order(path: Path, offer: Offer) -> None:
    class Told:
        name, version, tables = "told", 1, ("told",)
        schema = "create table told (place integer primary key, seq integer not null);"

        def fold(self, changes: Sequence[Change], store: Store) -> None:
            store.executemany("insert into told (seq) values (?)", [(change.record.seq,) for change in changes])

    offer.put(Told, "told")
    with Queue(path) as queue:
        ids = queue.enqueue_many(["a", "b"])
        queue.cancel(*ids)
        queue.replay()
    assert sql(path, "select seq from told order by place") == [(1,), (2,), (3,), (4,)]


def test_check_covers_it_too(path: Path, offer: Offer) -> None:
    offer.put(PerCommand)
    with Queue(path) as queue:
        queue.enqueue("a")
        queue.replay()
        sql(path, "update per_command set times = 7")
        assert queue.check() == ["per_command has ('a', 7)", "per_command lacks ('a', 1)"]


def test_one_that_raises_is_skipped_and_commits_stand(path: Path, offer: Offer) -> None:
    offer.put(PerCommand)
    with Queue(path) as queue:
        queue.enqueue("a")
        queue.replay()
        id = queue.enqueue("poison")
        assert queue.job(id).state == "pending"
        assert counted(path) == {"a": 1}, "what it did before it raised is undone"
        assert stands(path) == (1, "RuntimeError: does not like it")
        queue.enqueue("a")
        assert counted(path) == {"a": 1}, "it is skipped"
        [(_, lease), *_] = claim(queue.engine, "w")
        report(queue.engine, lease)
        assert queue.check() == []
    with Queue(path) as queue:
        queue.enqueue("a")
        assert stands(path) == (1, "RuntimeError: does not like it")


def test_a_repaired_one_is_filled_again_by_replay(path: Path, offer: Offer) -> None:
    offer.put(PerCommand)
    with Queue(path) as queue:
        queue.enqueue("a")
        queue.replay()
        queue.enqueue_many(["poison", "b"])
        with pytest.raises(QueueError, match="projection 'per_command' raised RuntimeError: does not like it"):
            queue.replay()
        assert queue.check() == []

    class Repaired(PerCommand):
        def fold(self, changes: Sequence[Change], store: Store) -> None:
            super().fold([change for change in changes if change.after.command != "poison"], store)

    setattr(offer.module, PerCommand.__name__, Repaired)
    with Queue(path) as queue:
        queue.enqueue("c")
        assert counted(path) == {"a": 1}
        queue.replay("per_command")
        assert counted(path) == {"a": 1, "b": 1, "c": 1}
        assert stands(path) == (4, None)
        queue.enqueue("c")
        assert counted(path)["c"] == 2


def test_one_not_importable_now_catches_up_later(path: Path, offer: Offer) -> None:
    offer.put(PerCommand)
    with Queue(path) as queue:
        queue.enqueue("a")
        queue.replay()
    offer.hide()
    with Queue(path) as queue:
        queue.enqueue_many(["a", "b"])
        assert counted(path) == {"a": 1}
        assert stands(path) == (1, None)
        assert queue.check() == []
    offer.show()
    with Queue(path) as queue:
        queue.enqueue("b")
        assert counted(path) == {"a": 2, "b": 2}
        assert stands(path) == (4, None)


def test_one_that_raises_while_catching_up_is_skipped(path: Path, offer: Offer) -> None:
    offer.put(PerCommand)
    with Queue(path) as queue:
        queue.replay()
    offer.hide()
    with Queue(path) as queue:
        queue.enqueue("poison")
    offer.show()
    with Queue(path) as queue:
        assert queue.enqueue("b") == "2"
        assert counted(path) == {}
        assert stands(path) == (0, "RuntimeError: does not like it")


def test_a_new_version_waits_for_a_replay(path: Path, offer: Offer) -> None:
    offer.put(PerCommand)
    with Queue(path) as queue:
        queue.enqueue("a")
        queue.replay()

    class Second(PerCommand):
        version = 2
        schema = "create table per_command (times integer not null, command text primary key);"

        def fold(self, changes: Sequence[Change], store: Store) -> None:
            for change in changes:
                if isinstance(change.event, Enqueued):
                    store.execute(
                        "insert into per_command values (10, ?) on conflict (command) do update set times = times + 10",
                        (change.after.command,),
                    )

    setattr(offer.module, PerCommand.__name__, Second)  # upgraded in its place
    with Queue(path) as queue:
        queue.enqueue("a")
        assert counted(path) == {"a": 1}
        queue.replay()
        assert counted(path) == {"a": 20}


def test_tables_that_it_no_longer_has_are_dropped(path: Path, offer: Offer) -> None:
    class Two(PerCommand):
        tables = ("per_command", "per_command_more")
        schema = PerCommand.schema + " create table per_command_more (x);"

    offer.put(Two)
    with Queue(path) as queue:
        queue.replay()
        assert sql(path, "select * from per_command_more") == []
        offer.put(PerCommand)
        queue.replay()
    assert sql(path, "select name from sqlite_master where name = 'per_command_more'") == []


@pytest.mark.parametrize(
    "table",
    ["events", "Events", "secrets", "projection_state", "jobs", "ATTEMPTS", "counts", "numbers", "sqlite_sequence"],
)
def test_it_may_not_use_built_in_tables(path: Path, offer: Offer, table: str) -> None:
    class Greedy(PerCommand):
        tables = (table,)

    offer.put(Greedy)
    with Queue(path) as queue:
        queue.enqueue("a")
        before = list(queue.events())
        with pytest.raises(QueueError):
            queue.replay()
        assert list(queue.events()) == before
        assert queue.check() == []
        queue.enqueue("b")


def test_it_may_not_use_another_projections_tables(path: Path, offer: Offer) -> None:
    class Rival(PerCommand):
        name = "rival"

    offer.put(PerCommand)
    offer.put(Rival, "rival")
    with Queue(path) as queue:
        queue.enqueue("a")
        with pytest.raises(Invalid, match="rival"):
            queue.replay()


def test_it_needs_its_entry_points_name(path: Path, offer: Offer) -> None:
    class Jobs(PerCommand):
        name = "jobs"

    with Queue(path) as queue:
        offer.put(PerCommand, "other")
        with pytest.raises(Invalid, match="must have its entry point's name"):
            queue.replay()
        offer.names.clear()
        offer.put(Jobs, "jobs")
        with pytest.raises(Invalid):
            queue.replay()


def test_one_that_cannot_be_loaded_is_named(path: Path, offer: Offer) -> None:
    offer.names["per_command"] = "somebodys:Missing"
    with Queue(path) as queue:
        with pytest.raises(Invalid, match=r"'per_command' \(somebodys:Missing\) can't be loaded: AttributeError"):
            queue.replay()
        offer.names.clear()
        with pytest.raises(NotFound, match="no projection 'nobodys'"):
            queue.replay("nobodys")


def test_bad_sql_of_its_own_breaks_nothing_else(path: Path, offer: Offer) -> None:
    class Typo(PerCommand):
        schema = "create tabel per_command (x);"

    offer.put(Typo)
    with Queue(path) as queue:
        queue.enqueue("a")
        with pytest.raises(QueueError, match=r"per_command.*syntax error"):
            queue.replay()
        assert queue.enqueue("b") == "2"
        assert queue.check() == []


MODULE = '''
from queuectl.events import Completed

name = "finished"
version = 1
tables = ("finished",)
schema = """
create table finished (id text primary key, command text not null);
create index finished_command on finished (command);
"""

def fold(changes, store):
    store.executemany(
        "insert into finished values (?, ?)",
        [(c.after.id, c.after.command) for c in changes if isinstance(c.event, Completed)],
    )
'''


def test_an_installed_distribution_provides_one_by_entry_point(path: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "finished_jobs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: finished-jobs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[queuectl.projections]\nfinished = finished_jobs\n")
    (site / "finished_jobs.py").write_text(MODULE)
    with Queue(path) as queue:
        queue.enqueue_many(["true", "false"])
        [(_, first), (_, second)] = claim(queue.engine, "w")
        report(queue.engine, first)
    script = """
import sys
from queuectl import Queue
from queuectl.decisions import Lease
from tests.support.engine_actions import report
with Queue(sys.argv[1]) as queue:
    print(queue.replay())
    report(queue.engine, Lease("2", 1, int(sys.argv[2])))
    print(queue.check())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(path), str(second.version)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("5\n[]\n", "")
    assert sql(path, "select id, command from finished order by id") == [("1", "true"), ("2", "false")]
    # Here it is not installed: it is left where it is, and nothing of ours minds.
    with Queue(path) as queue:
        queue.enqueue("true")
        assert stands(path, "finished") == (6, None)
