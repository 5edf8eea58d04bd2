"""The events of a worker's stream, `worker:ID`."""

from typing import ClassVar

import msgspec

from queuectl.events.payload import Payload


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
    wakes_workers: ClassVar[bool] = True
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
