"""`queuectl queue`: the queues, and the limits of each."""

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import UNSET

from queuectl.bounds import check_queue
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output
from queuectl.errors import Invalid
from queuectl.limits import MOST, rate_from


def list_queues(*, at: p.At = None, json: p.JsonLines = False, db: p.Database = None) -> None:
    """List the queues: what runs and waits in each, its limits, and who paused it.

    $ queuectl queue list
    $ queuectl queue list --json | jq -r 'select(.paused).queue'

    There is a queue once a job, a limit or a pause names it.
    """
    from queuectl.cli.ui import progress

    with opening.open_queue(db) as q:
        found = q.queues(then=at, progress=progress.bar("Folding the log"))
        if json:
            output.documents(each.json() for each in found)
            return
        from queuectl.cli.ui import queue_rows

        rows = [queue_rows.queue_row(each) for each in found if queue_rows.is_shown(each)]
        if not output.table(queue_rows.HEADS, rows, right=queue_rows.RIGHT):
            output.message("there are no queues; add a job with `queuectl enqueue COMMAND`")


def _unless_none(read: Callable[[str], Any]) -> Callable[[str], str]:
    """Return a function that returns a text which `read` accepts, or `none`. Raises Invalid as `read` does."""

    def checked(text: str) -> str:
        if text.strip().lower() == "none":
            return "none"
        read(text)
        return text

    return checked


def _limit(text: str | None, read: Callable[[str], Any]) -> Any:
    """Return the limit of a text: None for `none`, UNSET where it was not given."""
    return UNSET if text is None else None if text == "none" else read(text)


_WHOLE = p.integer(1, MOST)


def set_limits(
    queue: Annotated[str, p.Parameter(name="QUEUE", help="The queue.")],
    /,
    *,
    concurrency: Annotated[
        str | None,
        p.option("--concurrency", "N", "How many of its jobs run at most; none: no limit.", _unless_none(_WHOLE)),
    ] = None,
    rate: Annotated[
        str | None,
        p.option(
            "--rate",
            "N/SPAN",
            "How often its jobs start at most, evenly spaced: 10/s, 3/m, 1/90s; none: no limit.",
            _unless_none(rate_from),
        ),
    ] = None,
    burst: Annotated[
        int | None, p.option("--burst", "N", "How many may start at once when the rate was not used up.", _WHOLE)
    ] = None,
    pause_on_failure: Annotated[
        bool, p.Parameter(name="--pause-on-failure", help="Pause it when one of its jobs dies.")
    ] = False,
    no_pause_on_failure: Annotated[
        bool, p.Parameter(name="--no-pause-on-failure", help="Don't pause it then any more.")
    ] = False,
    reason: p.Reason = None,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Limit how many jobs of a queue run, or how often they start, over all workers together.

    $ queuectl queue set encode --concurrency 2
    $ queuectl queue set mail --rate 10/m --burst 3
    $ queuectl queue set mail --rate none

    What is not given stays as it is. A lower limit ends nothing that runs. A rate counts starts, retries too.
    """
    check_queue(queue)
    given = concurrency is not None or rate is not None or burst is not None
    if not given and not pause_on_failure and not no_pause_on_failure:
        raise Invalid("queue set needs --concurrency, --rate, --burst, --pause-on-failure or --no-pause-on-failure")
    if pause_on_failure and no_pause_on_failure:
        raise Invalid("give --pause-on-failure or --no-pause-on-failure, not both")
    with opening.open_queue(db, create=True) as q:
        state = q.limit(
            queue,
            concurrency=_limit(concurrency, _WHOLE),
            rate=_limit(rate, rate_from),
            burst=UNSET if burst is None else burst,
            pause_on_failure=pause_on_failure if pause_on_failure or no_pause_on_failure else UNSET,
            reason=reason,
        )
        if json:
            output.document(q.queue(queue).json())
            return
    from queuectl.cli.ui import wording

    output.line(f"queue {output.escape(queue)}: {wording.queue_limits(state)}")
