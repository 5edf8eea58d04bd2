"""A thread with a queue of its own: the screen never waits for the database."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from queuectl.errors import Unusable

if TYPE_CHECKING:
    from queuectl.queue import Queue

Answer = TypeVar("Answer")


class QueueThread:
    """Asks a queue one thing after the other. It is opened when it is needed, and anew after trouble."""

    def __init__(self, connect: "Callable[[], Queue]") -> None:
        self._connect = connect
        self._q: Queue | None = None
        self._executor = ThreadPoolExecutor(1)

    def submit(self, question: "Callable[[Queue], Answer]") -> "Future[Answer]":
        """Have this asked in the thread."""
        return self._executor.submit(self._ask, question)

    async def ask(self, question: "Callable[[Queue], Answer]") -> "Answer":
        """Have it asked, and wait for the answer. Raises as the question does."""
        return await asyncio.wrap_future(self.submit(question))

    def _ask(self, question: "Callable[[Queue], Answer]") -> "Answer":
        if self._q is None:
            self._q = self._connect()
        try:
            return question(self._q)
        except (Unusable, OSError):
            self._disconnect()
            raise

    def close(self) -> None:
        """Ask no more, and let go of the queue once the last question is answered."""
        self._executor.submit(self._disconnect)
        self._executor.shutdown(wait=False)

    def _disconnect(self) -> None:
        q, self._q = self._q, None
        if q is not None:
            q.close()
