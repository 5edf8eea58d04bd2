"""Environments kept from callers for their jobs. Each stream has one event, so there is no table: the log is read."""

import msgspec

from projections.store import Questions
from queuectl.events import EnvironmentKept, Recorded, Unreadable


class Environment(msgspec.Struct, frozen=True, gc=False):
    """Variables and umask for jobs."""

    version: int
    variables: dict[str, str]
    whole: bool
    """Whether the variables replace the worker's rather than override some."""
    umask: int | None
    """None: the umask of the worker."""


def evolve(environment: Environment | None, record: Recorded, event: EnvironmentKept) -> Environment:
    """The environment of a stream. Raises Unreadable for a second event, since an environment never changes."""
    if environment is not None:
        raise Unreadable(f"{record.stream} has a second event (seq {record.seq})")
    try:
        umask = int(event.umask, 8) & 0o777 if event.umask is not None else None
    except ValueError:
        raise Unreadable(f"{record.stream} has an umask that is none (seq {record.seq})") from None
    return Environment(record.version, event.variables, event.whole, umask)


class EnvironmentQuestions(Questions):
    """What is asked of the log about kept environments."""

    def environment(self, name: str) -> Environment | None:
        """What jobs that name this environment (by its hash) are given; None where the log has it not."""
        record = self.last(f"env:{name}")
        if record is None:
            return None
        event = record.event
        assert isinstance(event, EnvironmentKept)
        return evolve(None, record, event)
