"""The callback for that nothing is left to do, against what R46 says before and after each transaction."""

from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from itertools import count, islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from queuectl import Queue
from queuectl.engines import dependants
from queuectl.engines.view import Transaction, View
from queuectl.events import Enqueued
from queuectl.rest import live_jobs
from tests.support.paths import IN_MEMORY
from tests.support.random_queue import RandomQueue

COMMANDS = 60


class Witness:
    """Looks at a queue before and after each of its transactions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: Counter[str] = Counter()
        self._patch = monkeypatch

    def watch(self, queue: Queue) -> None:
        transaction = queue.engine.transaction

        @contextmanager
        def watched(*words: Any, **more: Any) -> Generator[Transaction]:
            with transaction(*words, **more) as tx:
                head, live, wanted = tx.head()[0], live_jobs(tx, callbacks=False), is_wanted(tx)
                yield tx
                told = sum(is_told(each.event) for each in tx.events(after=head))
                came = live > 0 and live_jobs(tx, callbacks=False) == 0
                assert told == (wanted and came), (live, wanted, [each.type for each in tx.events(after=head)])
                self.seen["told"] += told
                self.seen["not wanted"] += came and not wanted
                self.seen["callbacks were left"] += told > 0 and bool(tx.live_callbacks())

        self._patch.setattr(queue.engine, "transaction", watched)


def is_told(event: object) -> bool:
    return isinstance(event, Enqueued) and event.trigger is not None and event.trigger.event == "empty"


def is_wanted(view: View) -> bool:
    config = view.config()
    return config is not None and "on-empty" in config.values


@pytest.mark.timeout(300)
@pytest.mark.parametrize("histories", [12, pytest.param(50, marks=(pytest.mark.torture, pytest.mark.timeout(900)))])
def test_each_coming_to_rest_is_told(histories: int, monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Witness(monkeypatch)
    numbers = count(Random().randrange(10**6))
    wanted = ("told", "not wanted", "callbacks were left")
    for _ in range(20):  # where some histories have been too few for the rarest
        for number in islice(numbers, histories if not all(witness.seen[what] for what in wanted) else 0):
            monkeypatch.setattr(dependants, "MOST", Random(number).choice((1, 3, 1000)))
            try:
                history(number, witness)
            except AssertionError as error:
                error.add_note(f"history {number}")
                raise
    assert [what for what in wanted if not witness.seen[what]] == []


def history(number: int, witness: Witness) -> None:
    pick = Random(number)
    with TemporaryDirectory(dir=IN_MEMORY) as folder, closing(RandomQueue(Path(folder))) as it:
        watched = None
        for _ in range(COMMANDS):
            if it.queue is not watched:
                witness.watch(watched := it.queue)
            it.do(pick.randrange(10_000), related=True)
            if pick.random() < 0.2:
                it.queue.set_config("on-empty", pick.choice(("rest", "rest", None)))
        it.let_go()
