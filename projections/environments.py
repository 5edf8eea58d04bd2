"""What jobs were given of the environment of whoever enqueued them: one event a stream: the log is the table."""

import msgspec

from queuectl.events import EnvironmentKept, Recorded, Unreadable


class Environment(msgspec.Struct, frozen=True, gc=False):
    """Variables and umask that jobs are given."""

    version: int
    variables: dict[str, str]
    whole: bool
    """They stand for all variables of the worker's, rather than lie over them."""
    umask: int | None
    """None: the worker's."""


def evolve(environment: Environment | None, record: Recorded, event: EnvironmentKept) -> Environment:
    """The environment of a stream. Raises Unreadable for a second event: an environment never changes."""
    if environment is not None:
        raise Unreadable(f"{record.stream} has a second event (seq {record.seq})")
    try:
        umask = int(event.umask, 8) & 0o777 if event.umask is not None else None
    except ValueError:
        raise Unreadable(f"{record.stream} has an umask that is none (seq {record.seq})") from None
    return Environment(record.version, event.variables, event.whole, umask)
