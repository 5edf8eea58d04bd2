"""What retention goes by: how long the settings have jobs kept, what is overdue by that, and what was begun (R24).

All of it is asked by workers each minute, so that it costs little and loads little.
"""

from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from projections.workers import Worker
from queuectl import clock
from queuectl.engines.view import View
from queuectl.home import Home, failed
from queuectl.host.atomic_file import write_file
from queuectl.settings import Settings

LOCK = "retention"
"""The name of the lock that the process holds which archives."""

DAY = 86400.0
"""Seconds."""


class Rule(NamedTuple):
    """How long jobs of some states are kept."""

    states: tuple[str, ...]
    keep: float
    """Seconds."""

    @property
    def word(self) -> str:
        """What the names of its archives say beside the day."""
        return "-dead" if self.states == ("dead",) else ""

    @property
    def slack(self) -> float:
        """Seconds for which jobs that may go are let lie, so that an archive gets more than a few of them."""
        return min(self.keep, DAY)


def rules(settings: Settings) -> list[Rule]:
    """What these settings say; none where all is kept for ever."""
    ended, dead = ("cancelled", "completed"), ("dead",)
    if settings.keep is not None and settings.keep == settings.keep_dead:
        return [Rule((*ended, *dead), settings.keep)]
    said = ((ended, settings.keep), (dead, settings.keep_dead))
    return [Rule(states, keep) for states, keep in said if keep is not None]


class Begun(msgspec.Struct, frozen=True):
    """An archive that was begun, as `archive` is to be asked to finish it."""

    file: str
    before: int
    states: tuple[str, ...]


class RetentionState(msgspec.Struct, frozen=True):
    """What is known in a queue's folder of its retention on this host. Moments are microseconds UTC."""

    at: int = 0
    """When it last ended."""
    error: str | None = None
    """Why it could not be done then."""
    begun: Begun | None = None
    swept: int = 0
    """When the folder was swept last; 0: never, and no time is counted yet."""
    unused: dict[str, str] = {}
    """The inputs in the database that nothing named then: see `Sweep`."""


def read_state(home: Home) -> RetentionState:
    """What is known here; nothing where there is no such file, or none that can be read."""
    with suppress(OSError, msgspec.MsgspecError), open(home.retention, "rb") as file:
        return msgspec.json.decode(file.read(), type=RetentionState)
    return RetentionState()


def change_state(home: Home, **changes: Any) -> None:
    """Note what has changed. Raises Unusable."""
    state = msgspec.structs.replace(read_state(home), **changes)
    try:
        write_file(home.retention, msgspec.json.encode(state) + b"\n", replace=True)
    except OSError as error:
        raise failed(home.retention, error) from error


def is_sweep_due(state: RetentionState) -> bool:
    """Whether the folder was swept a day ago, or longer. A clock that was set back does not count."""
    return state.swept != 0 and clock.now() - state.swept >= DAY * clock.SECOND


def oldest_overdue(view: View, wanted: list[Rule], now: int) -> Rule | None:
    """The first of the rules by which an archive is to be made now (µs UTC); None where nothing has waited so long."""
    for rule in wanted:
        latest = now - round((rule.keep + rule.slack) * clock.SECOND)
        if any(view.oldest_ends(latest, state, now, 1) for state in rule.states):
            return rule
    return None


def is_archivist(view: View, home: Home, identity: str) -> bool:
    """Whether workers of this home, by its identity, are to archive: the first of those that are up to stay."""
    staying = next(filter(stays, view.workers()), None)
    return staying is not None and staying.identity == identity


def stays(worker: Worker) -> bool:
    """Whether a worker runs what comes, until it is stopped."""
    return worker.slots > 0 and not worker.drain and not worker.private
