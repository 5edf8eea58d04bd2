"""The events of a job's stream, `job:ID`."""

from typing import Any, ClassVar

import msgspec

from queuectl.backoff import Backoff, Exponential, Steps
from queuectl.events.execution import Execution
from queuectl.events.payload import Payload
from queuectl.events.trigger import Trigger
from queuectl.runnable import SHELL, Argv, Runnable, Shell


class Enqueued(Payload, frozen=True, kw_only=True):
    """A job was added. Carries its whole policy, so later changes of the settings do not affect it."""

    type: ClassVar[str] = "enqueued"
    v: ClassVar[int] = 5
    readable_from: ClassVar[int] = 1
    wakes_workers: ClassVar[bool] = True
    command: str | None = None
    """A command line for `shell -c`; None where `argv` is given."""
    argv: list[str] | None = None
    """A program and its arguments, run without a shell."""
    queue: str = "default"
    priority: int = 0
    run_at: str
    """The moment from which the job may run."""
    cwd: str
    environment: str | None = None
    """The hash that names the stream of an `environment_kept`: variables and umask of the caller that the job gets.
    None: none of them."""
    env: dict[str, str] = {}
    """Variables that override these (`--env`). In version 1, the variables kept from the caller (`keep-env`)."""
    secrets: tuple[str, ...] = ()
    """The names of variables given with `--secret`. Their values are not in the log."""
    shell: str = SHELL
    """The shell that runs `command`."""
    stdin: str | None = None
    """The name of the copied input, or None for /dev/null."""
    timeout: float | None = None
    """Seconds an attempt may take; None: no limit."""
    max_retries: int
    backoff_base: float
    backoff_max: float
    """The longest delay between attempts, in seconds."""
    jitter: float = 0.0
    backoff: tuple[float, ...] = ()
    """The delay after each failure, in seconds, the last one repeated; empty: `backoff_base ** n`."""
    on_lost: str = "retry"
    """`retry` or `dead`: what happens to the job when an attempt is lost with its worker."""
    keep_children: bool = False
    split_output: bool = False
    """Whether what an attempt writes to stderr goes to a file of its own."""
    nice: int = 0
    """What is added to the niceness of the worker (0 to 19)."""
    memory_limit: int | None = None
    """Bytes of memory that an attempt may use; None: no limit."""
    grace: float = 5.0
    """Seconds that an attempt that is ended has from the stop signal to SIGKILL."""
    stop_signal: str = "TERM"
    """The name of the signal by which it is asked to end."""
    ok_codes: tuple[int, ...] = (0,)
    """The exit codes that are success, in order; 0 is always one of them."""
    no_retry_codes: tuple[int, ...] = ()
    """The exit codes of failures after which the job is dead, in order."""
    held: bool = False
    """Whether it is held from the beginning: it does not start until it is released."""
    needs: dict[str, int] = {}
    """How much of which resources an attempt is granted, all or nothing; in the order of the names."""
    slots: int = 1
    """How many slots of one worker an attempt takes."""
    after: tuple[str, ...] = ()
    """The ids of jobs that have to complete before it starts."""
    after_any: tuple[str, ...] = ()
    """The ids of jobs that have to end before it starts, however they do."""
    after_failure: tuple[str, ...] = ()
    """The ids of jobs of which one has to end without having completed (dead, cancelled) before it starts."""
    watching: str | None = None
    """The one of these for whose end it waits first; None: it waits for none of them."""
    tags: dict[str, str] = {}
    """What it is filed under, for filters; a tag without a value has an empty one."""
    unique: str | None = None
    """The key that no other job has while this one has not ended."""
    batch: str | None = None
    """The name of the batch to which it belongs."""
    trigger: Trigger | None = None
    """What enqueued it; None: a person, or a program that nothing is known of."""
    on_complete: str | None = None
    """The callbacks: command lines that run as jobs of their own once it has completed,"""
    on_failure: str | None = None
    """died,"""
    on_end: str | None = None
    """or ended, however it did."""
    reason: str | None = None

    @property
    def depends(self) -> bool:
        """Whether it depends on other jobs."""
        return bool(self.after or self.after_any or self.after_failure)

    @property
    def runnable(self) -> Runnable:
        """What is run."""
        return Shell(self.command, self.shell) if self.command is not None else Argv(tuple(self.argv or ()))

    @property
    def demand(self) -> str:
        """All that it needs but one slot, canonical: jobs with the same text in one queue can start alike."""
        if not self.needs and self.slots == 1:
            return ""
        words = [f"{name}={much}" for name, much in sorted(self.needs.items())]
        return " ".join([*words, f"slots={self.slots}"] if self.slots > 1 else words)

    @property
    def delays(self) -> Backoff:
        """The delays between its attempts."""
        if self.backoff:
            return Steps(self.backoff, self.jitter)
        return Exponential(self.backoff_base, self.backoff_max, self.jitter)


class Claimed(Payload, frozen=True, kw_only=True):
    """A worker took the job. `attempt` counts over the job's whole life. The version of this event is the lease."""

    type: ClassVar[str] = "claimed"
    v: ClassVar[int] = 2
    readable_from: ClassVar[int] = 1
    attempt: int
    worker: str
    rates: dict[str, str] = {}
    """By queue with a rate: the theoretical arrival time after this start (see `queuectl.rate`)."""
    granted: dict[str, int | tuple[int, ...]] = {}
    """By resource: how much of it the attempt has, or the numbers of its pieces."""
    home: str | None = None
    """The identity of the queue's folder at which that is; None: nothing is granted."""
    forced: bool = False
    """Whether it passed pause, hold, delay and limits, since `queuectl start` asked for that."""


class Ended(Execution, Payload, frozen=True):
    """The end of an attempt. Its own fields are not `kw_only`, so that they precede the inherited ones in the JSON."""

    attempt: int
    started_at: str | None = None


class Completed(Ended, frozen=True, kw_only=True):
    """The attempt succeeded."""

    type: ClassVar[str] = "completed"
    cascade: bool = False
    """Whether jobs that depend on this one are looked at later: a `cascaded` follows."""


class Failed(Ended, frozen=True, kw_only=True):
    """The attempt failed. A `retried` or a `dead` follows in the same transaction."""

    type: ClassVar[str] = "failed"
    cause: str
    """One of exit, signal, timeout, spawn, lost, output, memory, interrupted."""
    error: str | None = None
    """What went wrong, where the other fields do not say it."""


class Retried(Payload, frozen=True, kw_only=True):
    """The next attempt is due at `run_at`, `delay` seconds (with jitter) after the failure."""

    type: ClassVar[str] = "retried"
    wakes_workers: ClassVar[bool] = True
    run_at: str
    delay: float


class Dead(Payload, frozen=True, kw_only=True):
    """The job went to the dead letter queue."""

    type: ClassVar[str] = "dead"
    cascade: bool = False
    """Whether jobs that depend on this one are looked at later: a `cascaded` follows."""
    reason: str | None = None


class Requeued(Payload, frozen=True, kw_only=True):
    """A finished job is to run again, with a new retry budget."""

    type: ClassVar[str] = "requeued"
    v: ClassVar[int] = 2
    readable_from: ClassVar[int] = 1
    wakes_workers: ClassVar[bool] = True
    run_at: str
    secrets: list[str] | None = None
    """The names of all secret variables, where values were given again; None: none were."""
    watching: str | None = None
    """The job for whose end it waits first; None: it may start."""
    reason: str | None = None


class Edited(Payload, frozen=True, kw_only=True):
    """The job was changed. Later attempts use the new values; a running one has a new timeout at once."""

    type: ClassVar[str] = "edited"
    wakes_workers: ClassVar[bool] = True
    changes: dict[str, tuple[Any, Any]]
    """By field of `enqueued`: the old value and the new one. Of `secrets` the names, also where only values were given
    anew."""
    reason: str | None = None


class CancelRequested(Payload, frozen=True, kw_only=True):
    """A running job is to be cancelled. Its worker ends the command. Another one may follow, with another signal."""

    type: ClassVar[str] = "cancel_requested"
    wakes_workers: ClassVar[bool] = True
    cause: str = "user"
    """`user`: somebody asked for it; `halt`: its batch was halted."""
    signal: str | None = None
    """The name of the signal that is sent in the place of the job's stop signal."""
    reason: str | None = None


class CutShort(Execution, Payload, frozen=True):
    """The end of an attempt, if there was one."""

    attempt: int | None = None
    started_at: str | None = None


class Cancelled(CutShort, frozen=True, kw_only=True):
    """The job was cancelled. Carries the outcome of the attempt that this cut short, if any."""

    type: ClassVar[str] = "cancelled"
    cause: str = "user"
    """`user`: somebody asked for it; `dependency`: what it depends on has ended so that it never starts; `halt`: its
    batch was halted."""
    because: tuple[str, ...] = ()
    """The ids of the jobs whose ends are the cause."""
    cascade: bool = False
    """Whether jobs that depend on this one are looked at later: a `cascaded` follows."""
    reason: str | None = None


class Cascaded(Payload, frozen=True, kw_only=True):
    """All jobs that depend on this one have been looked at since it ended."""

    type: ClassVar[str] = "cascaded"
    wakes_workers: ClassVar[bool] = True


class WaitingFor(Payload, frozen=True, kw_only=True):
    """The blocked job waits for the end of another one of those that it depends on."""

    type: ClassVar[str] = "waiting_for"
    parent: str
    """The id of that job."""


class Unblocked(Payload, frozen=True, kw_only=True):
    """All that the job depends on has ended as it has to: it may start."""

    type: ClassVar[str] = "unblocked"
    wakes_workers: ClassVar[bool] = True
    because: str | None = None
    """The id of the job whose end decided it."""


class Released(Payload, frozen=True, kw_only=True):
    """A claim was given back before its command started. It uses no retry and no attempt number."""

    type: ClassVar[str] = "released"
    v: ClassVar[int] = 2
    readable_from: ClassVar[int] = 1
    wakes_workers: ClassVar[bool] = True
    attempt: int
    rates: dict[str, str] = {}
    """By queue with a rate: the theoretical arrival time without the start that did not come to be."""
    not_before: str | None = None
    """When the job is due again, where the reason would be met again; None: it is due as it was before."""
    reason: str | None = None


class Interrupted(Ended, frozen=True, kw_only=True):
    """The attempt was ended because an actor or a signal (`by`) stopped its worker. It uses no retry (R40)."""

    type: ClassVar[str] = "interrupted"
    wakes_workers: ClassVar[bool] = True
    by: str | None = None
    reason: str | None = None


class Held(Payload, frozen=True, kw_only=True):
    """The waiting job does not start until it is released."""

    type: ClassVar[str] = "held"
    wakes_workers: ClassVar[bool] = True
    reason: str | None = None


class Unheld(Payload, frozen=True, kw_only=True):
    """The job is not held any more."""

    type: ClassVar[str] = "unheld"
    wakes_workers: ClassVar[bool] = True
    reason: str | None = None


class Forced(Payload, frozen=True, kw_only=True):
    """The waiting job starts next: once, past pause, hold, delay, concurrency and rate."""

    type: ClassVar[str] = "forced"
    wakes_workers: ClassVar[bool] = True
    reason: str | None = None


class Suspended(Payload, frozen=True, kw_only=True):
    """The processes of the running attempt are to be stopped (SIGSTOP). The clock of its timeout stands still."""

    type: ClassVar[str] = "suspended"
    wakes_workers: ClassVar[bool] = True
    cause: str | None = None
    """`pause`: a pause of its queue, or of all, did it, with which it ends; None: somebody asked for this job."""
    reason: str | None = None


class Continued(Payload, frozen=True, kw_only=True):
    """The processes of the suspended attempt go on (SIGCONT)."""

    type: ClassVar[str] = "continued"
    wakes_workers: ClassVar[bool] = True
    reason: str | None = None


class Noted(Payload, frozen=True, kw_only=True):
    """Something was noted of the job, most often by its own command."""

    type: ClassVar[str] = "noted"
    text: str
    attempt: int | None = None
    """The attempt inside which the note was made; None: it was made from elsewhere."""


class Purged(Payload, frozen=True, kw_only=True):
    """The job was removed from the tables. Its history stays in the log, and its id is never used again."""

    type: ClassVar[str] = "purged"
    v: ClassVar[int] = 2
    readable_from: ClassVar[int] = 1
    state: str | None = None
    """How the job had ended, for those that depend on it; None: not recorded, as in version 1."""
    reason: str | None = None


class Passed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of state of an archived subject."""

    seq: int
    at: str
    state: str


class Moved(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of the queue of an archived job."""

    seq: int
    queue: str
    """The one that it was in before."""


class Archived(Payload, frozen=True, kw_only=True):
    """The tombstone of a job or a worker whose events were written to a file and removed from the log."""

    type: ClassVar[str] = "archived"
    file: str
    """The absolute path of the file at that time."""
    events: int
    """The number of events in the file."""
    state: str
    """The last state: a final state of a job, or `purged`; of a worker, `stopped` or `lost`."""
    queue: str | None = None
    """Of a job."""
    batch: str | None = None
    """Of a job that belongs to one."""
    slots: int | None = None
    """Of a worker."""
    passed: list[Passed]
    """Every change of state, from which counts of the past are computed."""
    moved: tuple[Moved, ...] = ()
    """Every change of the queue of a job, for the same."""
