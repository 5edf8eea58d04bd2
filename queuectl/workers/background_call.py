"""A call that may wait long for somebody else, in a thread, so that the loop of the worker does not wait with it."""

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

from queuectl.errors import Unusable

T = TypeVar("T")


class BackgroundCall(Generic[T]):
    """A call that has begun. What it uses must be used by nothing else until it is done.

    The process ends without waiting for it.
    """

    def __init__(self, call: Callable[[], T]) -> None:
        """Raises Unusable where no thread can be started just now."""
        self._call = call
        self._outcome: list[T | Exception] = []
        self._thread = Thread(target=self._run, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise Unusable(str(error)) from error

    def _run(self) -> None:
        try:
            self._outcome.append(self._call())
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            self._outcome.append(error)

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return bool(self._outcome)

    def result(self) -> T:
        """What it returned, or raise what it raised; to be asked once it is done."""
        [found] = self._outcome
        if isinstance(found, Exception):
            raise found
        return found
