"""A projection: how often each command ran on each day (UTC), how often it failed, and the time it took.

    pip install --no-deps ./runs_per_day && queuectl replay
    python -m apsw "$QUEUECTL_DB" 'select * from runs_per_day'

`replay` fills the table from the whole log, with what happened before this was written; from then on every append
keeps it up to date. It reads nothing but what it is given, so it can be dropped and filled again at any time.
"""

from collections.abc import Sequence

from projections import Change, Store
from queuectl.events import Completed, Failed

name = "runs_per_day"
version = 1  # raise it when the table or the fold change: it is then filled anew
tables = ("runs_per_day",)
schema = """
create table runs_per_day (
    day text not null, command text not null, runs integer not null, failed integer not null, seconds real not null,
    primary key (day, command)
);
"""


def fold(changes: Sequence[Change], store: Store) -> None:
    """Count the attempts that these changes ended."""
    store.executemany(
        """
        insert into runs_per_day values (date(? / 1000000, 'unixepoch'), ?, 1, ?, ?)
        on conflict (day, command) do update
        set runs = runs + 1, failed = failed + excluded.failed, seconds = seconds + excluded.seconds
        """,
        [
            (change.record.at, change.after.command, isinstance(change.event, Failed), change.event.run_seconds or 0.0)
            for change in changes
            if isinstance(change.event, (Completed, Failed))
        ],
    )
