"""`queuectl list`: jobs by state."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_args

from queuectl import filters
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output, progress
from queuectl.errors import Invalid

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.admission import Facts
    from queuectl.forecast import Forecasts
    from queuectl.listing import Listing


def _tag(text: str) -> str:
    """Return the term of a filter. Raises Invalid if it has no key."""
    if not text.partition("=")[0]:
        raise Invalid(f"{text!r} has no key; write KEY or KEY=VALUE")
    return str(filters.Term("tag", (text,)))


def _columns(texts: Sequence[str]) -> list[str]:
    """`--columns a,b --columns c`."""
    from queuectl.cli.job_columns import columns_from

    return columns_from(",".join(texts))


Columns = Annotated[
    list[str] | None,
    p.Parameter(
        name="--columns",
        metavar="NAME[,NAME…]",
        help="Only these: fields of the document of a job (docs/reference/json.md), and situation. May be repeated.",
        read_all=_columns,
        values=v.COLUMNS,
        extra={"allow_leading_hyphen": True},
    ),
]


def list_jobs(
    *words: Annotated[
        str,
        p.Parameter(
            name="FILTER",
            help="Only jobs that this finds: terms as state:dead queue:gpu tag:exp=3 exit:137 cause:timeout by:ann* "
            "since:2d until:1d ended:1d, words of the id, the command, the tags, the notes or the last error, a hyphen "
            "before what is not meant.",
            extra={"allow_leading_hyphen": True},
        ),
    ],
    state: p.States = None,
    queue: p.Queue = None,
    batch: p.Batch = None,
    tag: Annotated[
        str | None, p.option("--tag", "KEY[=VALUE]", "Only jobs with this tag: as the term tag:KEY=VALUE.", _tag)
    ] = None,
    since: p.Since = None,
    until: p.Until = None,
    ended_since: p.EndedSince = None,
    at: p.At = None,
    limit: Annotated[int | None, p.option("--limit", "N", "At most so many.", p.integer(1, 2**31))] = None,
    columns: Columns = None,
    all: Annotated[
        bool, p.Parameter(name="--all", help="All of them, rather than 1,000 that wait and the last 20 that ended.")
    ] = False,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """List jobs: what runs, what waits in the order in which it will run, and what has ended, the latest first.

    $ queuectl list --state failed,dead
    $ queuectl list --queue mail --tag exp=3 --since -1h --json | jq -r .id
    $ queuectl list --state dead --ended-since -1d
    $ queuectl list exit:137,143 tag:exp=3 -queue:mail since:2d
    $ queuectl list --columns id,exit_code,finished_at,tags state:dead
    $ queuectl list --state processing --at 2026-11-24T09:00

    With --json, and with --limit N, it is all of them, or N.
    """
    p.check_period(since, until)
    _refuse_options(words)
    with opening.open_queue(db) as q:
        if batch is not None and at is None:
            q.batch(batch)
        brief = not (all or json or limit is not None)
        jobs = q.jobs(
            state=state, queue=queue, batch=batch, since=since, until=until, ended_since=ended_since,
            where=" ".join((*words, *((tag,) if tag is not None else ()))), limit=limit, brief=brief, then=at,
            progress=progress.bar("Folding the log"),
        )  # fmt: skip
        facts = q.facts() if at is None and not (json and columns is None) else None
        forecasts = q.forecasts(at)
        if json:
            output.documents(_document(job, columns, jobs.now, facts, forecasts) for job in jobs)
            return
        if not _table(jobs, facts, forecasts, columns):
            some = at is not None or q.status().total
            output.message("no job matches" if some else "there are no jobs; add one with `queuectl enqueue COMMAND`")


def _document(job: "Job", columns: list[str] | None, now: int, facts: "Facts | None", forecasts: "Forecasts") -> Any:
    """Return a job as JSON shows it, or only these columns of it."""
    forecast = forecasts(job)
    if columns is None:
        from queuectl.documents import job_document

        return job_document(job, forecast)
    from queuectl.cli.job_columns import values
    from queuectl.cli.ui.wording import state_detail

    return values(job, forecast, columns, state_detail(job, now, facts, forecast))


def _table(jobs: "Listing", facts: "Facts | None", forecasts: "Forecasts", columns: list[str] | None) -> int:
    """Print jobs, a line each, and how many more there are; returns how many were printed."""
    from queuectl.cli.ui.wording import state_detail

    if columns is not None:
        from queuectl.cli.job_columns import words

        heads = tuple(name.upper() for name in columns)
        rows = (words(_document(job, columns, jobs.now, facts, forecasts)) for job in jobs)
    else:
        heads = ("ID", "STATE", "QUEUE", "PRIO", "SITUATION", "COMMAND")
        rows = (
            (
                job.id, output.Cell(job.state, job.state), job.queue,
                str(job.priority) if not job.past_limits else "first",
                state_detail(job, jobs.now, facts, forecasts(job)), job.command,
            )
            for job in jobs
        )  # fmt: skip
    count = output.table(heads, rows, right=("PRIO",))
    more = [(_more(jobs.waiting_more), " that wait")] if jobs.waiting_more != 0 else []
    if jobs.ended_more != 0:
        more += [(_more(jobs.ended_more), " that ended" if more else "")]
    if more:
        output.line(output.paint(f"… {', '.join(count + which for count, which in more)} (--all)", "dim"))
    return count


def _more(count: int | None) -> str:
    return f"{count:,} more" if count is not None else "more"


def _refuse_options(words: Iterable[str]) -> None:
    """Raise Invalid for a word that is meant as an option, and not as a term that is negated."""
    for word in words:
        if re.fullmatch(r"-[A-Za-z]|--.*", word):
            from queuectl.cli.usage_errors import like_option

            described = [each for hint in list_jobs.__annotations__.values() for each in get_args(hint)[1:]]
            known = [name for each in described for name in each.names if name.startswith("-")]
            raise Invalid(f"list has no option {word}{like_option(word, known)}; see queuectl list --help")
