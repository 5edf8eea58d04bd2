"""`queuectl simulate`: what another retry policy would have made of the recorded failures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from queuectl import units
from queuectl.bounds import check_codes
from queuectl.cli import job_options, opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress
from queuectl.errors import Invalid
from queuectl.options import OF_NAME

if TYPE_CHECKING:
    from queuectl.analysis.simulate import Bounds, RetryPolicy, Simulation

_DEFAULT = "as each job had it"
_TRIED = ("max_retries", "backoff_base", "backoff_max", "backoff", "ok_codes", "no_retry_codes")
if TYPE_CHECKING:
    Tried = Mapping[str, Any] | None
else:
    Tried = p.options({name: p.job_option(replace(OF_NAME[name], setting=None, without=_DEFAULT)) for name in _TRIED})


def simulate(
    *,
    tried: Tried = None,
    since: p.Since = None,
    queue: p.Queue = None,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Show what another retry policy would have changed.

    $ queuectl simulate --backoff-base 3 --max-retries 5 --since 7d
    $ queuectl simulate --max-retries 1 --queue mail --json
    $ queuectl simulate --no-retry-codes 64,78

    The recorded outcomes of the jobs enqueued since then are decided anew. What attempts that never happened would have
    brought is given as bounds and an estimate; the answer names what it assumes. Nothing is changed.
    """
    from queuectl.analysis.simulate import RetryPolicy, document
    from queuectl.analysis.simulate import simulate as run_simulation

    if not tried:
        raise Invalid(f"say which policy to try: {', '.join(f'--{OF_NAME[name].key}' for name in _TRIED)}")
    policy = RetryPolicy(**job_options.given_fields(tried))
    check_codes(policy.ok_codes or (), policy.no_retry_codes or ())
    with opening.open_queue(db) as q:
        bar = progress.bar("Deciding anew")
        result = run_simulation(q, policy, since=since, queue_name=queue, progress=bar)
    if json:
        output.document(document(result, policy, since, queue))
    else:
        _print_simulation(result, policy, since, queue)


def _print_simulation(result: "Simulation", policy: "RetryPolicy", since: int | None, queue: str | None) -> None:
    from queuectl.analysis.simulate import ASSUMPTIONS
    from queuectl.cli.ui import wording

    of = f" of queue {output.escape(queue)}" if queue is not None else ""
    when = f" enqueued since {wording.local_time(since)}" if since is not None else ""
    if not result.budgets:
        output.line(f"no job{of}{when} has failed: any retry policy would have done the same")
        return
    again = f", {result.budgets - result.jobs:,} sent back by hand" if result.budgets > result.jobs else ""
    _print_pairs(6, [
        ("policy", _policy(policy)),
        ("jobs", f"{result.jobs:,}{of}{when} that failed at least once{again}"),
    ])  # fmt: skip
    for title, pairs in (
        ("What would have become of them", _endings(result)),
        ("What it would have cost", _costs(result)),
    ):
        output.line()
        output.line(output.paint(title, "bold"))
        _print_pairs(18, pairs)
    output.line()
    output.line(output.paint("What this assumes", "bold"))
    for sentence in ASSUMPTIONS:
        first, *more = output.wrap(sentence, min(output.width(), 100) - 2)
        for mark, line in (("-", first), *((" ", line) for line in more)):
            output.line(f"{mark} {line}")


def _print_pairs(widest: int, pairs: list[tuple[str, str]]) -> None:
    """Print texts beside names of that width at most, wrapped."""
    for name, text in pairs:
        first, *more = output.wrap(text, output.width() - widest - 2)
        output.line(f"{name:<{widest}}  {first}")
        for line in more:
            output.line(f"{'':{widest}}  {line}")


def _policy(policy: "RetryPolicy") -> str:
    from queuectl.cli.ui import wording

    retries, base, most = policy.max_retries, policy.backoff_base, policy.backoff_max
    parts = [f"{retries} {'retry' if retries == 1 else 'retries'}" if retries is not None else ""]
    if policy.backoff:
        parts.append(f"{wording.steps(policy.backoff)} after each failure")
    elif policy.backoff is not None:
        parts.append("base^n seconds after the n-th failure")
    else:
        parts.append(f"{units.plain(base)}^n seconds after the n-th failure" if base is not None else "")
        parts.append(f"at most {units.span(most)}" if most is not None else "")
    parts.append(f"exit codes {wording.codes(policy.ok_codes)} succeed" if policy.ok_codes is not None else "")
    unretried = policy.no_retry_codes
    parts.append(f"exit codes {wording.codes(unretried)} not retried" if unretried is not None else "")
    text = ", ".join(part for part in parts if part)
    return text if all(parts) else f"{text}; else {_DEFAULT}"


def _endings(result: "Simulation") -> list[tuple[str, str]]:
    succeeded = _recorded(result.succeeded_completed, result.succeeded_dead, result.succeeded_other, "that died")
    given_up = _recorded(result.given_up_completed, result.given_up_dead, result.given_up_other, "that died anyway")
    going_on = f"{result.going_on:,}"
    if result.going_on:
        going_on += f" dead, of which {_bounds(result.rescued)} would have completed"
    if result.without_estimate:
        going_on += f"; for {result.without_estimate:,} there is nothing to estimate by, they are taken as dead"
    return [
        ("ended the same", f"{result.unchanged:,}"),
        *([("succeeded earlier", succeeded)] if succeeded != "0" else []),
        ("given up earlier", given_up),
        ("tried further", going_on),
    ]


def _recorded(completed: int, dead: int, other: int, died: str) -> str:
    """Return how many these are, and what became of them according to the log."""
    if not completed + dead + other:
        return "0"
    more = f", {other:,} cancelled or not at an end" if other else ""
    return f"{completed + dead + other:,}: {completed:,} that completed later, {dead:,} {died}{more}"


def _costs(result: "Simulation") -> list[tuple[str, str]]:
    retries = [f"{result.retries:,} recorded", f"{result.retries_saved:,} saved"]
    waiting = [f"{units.span(result.waiting)} recorded"]
    if result.retries_saved:
        waiting.append(f"{units.span(result.waiting_saved)} saved with those retries")
    if changed := result.waiting_changed:
        waiting.append(f"{units.span(abs(changed))} {'less' if changed < 0 else 'more'} before the others")
    if result.going_on:
        least, likely, most = map(units.span, msgspec.structs.astuple(result.waiting_added))
        retries.append(f"{_bounds(result.retries_added)} more")
        waiting.append(f"about {likely} ({least} to {most}) more before further retries")
    return [("retries", "; ".join(retries)), ("waiting", "; ".join(waiting))]


def _bounds(value: "Bounds") -> str:
    return f"about {value.estimate:,.0f} ({value.least:,.0f} to {value.most:,.0f})"
