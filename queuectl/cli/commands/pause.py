"""`queuectl pause` and `queuectl resume`: whether jobs are claimed."""

from typing import Annotated

from queuectl.bounds import check_queue
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output
from queuectl.units import counted

QueueName = Annotated[str | None, p.Parameter(name="QUEUE", help="Only this queue; all, where none is named.")]


def pause(
    queue: QueueName = None,
    /,
    *,
    for_: Annotated[
        float | None, p.option("--for", "DURATION", "Resume by itself after so long.", p.positive_duration)
    ] = None,
    suspend: Annotated[
        bool, p.Parameter(name="--suspend", help="Suspend what runs, too, until the pause ends.")
    ] = False,
    reason: p.Reason = None,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Start no more jobs, of one queue or of all; what runs goes on, unless it is suspended.

    $ queuectl pause
    $ queuectl pause encode --suspend
    $ queuectl pause encode --for 2h --reason 'lunch'
    $ queuectl resume encode

    What is paused again is paused from now on, for so long as is said this time.
    """
    if queue is not None:
        check_queue(queue)  # a wrong name must not create the database
    with opening.open_queue(db, create=True) as q:
        state = q.pause(queue, seconds=for_, suspend=suspend, reason=reason)
        if json:
            output.document(q.queue(queue).json())
        else:
            from queuectl.cli.ui import wording

            until = f" until {wording.full_time(state.paused_until)}" if state.paused_until is not None else ""
            jobs = sum(each.suspended for each in q.queues() if queue in (None, each.name)) if suspend else 0
            more = f"; {counted(jobs, 'job')} suspended" if jobs else ""
            output.line(f"{_named(queue)} paused{output.escape(until)}{more}")


def resume(queue: QueueName = None, /, *, reason: p.Reason = None, json: p.Json = False, db: p.Database = None) -> None:
    """Start jobs again, of one queue or of all.

    $ queuectl resume
    $ queuectl resume encode

    A pause of all queues and that of one queue are two: each is ended by itself. What a pause has suspended goes on.
    """
    with opening.open_queue(db) as q:
        was_paused = q.resume(queue, reason=reason)
        if json:
            output.document(q.queue(queue).json())
        elif was_paused:
            output.line(f"{_named(queue)} resumed")
        else:
            output.message(f"{_named(queue)} {'was' if queue is not None else 'were'} not paused")


def _named(queue: str | None) -> str:
    return f"queue {output.escape(queue)}" if queue is not None else "all queues"
