"""Sealing: a hash over all events up to one, appended to the log (R23). It costs nothing where events are appended.

What is sealed is read in pages outside of the write lock, and the leaf of every event is kept. A sealer that is killed
leaves a few leaves more, which the next one compares.
"""

import re
from typing import Any

import msgspec

from queuectl.audit import leaves
from queuectl.engines.base import Progress
from queuectl.engines.view import View, Write
from queuectl.errors import Conflict, QueueError
from queuectl.events import Recorded, Sealed, Unreadable
from queuectl.queue import Queue

STREAM = "audit"
"""The stream of the `sealed` events."""


class Seal(msgspec.Struct, frozen=True):
    """A seal that stands in the log; without an event under it where there is none."""

    seq: int = 0
    """Of the event that tells of it."""
    version: int = 0
    at: int = 0
    """Microseconds UTC."""
    upto: int = 0
    """The seq of the last event under it."""
    events: int = 0
    """How many events are under it, archived ones too."""
    hash: str = leaves.START.hex()

    @property
    def anchor(self) -> str:
        """What to keep elsewhere, so that the log can be held against it: `SEQ:HASH`."""
        return f"{self.upto}:{self.hash}"


def last_seal(view: View) -> Seal:
    """The seal that was made last. Raises QueueError for one that can't be read, or can't be true."""
    record = view.last(STREAM)
    try:
        return read_seal(record) if record is not None else Seal()
    except Unreadable as error:
        raise QueueError(f"the last seal can't be read: {error}: run queuectl audit verify") from error


def read_seal(record: Recorded) -> Seal:
    """What a `sealed` event says. Raises Unreadable for what can't be true."""
    said: Any = record.event
    if not isinstance(said, Sealed) or not 0 < said.upto < record.seq or not re.fullmatch("[0-9a-f]{64}", said.hash):
        raise Unreadable(f"event {record.seq} is no seal as any was made")
    return Seal(record.seq, record.version, record.at, said.upto, said.events, said.hash)


def has_unsealed(view: View, seal: Seal) -> bool:
    """Return whether there is an unsealed event other than a seal."""
    return any(record.stream != STREAM for record in view.events(after=seal.upto, limit=2))


class Sealing:
    """A seal in the making, a page of the log at each step."""

    def __init__(self, queue: Queue, actor: str, page: int = leaves.PAGE, patience: float | None = None) -> None:
        """Of all events that there are now. A step gives up with Busy when others write for `patience` seconds."""
        self._queue = queue
        self._actor = actor
        self._page = page
        self._patience = patience
        self._begin()

    def _begin(self) -> None:
        with self._queue.engine.snapshot() as view:
            self.last = last_seal(view)
            """The seal before."""
            self.head = view.head()[0]
            """The seq of the last event that is to be under the new one."""
            self.needed = has_unsealed(view, self.last)
            """Whether there is anything to be sealed."""
            # Of a log that was imported the leaves may be missing: they are kept first.
            complete = bool(view.leaves(after=self.last.upto - 1, upto=self.last.upto, limit=1))
        self.done = self.last.upto if complete else 0
        """The seq up to which leaves are kept."""
        self._link = bytes.fromhex(self.last.hash)
        self._events = self.last.events

    def step(self) -> Seal | None:
        """Go on by a page; gives the seal when it stands in the log (the last one, where no new one is needed).

        Raises QueueError where an event does not fit its leaf, Unusable; the step can be taken again.
        """
        if not self.needed:
            return self.last
        if self.done >= self.head:
            return self._append()
        fill = self.done < self.last.upto
        upto = self.last.upto if fill else self.head
        page = leaves.keep(self._queue.engine, self.done, upto, self._page, self._patience)
        if not fill:
            self._link = leaves.chain(self._link, (leaf.hash for leaf in page.leaves))
            self._events += len(page.leaves)
        self.done = page.end
        return None

    def _append(self) -> Seal | None:
        event = Sealed(upto=self.head, events=self._events, hash=self._link.hex())
        try:
            with self._queue.engine.transaction(self._patience) as tx:
                [change] = tx.append([Write(STREAM, None, [event], self.last.version)], self._actor)
        except Conflict:
            return self._after_conflict()
        return read_seal(change.record)

    def _after_conflict(self) -> Seal | None:
        """Return the seal that another process has made meanwhile, where it reaches as far; else start again."""
        with self._queue.engine.snapshot() as view:
            theirs = last_seal(view)
        if theirs.upto >= self.head:
            return theirs
        self._begin()
        return None


def seal(queue: Queue, progress: Progress | None = None) -> Seal:
    """Seal all events that there are now; the last seal, where nothing has happened since.

    Raises QueueError where an event does not fit its leaf: one of them was changed.
    """
    sealing = Sealing(queue, queue.actor)
    while (made := sealing.step()) is None:
        if progress is not None:
            progress(sealing.done, sealing.head)
    return made
