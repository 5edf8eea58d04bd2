"""`queuectl import`: an exported or archived log becomes a queue."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress
from queuectl.errors import Invalid
from queuectl.units import counted

if TYPE_CHECKING:
    from io import BufferedReader


def import_log(
    source: Annotated[
        str,
        p.Parameter(
            name="FILE",
            help="What `queuectl export` wrote as NDJSON, or `archive`; - is stdin.",
            extra={"allow_leading_hyphen": True},
        ),
    ],
    /,
    *,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Take an exported log into a new database, event by event as it was.

    $ queuectl export -o audit.ndjson
    $ queuectl import --db copy.db audit.ndjson

    All or nothing, and only into a queue that has no event yet. What is packed with gzip is unpacked. The values
    given with --secret are not in an export: a job that needs some is not run before `retry ID --secret NAME=VALUE`.
    """
    from queuectl.audit.event_lines import lines
    from queuectl.audit.import_log import load

    bar = progress.bar("Rebuilding the views")
    try:
        with _source(source, db) as file, opening.open_queue(db, create=True) as q:
            count = load(q, lines(file), bar)
    except OSError as error:
        raise Invalid(f"can't read {source!r}: {error.strerror}") from error
    finally:
        sys.stderr.flush()
    if json:
        output.document({"events": count})
    else:
        output.line(f"took in {counted(count, 'event')}")


def _source(source: str, db: str | None) -> "BufferedReader":
    """Open the file or stdin. Raises Invalid for the database itself: closing it would drop SQLite's locks."""
    from queuectl import engines, settings

    if source != "-" and os.path.realpath(source) in engines.files(settings.database(db).path):
        raise Invalid(f"{source} is the queue itself: name what `queuectl export` or `archive` wrote")
    return open(0 if source == "-" else source, "rb")
