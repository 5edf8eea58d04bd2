"""`queuectl wait`: until jobs have ended."""

from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

from queuectl import enclosing_jobs
from queuectl.admission import UNSTARTED
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output
from queuectl.cli.ui.hint import WaitHint
from queuectl.cli.ui.waiting_line import WaitingLine
from queuectl.errors import Invalid
from queuectl.units import counted

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.queue import Queue


def wait(
    *ids: Annotated[
        str, p.Parameter(name="ID", help="The jobs. None named: until nothing is left to do.", values=v.jobs("unended"))
    ],
    batch: p.Batch = None,
    timeout: Annotated[
        float | None, p.option("--timeout", "DURATION", "Give up after so long (exit code 124).", p.positive_duration)
    ] = None,
    brief: Annotated[bool, p.Parameter(name="--brief", help="Print how many ended how, not how each did.")] = False,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> int:
    """Wait until jobs have ended: completed, dead or cancelled.

    $ queuectl wait job1 && echo done
    $ queuectl wait --timeout 10m
    $ queuectl wait --batch night

    Of one job the exit code is its own (128 + n for a signal); of several and of a batch 0 if all completed, else
    1; of all 1 if one died meanwhile. Of all and of a batch those are not waited for that only a person lets start:
    held ones, those of a paused queue. How they ended is printed to stderr, and on a terminal how far they are and
    why they don't start. Within a job what can't end before that job is left out, and what no worker starts within
    a second is run right here.
    """
    if batch is not None and ids:
        raise Invalid("give IDs or --batch, not both")
    with opening.open_queue(db) as q:
        selected = list(dict.fromkeys(q.resolve(id) for id in ids))
        before = q.status().seq
        shown = output.stderr_is_terminal()
        messages = _EndMessages(each=len(selected) > 1 and shown and not brief)
        hint = WaitHint(q, selected, batch=batch, terminal=shown and not json)
        with _helper(q, selected) as private, WaitingLine(q, selected, hint, _title(batch), batch=batch) as line:

            def meanwhile(ended: Iterable["Job"]) -> None:
                if private is not None:
                    private.start_if_needed()
                messages.print_new(ended)
                line()

            done = q.wait(*selected, batch=batch, timeout=timeout, progress=line.count, meanwhile=meanwhile)
        if json:
            from queuectl.documents import job_document

            output.documents(job_document(job) for job in done)
        if batch is not None:
            return _end_of_batch(q, batch)
        if not selected:
            ends = q.endings(before)
            _print_summary(ends.completed, ends.dead, ends.cancelled)
            if left := sum(q.status().counts[state] for state in UNSTARTED):
                output.message(f"{counted(left, 'job waits', 'jobs wait')} for a person; `queuectl explain` tells why")
            return 1 if ends.dead else 0
        if len(done) == 1 and not brief:
            output.message(_end_text(done[0]))
        elif not messages.each:
            named = {state: [job.id for job in done if job.state == state] for state in ("dead", "cancelled")}
            _print_summary(sum(job.state == "completed" for job in done), **named)
        return exit_code(done[0]) if len(done) == 1 else int(any(job.state != "completed" for job in done))


def _title(batch: str | None) -> str:
    return f"Waiting for batch {batch}" if batch is not None else "Waiting"


def _end_of_batch(q: "Queue", name: str) -> int:
    """Print how the jobs of a batch have ended; return the exit code."""
    batch = q.batch(name)
    named = {state: [job.id for job in q.jobs(state=state, batch=name, limit=11)] for state in ("dead", "cancelled")}
    parts = _ends(batch.counts["completed"], **{state: (batch.counts[state], ids) for state, ids in named.items()})
    if left := batch.total - batch.ended:
        parts.append(f"{left:,} wait{'s' if left == 1 else ''} for a person: queuectl explain")
    if batch.state.is_halted:
        parts.append(f"halted by {batch.state.halt}")
    output.message(f"batch {output.escape(name)}: {', '.join(parts) or 'no jobs'}")
    return int(batch.counts["completed"] < batch.total)


def _helper(q: "Queue", ids: list[str]):
    if enclosing_jobs.inside(q.engine) is None:
        return nullcontext()
    from queuectl.workers.private_worker import PrivateWorker

    return PrivateWorker(q, ids)


class _EndMessages:
    """Prints messages while the command waits for jobs."""

    def __init__(self, *, each: bool) -> None:
        """`each`: print how each job ends."""
        self.each = each
        self._printed: set[str] = set()

    def print_new(self, ended: Iterable["Job"]) -> None:
        """Print the messages that are new."""
        for job in ended if self.each else ():
            if job.id not in self._printed:
                self._printed.add(job.id)
                output.message(_end_text(job))


def _end_text(job: "Job") -> str:
    from queuectl.cli.ui import wording

    return f"job {job.id} {wording.job_outcome(job)}"


def _print_summary(completed: int, dead: list[str], cancelled: list[str]) -> None:
    """Print `3 completed, 1 dead (17)`, or nothing if no job ended."""
    if parts := _ends(completed, dead=(len(dead), dead), cancelled=(len(cancelled), cancelled)):
        output.message(", ".join(parts))


def _ends(completed: int, **others: tuple[int, list[str]]) -> list[str]:
    """Return in words how many completed, and by state how many did not, of which some ids are named."""
    parts = [f"{completed:,} completed"] if completed else []
    for state, (count, ids) in others.items():
        if count:
            more = ", …" if count > 10 else ""
            named = f" ({', '.join(map(output.escape, ids[:10]))}{more})" if ids else ""  # none: they were archived
            parts.append(f"{count:,} {state}{named}")
    return parts


def exit_code(job: "Job") -> int:
    """Return the exit code for how a job ended: 0, its own, 128 + n for a signal, or 1."""
    if job.state == "completed":
        return 0
    if job.signal is not None:
        return 128 + job.signal
    return job.exit_code or 1
