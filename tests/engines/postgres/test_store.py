"""The tables of projections in PostgreSQL: the verbs do there what they do in SQLite."""

import apsw
import msgspec
import psycopg
import pytest

from projections.store import Store
from projections.table import Codec, Table
from queuectl.engines.postgres.errors import PostgresErrors
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.store import FIRST, PAGE, PostgresStore
from queuectl.engines.postgres.tables import PostgresTables
from queuectl.engines.sqlite.store import SqliteStore
from queuectl.engines.sqlite.tables import SqliteTables
from queuectl.errors import Invalid


class Thing(msgspec.Struct):
    """A row with a value of every kind, and a column that PostgreSQL has a word for."""

    name: str
    window: int
    flag: bool = False
    maybe: bool | None = None
    size: float | None = None
    words: tuple[str, ...] = ()
    data: bytes | None = None


THINGS = Table(
    "things", Thing, ("name",), codecs={"data": Codec("blob")}, merge={"window": "things.window + excluded.window"}
)
ALL = "select * from things order by name"


@pytest.fixture
def stores(session: Session) -> list[Store]:
    """The same empty table in both engines."""
    PostgresTables(session).make(THINGS.schema)
    db = apsw.Connection(":memory:")
    SqliteTables(db).make(THINGS.schema)
    return [PostgresStore(session), SqliteStore(db)]


def test_every_kind_of_value_comes_back(stores: list[Store]) -> None:
    things = [
        Thing("a", -(2**63), True, False, 0.1, ("x", "ÿ"), b"\0\xff"),
        Thing("Z", 2**63 - 1, False, True, 1e300, (), b""),
        Thing("é'\\\"\n?", 0),
    ]
    for store in stores:
        store.insert(THINGS, things)
    one, other = ([*store.rows(ALL)] for store in stores)
    assert one == other
    assert [THINGS.read(row).name for row in one] == ["Z", "a", "é'\\\"\n?"]


def test_a_later_row_finds_the_earlier_one(stores: list[Store]) -> None:
    for store in stores:
        store.upsert(THINGS, [Thing("a", 1), Thing("b", 5), Thing("a", 2, True), Thing("a", 4, False)])
        store.update(THINGS, [Thing("b", 6, True), Thing("b", 7)])
        assert [row[:3] for row in store.rows(ALL)] == [("a", 7, 0), ("b", 7, 0)]


def test_rows_are_deleted_by_any_column(stores: list[Store]) -> None:
    for store in stores:
        store.insert(THINGS, [Thing("a", 1), Thing("b", 2), Thing("c", 2)])
        store.delete(THINGS, "window", [2, 3])
        store.delete(THINGS, "name", ["x"])
        store.delete(THINGS, "name", [])
        assert [row[0] for row in store.rows(ALL)] == ["a"]


def test_lists_may_be_empty(stores: list[Store]) -> None:
    for store in stores:
        store.insert(THINGS, [Thing("in ()", 1)])
        assert store.execute("select 'in ()', name from things where name in () or name = ?", ("in ()",)) == [
            ("in ()", "in ()")
        ]
        assert store.execute("select flag from things where name not in ()") == [(0,)]


def test_a_sum_is_a_whole_number(stores: list[Store]) -> None:
    for store in stores:
        store.insert(THINGS, [Thing("a", 1), Thing("b", 2, size=0.5)])
        [(total, size)] = store.execute('select sum("window"), sum(size) from things')
        assert (total, type(total), size) == (3, int, 0.5)


def test_long_answers_are_read_in_pages(stores: list[Store]) -> None:
    names = [f"{number:06}" for number in range(FIRST + PAGE + 1)]
    for store in stores:
        store.insert(THINGS, [Thing(name, 1) for name in names])
        one, other = store.rows(ALL), store.rows(ALL)
        assert [next(one)[0], next(other)[0], next(one)[0]] == ["000000", "000000", "000001"]
        one.close()
        assert len([*other]) == len(names) - 1


def test_writes_wait_for_the_next_question(session: Session) -> None:
    PostgresTables(session).make(THINGS.schema)
    store = PostgresStore(session)
    store.insert(THINGS, [Thing("a", 1)])
    store.execute("insert into things (name, flag) values (?, ?)", ("b", True))  # a window is missing
    with pytest.raises(psycopg.errors.NotNullViolation):
        store.execute("select 1")


@pytest.mark.parametrize("name", ["a\0b", "\0"])
def test_a_nul_is_refused_in_one_line(session: Session, name: str) -> None:
    PostgresTables(session).make(THINGS.schema)
    store = PostgresStore(session)
    errors = PostgresErrors("")
    store.insert(THINGS, [Thing(name, 1)])
    with (
        pytest.raises(Invalid, match=r"^PostgreSQL keeps no NUL character in a text: leave it out$"),
        PostgresErrors(""),
    ):
        session.flush()
    session.roll_back()
    with pytest.raises(Invalid, match="NUL"), errors:
        store.execute("select 1 from jobs where id = ?", (name,))
