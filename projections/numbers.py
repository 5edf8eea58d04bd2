"""The highest number ever given to a job as its id, so that ids of jobs that are gone are not used again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projections import Change, Store

name = "numbers"
version = 2
tables = ("numbers",)
schema = """
create table numbers (
    name text primary key,
    last integer not null
) without rowid;
"""


def fold(changes: Sequence["Change"], store: "Store") -> None:
    """Store the highest id of digits. Users can't give such ids, so all count, also of jobs that are archived."""
    born = ("enqueued", "archived")
    records = (change.record for change in changes if change.record.type in born)
    ids = [record.subject for record in records if record.stream.startswith("job:")]
    last = max(map(int, filter(str.isdecimal, ids)), default=0)
    if last:
        store.execute(
            """
            insert into numbers (name, last) values ('job', ?)
            on conflict (name) do update set last = excluded.last where excluded.last > numbers.last
            """,
            (last,),
        )
