"""`queuectl logs`: what a command wrote."""

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from projections.jobs import FINAL
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, stream
from queuectl.cli.ui.hint import WaitHint
from queuectl.cli.ui.printer import LinePrinter, PrefixedPrinters, Printer
from queuectl.cli.ui.waiting_line import WaitingLine
from queuectl.errors import Invalid, NotFound, OutputGone, Refused
from queuectl.units import counted

if TYPE_CHECKING:
    from queuectl.queue import Queue


_MOST_NAMED = 20
"""Jobs without output of which each is told; a filter or a batch may find thousands."""

Follow = Annotated[
    bool,
    p.Parameter(
        name=["--follow", "-f"],
        help="Go on until each job has ended, through its retries (with --attempt: until that has ended).",
    ),
]


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise Invalid(f"{text!r} is not a regular expression: {error}") from None


Grep = Annotated[
    re.Pattern[str] | None,
    p.option(
        "--grep",
        "PATTERN",
        "Only lines in which this is found, a regular expression of Python; (?i) before it ignores case. Exit code 1: "
        "there was none.",
        _pattern,
    ),
]
Tail = Annotated[int | None, p.option(["--tail", "-n"], "N", "Only the last N lines.", p.integer(0, 2**31))]


def logs(
    *ids: Annotated[
        str,
        p.Parameter(
            name="ID",
            help="The jobs: their ids, or the beginnings of those given with --id. None named: what runs now.",
        ),
    ],
    attempt: Annotated[
        int | None,
        p.option("--attempt", "N", "Of this attempt of one job. [default: the last one]", p.integer(1, 2**31)),
    ] = None,
    where: p.Where = None,
    batch: p.Batch = None,
    follow: Follow = False,
    tail: Tail = None,
    grep: Grep = None,
    stdout: Annotated[
        bool, p.Parameter(name="--stdout", help="Only stdout, of jobs that have it apart (--split-output).")
    ] = False,
    stderr: Annotated[bool, p.Parameter(name="--stderr", help="Only stderr, of such jobs.")] = False,
    raw: Annotated[
        bool, p.Parameter(name="--raw", help="Of a progress bar everything that was written, not only its last state.")
    ] = False,
    db: p.Database = None,
) -> int:
    """Show what jobs wrote (stdout and stderr, as they came): those named, or those that run now.

    $ queuectl logs --follow
    $ queuectl logs job1 --tail 20
    $ queuectl logs 17 18 --follow
    $ queuectl logs --where 'state:dead tag:exp=3' --tail 5
    $ queuectl logs --batch night --follow
    $ queuectl logs --batch night --grep 'error|warning'

    Piped, the bytes are as they were written. On a terminal a progress bar that ran is shown as it was last, colours
    are kept, and whatever could move the cursor or do worse is escaped. --tail counts what ends in a line feed, and
    begins with the last state of a progress bar. Of several jobs each line stands behind the id of its job, once it is
    whole; --tail is of each, and --grep looks at what that leaves. Jobs that join a batch are followed too.

    What was enqueued with --split-output is shown with its stdout first and then its stderr: which line came before
    which is not known. With --follow whole lines are shown as they come.
    """
    if stdout and stderr:
        raise Invalid("give --stdout or --stderr; without them both are shown")
    if attempt is not None and len(ids) != 1:
        raise Invalid("--attempt: numbers the attempts of one job: name that one")
    part = stream.Part(tail, raw, (0,) if stdout else (1,) if stderr else (0, 1))
    with opening.open_queue(db) as q:
        selected = _selected(q, ids, where, batch, follow)
        if len(selected) > 1 or (follow and batch is not None):
            return _show_several(q, selected, batch, follow, part, PrefixedPrinters(raw, grep), is_named=bool(ids))
        matching = LinePrinter(raw=raw, pattern=grep) if grep is not None else None
        for id in selected:
            _show_one(q, id, attempt, follow, part, matching)
    return int(matching is not None and not matching.found)


def _show_one(
    q: "Queue", id: str, attempt: int | None, follow: bool, part: stream.Part, printer: LinePrinter | None
) -> None:
    """Print the output of one job. Raises NotFound, Refused."""
    if not follow:
        _show(q, id, attempt, part, printer)
        return
    _refuse_unsplit(q, part, [id])
    job = q.job(id)
    if attempt is not None and attempt > job.attempt:
        raise NotFound(f"job {id} has no attempt {attempt}")
    if job.state in FINAL:
        _refuse_gone(q, id, attempt or job.attempt)
    with WaitingLine(q, [id], WaitHint(q, [id]), sparse=True) as line:
        stream.follow(q, id, part, attempt, line, printer)


def _show_several(
    q: "Queue",
    ids: Sequence[str],
    batch: str | None,
    follow: bool,
    part: stream.Part,
    printers: PrefixedPrinters,
    *,
    is_named: bool,
) -> int:
    """Print the output of several jobs; return the exit code. Raises Refused."""
    is_complete = True
    if follow:
        _refuse_unsplit(q, part, ids)
        hint = WaitHint(q, ids) if batch is None else WaitHint(q, batch=batch)
        joining = _Joining(q, batch, ids) if batch is not None else tuple
        stream.follow_all(q, ids, part, printers, hint, joining)
    else:
        is_complete = _show_all(q, ids, part, printers)
    return int((is_named and not is_complete) or not printers.found)


def _refuse_unsplit(q: "Queue", part: stream.Part, ids: Iterable[str]) -> None:
    """Raise Refused if only one of two files is to be followed, and one of these jobs writes one in all."""
    for id in ids if len(part.sources) == 1 else ():
        if not q.job(id).policy.split_output:
            raise _together(id)


def _show(q: "Queue", id: str, attempt: int | None, part: stream.Part, printer: Printer | None) -> None:
    """Print what an attempt wrote. Raises NotFound, and Refused if one of two files is wanted and it has but one."""
    if len(part.sources) == 1:
        if (apart := q.open_output(id, attempt, stderr=True)) is None:
            raise _together(id)
        apart.close()
    stream.show(q, id, attempt, part, printer)


def _together(id: str) -> Refused:
    return Refused(f"job {id} has stdout and stderr in one file: it ran without --split-output")


def _show_all(q: "Queue", ids: Sequence[str], part: stream.Part, printers: PrefixedPrinters) -> bool:
    """Print the output of each job, or a message if it has none; return whether all have some."""
    without = 0
    for id, printer in printers.make(ids).items():
        try:
            _show(q, id, None, part, printer)
        except (NotFound, Refused) as error:
            without += 1
            if without <= _MOST_NAMED:
                output.message(str(error))
    if without > _MOST_NAMED:
        output.message(f"{counted(without - _MOST_NAMED, 'more job has', 'more jobs have')} nothing to show")
    return not without


class _Joining:
    """Finds the jobs that have joined a batch since the last look."""

    def __init__(self, q: "Queue", batch: str, known: Iterable[str]) -> None:
        self._q, self._batch, self._known = q, batch, {*known}
        self._since: int | None = None
        """Up to when all are known, as far as that was seen."""

    def __call__(self) -> list[str]:
        found = [*self._q.jobs(batch=self._batch, since=self._since)]
        self._since = max((job.enqueued_at for job in found), default=self._since)
        new = sorted((job for job in found if job.id not in self._known), key=lambda job: job.seq)
        self._known.update(job.id for job in new)
        return [job.id for job in new if not _own(self._q, job.id)]


def _selected(q: "Queue", ids: Sequence[str], where: str | None, batch: str | None, follow: bool) -> list[str]:
    """Return the named jobs, those of a filter and a batch, or else those that run; print a message if there are none.

    Raises Invalid, NotFound.
    """
    if where is None and batch is None:
        return list(dict.fromkeys(map(q.resolve, ids))) if ids else _running(q, follow)
    if ids:
        raise Invalid(f"give IDs or {'--where' if where is not None else '--batch'}, not both")
    if batch is not None:
        q.batch(batch)
    found = [job.id for job in sorted(q.jobs(where=where or "", batch=batch), key=lambda job: job.seq)]
    if not found:
        output.message("no job matches")
    return found


def _running(q: "Queue", follow: bool) -> list[str]:
    """Return the running jobs in order of claim, or print a message; `follow` leaves out those that would never end."""
    jobs = sorted(q.jobs(state="processing"), key=lambda job: (job.claimed_at or 0, job.seq))
    running = [job.id for job in jobs if not (follow and _own(q, job.id))]
    if not running:
        ended = "there is no job that has ended"
        for last in q.jobs(state=tuple(FINAL), limit=1):
            ended = f"the last that ended is {last.id}: `queuectl logs {shlex.quote(last.id)}`"
        output.message(f"nothing{' else' if jobs else ''} runs now; {ended}")
    return running


def _own(q: "Queue", id: str) -> bool:
    try:
        q.refuse_own(id)
    except Refused:
        return True
    return False


def _refuse_gone(q: "Queue", id: str, attempt: int) -> None:
    """Raise OutputGone if the file to follow is gone for good."""
    try:
        if (found := q.open_output(id, attempt)) is not None:
            found.close()
    except OutputGone:
        raise
    except NotFound:
        pass  # it ended without output
