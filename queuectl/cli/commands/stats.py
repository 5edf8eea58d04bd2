"""`queuectl stats`: throughput, waiting and run times, failures, busy hours, slow and flaky commands."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from queuectl import units
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress

if TYPE_CHECKING:
    from queuectl.analysis.stats import Row, Stats

_DAY, _HOUR = 86_400_000_000, 3_600_000_000
_BARS = " ▁▂▃▄▅▆▇█"
_SHOWN = 14
"""Number of days or hours of throughput shown, up to the last."""

Limit = Annotated[
    int, p.option("--limit", "N", "How many commands to name: run most, slowest, flakiest.", p.integer(1, 10_000))
]


def stats(
    *,
    since: p.EventsSince = None,
    until: p.EventsUntil = None,
    queue: p.Queue = None,
    limit: Limit = 5,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Show how much was done, how long it waited and ran, and what failed.

    $ queuectl stats
    $ queuectl stats --since 7d --queue mail
    $ queuectl stats --since 2026-11-01 --json | jq .waiting

    Every figure is an SQL query of the log, defined in docs/reference/stats.md. Days and hours are UTC. --json has all
    days and hours, a terminal the last few.
    """
    from queuectl.analysis.stats import stats as compute

    p.check_period(since, until)
    with opening.open_queue(db) as q:
        bar = progress.bar("Asking the log")
        result = compute(q, since=since, until=until, queue_name=queue, limit=limit, progress=bar)
    if json:
        output.document(result.json())
    else:
        _print_stats(result)


def _print_stats(result: "Stats") -> None:
    from queuectl.cli.ui import wording

    totals = result.totals
    jobs_gone, events_gone = result.archived["jobs"], result.archived["events"]
    gone = f"{units.counted(jobs_gone, 'job')} with {events_gone:,} events, not counted here"
    if not totals["first_at"] and jobs_gone:
        output.line(f"nothing of it is left in the log; archived: {gone}")
        return
    if not totals["first_at"]:
        of = f" to jobs of queue {result.queue!r}" if result.queue is not None else ""
        when = " in that time" if result.since is not None or result.until is not None else ""
        output.line(f"nothing happened{of}{when}" if result.seq else "nothing has happened yet")
        return
    jobs = [f"{totals[name]:,} {name}" for name in ("enqueued", "completed", "dead", "cancelled")]
    attempts = [f"{totals['attempts']:,} made", *(f"{totals[name]:,} {name}" for name in ("failed", "retried"))]
    if totals["interrupted"]:
        attempts.append(f"{totals['interrupted']:,} interrupted")
    output.fields([
        ("from", wording.full_time(totals["first_at"])),
        ("to", wording.full_time(totals["last_at"])),
        ("queue", output.escape(result.queue or "")),
        ("jobs", ", ".join(jobs)),
        ("attempts", ", ".join(attempts)),
        ("archived", gone if jobs_gone else ""),
    ])  # fmt: skip
    _throughput(result)
    _hours(result.busiest_hours)
    if result.waiting:
        _heading("Waiting, from due to claimed")
        times = [[row["queue"], f"{row['claims']:,}", *_times(row, "mean")] for row in result.waiting]
        heads = ["QUEUE", "CLAIMS", "MEAN", "P50", "P95", "P99", "LONGEST"]
        output.table(heads, times, right=heads[1:])
    if result.queues:
        _heading("Run time of attempts, and failures")
        rows = [[row["queue"], *_rates(row), *_times(row)] for row in result.queues]
        heads = ["QUEUE", *_RATES, "P50", "P95", "P99", "LONGEST"]
        output.table(heads, rows, right=heads[1:])
    for title, commands in (
        ("Commands run most", result.commands), ("Slowest, by their median", result.slowest),
        ("Flakiest, of those that also completed", result.flakiest),
    ):  # fmt: skip
        if commands:
            _heading(title)
            rows = [[*_rates(row), *_times(row), row["command"]] for row in commands]
            heads = [*_RATES, "P50", "P95", "P99", "LONGEST", "COMMAND"]
            output.table(heads, rows, right=heads[:-1])


_RATES = ("RUNS", "FAILED", "RETRIED")


def _rates(row: "Row") -> list[str]:
    runs = row["completed"] + row["failed"]
    return [f"{runs:,}", _percent(row["failure_rate"]), _percent(row["retry_rate"])]


def _times(row: "Row", *more: str) -> list[str]:
    """Return durations; an unknown one (a lost attempt has no run time) is `-`."""
    names = (*more, "p50", "p95", "p99", "longest")
    return [units.span(row[name]) if row[name] is not None else "-" for name in names]


def _percent(rate: float | None) -> str:
    if rate is None:
        return "-"
    return "0" if rate == 0 else f"{100 * rate:.1f} %"


def _heading(text: str) -> None:
    output.line()
    output.line(output.paint(text, "bold"))


def _throughput(result: "Stats") -> None:
    """Print the last days, or for at most two days the last hours; empty ones in between too."""
    daily = len(result.per_day) > 2
    name, step, rows = ("day", _DAY, result.per_day) if daily else ("hour", _HOUR, result.per_hour)
    if not rows:
        return
    by_start = {row[name]: row for row in rows}
    last = rows[-1][name]
    starts = [at for at in range(last - (_SHOWN - 1) * step, last + 1, step) if at >= rows[0][name]]
    nothing: Row = {"enqueued": 0, "completed": 0}
    shown = [(at, by_start.get(at, nothing)) for at in starts]
    most = max(row["completed"] for _, row in shown)
    room = min(output.width(), 120) - 45
    _heading(f"Throughput by {name}, UTC")
    output.table(
        [name.upper(), "ENQUEUED", "COMPLETED", ""],
        [
            [_start(at, daily), f"{row['enqueued']:,}", f"{row['completed']:,}",
             output.Cell("█" * _share(row["completed"], most, room), "completed")]
            for at, row in shown
        ],
        right=("ENQUEUED", "COMPLETED"),
    )  # fmt: skip


def _start(at: int, daily: bool) -> str:
    from queuectl.clock import text

    moment = text(at)
    return moment[:10] if daily else f"{moment[:10]} {moment[11:16]}"


def _hours(rows: "Sequence[dict[str, Any]]") -> None:
    """Print the day as a row of 24 bars, and its busiest hours."""
    busy = {row["hour_of_day"]: row["completed"] for row in rows}
    most = max(busy.values(), default=0)
    if not most:
        return
    bars = "".join(_BARS[_share(busy.get(hour, 0), most, 8)] * 2 for hour in range(24))
    best = ", ".join(f"{row['hour_of_day']:02}h ({row['completed']:,})" for row in rows[:3] if row["completed"])
    _heading("Hours of the day, UTC, by jobs completed")
    output.line(f"00h {output.paint(bars, 'completed')} 24h")
    output.line(f"busiest: {best}")


def _share(count: int, most: int, steps: int) -> int:
    """Return the number of steps for a count; at least one if it is above 0."""
    return max(round(steps * count / most), 1) if count else 0
