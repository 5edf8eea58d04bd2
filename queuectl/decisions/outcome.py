"""Outcomes of attempts, and the stops of workers that explain some of them."""

import signal

import msgspec


class Stop(msgspec.Struct, frozen=True, gc=False):
    """Why a worker was stopped without waiting for what it ran."""

    by: str
    """The actor that asked for it, or the name of a signal."""
    reason: str | None = None
    job: str | None = None
    """The id of the job whose command asked for it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an attempt ended, as its worker or recovery saw it. Moments are µs UTC, durations seconds, sizes bytes."""

    cause: str | None = None
    """None: it succeeded. Else one of exit, signal, timeout, spawn, lost, output, cancel, interrupted."""
    exit_code: int | None = None
    signal: int | None = None
    started_at: int | None = None
    run_seconds: float | None = None
    cpu_seconds: float | None = None
    max_rss: int | None = None
    output_bytes: int | None = None
    output_cut: int | None = None
    kept: bool = False
    error: str | None = None
    stop: Stop | None = None
    """The stop that interrupted it, where the cause is interrupted."""


OUTSIDE = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL})
"""Signals by which service managers and shells end all processes of a group."""


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
