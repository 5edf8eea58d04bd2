"""The events of a worker's stream, `worker:ID`."""

from typing import ClassVar

import msgspec

from queuectl.events.payload import Payload


class WorkerStarted(Payload, frozen=True, kw_only=True):
    """A worker process is up. Only observers with the same boot id, pid namespace and machine id may use its pid."""

    type: ClassVar[str] = "worker_started"
    v: ClassVar[int] = 3
    readable_from: ClassVar[int] = 1
    host: str
    pid: int
    start_ticks: int | None = None
    """Start time of the process in clock ticks since boot; with the pid it identifies the process. None: not known."""
    slots: int
    queues: list[str] = []
    """The queues that the worker serves; empty: all."""
    boot_id: str = ""
    pid_namespace: str = ""
    machine_id: str = ""
    identity: str = ""
    """The identity of the queue's folder (R12), which names output files and environment tags."""
    drain: bool = False
    """Whether the worker ends when its queues have nothing left to do."""
    inside: str | None = None
    """The id of the job that started the worker."""
    resources: dict[str, int | str] = {}
    """What it offers of the resources of its host: how much, or the numbers of the pieces as `0-3`."""
    max_load: float | None = None
    """The load average from which on it claims nothing; None: it does not look."""
    min_free_memory: int | None = None
    """Bytes of free memory below which it claims nothing; None: it does not look."""
    cgroup: str | None = None
    """The control group in which each attempt with a memory limit gets one of its own, as an absolute path; None: none
    was delegated to the worker, and RLIMIT_AS keeps these limits."""
    private: bool = False
    """Whether the worker runs given jobs only; then it serves no queue."""
    lease: float | None = None
    """Seconds for which it may go unheard before other hosts run what it ran; None: no other host can reach the
    database, or that was not known yet."""
    clock_ahead: float | None = None
    """Seconds by which the clock of its host was ahead of the database's when it started; None: they are the same."""


class HeldAttempt(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One attempt that a heartbeat covers."""

    job: str
    attempt: int
    suspended: bool = False
    progress: float | None = None
    """How many percent are done, as its command said last; None: it said nothing."""
    progress_text: str | None = None
    """What it is at, as it said then."""


class Heartbeat(Payload, frozen=True, kw_only=True):
    """The worker is alive and holds these attempts."""

    type: ClassVar[str] = "heartbeat"
    attempts: list[HeldAttempt] = []


class StopRequested(Payload, frozen=True, kw_only=True):
    """The worker is to stop; with `now`, without waiting for its commands. `inside`: the id of the job that asked."""

    type: ClassVar[str] = "stop_requested"
    wakes_workers: ClassVar[bool] = True
    now: bool = False
    reason: str | None = None
    inside: str | None = None


class WorkerStopped(Payload, frozen=True, kw_only=True):
    """The worker ended normally."""

    type: ClassVar[str] = "worker_stopped"
    reason: str | None = None


class WorkerLost(Payload, frozen=True, kw_only=True):
    """The worker's process ended without a `worker_stopped`. Appended by recovery."""

    type: ClassVar[str] = "worker_lost"
    reason: str | None = None
