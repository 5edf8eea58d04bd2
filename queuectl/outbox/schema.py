"""The table of an outbox, as an application makes it in its own database.

`number` gives the order, `id` is the job's, `job` what `queuectl enqueue` would be given: a shell command or a JSON
spec. `error` says why no job was made of it; only rows without one are looked at.
"""

from queuectl import units
from queuectl.errors import Invalid

TABLE = "queuectl_outbox"

# The id has 80 random bits (74 in PostgreSQL): of 10 million rows no two have the same, with odds of 100 million to 1.
# A number would begin anew with the table, and its jobs would be taken for older ones.
_SQLITE = """\
create table queuectl_outbox (
    number integer primary key autoincrement,
    id     text not null unique default ('outbox-' || lower(hex(randomblob(10)))),
    job    text not null,
    error  text
);
"""

_POSTGRESQL = """\
create table queuectl_outbox (
    number bigint generated always as identity primary key,
    id     text not null unique default 'outbox-' || left(translate(gen_random_uuid()::text, '-', ''), 20),
    job    text not null,
    error  text
);
"""

DIALECTS = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}
"""The statement that makes the table, by the name of the database."""


def schema(dialect: str = "sqlite") -> str:
    """The SQL that makes the table of an outbox: one statement. `dialect`: one of `DIALECTS`. Raises Invalid."""
    if dialect not in DIALECTS:
        raise Invalid(f"{dialect!r} is no dialect{units.nearest(dialect, DIALECTS)}; there are {', '.join(DIALECTS)}")
    return DIALECTS[dialect]
