"""Folding the same changes gives the same rows in both engines."""

from contextlib import closing
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from projections import builtin, replay
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.store import PostgresStore
from queuectl.engines.postgres.tables import PostgresTables
from queuectl.engines.sqlite.store import SqliteStore
from queuectl.engines.sqlite.tables import SqliteTables
from tests.support.folded_tables import Tables, by_stream, cut
from tests.support.random_queue import RandomQueue


@pytest.mark.parametrize("by_streams", [False, True])
def test_a_log_folds_alike(by_streams: bool, session: Session, tmp_path: Path) -> None:
    number = Random().randrange(10**6)
    dice = Random(number)
    with closing(RandomQueue(tmp_path)) as queue:
        for _ in range(150):
            queue.do(dice.randrange(10_000), related=dice.random() < 0.5)
        log = list(queue.queue.events())
    tables = Tables(log).fold([log])
    store = PostgresStore(session)
    if by_streams:
        replay.fold_streams(builtin(), by_stream(log), store)
    else:
        replay.fold(builtin(), cut(log, [dice.randint(1, 20) for _ in range(20)]), tables.history, store)
    for projection in builtin():
        assert replay.differences(projection, store, tables.store) == [], f"history {number}"


def test_differences_are_found_in_both_directions(session: Session) -> None:
    schema = "create table loose (one text, two integer);"
    loose: Any = SimpleNamespace(tables=["loose"])
    PostgresTables(session).make(schema)
    db = apsw.Connection(":memory:")
    SqliteTables(db).make(schema)
    stores = (PostgresStore(session), SqliteStore(db))
    rows = [("b", 1), (None, 1), ("a", None), ("B", 2), (None, None)]
    for more, store in enumerate(stores):
        store.executemany("insert into loose values (?, ?)", [*rows, ("a", more)])
    assert replay.differences(loose, *stores) == ["loose has ('a', 0)", "loose lacks ('a', 1)"]
