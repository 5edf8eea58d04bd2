"""Callbacks: the jobs that the end of another one adds."""

from msgspec.structs import replace

from projections.jobs import FINAL, Job
from queuectl.clock import text
from queuectl.events import CALLBACK_PRIORITY, Enqueued, Trigger

DEEPEST = 8
"""How many callbacks may follow from each other."""

CALLBACK_OPTIONS = {
    "completed": ("on_complete", "on_end"), "dead": ("on_failure", "on_end"), "cancelled": ("on_end",)
}  # fmt: skip
"""By final state the options of a job that say which callbacks it has then."""


def end_to_tell(before: Job, state: str) -> str | None:
    """The end of which the callbacks of a job tell that comes to a final state; None: of none.

    A job that had ended before has been told of, unless what its end does was left for later and is still to do.
    """
    if before.state not in FINAL:
        return state
    return before.state if before.cascading else None


def callbacks(policy: Enqueued, state: str, on_dead: str | None) -> list[str]:
    """The command lines of the callbacks of a job that has come to a final state.

    `on_dead`: that of every job that dies, but for callbacks.
    """
    lines = [line for option in CALLBACK_OPTIONS[state] if (line := getattr(policy, option)) is not None]
    if state == "dead" and on_dead is not None and not (policy.trigger is not None and policy.trigger.is_callback):
        lines.append(on_dead)
    return lines


def callback(base: Enqueued, of: Job, state: str, line: str, now: int) -> Enqueued:
    """The policy of a callback of a job that has come to a final state: `base`, with what it has of that job.

    It goes before all others of its queue. The values of secret variables are not handed on.
    """
    return replace(
        base, command=line, queue=of.queue, priority=CALLBACK_PRIORITY, run_at=text(now), cwd=of.policy.cwd,
        environment=of.policy.environment, env=of.policy.env or base.env, trigger=Trigger(job=of.id, event=state),
    )  # fmt: skip


def on_empty(base: Enqueued, line: str, now: int) -> Enqueued:
    """The policy of the callback for that nothing is left to do: in the queue `default`, with nothing of any job."""
    return replace(
        base, command=line, priority=CALLBACK_PRIORITY, run_at=text(now), trigger=Trigger(event="empty")
    )  # fmt: skip
