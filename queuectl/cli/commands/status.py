"""`queuectl status`: how many jobs are in which state."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress
from queuectl.errors import Invalid
from queuectl.units import Then, counted

if TYPE_CHECKING:
    from queuectl import Status
    from queuectl.batch_summary import BatchSummary
    from queuectl.disk import Disk
    from queuectl.queue import Queue

_PAUSE = 0.5
"""Seconds between two queries of --watch."""


def status(
    *,
    queue: p.Queue = None,
    batch: p.Batch = None,
    at: p.At = None,
    watch: Annotated[bool, p.Parameter(name="--watch", help="Show it anew whenever it changes, until Ctrl-C.")] = False,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Count the jobs by state.

    $ queuectl status
    $ queuectl status --queue mail --json
    $ queuectl status --batch night
    $ queuectl status --at -1h

    Piped, the answer is the JSON document too; `as_of` names the last event that it knows of.
    """
    if watch and at is not None:
        raise Invalid("--watch shows what is, --at what was: give one of them")
    if batch is not None and (queue is not None or at is not None):
        raise Invalid("--batch: shows a batch as it is: leave --queue and --at away")
    with opening.open_queue(db, follow=watch) as q:
        machine = json or not output.is_terminal()
        if watch:
            _watch(q, queue, batch, machine)
            return
        shown = _look(q, queue, batch, at)
        if machine:
            output.document(_document(q, shown))
        else:
            for line in _lines(q, shown):
                output.line(line)


class _Shown(msgspec.Struct, frozen=True):
    """What is shown."""

    status: "Status"
    disk: "Disk | None"
    """The disk space; None of a past moment."""
    batch: "BatchSummary | None"


def _look(q: "Queue", queue: str | None, batch: str | None, at: Then | None = None) -> _Shown:
    """Ask for what is shown. Raises NotFound."""
    found = q.batch(batch) if batch is not None else None
    result = q.status(queue, batch=batch, then=at, progress=progress.bar("Folding the log"))
    return _Shown(result, q.disk() if at is None else None, found)


def _document(q: "Queue", shown: _Shown) -> dict[str, Any]:
    """Return the JSON document."""
    disk = shown.disk
    space = {"disk_free": disk.free, "disk_floor": disk.floor} if disk is not None else {}
    batch = {"batch": shown.batch.json()} if shown.batch is not None else {}
    return {**shown.status.json(), **batch, **space, "database": q.url}


def _lines(q: "Queue", shown: _Shown) -> list[str]:
    from queuectl.admission import low_disk
    from queuectl.cli.ui import wording

    result, disk = shown.status, shown.disk
    space = max(len(f"{count:,}") for count in (*result.counts.values(), result.total))
    up = f"{counted(result.workers, 'worker')} up"
    as_of = f"as of event {result.seq:,}, {wording.full_time(result.at)}" if result.seq else "nothing has happened yet"
    return [
        *(
            output.paint(f"{state:<11} {count:>{space},}", state if count else "dim")
            for state, count in result.counts.items()
        ),
        output.paint(f"{'total':<11} {result.total:>{space},}", "bold"),
        *([_batch_line(shown.batch)] if shown.batch is not None else []),
        "",
        f"{up}; {as_of}",
        output.paint(f"in {output.escape(q.url)}", "dim"),
        *([output.paint(low_disk(disk).text, "failed")] if disk is not None and disk.low else []),
    ]


def _batch_line(batch: "BatchSummary") -> str:
    from queuectl.cli.ui import wording

    state = batch.state
    words = f"batch {output.escape(batch.name)}, opened {wording.local_time(state.opened_at)}"
    if state.halt is not None:
        words += f", halts {state.halt}"
    if state.is_halted:
        words += output.paint(f"; halted {wording.local_time(state.halted_at)}", "failed")
    return words


def _watch(q: "Queue", queue: str | None, batch: str | None, machine: bool) -> None:
    import time

    from queuectl.events import encode

    last = -1
    while True:
        shown = _look(q, queue, batch)
        if not machine:  # redrawn each time: it shows how long ago the last event was
            body = "".join(f"{line}\x1b[K\n" for line in _lines(q, shown))
            sys.stdout.write(("\x1b[H\x1b[2J" if last < 0 else "\x1b[H") + body)
        elif shown.status.seq != last:
            output.documents([encode(_document(q, shown))])
        last = shown.status.seq
        sys.stdout.flush()
        time.sleep(_PAUSE)
