"""`queuectl status`: how many jobs are in which state."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress
from queuectl.errors import Invalid
from queuectl.units import Then, counted

if TYPE_CHECKING:
    from queuectl import Status
    from queuectl.batch_summary import BatchSummary
    from queuectl.disk import Disk
    from queuectl.queue import Queue

_PAUSE = 0.25
"""Seconds between two looks of --watch, at least."""
_IDLE = 5.0
"""The same at most, on a terminal: it shows how long ago the last event was."""
_WINDOW = 30.0
"""Seconds over which a rate is told."""
_MOST_WAITS = 5
"""Reasons to wait that are shown."""


def status(
    *,
    queue: p.Queue = None,
    batch: p.Batch = None,
    at: p.At = None,
    watch: Annotated[
        bool,
        p.Parameter(
            name="--watch",
            help="Show it anew whenever it changes, until Ctrl-C: on a terminal also how fast jobs end, why others "
            "wait and what runs; piped a document for each change.",
        ),
    ] = False,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Count the jobs by state.

    $ queuectl status
    $ queuectl status --queue mail --json
    $ queuectl status --batch night
    $ queuectl status --at -1h
    $ queuectl status --watch

    Piped, the answer is the JSON document too; `as_of` names the last event that it knows of.
    """
    if watch and at is not None:
        raise Invalid("--watch shows what is, --at what was: give one of them")
    if batch is not None and (queue is not None or at is not None):
        raise Invalid("--batch: shows a batch as it is: leave --queue and --at away")
    with opening.open_queue(db, follow=watch) as q:
        machine = json or not output.is_terminal()
        if watch:
            _watch(q, queue, batch, machine)
            return
        shown = _look(q, queue, batch, at)
        if machine:
            output.document(_document(q, shown))
        else:
            for line in _lines(q, shown):
                output.line(line)


class _Shown(msgspec.Struct, frozen=True):
    """What is shown."""

    status: "Status"
    disk: "Disk | None"
    """The disk space; None of a past moment."""
    batch: "BatchSummary | None"


def _look(q: "Queue", queue: str | None, batch: str | None, at: Then | None = None) -> _Shown:
    """Ask for what is shown. Raises NotFound."""
    found = q.batch(batch) if batch is not None else None
    result = q.status(queue, batch=batch, then=at, progress=progress.bar("Folding the log"))
    return _Shown(result, q.disk() if at is None else None, found)


def _document(q: "Queue", shown: _Shown) -> dict[str, Any]:
    """Return the JSON document."""
    disk = shown.disk
    space = {"disk_free": disk.free, "disk_floor": disk.floor} if disk is not None else {}
    batch = {"batch": shown.batch.json()} if shown.batch is not None else {}
    return {**shown.status.json(), **batch, **space, "database": q.url}


def _lines(q: "Queue", shown: _Shown) -> list[str]:
    from queuectl.admission import low_disk
    from queuectl.cli.ui import wording

    result, disk = shown.status, shown.disk
    space = max(len(f"{count:,}") for count in (*result.counts.values(), result.total))
    up = f"{counted(result.workers, 'worker')} up"
    as_of = f"as of event {result.seq:,}, {wording.full_time(result.at)}" if result.seq else "nothing has happened yet"
    return [
        *(
            output.paint(f"{state:<11} {count:>{space},}", state if count else "dim")
            for state, count in result.counts.items()
        ),
        output.paint(f"{'total':<11} {result.total:>{space},}", "bold"),
        *([_batch_line(shown.batch)] if shown.batch is not None else []),
        "",
        f"{up}; {as_of}",
        output.paint(f"in {output.escape(q.url)}", "dim"),
        *([output.paint(low_disk(disk).text, "failed")] if disk is not None and disk.low else []),
    ]


def _batch_line(batch: "BatchSummary") -> str:
    from queuectl.cli.ui import wording

    state = batch.state
    words = f"batch {output.escape(batch.name)}, opened {wording.local_time(state.opened_at)}"
    if state.halt is not None:
        words += f", halts {state.halt}"
    if state.is_halted:
        words += output.paint(f"; halted {wording.local_time(state.halted_at)}", "failed")
    return words


def _watch(q: "Queue", queue: str | None, batch: str | None, machine: bool) -> None:
    """Show the status at each change. It sleeps until the log grows, and looks at most so many times a second."""
    import time
    from contextlib import closing

    from queuectl.clock import monotonic

    view = _Changes(q) if machine else _Screen(q, queue, batch)
    with closing(q.engine.listen("log")) as bell:
        while True:
            bell.clear()
            began = monotonic()
            view.show(_look(q, queue, batch))
            time.sleep(max(_PAUSE, 10 * (monotonic() - began)))  # many jobs: a look takes its time
            bell.wait(view.patience)


class _Changes:
    """Prints a JSON document for each status that differs from the one before, in more than the time of it."""

    patience = _IDLE

    def __init__(self, q: "Queue") -> None:
        self._q = q
        self._last: Any = None

    def show(self, shown: _Shown) -> None:
        """Print the status, if it is another one."""
        document = _document(self._q, shown)
        told = {key: value for key, value in document.items() if key not in ("as_of", "disk_free")}
        if told != self._last:
            output.documents([document], flush=True)
        self._last = told


class _Screen:
    """Draws the status on the terminal, and beside it how fast jobs end, why jobs wait, and what runs."""

    def __init__(self, q: "Queue", queue: str | None, batch: str | None) -> None:
        from collections import deque

        from queuectl.cli.ui.live_screen import LiveScreen

        self._q, self._queue, self._batch = q, queue, batch
        self._screen = LiveScreen()
        self._seen: deque[tuple[float, int]] = deque()
        """At which moment of the monotonic clock how many jobs had ended since the first look."""
        self._last: Status | None = None
        self.patience = _IDLE
        """Seconds until the next look is due, if nothing changes."""

    def show(self, shown: _Shown) -> None:
        """Draw the status."""
        self.patience = 1.0 if shown.status.counts["processing"] else _IDLE
        rate = self._rate(shown.status)
        lines = _lines(self._q, shown)
        lines += [f"{rate:,.1f} jobs a second have ended in the last {self._seconds:.0f}s"] if rate else []
        lines += self._waiting_lines(shown.status.held)
        self._screen.draw([*lines, *self._running_lines(self._screen.size[1] - len(lines) - 1)])

    @property
    def _seconds(self) -> float:
        return self._seen[-1][0] - self._seen[0][0]

    def _rate(self, status: "Status") -> float:
        """Return how many jobs a second have ended lately; what was run again or purged meanwhile counts as it was."""
        from projections.jobs import FINAL
        from queuectl.clock import monotonic

        last, self._last = self._last, status
        new = sum(max(0, status.counts[state] - last.counts[state]) for state in FINAL) if last is not None else 0
        self._seen.append((monotonic(), new + (self._seen[-1][1] if self._seen else 0)))
        while self._seconds > _WINDOW:
            self._seen.popleft()
        return (self._seen[-1][1] - self._seen[0][1]) / self._seconds if self._seconds else 0.0

    def _waiting_lines(self, held: int) -> list[str]:
        from queuectl.cli.ui import wording

        q = self._q
        waits = q.waits(batch=self._batch) if self._batch is not None else q.first_waits(self._queue)
        lines: list[str] = []
        for wait in waits[:_MOST_WAITS]:
            why = wording.reason_sentence(wait.reason, jobs=wait.jobs)
            frees = f"; `{wait.reason.frees}`" if wait.reason.frees else ""
            lines.append(f"{wait.jobs:>11,} {output.escape(why + frees)}")
        if held and self._batch is None:  # they are no queue's first job
            lines.append(f"{held:>11,} held; `queuectl release ID`")
        return ["", output.paint("waiting", "bold"), *lines] if lines else []

    def _running_lines(self, room: int) -> list[str]:
        from queuectl.cli.ui import wording

        if room < 3:
            return []
        jobs = [*self._q.jobs(state="processing", queue=self._queue, batch=self._batch, limit=room - 2)]
        forecasts = self._q.forecasts()
        lines = [
            f"{output.escape(job.id):>11} "
            + output.escape(f"{wording.state_detail(job, forecast=forecasts(job))}  {job.command}")
            for job in jobs
        ]
        return ["", output.paint("running", "bold"), *lines] if lines else []
