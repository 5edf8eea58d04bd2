"""The events of the streams of which there is one for all jobs: `env:HASH`, `config`, `audit`."""

from typing import ClassVar

from queuectl.events.payload import Payload


class EnvironmentKept(Payload, frozen=True, kw_only=True):
    """Variables and umask of a caller, kept for the jobs it enqueues. The stream is named by their hash."""

    type: ClassVar[str] = "environment_kept"
    variables: dict[str, str] = {}
    """Sorted by name, without those whose name looks secret, unless `keep-env` names them in full."""
    whole: bool = False
    """Whether they replace the worker's variables (`keep-env all`) rather than override some."""
    umask: str | None = None
    """Octal digits; None: the umask of the worker."""


class ConfigSet(Payload, frozen=True, kw_only=True):
    """A setting was changed for later jobs; `value` None removes it."""

    type: ClassVar[str] = "config_set"
    wakes_workers: ClassVar[bool] = True
    key: str
    value: str | None = None
    reason: str | None = None


class Sealed(Payload, frozen=True, kw_only=True):
    """A hash over all events up to `upto`. It shows whether any of them was changed since (R23)."""

    type: ClassVar[str] = "sealed"
    upto: int
    """The seq of the last event that it covers."""
    events: int
    """The number of events that it covers, archived ones too."""
    hash: str
    """Hexadecimal digits."""
