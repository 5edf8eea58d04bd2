"""The highest number ever given to a job as its id, so that the next one is new even after the job is gone."""

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
    """Ids of digits are always made, never given, so they count."""
    ids = [change.record.subject for change in changes if change.record.type == "enqueued"]
    last = max(map(int, filter(str.isdecimal, ids)), default=0)
    if last:
        store.execute(
            """
            insert into numbers (name, last) values ('job', ?)
            on conflict (name) do update set last = excluded.last where excluded.last > numbers.last
            """,
            (last,),
        )
