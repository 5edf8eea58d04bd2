"""The decisions on one job, but for its end: enqueued, claimed, sent back, edited, purged."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from projections.jobs import FINAL, Job
from projections.queues import QueueGate, QueueState
from queuectl.admission import NOTHING, WAITING, Facts, first
from queuectl.clock import text
from queuectl.decisions.dependencies import refuse_cascading
from queuectl.errors import Refused
from queuectl.events import (
    Claimed,
    Continued,
    Edited,
    Enqueued,
    Event,
    Forced,
    Held,
    Noted,
    Purged,
    Requeued,
    Suspended,
    Unheld,
)
from queuectl.options import EDITABLE, OF_NAME, is_editable
from queuectl.policy import phase
from queuectl.units import listed

MOST_NOTES = 100
"""Notes of one attempt, and of a job from outside its attempts: a note is an event, and the log keeps it."""


def enqueue(policy: Enqueued) -> list[Event]:
    """A new job, with its resolved policy (see `queuectl.policy`)."""
    return [policy]


def claim(
    job: Job,
    worker: str,
    now: int,
    gate: QueueGate | None = None,
    granted: Mapping[str, int | tuple[int, ...]] = {},
    home: str | None = None,
) -> list[Event]:
    """The next attempt of a job. `gate`: that of its queue, where anything was said of it.

    `granted` is what it has of resources, at the home of this identity.

    Raises Refused where the job, or the gate, does not let it start at `now`.
    """
    if job.state not in WAITING:
        raise Refused(f"job {job.id} is {job.state}, not waiting to be claimed")
    if found := first(job, Facts(gates={job.queue: gate}) if gate is not None else NOTHING, now):
        raise Refused(f"job {job.id} can't start: {found.text}")
    is_rated = gate is not None and gate.state.rate is not None and not job.past_limits
    arrival = gate.started(now).arrival if gate is not None and is_rated else None
    rates = {job.queue: text(arrival)} if arrival is not None else {}
    claimed = Claimed(
        attempt=job.attempt + 1,
        worker=worker,
        rates=rates,
        granted=dict(granted),
        home=home if granted else None,
        forced=job.forced,
    )
    return [claimed]


def hold(job: Job, reason: str | None = None) -> list[Event]:
    """Keep a waiting job from starting, also where it was to start next; no events where it is held already.

    Raises Refused where it does not wait.
    """
    if job.state == "processing":
        raise Refused(f"job {job.id} is processing: what runs can't be held: use suspend")
    if job.state not in (*WAITING, "blocked"):
        raise Refused(f"job {job.id} is {job.state}: only a job that waits can be held")
    return [Held(reason=reason)] if not job.held or job.forced else []


def release(job: Job, reason: str | None = None) -> list[Event]:
    """Let a held job start; no events where it is not held. Raises Refused where it does not wait."""
    if job.state not in (*WAITING, "blocked", "processing"):
        raise Refused(f"job {job.id} is {job.state}: only a job that waits can be released")
    return [Unheld(reason=reason)] if job.held else []


def force(job: Job, reason: str | None = None) -> list[Event]:
    """Have a waiting job start next, past pause, hold, delay and limits; no events where it will.

    Raises Refused where it does not wait.
    """
    if job.state == "blocked":
        raise Refused(f"job {job.id} is blocked: it can't start before {job.watching} has ended")
    if job.state not in WAITING:
        hint = "it runs already" if job.state == "processing" else f"retry it: queuectl retry {shlex.quote(job.id)}"
        raise Refused(f"job {job.id} is {job.state}: only a job that waits can be started; {hint}")
    return [Forced(reason=reason)] if not job.forced else []


def suspend(job: Job, reason: str | None = None, *, by_pause: bool = False) -> list[Event]:
    """Stop the processes of a running job until it is continued; no events where they are.

    `by_pause`: until the pause ends that does it; what somebody has suspended by itself stays so. Raises Refused where
    the job does not run, or is being cancelled.
    """
    if job.state != "processing":
        hint = f"; hold it: queuectl hold {shlex.quote(job.id)}" if job.state in WAITING else ""
        raise Refused(f"job {job.id} is {job.state}: only a job that runs can be suspended{hint}")
    if job.cancel_requested:
        raise Refused(f"job {job.id} is being cancelled: it can't be suspended any more")
    if job.suspended_at is not None and (by_pause or not job.suspended_by_pause):
        return []
    return [Suspended(cause="pause" if by_pause else None, reason=reason)]


def continue_(job: Job, reason: str | None = None) -> list[Event]:
    """Let the processes of a suspended job go on; no events where they do. Raises Refused where it does not run."""
    if job.state != "processing":
        hint = f"; release it: queuectl release {shlex.quote(job.id)}" if job.state in WAITING and job.held else ""
        raise Refused(f"job {job.id} is {job.state}: only a job that runs can be continued{hint}")
    return [Continued(reason=reason)] if job.suspended_at is not None else []


def end_of_pause(job: Job, pauses: Iterable[QueueState | None], now: int, reason: str | None = None) -> list[Event]:
    """Let a job go on that a pause has suspended, unless one of these (of its queue, of all queues) still does so."""
    if not job.suspended_by_pause or any(each is not None and each.suspends(now) for each in pauses):
        return []
    return continue_(job, reason)


def note(job: Job, text: str, attempt: int | None, noted: int) -> list[Event]:
    """A note on a job: made inside this attempt, or from elsewhere (None).

    `noted`: how many there are of it by now. Raises Refused where the attempt is over, or there are too many.
    """
    if attempt is not None and (job.state != "processing" or job.attempt != attempt):
        raise Refused(f"attempt {attempt} of job {job.id} is over: nothing more can be noted in it")
    if noted >= MOST_NOTES:
        of = f"attempt {attempt}" if attempt is not None else "the outside"
        raise Refused(f"job {job.id} has {MOST_NOTES} notes of {of}, the most there can be: print the rest")
    return [Noted(text=text, attempt=attempt)]


def requeue(
    job: Job,
    now: int,
    secrets: Sequence[str] | None = None,
    reason: str | None = None,
    *,
    stored: Collection[str] | None = None,
    watching: str | None = None,
) -> list[Event]:
    """Run a finished job again, with a new retry budget; its attempt numbers go on.

    `secrets` are the names of the variables whose values were given again, `stored` of those whose values the database
    has (None: all that the job keeps). `watching`: the job for whose end it waits
    first. Raises Refused where the job has not ended, or a secret value is missing: values
    are deleted when a job completes, and imports and backups have none.
    """
    if job.state not in FINAL:
        hint = "cancel it first" if job.state == "processing" else "it will run by itself"
        raise Refused(f"job {job.id} is {job.state}: only a finished job can be retried; {hint}")
    refuse_cascading(job, "retried")
    kept = () if job.state == "completed" else job.secrets if stored is None else stored
    missing = [name for name in job.secrets if name not in kept and name not in (secrets or ())]
    if missing:
        flags = " ".join(f"--secret {name}=…" for name in missing)
        why = "they are forgotten once it completes" if job.state == "completed" else "they are not in this database"
        raise Refused(f"job {job.id} needs its secret variables again ({why}): {flags}")
    names = None if secrets is None else sorted({*job.secrets, *secrets})
    return [Requeued(run_at=text(now), secrets=names, watching=watching, reason=reason)]


def in_force(job: Job) -> Enqueued:
    """The policy of a job with what other events than edits have made of it."""
    return replace(job.policy, run_at=text(job.run_at), watching=job.watching, secrets=job.secrets)


def edit(job: Job, wanted: Enqueued, reason: str | None = None, *, secrets: bool = False) -> list[Event]:
    """Change the job to `wanted`; no events where that is what is in force.

    `secrets`: values of secret variables were given anew, whether or not there are others by name. What may be changed
    of the job as it is `refuse_uneditable` says.
    """
    before = in_force(job)
    changes = {
        name: (was, new)
        for name in Enqueued.__struct_fields__
        if (was := getattr(before, name)) != (new := getattr(wanted, name)) or (secrets and name == "secrets")
    }
    return [Edited(changes=changes, reason=reason)] if changes else []


def refuse_uneditable(job: Job, names: Iterable[str]) -> None:
    """Raise Refused where one of these fields of Spec can't be changed of the job as it is."""
    now = phase(job)
    for name in names:
        if is_editable(name, now):
            continue
        option = OF_NAME.get(name)
        key = option.key if option is not None else "command"
        what = f"job {job.id} is {job.state}: its {key} can't be changed"
        if now == "waiting":
            raise Refused(f"{what} any more: only while it is blocked")
        left = listed([OF_NAME[each].key for each in EDITABLE if each != "reason" and is_editable(each, now)])
        again = "" if option is not None and option.only_new else f"queuectl retry {shlex.quote(job.id)} --{key} …"
        if now == "running":
            then = f", and once it has ended `{again}` does that" if again else ""
            raise Refused(f"{what} while it runs, only {left}{then}")
        raise Refused(f"{what} any more, only {left}" + (f"; `{again}` runs it again so" if again else ""))


def purge(job: Job, reason: str | None = None) -> list[Event]:
    """Remove a finished job from the tables. Raises Refused where it has not ended."""
    if job.state not in FINAL:
        raise Refused(f"job {job.id} is {job.state}: only a finished job can be purged; cancel it first")
    refuse_cascading(job, "purged")
    return [Purged(state=job.state, reason=reason)]
