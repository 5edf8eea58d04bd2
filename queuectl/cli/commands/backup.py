"""`queuectl backup`: a copy of the queue in one file."""

from typing import Annotated

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, signals


def backup(
    target: Annotated[str, p.Parameter(name="FILE", help="The file to write.")],
    /,
    *,
    secrets: Annotated[
        bool,
        p.Parameter(name="--with-secrets", help="Also the values given with --secret, which are left out otherwise."),
    ] = False,
    force: Annotated[bool, p.Parameter(name="--force", help="Replace the file if it exists.")] = False,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Copy the queue into one file, while workers go on.

    $ queuectl backup jobs-2026-11-25.db
    $ queuectl --db jobs-2026-11-25.db status

    The copy has the log and the tables as of one moment; outputs are not in it. It is written whole or not at all. To
    go back to it, stop the workers, move the database away with its -wal, its -shm and its folder (q.db.d), and put the
    copy there.
    """
    from queuectl.audit.backup import backup as write_backup
    from queuectl.units import size_text

    with signals.interruptible(), opening.open_queue(db) as q:
        size = write_backup(q, target, secrets=secrets, force=force)
    if json:
        output.document({"file": target, "bytes": size})
    else:
        output.message(f"wrote {target}, {size_text(size)}")
