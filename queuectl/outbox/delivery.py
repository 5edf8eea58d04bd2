"""Rows of an outbox on their way into the log: which become jobs, and which can't."""

from collections import deque

from msgspec.structs import replace

from queuectl.errors import Conflict, Invalid, QueueError, Unusable
from queuectl.job_fields import Spec
from queuectl.outbox.table import Row
from queuectl.queue import Queue
from queuectl.spec import check, command_or_spec

LONGEST_ERROR = 1000
"""Characters of what is written beside a row."""


class Delivery:
    """A page of rows, enqueued step by step, a transaction each: all at once, unless one of them is refused."""

    def __init__(self, queue: Queue, rows: list[Row]) -> None:
        """Raises Invalid where this process could enqueue no job, whatever the rows say, and Unusable."""
        self.moved: list[object] = []
        """The ids of the rows whose jobs are in the log, and durable there."""
        self.refused: dict[int, str] = {}
        """By number: why there can be no such job."""
        self.jobs = 0
        """How many jobs were new."""
        self._queue = queue
        self._synchronous = queue.require_enqueuer().synchronous
        specs: list[tuple[Row, Spec]] = []
        for row in rows:
            try:
                specs.append((row, spec_of(row)))
            except Invalid as error:
                self._refuse(row, error)
        self._left = deque([specs] if specs else [])

    def step(self, patience: float | None = 30.0) -> bool:
        """Enqueue what comes next; returns whether anything is left.

        Where a job is refused, each half of those it was with comes next. Raises Busy where others write for longer
        than `patience` seconds, Unusable where the database can't be used: what comes next is then still the same.
        """
        if not self._left:
            return False
        group = self._left[0]
        try:
            added = self._enqueue([spec for _, spec in group], patience)
        except (Unusable, Conflict):
            raise
        except QueueError as error:
            self._left.popleft()
            half = len(group) // 2
            if half:
                self._left.extendleft([group[half:], group[:half]])
            else:
                self._refuse(group[0][0], error)
        else:
            self._left.popleft()
            self.jobs += added
            self.moved += [row.id for row, _ in group]
        return bool(self._left)

    def _enqueue(self, specs: list[Spec], patience: float | None) -> int:
        """Enqueue jobs so that they survive a power cut, whatever the setting: elsewhere their rows are removed."""
        engine = self._queue.engine
        if self._synchronous != "full":
            engine.set_durability("full")
        try:
            added = self._queue.add(specs, patience=patience)
        finally:
            if self._synchronous != "full":
                engine.set_durability(self._synchronous)
        return sum(not each.deduplicated for each in added)

    def _refuse(self, row: Row, error: QueueError) -> None:
        self.refused[row.number] = str(error)[:LONGEST_ERROR].encode("utf-8", "backslashreplace").decode()


def spec_of(row: Row) -> Spec:
    """The job of a row, checked: what a line of a job file would be, with the row's id. Raises Invalid."""
    if not isinstance(row.id, str) or not isinstance(row.job, str):
        raise Invalid(f"{'job' if isinstance(row.id, str) else 'id'}: is not text")
    spec = command_or_spec(row.job)
    if spec.id not in (None, row.id):
        raise Invalid(f"id: the job has the id of its row, {row.id!r}, and can't be {spec.id!r}: leave it out")
    if spec.name is not None:
        raise Invalid("name: is for the lines of one file: other rows can name the id of this one")
    if spec.stdin == "-":
        raise Invalid("stdin: a row has none: name a file")
    return check(replace(spec, id=row.id, if_absent=True))
