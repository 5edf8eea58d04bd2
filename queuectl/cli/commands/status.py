"""`queuectl status`: how many jobs are in which state."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress
from queuectl.errors import Invalid
from queuectl.units import counted

if TYPE_CHECKING:
    from queuectl import Status
    from queuectl.disk import Disk
    from queuectl.queue import Queue

_PAUSE = 0.5
"""Seconds between two queries of --watch."""


def status(
    *,
    queue: p.Queue = None,
    at: p.At = None,
    watch: Annotated[bool, p.Parameter(name="--watch", help="Show it anew whenever it changes, until Ctrl-C.")] = False,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Count the jobs by state.

    $ queuectl status
    $ queuectl status --queue mail --json
    $ queuectl status --at -1h

    Piped, the answer is the JSON document too; `as_of` names the last event that it knows of.
    """
    if watch and at is not None:
        raise Invalid("--watch shows what is, --at what was: give one of them")
    with opening.open_queue(db, follow=watch) as q:
        machine = json or not output.is_terminal()
        if watch:
            _watch(q, queue, machine)
            return
        result = q.status(queue, then=at, progress=progress.bar("Folding the log"))
        disk = q.disk() if at is None else None
        if machine:
            output.document(_document(q, result, disk))
        else:
            for line in _lines(q, result, disk):
                output.line(line)


def _document(q: "Queue", result: "Status", disk: "Disk | None") -> dict[str, Any]:
    """Return the JSON document; a past one has no disk space."""
    space = {"disk_free": disk.free, "disk_floor": disk.floor} if disk is not None else {}
    return {**result.json(), **space, "database": q.url}


def _lines(q: "Queue", result: "Status", disk: "Disk | None") -> list[str]:
    from queuectl.admission import low_disk
    from queuectl.cli.ui import wording

    space = max(len(f"{count:,}") for count in (*result.counts.values(), result.total))
    up = f"{counted(result.workers, 'worker')} up"
    as_of = f"as of event {result.seq:,}, {wording.full_time(result.at)}" if result.seq else "nothing has happened yet"
    return [
        *(
            output.paint(f"{state:<11} {count:>{space},}", state if count else "dim")
            for state, count in result.counts.items()
        ),
        output.paint(f"{'total':<11} {result.total:>{space},}", "bold"),
        "",
        f"{up}; {as_of}",
        output.paint(f"in {output.escape(q.url)}", "dim"),
        *([output.paint(low_disk(disk).text, "failed")] if disk is not None and disk.low else []),
    ]


def _watch(q: "Queue", queue: str | None, machine: bool) -> None:
    import time

    from queuectl.events import encode

    last = -1
    while True:
        result = q.status(queue)
        if not machine:  # redrawn each time: it shows how long ago the last event was
            body = "".join(f"{line}\x1b[K\n" for line in _lines(q, result, q.disk()))
            sys.stdout.write(("\x1b[H\x1b[2J" if last < 0 else "\x1b[H") + body)
        elif result.seq != last:
            output.documents([encode(_document(q, result, q.disk()))])
        last = result.seq
        sys.stdout.flush()
        time.sleep(_PAUSE)
