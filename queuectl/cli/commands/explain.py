"""`queuectl explain`: why jobs wait."""

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output
from queuectl.clock import SECOND
from queuectl.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl.admission import Reason
    from queuectl.queue import Queue
    from queuectl.wait_history import WaitSpan, WaitTotal

_LEAST = 0.01
"""The share of the time from which on a wait is shown by itself."""
_MOST = 20
"""Reasons shown."""


def explain(
    id: Annotated[
        str | None,
        p.Parameter(name="ID", help="This job; all that wait, where none is named.", values=v.jobs("unstarted")),
    ] = None,
    /,
    *,
    history: Annotated[
        bool, p.Parameter(name="--history", help="What the job has waited for, from its enqueue to its last start.")
    ] = False,
    json: Annotated[
        bool,
        p.Parameter(name="--json", help="Answer as JSON, one object a line; with --history one document."),
    ] = False,
    db: p.Database = None,
) -> None:
    """Tell every reason why a job waits: since when, by whom, what frees it, and when.

    $ queuectl explain 17
    $ queuectl explain
    $ queuectl explain 17 --history

    Without an ID it sums up: each first reason, how many jobs it keeps, and since when the oldest of them. With
    --history it accounts for the time that a job has waited, whatever became of it: after each event the first reason,
    as the log tells it. What the log can't tell (a full disk) is "ready": nothing kept the job.
    """
    if history and id is None:
        raise Invalid("--history is of one job: give its ID")
    with opening.open_queue(db) as q:
        if id is None:
            _sum_up(q, json)
        elif history:
            _print_history(q, q.resolve(id), json)
        else:
            _explain(q, q.resolve(id), json)


def _explain(q: "Queue", id: str, json: bool) -> None:
    job = q.job(id)
    found = q.reasons(id)
    if json:
        output.documents(reason.json() for reason in found)
        return

    output.line(f"job {output.escape(id)} is {job.state}" + (":" if found else ", and nothing keeps it"))
    for reason in found:
        output.line(output.escape(f"  {reason.kind:<11}  {reason.text}"))
        for label, value in _details(reason):
            output.line(output.paint(output.escape(f"               {label} {value}"), "dim"))


def _details(reason: "Reason") -> list[tuple[str, str]]:
    from queuectl.cli.ui import wording

    return [
        *([("since", wording.full_time(reason.since))] if reason.since is not None else []),
        *([("by", reason.by)] if reason.by is not None else []),
        *([("because:", reason.why)] if reason.why else []),
        *([("until about" if reason.estimated else "until", wording.full_time(reason.when))] if reason.when else []),
        *([("frees it:", reason.frees)] if reason.frees is not None else []),
    ]


def _print_history(q: "Queue", id: str, json: bool) -> None:
    from queuectl.cli.ui import progress

    found = q.wait_history(id, progress.bar("Reading the log"))
    if json:
        output.document(found.json())
        return
    from queuectl import units
    from queuectl.cli.ui import wording

    least = found.waited * _LEAST
    totals = [total for total in found.totals() if total.time >= least]
    waited = f"it {'has waited' if found.waits else 'waited'} {units.span(found.waited / SECOND)}"
    line = f"job {output.escape(id)} is {found.state}; {waited if totals else 'it has not waited'}"
    if len(totals) == 1:
        line += f": {output.escape(wording.wait_reason(totals[0].reason))}"
    output.line(line)
    if len(totals) > 1:
        rows = [*_rows(found.spans, least)]
        if len(rows) > len(totals):  # else each comes once
            output.line()
            _print_totals(totals[:_MOST], found.waited)
        output.line()
        output.table(("FROM", "TIME", "ATTEMPT", "REASON", "WHY"), rows, right=("TIME", "ATTEMPT"))
    if found.archived:
        those = units.counted(found.archived, "job that was there then is", "jobs that were there then are")
        output.message(f"{those} archived: a wait for what is not in the log any more is told as ready")


def _print_totals(totals: "list[WaitTotal]", waited: int) -> None:
    from queuectl import units
    from queuectl.cli.ui import wording

    rows = [
        (
            units.span(total.time / SECOND), f"{100 * total.time / waited:.0f} %", total.reason.kind,
            wording.wait_reason(total.reason),
        )
        for total in totals
    ]  # fmt: skip
    output.table(("TIME", "SHARE", "REASON", "WHY"), rows, right=("TIME", "SHARE"))


def _rows(spans: "list[WaitSpan]", least: float) -> "Iterator[tuple[str, ...]]":
    """Yield a row for each time that one reason was the first; what took less than `least` (µs) between is left out.

    Where many short spans took that long together, they have a row of their own.
    """
    from queuectl import units
    from queuectl.cli.ui import wording
    from queuectl.wait_history import joined

    def kind(span: "WaitSpan") -> Any:
        return (span.attempt, span.reason.key) if span.until - span.since >= least else None

    kept: list[WaitSpan] = []
    for _, group in groupby(spans, lambda span: kind(span) is None):
        those = list(group)
        kept += those if sum(span.until - span.since for span in those) >= least else ()
    for which, group in groupby(kept, kind):
        those = list(group)
        reason = joined([span.reason for span in those])
        words = (f"{those[0].attempt}", reason.kind, wording.wait_reason(reason))
        if which is None:
            words = ("", "", units.counted(len(those), "shorter wait"))
        time = sum(span.until - span.since for span in those) / SECOND
        yield wording.local_time(those[0].since), units.span(time), *words


def _sum_up(q: "Queue", json: bool) -> None:
    found = q.waits()
    if json:
        output.documents(wait.json() for wait in found)
        return
    from queuectl.cli.ui import wording

    rows: list[tuple[Any, ...]] = [
        (
            wait.reason.kind,
            f"{wait.jobs:,}",
            wording.relative_time(wait.oldest),
            wording.reason_sentence(wait.reason, jobs=wait.jobs),
            wait.reason.frees or "",
        )
        for wait in found
    ]
    if not output.table(("REASON", "JOBS", "OLDEST", "WHY", "FREED BY"), rows, right=("JOBS",)):
        output.message("no job waits")
