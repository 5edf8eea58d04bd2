"""The panes of the screen as tables: raw text in cells, which whatever draws them escapes and fits to its width."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import structs

from projections.jobs import Job
from queuectl.admission import UNSTARTED
from queuectl.cli.ui import wording
from queuectl.cli.ui.output import Cell
from queuectl.cli.ui.queue_rows import HEADS, RIGHT, is_shown, queue_row
from queuectl.clock import SECOND
from queuectl.overview import Overview, RunningJob
from queuectl.units import counted, span

Each = TypeVar("Each", RunningJob, Job)

WIDE = 110
"""Columns of a terminal from which on there is room for more columns of a table."""

MOST_WAITS = 5
"""Reasons to wait that are given."""


class PaneRow(msgspec.Struct, frozen=True):
    """A row, and what it is about: the id of a job, or the name of a queue."""

    key: str
    cells: tuple[str | Cell, ...]


class PaneContent(msgspec.Struct, frozen=True):
    """What a pane shows."""

    name: str
    title: str
    heads: tuple[str, ...]
    rows: Sequence[PaneRow]
    right: tuple[str, ...] = ()
    """The columns that are aligned to the right."""
    notes: tuple[str, ...] = ()
    """Lines above the table."""


def panes(seen: Overview, last_lines: Mapping[str, str], columns: int, rows: int) -> list[PaneContent]:
    """Return what is shown of a queue on a screen of this size, with the last line of output of jobs, by id."""
    wide = columns >= WIDE
    return [
        queues_pane(seen),
        running_pane(seen, last_lines, wide=wide),
        waiting_pane(seen, wide=wide, notes=rows // 8),
        ended_pane(seen, last_lines, wide=wide),
    ]


def queues_pane(seen: Overview) -> PaneContent:
    """Return the queues, with their limits and pauses."""
    rows = [PaneRow(each.name, queue_row(each)) for each in seen.queues if is_shown(each)]
    return PaneContent("queues", "Queues", HEADS, rows, RIGHT)


def running_pane(seen: Overview, last_lines: Mapping[str, str], *, wide: bool) -> PaneContent:
    """Return what runs."""
    columns: dict[str, Callable[[RunningJob], str | Cell]] = {
        "ID": lambda each: each.job.id,
        "QUEUE": lambda each: each.job.queue,
        "FOR": lambda each: _elapsed(each.job, seen.now),
        "PROGRESS": lambda each: wording.progress(each.forecast, seen.now, room=30 if wide else 12),
        "WORKER": lambda each: each.job.worker or "",
        "COMMAND": lambda each: each.job.command,
        "LAST LINE": lambda each: Cell(last_lines.get(each.job.id, ""), "dim"),
    }
    return _pane("running", "Running", columns, seen.running, seen, wide, ("QUEUE", "WORKER"))


def _elapsed(job: Job, now: int) -> str | Cell:
    """Return how long it has run, and what else there is to say of it."""
    words = span(max(now - (job.claimed_at or now), 0) // SECOND) or "0s"
    if job.cancel_requested:
        return Cell(f"{words}, ending", "cancelled")
    if job.suspended_at is not None:
        return Cell(f"{words}, suspended", "failed")
    return words if job.attempt == 1 else f"{words}, attempt {job.attempt}"


def waiting_pane(seen: Overview, *, wide: bool, notes: int) -> PaneContent:
    """Return what waits, and why; above it so many lines at most, which sum up the reasons."""
    columns: dict[str, Callable[[Job], str | Cell]] = {
        "ID": lambda job: job.id,
        "QUEUE": lambda job: job.queue,
        "PRIO": lambda job: str(job.priority) if not job.past_limits else "first",
        "WHY": lambda job: wording.state_detail(job, seen.now, seen.facts),
        "COMMAND": lambda job: job.command,
    }
    pane = _pane("waiting", "Waiting", columns, seen.waiting, seen, wide, ("QUEUE", "PRIO"), ("PRIO",))
    return structs.replace(pane, notes=tuple(wait_lines(seen)[: min(notes, MOST_WAITS)]))


def ended_pane(seen: Overview, last_lines: Mapping[str, str], *, wide: bool) -> PaneContent:
    """Return what has died, or ended otherwise where the filter names that."""
    columns: dict[str, Callable[[Job], str | Cell]] = {
        "ID": lambda job: job.id,
        "QUEUE": lambda job: job.queue,
        "HOW": lambda job: Cell(f"{_how(job)}{wording.state_detail(job, seen.now)}", job.state),
        "COMMAND": lambda job: job.command,
        "LAST LINE": lambda job: Cell(last_lines.get(job.id, ""), "dim"),
    }
    title = "Died" if all(job.state == "dead" for job in seen.ended) else "Ended"
    return _pane("ended", title, columns, seen.ended, seen, wide, ("QUEUE",))


def _how(job: Job) -> str:
    return "" if job.state == "dead" else f"{job.state} "


def _pane(
    name: str,
    title: str,
    columns: Mapping[str, Callable[[Each], str | Cell]],
    those: Iterable[Each],
    seen: Overview,
    wide: bool,
    only_wide: Sequence[str],
    right: tuple[str, ...] = (),
) -> PaneContent:
    shown = {head: cell for head, cell in columns.items() if wide or head not in only_wide}
    rows = [PaneRow(_id(each), tuple(cell(each) for cell in shown.values())) for each in those]
    more = seen.more[name]
    count = f"{len(rows):,}, and more" if more is None else f"{len(rows) + more:,}"
    return PaneContent(name, f"{title} {count}", (*shown,), rows, right)


def _id(each: RunningJob | Job) -> str:
    return each.id if isinstance(each, Job) else each.job.id


def summary(seen: Overview) -> str:
    """Return the jobs by state, and the workers, in a line."""
    states = [f"{count:,} {state}" for state, count in seen.counts.items() if count]
    return " · ".join([f"{counted(seen.workers, 'worker')} up", *(states or ["no jobs"])])


def wait_lines(seen: Overview) -> list[str]:
    """Return why jobs wait, a line for each reason, the one that keeps most of them first."""
    lines = [
        f"{wait.jobs:,} {wording.reason_sentence(wait.reason, seen.now, wait.jobs)}"
        + (f"; `{wait.reason.frees}`" if wait.reason.frees else "")
        for wait in seen.waits
    ]
    if (waiting := sum(seen.counts[state] for state in UNSTARTED)) > sum(wait.jobs for wait in seen.waits):
        blocked = seen.counts["blocked"]
        lines += [f"{seen.held:,} held"] if seen.held else []
        lines += [f"{blocked:,} start after others"] if blocked and waiting > seen.held else []
    return lines
