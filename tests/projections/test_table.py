"""Tables made of structs, written by the verbs of a store."""

from zlib import crc32

import apsw
import msgspec

from projections import builtin
from projections.table import Codec, Table
from queuectl.engines.sqlite.store import SqliteStore


class Boat(msgspec.Struct, frozen=True):
    number: int
    name: str
    owner: object
    length: float | None = None
    afloat: bool = True
    crew: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


FLAGS = Codec("text", lambda flags: ",".join(flags) or None, lambda text: tuple(text.split(",")) if text else ())
BOATS = Table("boats", Boat, ("number",), unique=("name",), apart=("owner",), codecs={"flags": FLAGS})
ANNA, BELLA = Boat(1, "Anna", "me", 7.5, crew=("a", "b"), flags=("x", "y")), Boat(2, "Bella", "me", afloat=False)


class Seen(msgspec.Struct, frozen=True):
    place: str
    hour: int
    boats: int


SEEN = Table("seen", Seen, ("place", "hour"), merge={"boats": "seen.boats + excluded.boats"})


def made(*tables: Table[Boat] | Table[Seen]) -> SqliteStore:
    store = SqliteStore(apsw.Connection(":memory:"))
    for table in tables:
        store.execute(table.schema)
    return store


def boats(store: SqliteStore) -> list[Boat]:
    rows = store.rows(f"select {BOATS.select('b')}, 'more' from boats b order by number")
    return [BOATS.read(row, "me") for row in rows]


def test_columns_follow_the_annotations() -> None:
    store = made(BOATS, SEEN)
    columns = store.execute("""select name, type, "notnull", pk from pragma_table_info('boats')""")
    assert columns == [
        ("number", "INTEGER", 1, 1), ("name", "TEXT", 1, 0), ("length", "REAL", 0, 0), ("afloat", "INTEGER", 1, 0),
        ("crew", "TEXT", 1, 0), ("flags", "TEXT", 0, 0),
    ]  # fmt: skip
    without_rowid = "select name, wr from pragma_table_list where name in ('boats', 'seen') order by name"
    assert store.execute(without_rowid) == [("boats", 0), ("seen", 1)]


def test_rows_are_read_as_they_were_written() -> None:
    store = made(BOATS)
    store.insert(BOATS, [ANNA, BELLA])
    assert boats(store) == [ANNA, BELLA]
    assert store.execute("select afloat, crew, flags from boats") == [(1, "a\nb", "x,y"), (0, "", None)]


def test_an_update_changes_all_but_what_identifies() -> None:
    store = made(BOATS)
    store.insert(BOATS, [ANNA, BELLA])
    store.update(BOATS, [Boat(2, "Zoe", "me", 3.0, crew=("c",)), Boat(9, "None", "me")])
    assert boats(store) == [ANNA, Boat(2, "Bella", "me", 3.0, crew=("c",))]


def test_an_upsert_merges_as_the_table_says() -> None:
    store = made(SEEN)
    for boats in (2, 3):
        store.upsert(SEEN, [Seen("pier", 7, boats), Seen("bay", 7, 1)])
    assert store.execute("select * from seen") == [("bay", 7, 2), ("pier", 7, 5)]


def test_a_delete_takes_every_row_of_the_values() -> None:
    store = made(SEEN)
    store.insert(SEEN, [Seen("pier", 7, 1), Seen("pier", 8, 1), Seen("bay", 7, 1)])
    store.delete(SEEN, "place", ["pier", "nowhere"])
    assert store.execute("select place from seen") == [("bay",)]


VERSIONS = {
    "jobs": (16, 1939401738),
    "attempts": (4, 3056734205),
    "counts": (3, 4135879223),
    "workers": (6, 1040248876),
    "config": (2, 3627546260),
    "queues": (2, 508139800),
    "starts": (1, 2176380506),
    "resources": (1, 4255451905),
    "grants": (1, 172162241),
    "dependencies": (1, 285834112),
    "batches": (1, 1618297243),
    "notes": (1, 677252709),
    "schedules": (2, 2710791945),
    "numbers": (3, 3880566510),
}
"""The version of each projection, with a checksum of its tables."""


def test_changed_tables_have_a_new_version() -> None:
    found = {projection.name: (projection.version, crc32(projection.schema.encode())) for projection in builtin()}
    assert found == VERSIONS, (
        "raise `version` where tables change: older ones are then replayed (R4); then note it here"
    )
