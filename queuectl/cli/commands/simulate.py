"""`queuectl simulate`: what another retry policy would have made of the recorded failures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from queuectl import units
from queuectl.cli import job_options, opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress
from queuectl.errors import Invalid
from queuectl.options import OF_NAME

if TYPE_CHECKING:
    from queuectl.analysis.simulate import Bounds, RetryPolicy, Simulation

_DEFAULT = "as each job had it"
_TRIED = ("max_retries", "backoff_base", "backoff_max", "backoff")
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

    The recorded outcomes of the jobs enqueued since then are decided anew. What attempts that never happened would have
    brought is given as bounds and an estimate; the answer names what it assumes. Nothing is changed.
    """
    from queuectl.analysis.simulate import RetryPolicy, document
    from queuectl.analysis.simulate import simulate as run_simulation

    if not tried:
        raise Invalid("say which policy to try: --max-retries, --backoff-base, --backoff-max or --backoff")
    policy = RetryPolicy(**job_options.given_fields(tried))
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
    output.fields([
        ("policy", _policy(policy)),
        ("jobs", f"{result.jobs:,}{of}{when} that failed at least once{again}"),
    ])  # fmt: skip
    room = output.width() - 20
    for title, pairs in (
        ("What would have become of them", _endings(result)),
        ("What it would have cost", _costs(result)),
    ):
        output.line()
        output.line(output.paint(title, "bold"))
        for name, text in pairs:
            first, *more = output.wrap(text, room)
            output.line(f"{name:<18}  {first}")
            for line in more:
                output.line(f"{'':18}  {line}")
    output.line()
    output.line(output.paint("What this assumes", "bold"))
    for sentence in ASSUMPTIONS:
        first, *more = output.wrap(sentence, min(output.width(), 100) - 2)
        for mark, line in (("-", first), *((" ", line) for line in more)):
            output.line(f"{mark} {line}")


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
    text = ", ".join(part for part in parts if part)
    return text if all(parts) else f"{text}; else {_DEFAULT}"


def _endings(result: "Simulation") -> list[tuple[str, str]]:
    lost, dead, other = result.given_up_completed, result.given_up_dead, result.given_up_other
    given_up = f"{lost + dead + other:,}"
    if lost + dead + other:
        given_up += f": {lost:,} that completed later, {dead:,} that died anyway"
        given_up += f", {other:,} cancelled or not at an end" if other else ""
    going_on = f"{result.going_on:,}"
    if result.going_on:
        going_on += f" dead, of which {_bounds(result.rescued)} would have completed"
    if result.without_estimate:
        going_on += f"; for {result.without_estimate:,} there is nothing to estimate by, they are taken as dead"
    return [("ended the same", f"{result.unchanged:,}"), ("given up earlier", given_up), ("tried further", going_on)]


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
