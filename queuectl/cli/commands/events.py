"""`queuectl events`: the log, as it stands or as it grows."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from queuectl import units
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output
from queuectl.errors import Invalid

if TYPE_CHECKING:
    from queuectl.events import Recorded


def _type(text: str) -> str:
    from queuectl.events import VOCABULARY

    if text not in VOCABULARY.payloads:
        raise Invalid(
            f"{text!r} is not a type{units.nearest(text, VOCABULARY.payloads)}; "
            f"there are {', '.join(VOCABULARY.payloads)}"
        )
    return text


Type = Annotated[
    str | None, p.option("--type", "TYPE", "Only events of this type: enqueued, claimed, failed, ...", _type, v.EVENTS)
]


def events(
    *,
    follow: Annotated[
        bool, p.Parameter(name=["--follow", "-f"], help="What is appended from now on, until Ctrl-C.")
    ] = False,
    from_start: Annotated[
        bool, p.Parameter(name="--from-start", help="With --follow: the whole log first; or give --after or --since.")
    ] = False,
    job: p.JobFilter = None,
    type: Type = None,
    queue: p.EventsQueue = None,
    since: p.EventsSince = None,
    until: p.EventsUntil = None,
    after: p.AfterSeq = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Show the log of events, whole unless limited; with --follow what is new.

    $ queuectl events --job job1
    $ queuectl events --follow --type dead
    $ queuectl events --follow --from-start --json
    $ queuectl events --after 1000 --json > new.ndjson
    """
    p.check_period(since, until)
    if from_start and after is not None:
        raise Invalid("give --from-start or --after, not both")
    with opening.open_queue(db, follow=follow) as q:
        if follow and not from_start and after is None and since is None:
            after = q.status().seq
        records = q.events(
            after=after or 0, follow=follow, job=q.resolve(job) if job is not None else None, type=type, queue=queue,
            since=since, until=until,
        )  # fmt: skip
        if json:
            output.documents((record.json() for record in records), flush=follow)
        else:
            _print_events(records, follow)


def _print_events(records: Iterable["Recorded"], follow: bool) -> None:
    import sys

    from queuectl.cli.ui import wording
    from queuectl.cli.ui.event_wording import event_text

    room = output.width()
    for record in records:
        stream = output.escape(record.stream)
        blank = " " * (16 - output.display_width(stream))
        head = f"{record.seq:>7}  {wording.local_time(record.at):<8}  {stream}{blank}  "
        text = output.escape(event_text(record))
        line = f"{head}{text}  [{output.escape(record.actor)}]"
        if output.display_width(line) > room:  # the actor is dropped first
            line = output.truncate(head + text, room)
        style = {"failed": "yellow", "dead": "red", "worker_lost": "red", "completed": "green"}.get(record.type)
        output.line(output.paint(line, style))
        if follow:
            sys.stdout.flush()
