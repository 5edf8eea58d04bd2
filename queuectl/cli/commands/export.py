"""`queuectl export`: events, jobs or attempts for other programs."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Literal

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.commands.events import Type
from queuectl.cli.ui import output, progress, signals
from queuectl.errors import Invalid

if TYPE_CHECKING:
    from queuectl.export import Export

Format = Annotated[
    Literal["ndjson", "csv", "parquet", "ocel-json", "ocel-sqlite", "joblog", "trace"],
    p.option(
        "--format",
        "FORMAT",
        "How: ndjson (one JSON object a line), csv, parquet, for process mining ocel-json, ocel-sqlite; of attempts "
        "joblog (GNU parallel's), trace (for Perfetto).",
        show_choices=False,
    ),
]
What = Annotated[
    Literal["events", "jobs", "attempts"] | None,
    p.option(
        "--what",
        "WHAT",
        "What: events (the log), jobs or attempts. [default: events; attempts for joblog and trace]",
        show_choices=False,
    ),
]
Columns = Annotated[
    tuple[str, ...] | None,
    p.Parameter(
        name="--columns",
        metavar="NAME[,NAME…]",
        help="Only these columns, in this order: of ndjson, csv and parquet. May be repeated.",
        read_all=lambda texts: tuple(name.strip() for text in texts for name in text.split(",")),
        extra={"allow_leading_hyphen": True},
    ),
]
_BEGAN = "Events that happened, jobs that were enqueued, attempts that were claimed"
Since = Annotated[int | None, p.since(_BEGAN)]
Until = Annotated[int | None, p.until(_BEGAN)]
EndedSince = Annotated[int | None, p.ended_since("Jobs or attempts that ended")]
Target = Annotated[
    str | None, p.option(["--output", "-o"], "FILE", "Into this file, whole or not at all. [default: stdout]")
]
Force = Annotated[bool, p.Parameter(name="--force", help="Replace the file, if there is one.")]


def export(
    *,
    format: Format = "ndjson",
    what: What = None,
    since: Since = None,
    until: Until = None,
    ended_since: EndedSince = None,
    after: p.AfterSeq = None,
    queue: p.EventsQueue = None,
    job: p.JobFilter = None,
    where: p.Where = None,
    type: Type = None,
    columns: Columns = None,
    target: Target = None,
    force: Force = False,
    db: p.Database = None,
) -> None:
    """Write the log, the jobs or the attempts for other programs.

    $ queuectl export -o audit.ndjson
    $ queuectl export --what attempts --format csv --since 2026-11-01 > attempts.csv
    $ queuectl export --type dead | jq -r .stream
    $ queuectl export --what jobs --where 'tag:exp=3 state:completed' --format csv
    $ queuectl export --what jobs --columns id,state,tags --where batch:night
    $ queuectl export --format trace -o trace.json
    $ queuectl export --format parquet -o audit.parquet
    $ queuectl export --after 1200 -o since.ndjson

    Events are exported as they are stored; --type and --after are for them, --ended-since is not. With --where they are
    those of jobs that it finds. After an export of events, stderr has the number for the next --after. Parquet needs
    pyarrow: pip install 'queuectl-eventlog[parquet]'.
    """
    from queuectl.export import FORMATS, Export
    from queuectl.export.rows import Selection

    rows = what or FORMATS[format].what[0]

    p.check_period(since, until)
    if force and target is None:
        raise Invalid("--force goes with --output")
    path = os.path.realpath(target) if target is not None else ""
    if target is not None:
        _check_target(target, path)
    bar = progress.bar(f"Exporting {rows}")
    with signals.interruptible(), opening.open_queue(db) as q:
        selection = Selection(
            what=rows, since=since, until=until, ended_since=ended_since, after=after or 0, queue_name=queue,
            job=q.resolve(job) if job is not None else None, where=where or "", type=type, columns=columns or (),
        )  # fmt: skip
        made = Export(q, selection, format, lambda done: bar(done, 0))
        if target is not None:
            size = made.write(path, force=force)
        else:
            size = None
            _write_stdout(made)
    bar(1, 1)
    _print_summary(target, size, made, rows)


def _write_stdout(made: "Export") -> None:
    """Write the export to stdout; on a terminal what could move the cursor is escaped."""
    if output.is_terminal() and not made.text:
        raise Invalid(f"{made.name} is nothing to read: write it into a file with --output FILE")
    sys.stdout.flush()
    shown = bytes if not output.is_terminal() else output.escape_lines if made.name == "csv" else output.escape_json
    for chunk in made.chunks():
        sys.stdout.buffer.write(shown(chunk))
    sys.stdout.buffer.flush()


def _print_summary(target: str | None, size: int | None, made: "Export", what: str) -> None:
    """Print to stderr what was written, and the --after of the next export."""
    from queuectl.units import size_text

    parts = [f"wrote {target}, {size_text(size)}"] if size is not None else []
    if what == "events":
        reached = f"up to event {made.last}" if made.count else "no events"
        parts.append(f"{reached}; go on with --after {made.last}")
    if parts:
        output.message(", ".join(parts))


def _check_target(target: str, path: str) -> None:
    """Raise Invalid for a target that is no regular file: --force would replace even a device."""
    if os.path.isdir(path):
        raise Invalid(f"--output: {target!r} is a folder")
    if os.path.lexists(path) and not os.path.isfile(path):
        raise Invalid(f"--output: {target!r} is no plain file; write into it with > {target}")
    if not os.path.isdir(os.path.dirname(path)):
        raise Invalid(f"--output: there is no folder {os.path.dirname(target) or '.'!r}")
