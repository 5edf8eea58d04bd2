"""`queuectl archive`: what is over leaves the database for a file."""

from typing import TYPE_CHECKING, Annotated

from queuectl import clock, units
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output, progress
from queuectl.errors import Invalid
from queuectl.units import counted

if TYPE_CHECKING:
    from queuectl.audit.archive import ArchiveResult

_FINAL = "completed, dead, cancelled"


def _state(text: str) -> str:
    from projections.jobs import FINAL

    if (word := text.strip().lower()) in FINAL:
        return word
    raise Invalid(f"{text!r} is not a state in which a job is over{units.nearest(text, FINAL)}; there are {_FINAL}")


def archive(
    *,
    older: Annotated[
        float, p.option("--older-than", "DURATION", "What has been over for so long: 30d, 12h, 0.", units.duration)
    ],
    target: Annotated[
        str | None, p.option(["--output", "-o"], "FILE", "The file: NDJSON packed with gzip, so name it .ndjson.gz.")
    ] = None,
    states: Annotated[
        list[str] | None,
        p.Parameter(
            name="--state",
            metavar="STATE",
            help=f"Only jobs in this state: {_FINAL} (may be repeated).",
            read_all=p.each(_state),
            values=v.words(*_FINAL.split(", ")),
            extra={"consume_multiple": True},
        ),
    ] = None,
    dry: Annotated[bool, p.Parameter(name="--dry-run", help="Only print how much would be archived.")] = False,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Move the history of finished jobs out of the database into a file, while workers go on.

    $ queuectl archive --older-than 30d -o 2026-11.ndjson.gz
    $ queuectl inspect 17 --events --archive 2026-11.ndjson.gz
    $ queuectl import --db november.db 2026-11.ndjson.gz

    Jobs that are over, purged ones, and workers that are gone, each with its whole history; their outputs are removed.
    All events are in the file, synced and read back, before the first one goes. Tombstones and leaves stay behind, so
    that --at and `audit verify` still know of them. Broken off, the same command finishes the file.
    """
    from projections.jobs import FINAL
    from queuectl.audit import archive as archives

    if target is None and not dry:
        raise Invalid("archive needs -o FILE; see queuectl archive --help")
    with opening.open_queue(db) as q:
        before = q.engine.now() - round(older * clock.SECOND)
        if target is None or dry:
            done = archives.preview(q, before, states or FINAL)
        else:
            done = archives.archive(q, target, before, states or FINAL, progress.bar)
    if json:
        output.document(done)
    else:
        _print_result(done, dry)


def _print_result(done: "ArchiveResult", dry: bool) -> None:
    what = f"{counted(done.jobs, 'job')} and {counted(done.workers, 'worker')}, {counted(done.events, 'event')}"
    if dry:
        output.line(f"there are {what}, to archive")
        return
    if done.file is None:
        output.line("nothing is old enough")
        return
    output.line(f"archived {what}, in {output.escape(done.file)}, {units.size_text(done.bytes)}")
    if done.stayed:
        output.message(
            f"{counted(done.stayed, 'job or worker', 'jobs or workers')} of the file stayed: not over any more"
        )
    if done.more:
        output.message(f"{counted(done.more, 'job is', 'jobs are')} old enough besides: run it again with another file")
