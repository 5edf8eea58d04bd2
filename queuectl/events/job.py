"""The events of a job's stream, `job:ID`."""

from typing import Any, ClassVar

import msgspec

from queuectl.events.payload import Payload

SHELL = "/bin/sh"
"""What runs a command line unless another shell was asked for."""


class Enqueued(Payload, frozen=True, kw_only=True):
    """A job was added. Carries its whole resolved policy: later changes of the settings don't touch it."""

    type: ClassVar[str] = "enqueued"
    v: ClassVar[int] = 2
    wakes_workers: ClassVar[bool] = True
    command: str | None = None
    """A line for `shell -c`; or None where `argv` is given."""
    argv: list[str] | None = None
    """A program and its arguments, run without a shell."""
    queue: str = "default"
    priority: int = 0
    run_at: str
    """The moment from which it may run."""
    cwd: str
    environment: str | None = None
    """What it is given of the enqueuer's environment: the hash that names the stream of an `environment_kept`. None:
    nothing, nor the umask."""
    env: dict[str, str] = {}
    """Variables over these (`--env`); in version 1 those that were kept from the enqueuer (`keep-env`)."""
    secrets: list[str] = []
    """The names of variables given with `--secret`; their values lie apart from the log."""
    shell: str = SHELL
    """What runs `command`."""
    stdin: str | None = None
    """The name of the copied input, or None for /dev/null."""
    timeout: float | None = None
    """Seconds an attempt may take; None is for ever."""
    max_retries: int
    backoff_base: float
    backoff_max: float
    """The longest delay between attempts, in seconds."""
    jitter: float = 0.0
    on_lost: str = "retry"
    """`retry` or `dead`: what becomes of it when an attempt is lost with its worker."""
    keep_children: bool = False
    reason: str | None = None


class Claimed(Payload, frozen=True, kw_only=True):
    """A worker took the job: attempt number `attempt` of its whole life. Its version in the stream is the lease."""

    type: ClassVar[str] = "claimed"
    attempt: int
    worker: str


class Ended(Payload, frozen=True, kw_only=True):
    """How an attempt's process ended; what the outcomes have in common."""

    attempt: int
    started_at: str | None = None
    run_seconds: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    cpu_seconds: float | None = None
    max_rss: int | None = None
    """Peak memory in bytes; None where it can't be told from the worker's own."""
    output_bytes: int | None = None
    output_cut: int | None = None
    """Bytes punched out of the middle of the output, where it grew past the limit."""
    kept: bool = False
    """Processes of it live on, because the job was enqueued with `keep_children`."""


class Completed(Ended, frozen=True, kw_only=True):
    """The attempt did what it should."""

    type: ClassVar[str] = "completed"


class Failed(Ended, frozen=True, kw_only=True):
    """The attempt did not. A `retried` or a `dead` follows in the same transaction."""

    type: ClassVar[str] = "failed"
    cause: str
    """One of exit, signal, timeout, spawn, lost, output, interrupted."""
    error: str | None = None
    """What went wrong, where the exit code does not say it."""


class Retried(Payload, frozen=True, kw_only=True):
    """It will be tried again at `run_at`, `delay` seconds (jitter included) after the failure."""

    type: ClassVar[str] = "retried"
    wakes_workers: ClassVar[bool] = True
    run_at: str
    delay: float


class Dead(Payload, frozen=True, kw_only=True):
    """It went to the dead letter queue."""

    type: ClassVar[str] = "dead"
    reason: str | None = None


class Requeued(Payload, frozen=True, kw_only=True):
    """Somebody asked for a finished job to run again, with its retry budget anew."""

    type: ClassVar[str] = "requeued"
    wakes_workers: ClassVar[bool] = True
    run_at: str
    secrets: list[str] | None = None
    """The names of the variables given anew, where some were."""
    reason: str | None = None


class Edited(Payload, frozen=True, kw_only=True):
    """What was asked for was changed, by somebody's wish: later attempts are made so."""

    type: ClassVar[str] = "edited"
    changes: dict[str, tuple[Any, Any]]
    """By the fields of `enqueued`: what was, and what is from now on."""
    reason: str | None = None


class CancelRequested(Payload, frozen=True, kw_only=True):
    """Somebody asked for a running job to be ended; its worker will."""

    type: ClassVar[str] = "cancel_requested"
    wakes_workers: ClassVar[bool] = True
    reason: str | None = None


class Cancelled(Payload, frozen=True, kw_only=True):
    """It will not run (again), by somebody's wish. The outcome of the attempt it cut short stands with it."""

    type: ClassVar[str] = "cancelled"
    attempt: int | None = None
    started_at: str | None = None
    run_seconds: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    cpu_seconds: float | None = None
    max_rss: int | None = None
    output_bytes: int | None = None
    output_cut: int | None = None
    kept: bool = False
    reason: str | None = None


class Released(Payload, frozen=True, kw_only=True):
    """A claim was given back before its command started: it used up nothing, not even the number of an attempt."""

    type: ClassVar[str] = "released"
    wakes_workers: ClassVar[bool] = True
    attempt: int
    reason: str | None = None


class Interrupted(Ended, frozen=True, kw_only=True):
    """The attempt was ended with its worker, stopped `by` an actor or a signal: no retry is used up."""

    type: ClassVar[str] = "interrupted"
    wakes_workers: ClassVar[bool] = True
    by: str | None = None
    reason: str | None = None


class Purged(Payload, frozen=True, kw_only=True):
    """The job left the tables for good; its history stays in the log and its id is never used again."""

    type: ClassVar[str] = "purged"
    reason: str | None = None


class Passed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of state of what was archived."""

    seq: int
    at: str
    state: str


class Archived(Payload, frozen=True, kw_only=True):
    """The tombstone of a job or a worker: its events were written to a file, and removed from the log."""

    type: ClassVar[str] = "archived"
    file: str
    """The absolute path that the file had then."""
    events: int
    """How many events."""
    state: str
    """Its last: one of the final states of a job, `purged`, or `stopped` or `lost` of a worker."""
    queue: str | None = None
    """A job's, as `slots` are a worker's."""
    slots: int | None = None
    passed: list[Passed]
    """Every change of its state, so that the counts of any moment can still be told."""
