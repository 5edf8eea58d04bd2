"""`queuectl export`: events, jobs or attempts for other programs."""

import os
import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from queuectl.cli import output, session
from queuectl.cli import parameters as p
from queuectl.cli.events import Type
from queuectl.errors import Invalid

Format = Annotated[
    Literal["ndjson", "csv"],
    p.option("--format", "FORMAT", "How: ndjson (one JSON object a line) or csv.", show_choices=False),
]
What = Annotated[
    Literal["events", "jobs", "attempts"],
    p.option("--what", "WHAT", "What: events (the log), jobs or attempts.", show_choices=False),
]
Target = Annotated[
    str | None, p.option(["--output", "-o"], "FILE", "Into this file, whole or not at all. [default: stdout]")
]
Force = Annotated[bool, Parameter(name="--force", help="Replace the file, if there is one.")]


def export(
    *,
    format: Format = "ndjson",
    what: What = "events",
    since: p.Since = None,
    until: p.Until = None,
    after: p.AfterSeq = None,
    queue: p.Queue = None,
    job: p.JobFilter = None,
    type: Type = None,
    target: Target = None,
    force: Force = False,
    db: p.Database = None,
) -> None:
    """Write the log, the jobs or the attempts for other programs.

    $ queuectl export -o audit.ndjson
    $ queuectl export --what attempts --format csv --since 2026-11-01 > attempts.csv
    $ queuectl export --type dead | jq -r .stream

    Events are exported as they are stored. --since and --until look at when an event happened, a job was enqueued,
    an attempt was claimed; --type and --after are for events.
    """
    from queuectl.audit.export import export as exported
    from queuectl.audit.export import write_whole

    if force and target is None:
        raise Invalid("--force goes with --output")
    path = os.path.realpath(target) if target is not None else ""
    if target is not None:
        _refuse(target, path)
    bar = output.progress(f"Exporting {what}")
    with session.opened(db) as q:
        chunks = exported(
            q, what=what, format=format, since=since, until=until, after=after or 0, queue_name=queue,
            job=q.resolve(job) if job is not None else None, type=type, progress=lambda done: bar(done, 0),
        )  # fmt: skip
        if target is not None:
            size = write_whole(path, chunks, force=force)
            bar(1, 1)
            from queuectl.units import size_text

            output.note(f"wrote {target}, {size_text(size)}")
            return
        sys.stdout.flush()
        shown = output.plain if output.terminal() else bytes
        for chunk in chunks:
            sys.stdout.buffer.write(shown(chunk))
        sys.stdout.buffer.flush()
        bar(1, 1)


def _refuse(target: str, path: str) -> None:
    """Refuse what no file can be put in the place of: with --force a device would be replaced too."""
    if os.path.isdir(path):
        raise Invalid(f"--output: {target!r} is a folder")
    if os.path.lexists(path) and not os.path.isfile(path):
        raise Invalid(f"--output: {target!r} is no plain file; write into it with > {target}")
    if not os.path.isdir(os.path.dirname(path)):
        raise Invalid(f"--output: there is no folder {os.path.dirname(target) or '.'!r}")
