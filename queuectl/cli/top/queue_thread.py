"""A thread with a queue of its own: the screen never waits for the database."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from queuectl.errors import Unusable

if TYPE_CHECKING:
    from queuectl.queue import Queue

Answer = TypeVar("Answer")


class QueueThread:
    """Asks a queue one thing after the other. It is opened when it is needed, and anew after trouble.

    The process may end while the thread still waits for the database.
    """

    def __init__(self, connect: "Callable[[], Queue]") -> None:
        self._connect = connect
        self._q: Queue | None = None
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[Queue], Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, question: "Callable[[Queue], Answer]") -> "Future[Answer]":
        """Have this asked in the thread."""
        future: Future[Answer] = Future()
        self._asked.put((future, question))
        return future

    async def ask(self, question: "Callable[[Queue], Answer]") -> "Answer":
        """Have it asked, and wait for the answer. Raises as the question does."""
        return await asyncio.wrap_future(self.submit(question))

    def close(self, patience: float | None) -> None:
        """Let go of the queue once the last question is answered; wait for that, so many seconds at most."""
        self._asked.put(None)
        self._thread.join(patience)

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            future, question = asked
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._answer(question))
                except BaseException as error:  # noqa: BLE001 - raised where the answer is awaited
                    future.set_exception(error)
        self._disconnect()

    def _answer(self, question: "Callable[[Queue], Any]") -> Any:
        if self._q is None:
            self._q = self._connect()
        try:
            return question(self._q)
        except (Unusable, OSError):
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        q, self._q = self._q, None
        if q is not None:
            q.close()
