"""A connection to an outbox that is made when it is needed, and made anew after trouble."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from queuectl.errors import Invalid, Unusable
from queuectl.outbox.delivery import Delivery
from queuectl.outbox.place import OutboxPlace
from queuectl.outbox.table import OutboxTable, Row


class OutboxClient:
    """Reads and settles the rows of one outbox. It may wait for the network, or for a lock of the application."""

    def __init__(self, place: OutboxPlace, is_own: Callable[[str], bool]) -> None:
        """`is_own`: whether a file is the queue's own, which only its engine may open (R6)."""
        self._place = place
        self._is_own = is_own
        self._connection: Any = None

    def turn(self, done: Delivery | None) -> list[Row]:
        """Settle the rows that were delivered, and read those that come next.

        Raises Unusable, one line, where the outbox can't be reached or used: what was delivered is read again then, and
        known.
        """
        try:
            table = OutboxTable(self._connected(), self._place.table)
            if done is not None:
                table.settle(done.moved, done.refused)
            return table.read()
        except self._place.errors as error:
            self.close()
            raise Unusable(self._place.explain(error)) from None

    def _connected(self) -> Any:
        if self._connection is None:
            refuse_own(self._place, self._is_own)
            self._connection = self._place.connect()
        return self._connection

    def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*self._place.errors):
                connection.close()


def refuse_own(place: OutboxPlace, is_own: Callable[[str], bool]) -> None:
    """Raise Invalid where an outbox is in the queue's own database: another SQLite would drop its locks (R6)."""
    try:
        own = place.file is not None and is_own(place.file)
    except OSError as error:
        raise Unusable(f"{place.name}: {error.strerror}") from None
    if own:
        raise Invalid(f"{place.name}: is the queue's own database: the outbox is in the application's")
