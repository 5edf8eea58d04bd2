"""A log, exported or in another database, taken into a new one: event by event as it was stored (R26)."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

from queuectl import engines
from queuectl.audit import leaves
from queuectl.audit.event_lines import parse
from queuectl.audit.import_checks import LogCheck
from queuectl.audit.moved_files import bring
from queuectl.audit.seal import last_seal
from queuectl.engines.base import Progress
from queuectl.engines.contents import Contents, contents
from queuectl.errors import Invalid, QueueError
from queuectl.events import Recorded
from queuectl.queue import Queue


def load(queue: Queue, lines: Iterable[bytes], progress: Progress | None = None) -> int:
    """Take in a whole log, one event as JSON a line, all or nothing; returns how many events.

    The queue must have no event yet. Raises Refused where it has, Invalid for what is no whole log: it names the line.
    """
    number = 0
    check = LogCheck()

    def records() -> Iterator[Recorded]:
        nonlocal number
        source = iter(lines)
        while True:
            try:
                number += 1
                line = next(source, None)
                if line is None:
                    number -= 1
                    return
                record = parse(line)
                check.check(record)
            except Invalid as error:
                raise Invalid(f"line {number}: {error}") from error
            yield record

    try:
        queue.engine.load(Contents(records()), progress)
    except Invalid as error:
        raise Invalid(f"{error}; nothing was taken in") from error
    if not number:
        raise Invalid("there is no event in it: give what `queuectl export` wrote")
    _keep_leaves(queue)
    return number


def take(queue: Queue, source: Queue, *, secrets: bool = False, progress: Progress | None = None) -> int:
    """Take in what another queue has, as of one moment, all or nothing; returns how many events.

    Its log and its leaves, the inputs of its jobs, and the values of secret variables only with `secrets`; what is
    wrong with its tables stays behind. The queue must have no event yet. Raises Refused where it has.
    """
    if not queue.status().seq:
        bring(source.engine, queue.engine)
    with source.engine.snapshot(long=True) as view:
        queue.engine.load(contents(view, secrets=secrets), progress)
        return view.size(view.head()[0])


def rebuild(queue: Queue, url: str, progress: Progress | None = None) -> int:
    """Take what a queue has into a new database, without secrets; returns how many events it has.

    Raises QueueError where a queue stands there that has an event: one without is what was left of a try cut short.
    """
    with new_queue(Queue(url), url) as fresh:
        if fresh.status().seq:
            raise QueueError(f"{fresh.url} exists already: name a new database")
        return take(fresh, queue, progress=progress)


@contextmanager
def new_queue(queue: Queue, url: str) -> Generator[Queue]:
    """A queue to be filled, closed in the end; removed where that fails, if it was made for it and has no event.

    `url` is that by which it was opened: with the password, if it has one.
    """
    with queue:
        try:
            yield queue
            return
        except BaseException:
            unused = queue.made and not queue.status().seq
            if not unused:
                raise
            queue.close()
            engines.discard(url)
            raise


def _keep_leaves(queue: Queue) -> None:
    """Keep the leaves of what is under the seals of a log that was taken in, so that it can be verified.

    Should this be cut short, the next sealing goes on with it.
    """
    with queue.engine.snapshot() as view:
        upto, at = last_seal(view).upto, 0
    while at < upto:
        at = leaves.keep(queue.engine, at, upto).end
