"""The highest number ever given to a job as its id, so that ids of jobs that are gone are not used again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from projections.store import Questions, Store, marks
from projections.table import Table

if TYPE_CHECKING:
    from projections import Change


BLOCK = 16
"""Numbers after which the table is written again, so that most commits write a page less: it tells the block that was
begun last, the log which of its numbers were given."""


class LatestBlock(msgspec.Struct, frozen=True):
    """The last number of the latest block from which one was given to a kind of subject (`job`)."""

    name: str
    last: int


name = "numbers"
version = 3
tables = ("numbers",)
reads = None
TABLE = Table("numbers", LatestBlock, ("name",))
schema = TABLE.schema


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Note the highest id of digits. Users can't give such ids, so all count, also of jobs that are archived."""
    last = 0
    for change in changes:
        if change.before is None:
            kind, _, id = change.record.stream.partition(":")
            if kind == "job" and id.isdecimal():
                last = max(last, int(id))
    note(last, store)


def note(number: int, store: Store) -> None:
    """Note that this number was given; 0: none was. Within a block nothing is written."""
    if number:
        block = -(-number // BLOCK) * BLOCK
        store.execute(
            """
            insert into numbers (name, last) values ('job', ?)
            on conflict (name) do update set last = excluded.last where excluded.last > numbers.last
            """,
            (block,),
        )


class NumberQuestions(Questions):
    """What is asked of the numbers, within a write transaction."""

    def numbers(self, count: int) -> range:
        """`count` new numbers, never given before in this database, for the ids of the jobs appended next."""
        rows = self._store.execute("select last from numbers where name = 'job'")
        last = rows[0][0] if rows else 0
        block = [f"job:{number}" for number in range(last - BLOCK + 1, last + 1)]
        rows = self._store.execute(f"select distinct stream from events where stream in ({marks(block)})", block)
        first = max((int(stream.removeprefix("job:")) for (stream,) in rows), default=last) + 1
        return range(first, first + count)
