"""The output of commands, shown while they run and after: of one job, or of several in one loop."""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from projections.jobs import FINAL
from queuectl.cli.ui.output_reader import OutputReader
from queuectl.cli.ui.printer import LONGEST_LINE, LinePrinter, PrefixedPrinters, Printer
from queuectl.cli.ui.terminal import Sanitizer, Screen
from queuectl.clock import monotonic
from queuectl.errors import NotFound, OutputGone
from queuectl.outputs import Output

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.queue import Queue

_IDLE = 0.2
"""Seconds between two looks at a job that has not started or writes nothing."""
_CROWD, _LONGEST_PAUSE = 100, 5.0
"""Of more jobs than so many these looks are as much rarer, but never further apart than so many seconds."""
_LOOK = 0.5
"""Seconds between two looks for jobs that join."""


class Part(msgspec.Struct, frozen=True):
    """What is shown of outputs."""

    tail: int | None = None
    """Only so many lines, the last ones, of each file; None: all."""
    raw: bool = False
    """Whether of a progress bar all states are shown, not only the last one."""
    sources: tuple[int, ...] = (0, 1)
    """Of which files: 0 is the output file, 1 that for stderr, if there is one."""

    def skip(self, written: OutputReader, printer: Printer) -> None:
        """Move to the first of the last lines, if only these are shown."""
        if self.tail is not None:
            written.seek_last_lines(self.tail)
            if not self.raw:
                written.skip_overwritten(keep=LONGEST_LINE if printer.terminal else 0)


ALL = Part()


def show(q: "Queue", id: str, attempt: int | None, part: Part, printer: Printer | None = None) -> None:
    """Print a complete output: its file, and then that for stderr, if it has one. Raises NotFound if it has none."""
    printer = printer or Printer(final_lines=not part.raw)
    for source in part.sources:
        if (written := q.open_output(id, attempt, stderr=bool(source))) is None:
            continue
        with closing(OutputReader(written)) as reader:
            part.skip(reader, printer)
            try:
                printer.write_new(reader, source)
            finally:
                printer.finish()


def follow(
    q: "Queue",
    id: str,
    part: Part = ALL,
    attempt: int | None = None,
    meanwhile: Callable[[], None] | None = None,
    printer: Printer | None = None,
) -> "Job":
    """Print the output of a job as it grows: of one attempt, or of the present and all later ones until the job ends.

    Waits for the first attempt. `meanwhile` is called repeatedly. Returns the job as it is at the end. A message names
    an attempt whose output file is gone. What comes from two files is shown in whole lines, if no `printer` is given.
    """
    q.refuse_own(id)  # a job that follows itself never ends
    if printer is None:
        splits = q.job(id).policy.split_output and len(part.sources) > 1
        printer = LinePrinter(raw=part.raw) if splits else Printer()
    return _run_all([follow_steps(q, id, attempt, printer, part)], meanwhile)[0]


def follow_all(
    q: "Queue",
    ids: Sequence[str],
    part: Part,
    printers: PrefixedPrinters,
    meanwhile: Callable[[], None] | None = None,
    joining: Callable[[], Sequence[str]] = tuple,
) -> list["Job"]:
    """Print the output of several jobs as it grows, with prefixes, until all have ended; return the jobs.

    `joining` is asked repeatedly, and once all have ended, for further jobs that are followed too.
    """
    for id in ids:
        q.refuse_own(id)

    def more() -> Iterator[Steps]:
        for id, printer in printers.make(joining()).items():
            yield follow_steps(q, id, None, printer, structs.replace(part, tail=None))

    jobs = [follow_steps(q, id, None, printer, part) for id, printer in printers.make(ids).items()]
    return _run_all(jobs, meanwhile, more)


Steps = Generator[float, None, "Job"]
"""Each step prints what is new of one job and yields the seconds until the next step."""


def _run_all(
    jobs: list[Steps], meanwhile: Callable[[], None] | None, more: Callable[[], Iterable[Steps]] = tuple
) -> list["Job"]:
    """Run the steps of all jobs, and of those that come meanwhile, in one loop until each has ended."""
    ended: dict[int, Job] = {}
    due = [0.0] * len(jobs)
    next_look = 0.0
    try:
        while True:
            if meanwhile is not None:
                meanwhile()
            for number, steps in enumerate(jobs):
                if due[number] <= monotonic():
                    try:
                        pause = next(steps)
                        if pause >= _IDLE:  # many that wait must not keep a processor busy
                            pause = min(pause * max(1.0, (len(jobs) - len(ended)) / _CROWD), _LONGEST_PAUSE)
                        due[number] = pause + monotonic()
                    except StopIteration as end:
                        ended[number], due[number] = end.value, math.inf
            has_ended = len(ended) == len(jobs)
            if has_ended or next_look <= monotonic():
                new = [*more()]
                if has_ended and not new:
                    return [ended[number] for number in range(len(jobs))]
                jobs += new
                due += [0.0] * len(new)
                next_look = monotonic() + _LOOK
            time.sleep(max(0.0, min([*due, next_look]) - monotonic()))
    finally:  # on Ctrl-C too: ends unfinished lines
        for steps in jobs:
            steps.close()


def follow_steps(q: "Queue", id: str, attempt: int | None, printer: Printer, part: Part) -> Steps:
    """Print the output of one attempt, or of all until the job has ended, step by step; return the job as it is then.

    For what has a loop of its own; `follow` runs the steps.
    """
    job = q.job(id)
    number = attempt if attempt is not None else max(job.attempt, 1)
    while True:
        try:
            job = yield from _follow_attempt(q, id, number, printer, part)
        finally:  # on Ctrl-C too: ends the colours
            printer.finish()
        part = structs.replace(part, tail=None)
        if attempt is not None or job.state in FINAL:
            return job
        if job.attempt <= number:
            job = yield from _wait_for_next(q, id, number)
            if job.attempt <= number:
                return job
        number = job.attempt
        printer.message(f"attempt {number}")


def _wait_for_next(q: "Queue", id: str, number: int) -> Steps:
    """Wait until a later attempt begins or the job has ended."""
    job = q.job(id)
    while job.attempt <= number and job.state not in FINAL:
        yield 0.05
        job = q.job(id)
    return job


def _follow_attempt(q: "Queue", id: str, number: int, printer: Printer, part: Part) -> Steps:
    """Print one attempt's output, from its last lines on if only these are shown, until the attempt has ended."""
    opened: dict[int, OutputReader] = {}
    pause = 0.01
    try:
        while True:
            job = q.job(id)  # before the read: the output of an attempt is complete once its end is in the log
            over = job.attempt > number or (job.attempt == number and job.state != "processing") or job.state in FINAL
            news = False
            for source in part.sources:
                if source not in opened:
                    wanted = over or (job.state == "processing" and (not source or job.policy.split_output))
                    if not wanted or (written := _open(q, id, number, source)) is None:
                        continue
                    opened[source] = written
                    part.skip(written, printer)
                try:
                    news = printer.write_new(opened[source], source) or news
                except OutputGone as silent:  # its host is asked again, as long as the attempt goes on
                    if over:
                        printer.message(str(silent))
            if over:
                if not opened:
                    _report_gone(q, id, number, printer)
                return job
            pause = 0.01 if news else min(pause * 1.3, _IDLE)
            yield pause
    finally:
        for written in opened.values():
            written.close()


def _open(q: "Queue", id: str, number: int, source: int) -> OutputReader | None:
    try:
        output = q.open_output(id, number, stderr=bool(source))
    except NotFound:  # not started yet, or ended without output
        return None
    return OutputReader(output) if output is not None else None


def _report_gone(q: "Queue", id: str, number: int, printer: Printer) -> None:
    try:
        if (found := q.open_output(id, number)) is not None:
            found.close()
    except OutputGone as gone:
        printer.message(str(gone))
    except NotFound:
        pass  # it ended without output


def last_lines(output: Output, count: int) -> tuple[list[str], bool]:
    """Return the last lines of an output as a terminal shows them (at most 4 KiB each), and whether there are more.

    The output is closed.
    """
    with closing(OutputReader(output)) as written:
        return read_last_lines(written, count)


def read_last_lines(written: OutputReader, count: int) -> tuple[list[str], bool]:
    """Return the same of an output that stays open."""
    has_more = written.seek_last_bytes(count * 4096) > 0
    sanitizer, screen = Sanitizer(), Screen()
    parts = [sanitizer.feed(piece) for piece in written.read_new() if isinstance(piece, bytes)]
    text = screen.feed("".join(parts)) + screen.feed(sanitizer.end()) + screen.end()
    lines = text.rstrip("\n").split("\n")
    if lines == [""]:
        return [], False
    return lines[-count:], has_more or len(lines) > count
