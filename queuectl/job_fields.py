"""The fields of a job, as the library takes them.

Generated from `queuectl.options` by `python -m tests.support.job_fields`. Durations are seconds, moments
microseconds UTC.
"""

from typing import Literal, TypedDict

from msgspec import UNSET, Struct, UnsetType


class Spec(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One job as it was asked for. Exactly one of `command` (for a shell) and `argv` (run without a shell) is set.

    What is left out is filled from the settings when the job is enqueued.
    """

    command: str | None = None
    argv: tuple[str, ...] | None = None
    id: str | None = None
    """An id of your own, not all digits; never used twice in a queue."""
    name: str | None = None
    """A label, by which others of the same file depend on it: as @NAME. It is not stored."""
    queue: str = "default"
    """The queue it goes to."""
    priority: int = 0
    """Higher runs first."""
    delay: float | None = None
    """Not before so long from now: 90, 90s, 5m, 2h30m, 1d."""
    at: int | None = None
    """Not before then: 2026-11-24T09:00 (local), 2026-11-24T09:00:00Z, 02:30 (the next one), tomorrow 02:30, or a
    duration ahead."""
    max_retries: int | None = None
    """Further attempts after the first one has failed; then it goes to the dead letter queue."""
    backoff_base: float | None = None
    """The retry after failure n is due X^n seconds later."""
    backoff_max: float | None = None
    """The longest delay between attempts."""
    jitter: float | None = None
    """The fraction (0 to 1) of each delay by which it is randomly longer or shorter."""
    backoff: tuple[float, ...] | None = None
    """The delay before each retry in turn, the last one repeated: 10s,1m,10m; none: X^n seconds."""
    timeout: float | UnsetType | None = UNSET
    """How long an attempt may take; none: for ever."""
    on_lost: Literal["retry", "dead"] | None = None
    """What becomes of it when its worker dies: retry or dead."""
    keep_children: bool = False
    """Leave what it left running in the background, rather than end it with the command."""
    split_output: bool = False
    """Keep what it writes to stderr in a file of its own, rather than in one with its stdout."""
    nice: int = 0
    """Run it at a lower priority for the processor: N, up to 19, is added to its worker's niceness."""
    memory_limit: int | UnsetType | None = UNSET
    """How much memory an attempt may use: 64M, 2G; none: no limit."""
    grace: float | None = None
    """How long it has to end when it is asked to: at its timeout, by a cancel, with its worker. Then it is killed."""
    stop_signal: int | str | None = None
    """What asks it to end: INT, SIGINT or 2. Its whole process group is sent this signal, and KILL once the grace is
    over."""
    ok_codes: tuple[int, ...] | None = None
    """The exit codes that count as success; 0 always does."""
    no_retry_codes: tuple[int, ...] | None = None
    """The exit codes of failures that are not retried: the job goes to the dead letter queue at once."""
    held: bool = False
    """Hold it: it does not start until `queuectl release`."""
    needs: dict[str, int] = {}
    """What it needs of a resource while it runs: gpu, gpu=2, mem=8G; of one that nobody has set there is 1."""
    slots: int = 1
    """How many slots of one worker it takes."""
    after: tuple[str, ...] = ()
    """Start it once these jobs have completed (batch:NAME: all of a batch); where one ends otherwise, it is
    cancelled."""
    after_any: tuple[str, ...] = ()
    """Start it once these jobs (batch:NAME: all of a batch) have ended, however they do."""
    after_failure: tuple[str, ...] = ()
    """Start it once one of these jobs (batch:NAME: of a batch) is dead or cancelled; where all complete, it is
    cancelled."""
    tags: dict[str, str] = {}
    """What it is filed under: filters find it by that, as tag:KEY and tag:KEY=VALUE."""
    unique: str | None = None
    """While a job with this key has not ended, the same command in the same folder is not added again: the id of that
    job is printed."""
    on_duplicate: Literal["keep", "replace", "fail"] = "keep"
    """What becomes of a job whose unique key is taken: keep the one that is there, replace it as long as it waits, or
    fail."""
    if_absent: bool = False
    """Add it only where there never was a job with its --id: otherwise that id is printed."""
    batch: str | None = None
    """The batch to which it belongs: jobs that are watched, waited for and retried together."""
    halt: str | None = None
    """When the batch is halted: soon,fail=3 (3 of its jobs died: what waits is cancelled), now,fail=10% (also what
    runs), now,success=1."""
    on_complete: str | UnsetType | None = UNSET
    """A callback: a line of shell that runs as a job of its own once this one has completed."""
    on_failure: str | UnsetType | None = UNSET
    """The same once it has died: no retry of it is left."""
    on_end: str | UnsetType | None = UNSET
    """The same once it has ended, however it did: completed, dead or cancelled."""
    cwd: str | None = None
    """Where it runs."""
    stdin: str | None = None
    """What it reads, copied now; - is stdin."""
    shell: str | None = None
    """What runs the command line: an absolute path."""
    env: dict[str, str] = {}
    """Variables for the command; they are stored in the log."""
    env_in_log: tuple[str, ...] = ()
    """Have an --env in the log although its name looks like a secret's."""
    secrets: dict[str, str] = {}
    """The same with values that are kept apart from the log, and forgotten once the job has completed."""
    reason: str | None = None
    """Why; stored in the event beside the actor."""


class JobSettings(Struct, frozen=True):
    """The settings that a job has where it does not say otherwise; see Spec for each."""

    max_retries: int = 3
    backoff_base: float = 2.0
    backoff_max: float = 86400.0
    jitter: float = 0.0
    backoff: tuple[float, ...] = ()
    timeout: float | None = 60.0
    on_lost: str = "retry"
    memory_limit: int | None = None
    grace: float = 5.0
    shell: str = "/bin/sh"


class Policy(TypedDict, total=False):
    """What may be said of a job beside its command, and be changed when it is run again; see Spec for each."""

    priority: int
    max_retries: int
    backoff_base: float
    backoff_max: float
    jitter: float
    backoff: tuple[float, ...]
    timeout: float | None
    on_lost: Literal["retry", "dead"]
    keep_children: bool
    split_output: bool
    nice: int
    memory_limit: int | None
    grace: float
    stop_signal: int | str
    ok_codes: tuple[int, ...]
    no_retry_codes: tuple[int, ...]
    needs: dict[str, int]
    slots: int
    tags: dict[str, str]
    on_complete: str | None
    on_failure: str | None
    on_end: str | None
    cwd: str
    stdin: str
    shell: str
    env: dict[str, str]
    env_in_log: tuple[str, ...]
    secrets: dict[str, str]
    reason: str


class Fields(Policy, total=False):
    """What may be said of a new job beside its command."""

    id: str
    name: str
    queue: str
    delay: float
    at: int
    held: bool
    after: tuple[str, ...]
    after_any: tuple[str, ...]
    after_failure: tuple[str, ...]
    unique: str
    on_duplicate: Literal["keep", "replace", "fail"]
    if_absent: bool
    batch: str
    halt: str


class Changes(Policy, total=False):
    """What may be changed of a job when it is run again; of `command` and `argv` one takes the place of the other."""

    command: str
    argv: tuple[str, ...]


class Edits(Changes, total=False):
    """What may be changed of a job by an edit, as far as it has not come too far for that."""

    queue: str
    delay: float
    at: int
    after: tuple[str, ...]
    after_any: tuple[str, ...]
    after_failure: tuple[str, ...]
