"""The highest number ever given to a job as its id, so that ids of jobs that are gone are not used again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from projections.store import Questions, Store
from projections.table import Table

if TYPE_CHECKING:
    from projections import Change


class HighestNumber(msgspec.Struct, frozen=True):
    """The highest number given to a kind of subject (`job`)."""

    name: str
    last: int


name = "numbers"
version = 2
tables = ("numbers",)
reads = None
TABLE = Table(
    "numbers",
    HighestNumber,
    ("name",),
    merge={"last": "case when excluded.last > numbers.last then excluded.last else numbers.last end"},
)
schema = TABLE.schema


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Store the highest id of digits. Users can't give such ids, so all count, also of jobs that are archived."""
    last = 0
    for change in changes:
        if change.before is None:
            kind, _, id = change.record.stream.partition(":")
            if kind == "job" and id.isdecimal():
                last = max(last, int(id))
    if last:
        store.upsert(TABLE, [HighestNumber("job", last)])


class NumberQuestions(Questions):
    """What is asked of the numbers, within a write transaction."""

    def numbers(self, count: int) -> range:
        """`count` new numbers, never given before in this database, for the ids of the jobs appended next."""
        rows = self._store.execute("select last from numbers where name = 'job'")
        first = rows[0][0] + 1 if rows else 1
        return range(first, first + count)
