"""The vocabulary: every kind of event there is, its JSON form, and how old forms are read.

An event is a frozen Struct; together they are one tagged union, `Event`, whose tag is the `type` column of the log (so
it is not stored a second time within the payload). Moments in payloads are RFC 3339 text, durations are seconds, sizes
are bytes: what is stored is what people read, and it is never re-encoded. How they are read stands in
`queuectl.events.vocabulary`.
"""

from typing import Any, ClassVar

import msgspec

from queuectl.clock import text
from queuectl.events.vocabulary import Newer as Newer
from queuectl.events.vocabulary import Unreadable as Unreadable
from queuectl.events.vocabulary import Vocabulary

SHELL = "/bin/sh"
"""What runs a command line unless another shell was asked for."""


class Payload(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What an event says. `type` and `v` (the schema version of that type) name its form."""

    type: ClassVar[str] = ""
    v: ClassVar[int] = 1


# -- a job's ---------------------------------------------------------------------------------------------------------


class Enqueued(Payload, frozen=True, kw_only=True):
    """A job was added. Carries its whole resolved policy: later changes of the settings don't touch it."""

    type: ClassVar[str] = "enqueued"
    v: ClassVar[int] = 2
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
    run_at: str
    delay: float


class Dead(Payload, frozen=True, kw_only=True):
    """It went to the dead letter queue."""

    type: ClassVar[str] = "dead"
    reason: str | None = None


class Requeued(Payload, frozen=True, kw_only=True):
    """Somebody asked for a finished job to run again, with its retry budget anew."""

    type: ClassVar[str] = "requeued"
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
    attempt: int
    reason: str | None = None


class Interrupted(Ended, frozen=True, kw_only=True):
    """The attempt was ended with its worker, stopped `by` an actor or a signal: no retry is used up."""

    type: ClassVar[str] = "interrupted"
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


# -- a worker's ------------------------------------------------------------------------------------------------------


class WorkerStarted(Payload, frozen=True, kw_only=True):
    """A worker process is up. Boot id, pid namespace and machine id tell who may judge it by its processes."""

    type: ClassVar[str] = "worker_started"
    v: ClassVar[int] = 2
    host: str
    pid: int
    start_ticks: int | None = None
    """When the process started, in clock ticks since boot: with the pid it names one process. None: not known."""
    slots: int
    queues: list[str] = []
    """The queues it serves; empty is all of them."""
    boot_id: str = ""
    pid_namespace: str = ""
    machine_id: str = ""
    identity: str = ""
    """The identity of the queue's folder, which keys output files and environment tags."""
    drain: bool = False
    """It ends when its queues hold nothing more to do."""
    inside: str | None = None
    """The job that started it."""
    private: bool = False
    """It runs one job and no other: nobody else's jobs may count on it."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """One attempt that a heartbeat speaks for."""

    job: str
    attempt: int


class Heartbeat(Payload, frozen=True, kw_only=True):
    """The worker is alive and holds these attempts."""

    type: ClassVar[str] = "heartbeat"
    attempts: list[Held] = []


class StopRequested(Payload, frozen=True, kw_only=True):
    """Somebody asked the worker to stop; `now` is without waiting for its commands. `inside`: the job that asked."""

    type: ClassVar[str] = "stop_requested"
    now: bool = False
    reason: str | None = None
    inside: str | None = None


class WorkerStopped(Payload, frozen=True, kw_only=True):
    """The worker ended in good order."""

    type: ClassVar[str] = "worker_stopped"
    reason: str | None = None


class WorkerLost(Payload, frozen=True, kw_only=True):
    """The worker's process is gone without a word; recovery says so."""

    type: ClassVar[str] = "worker_lost"
    reason: str | None = None


# -- an environment's --------------------------------------------------------------------------------------------------


class EnvironmentKept(Payload, frozen=True, kw_only=True):
    """What jobs are given of the environment of whoever enqueued them. Its stream is named by the hash of this."""

    type: ClassVar[str] = "environment_kept"
    variables: dict[str, str] = {}
    """By name, in order; none whose value looked secret, unless it was named in `keep-env`."""
    whole: bool = False
    """They stand for all variables of the worker's (`keep-env all`), rather than lie over them."""
    umask: str | None = None
    """Octal digits; None: the worker's."""


# -- the settings' ---------------------------------------------------------------------------------------------------


class ConfigSet(Payload, frozen=True, kw_only=True):
    """A setting was changed for jobs to come; `value` None removes it."""

    type: ClassVar[str] = "config_set"
    key: str
    value: str | None = None
    reason: str | None = None


# -- the log's own ---------------------------------------------------------------------------------------------------


class Sealed(Payload, frozen=True, kw_only=True):
    """A hash over all events up to one: whoever keeps it can tell whether any of them was changed since."""

    type: ClassVar[str] = "sealed"
    upto: int
    """The seq of the last event under it."""
    events: int
    """How many events are under it, archived ones too."""
    hash: str
    """Hexadecimal digits."""


Event = (
    Enqueued
    | Claimed
    | Completed
    | Failed
    | Retried
    | Dead
    | Requeued
    | Edited
    | CancelRequested
    | Cancelled
    | Released
    | Interrupted
    | Purged
    | Archived
    | WorkerStarted
    | Heartbeat
    | StopRequested
    | WorkerStopped
    | WorkerLost
    | EnvironmentKept
    | ConfigSet
    | Sealed
)


def _worker_started_2(old: dict[str, Any]) -> dict[str, Any]:
    """Version 1 did not say when the process started, nor whether it was there for one job alone."""
    return {**old, "start_ticks": None, "private": False}


def _enqueued_2(old: dict[str, Any]) -> dict[str, Any]:
    """`env` of version 1 was what was kept of the enqueuer's: it lay over the worker's variables, as `env` does now."""
    return old


VOCABULARY = Vocabulary(Event.__args__, {("worker_started", 1): _worker_started_2, ("enqueued", 1): _enqueued_2})

encode = msgspec.json.Encoder().encode


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """One row of the log. `at` is in microseconds UTC; `data` is the stored text, exactly."""

    seq: int
    stream: str
    version: int
    type: str
    v: int
    at: int
    actor: str
    data: str

    @property
    def event(self) -> Event:
        """The payload, read (and upcast where it is old). Raises Unreadable: damaged, or newer than this program."""
        return VOCABULARY.decode(self.type, self.v, self.data)

    @property
    def subject(self) -> str:
        """The id behind the stream's kind: `job1` of `job:job1`."""
        return self.stream.partition(":")[2]

    def json(self, **more: Any) -> bytes:
        """The one shape in which every command shows an event, with the stored payload untouched."""
        return encode({
            "seq": self.seq,
            "stream": self.stream,
            "version": self.version,
            "type": self.type,
            "v": self.v,
            "at": text(self.at),
            "actor": self.actor,
            "data": msgspec.Raw(self.data.encode()),
            **more,
        })  # fmt: skip
