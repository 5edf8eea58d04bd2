"""`queuectl explain`: why jobs wait."""

from typing import TYPE_CHECKING, Annotated, Any

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output

if TYPE_CHECKING:
    from queuectl.admission import Reason
    from queuectl.queue import Queue


def explain(
    id: Annotated[str | None, p.Parameter(name="ID", help="This job; all that wait, where none is named.")] = None,
    /,
    *,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Tell every reason why a job waits: since when, by whom, what frees it, and when.

    $ queuectl explain 17
    $ queuectl explain

    Without an ID it sums up: each first reason, how many jobs it keeps, and since when the oldest of them.
    """
    with opening.open_queue(db) as q:
        if id is None:
            _sum_up(q, json)
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
