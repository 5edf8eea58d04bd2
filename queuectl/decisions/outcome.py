"""Outcomes of attempts, and the stops of workers that explain some of them."""

import signal
from collections.abc import Collection

import msgspec

from queuectl.events import Execution


class Stop(msgspec.Struct, frozen=True, gc=False):
    """Why a worker was stopped without waiting for what it ran."""

    by: str
    """The actor that asked for it, or the name of a signal."""
    reason: str | None = None
    job: str | None = None
    """The id of the job whose command asked for it."""


class Outcome(Execution, frozen=True, kw_only=True, gc=False):
    """How an attempt ended, as its worker or recovery saw it."""

    started_at: int | None = None
    """Microseconds UTC."""
    cause: str | None = None
    """None: it succeeded. Else why it failed: it exited (exit); another process sent a signal; it could not be started
    (spawn); its worker ended it because of its timeout, a cancel, its output or a stop (interrupted); the kernel did,
    because of its memory limit; or it was lost, with its worker or with the files of its queue."""
    error: str | None = None
    """What went wrong, in one line, where the other fields do not say it."""
    stop: Stop | None = None
    """The stop that interrupted it, where the cause is interrupted."""


OUTSIDE = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL})
"""Signals by which service managers and shells end all processes of a group."""


def judged(outcome: Outcome, ok_codes: Collection[int]) -> Outcome:
    """The outcome of a command that ended by itself, which succeeded where its exit code is one of these."""
    if outcome.cause != "exit" or outcome.exit_code not in ok_codes:
        return outcome
    return msgspec.structs.replace(outcome, cause=None)


def is_from_outside(outcome: Outcome) -> bool:
    """Whether a signal that may also have stopped its worker ended the command. A shell reports signal n as 128 + n."""
    ended_by = outcome.signal if outcome.cause == "signal" else None
    if outcome.cause == "exit" and outcome.exit_code is not None:
        ended_by = outcome.exit_code - 128
    return ended_by in OUTSIDE


def explained(outcome: Outcome, stop: Stop | None) -> Outcome:
    """The outcome of an attempt; interrupted where `stop`, the stop of its worker, may explain how it ended (R40)."""
    if stop is None or not (outcome.cause == "lost" or is_from_outside(outcome)):
        return outcome
    return msgspec.structs.replace(outcome, cause="interrupted", stop=stop, error=None)
