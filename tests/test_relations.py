"""Random histories of jobs that depend on others and are in batches, judged by the events alone (R32)."""

from collections import Counter
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from queuectl.engines import dependants
from tests.support.folded_tables import assert_every_fold_agrees
from tests.support.paths import IN_MEMORY
from tests.support.random_queue import RandomQueue
from tests.support.relations_judge import RelationsJudge

SEEN = (
    "enqueued and free", "requeued and free", "unblocked and free", "edited and free", "cancelled with its parents",
    "waiting_for", "batch_opened", "batch_halted", "batch_reopened", "cascaded",
    "callback of completed", "callback of dead", "callback of cancelled", "callback of any death",
)  # fmt: skip
"""What must have happened, or the test is worth little."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("histories", [15, pytest.param(60, marks=(pytest.mark.torture, pytest.mark.timeout(900)))])
def test_none_starts_early_and_none_is_forgotten(histories: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    numbers = count(Random().randrange(10**6))
    for _ in range(5):  # where some histories have been too few for the rarest event
        for number in islice(numbers, histories if not all(seen[what] for what in SEEN) else 0):
            monkeypatch.setattr(dependants, "MOST", Random(number).choice((1, 3, 1000)))
            judge = history(number)
            assert judge.faults == [], f"history {number}"
            seen.update(judge.seen)
    assert [what for what in SEEN if not seen[what]] == []


def history(number: int) -> RelationsJudge:
    """Some 80 commands, then everything is let go until nothing is left."""
    pick, judge = Random(number), RelationsJudge()
    with TemporaryDirectory(dir=IN_MEMORY) as folder, closing(RandomQueue(Path(folder))) as queue:
        for _ in range(80):
            judge.hear(queue.do(pick.randrange(10_000), related=True))
            for batch in queue.queue.batches():
                assert {state: jobs for state, jobs in batch.counts.items() if jobs} == judge.counts(batch.name)
        judge.hear(queue.let_go())
        assert judge.waiting == [], f"history {number}: what waits, waits for nothing"
        assert_every_fold_agrees(queue.queue)
    return judge
