"""A connection of psycopg that lets its process do other things while the server is waited for (P7)."""

from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import Ready

EVERY = 0.05
"""Seconds between two calls of what is to be done meanwhile."""

MEANWHILE: ContextVar[Callable[[], None] | None] = ContextVar("MEANWHILE", default=None)
"""What is called now and then while a server is waited for, also for a new connection; None: nothing."""

Result = TypeVar("Result")


class PatientConnection(psycopg.Connection[Any]):
    """psycopg's connection, which calls `MEANWHILE` while an answer is waited for."""

    def wait(self, gen: PQGen[Result], interval: float = EVERY, timeout: float | None = None) -> Result:
        """See `psycopg.Connection.wait`."""
        if MEANWHILE.get() is None:
            return super().wait(gen, timeout=timeout)
        return super().wait(_interrupted(gen), interval=interval, timeout=timeout)

    @classmethod
    def _connect_gen(cls, *words: Any, **options: Any) -> Any:  # psycopg waits for it in intervals of its own
        return _interrupted(super()._connect_gen(*words, **options))


def _interrupted(gen: Generator[Any, Any, Result]) -> Generator[Any, Any, Result]:
    """The same generator; where nothing has come in an interval, something else is done."""
    try:
        state = next(gen)
        while True:
            ready = yield state
            if ready == Ready.NONE and (meanwhile := MEANWHILE.get()) is not None:
                meanwhile()
            state = gen.send(ready)
    except StopIteration as end:
        return end.value
