"""The callback for that nothing is left to do: once for each time that the queue comes to rest (R46)."""

from collections.abc import Generator
from contextlib import contextmanager

from queuectl.engines.callbacks import Callbacks
from queuectl.engines.view import Transaction
from queuectl.rest import live_jobs


@contextmanager
def coming_to_rest(tx: Transaction, actor: str) -> Generator[None]:
    """Around changes within a transaction: where they leave nothing to do, the callback is added."""
    was_live = is_live(tx)
    yield
    if was_live:
        add_if_at_rest(tx, actor)


def is_live(tx: Transaction) -> bool:
    """Whether anything is left to do, callbacks aside; False, without a look, where nothing is to be run after it."""
    return Callbacks(tx).stored("on-empty") is not None and live_jobs(tx, callbacks=False) > 0


def add_if_at_rest(tx: Transaction, actor: str) -> None:
    """Add the callback where nothing is left to do; to be asked only where something was before."""
    callbacks = Callbacks(tx)
    line = callbacks.stored("on-empty")
    if line is not None and live_jobs(tx, callbacks=False) == 0:
        callbacks.add_on_empty(line, actor)
