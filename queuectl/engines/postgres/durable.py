"""Waiting until what is committed is durable, on disk and at a synchronous standby: commands give up in the end."""

from collections.abc import Generator
from contextlib import contextmanager

from queuectl.clock import monotonic
from queuectl.engines.postgres.connecting import Unreachable
from queuectl.engines.postgres.patient_connection import MEANWHILE
from queuectl.engines.postgres.session import Session

PATIENCE = 30.0
"""Seconds for which a command waits. Workers and their parents, which do other things meanwhile, wait for ever."""

CAUSE = "a synchronous standby is away (synchronous_standby_names), or the disk hangs; `queuectl doctor` tells more"


class NotDurable(Unreachable):
    """What is there, or was just written, is not known to be durable yet."""


@contextmanager
def durable_in_time(session: Session, url: str, *, endless: bool = False) -> Generator[None]:
    """A block in which that is waited for, for ever where it is `endless`.

    Raises NotDurable, and has closed the session then.
    """
    if endless or MEANWHILE.get() is not None:
        yield
        return
    until = monotonic() + PATIENCE

    def look() -> None:
        if monotonic() > until:
            session.give_up()
            raise NotDurable(f"{url}: the server has not said for {PATIENCE:g} s that what is written is safe: {CAUSE}")

    with session.doing(look):
        yield
