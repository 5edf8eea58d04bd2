"""`queuectl outbox`: jobs that an application asks for in its own transactions."""

from typing import Annotated

from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output


def _dialect(text: str) -> str:
    """Return the name of a dialect. Raises Invalid."""
    from queuectl.outbox.schema import schema

    schema(text)
    return text


Dialect = Annotated[
    str, p.option("--dialect", "NAME", "The SQL of sqlite or postgresql.", _dialect, v.words("sqlite", "postgresql"))
]


def print_schema(*, dialect: Dialect = "sqlite") -> None:
    """Print the SQL that makes the table of an outbox in an application's database.

    $ queuectl outbox schema | sqlite3 app.db
    $ queuectl outbox schema --dialect postgresql | psql app

    A row of it is a job, asked for in a transaction of the application; workers that were started with
    `worker start --outbox` enqueue it once it is committed.
    """
    from queuectl.outbox.schema import schema

    for line in schema(dialect).splitlines():
        output.line(line)
