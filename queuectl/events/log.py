"""The events of the streams of which there is one for all jobs: `env:HASH`, `config`, `audit`."""

from typing import ClassVar

from queuectl.events.payload import Payload


class EnvironmentKept(Payload, frozen=True, kw_only=True):
    """What jobs are given of the environment of whoever enqueued them. Its stream is named by the hash of this."""

    type: ClassVar[str] = "environment_kept"
    variables: dict[str, str] = {}
    """By name, in order; none whose value looked secret, unless it was named in `keep-env`."""
    whole: bool = False
    """They stand for all variables of the worker's (`keep-env all`), rather than lie over them."""
    umask: str | None = None
    """Octal digits; None: the worker's."""


class ConfigSet(Payload, frozen=True, kw_only=True):
    """A setting was changed for jobs to come; `value` None removes it."""

    type: ClassVar[str] = "config_set"
    wakes_workers: ClassVar[bool] = True
    key: str
    value: str | None = None
    reason: str | None = None


class Sealed(Payload, frozen=True, kw_only=True):
    """A hash over all events up to one: whoever keeps it can tell whether any of them was changed since."""

    type: ClassVar[str] = "sealed"
    upto: int
    """The seq of the last event under it."""
    events: int
    """How many events are under it, archived ones too."""
    hash: str
    """Hexadecimal digits."""
