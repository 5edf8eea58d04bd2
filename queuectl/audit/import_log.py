"""A log that was exported, taken into a new database: event by event as it was stored (R26)."""

from collections.abc import Iterable, Iterator

from queuectl import engines
from queuectl.audit import leaves
from queuectl.audit.event_lines import parse
from queuectl.audit.import_checks import LogCheck
from queuectl.audit.seal import last_seal
from queuectl.engines.base import Progress
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
        queue.engine.load(records(), progress)
    except Invalid as error:
        raise Invalid(f"{error}; nothing was taken in") from error
    if not number:
        raise Invalid("there is no event in it: give what `queuectl export` wrote")
    _keep_leaves(queue)
    return number


def rebuild(queue: Queue, path: str, progress: Progress | None = None) -> int:
    """Fold a queue's log into a new database at `path`; returns how many events it has.

    Only the log is read: what is wrong with the tables stays behind. Raises QueueError where something stands there.
    """
    if engines.exists(path):
        raise QueueError(f"{path} exists already: name a new database")
    try:
        with Queue(path) as fresh:
            fresh.engine.load(queue.events(), progress)
            _copy_leaves(queue, fresh)
            return fresh.status().seq
    except BaseException:
        engines.discard(path)
        raise


def _keep_leaves(queue: Queue) -> None:
    """Keep the leaves of what is under the seals of a log that was taken in, so that it can be verified.

    Should this be cut short, the next sealing goes on with it.
    """
    with queue.engine.snapshot() as view:
        upto, at = last_seal(view).upto, 0
    while at < upto:
        at = leaves.keep(queue.engine, at, upto).end


def _copy_leaves(source: Queue, target: Queue) -> None:
    """Take over the leaves as they are: those of archived events can't be made anew, and a false one must show."""
    at, upto = 0, target.status().seq
    while True:
        with source.engine.snapshot() as view:
            page = view.leaves(after=at, upto=upto)
        if not page:
            return
        with target.engine.transaction() as tx:
            tx.keep_leaves(page)
        at = page[-1].seq
