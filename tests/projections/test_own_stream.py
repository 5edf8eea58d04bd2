"""Own stream only (R45): in whatever order streams are folded, the tables are the same, and those that are live."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl import Queue
from tests.support.folded_tables import assert_every_fold_agrees
from tests.support.paths import IN_MEMORY
from tests.support.random_queue import RandomQueue

EVENTS = """
    enqueued claimed completed failed retried dead cancelled released interrupted edited requeued purged
    unblocked batch_opened batch_halted batch_reopened
    held unheld forced queue_paused queue_resumed queue_limited suspended continued resource_set resource_unset
    worker_started stop_requested worker_stopped worker_lost config_set environment_kept sealed archived
    noted schedule_added schedule_edited schedule_fired schedule_paused schedule_removed
""".split()
"""What must have happened, or the test is worth little."""


@pytest.mark.parametrize("histories", [30, pytest.param(120, marks=(pytest.mark.torture, pytest.mark.timeout(900)))])
def test_every_order_of_folding_agrees(histories: int) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=histories)
    @given(st.lists(st.integers(0, 9999), min_size=30, max_size=90))
    def agrees(commands: list[int]) -> None:
        with TemporaryDirectory(dir=IN_MEMORY) as folder, closing(RandomQueue(Path(folder))) as queue:
            for command in commands:
                seen.update(record.type for record in queue.do(command))
            assert_every_fold_agrees(queue.queue)

    missing = EVENTS
    for _ in range(20):  # the rarest event is in one history of 36: few rounds are enough nearly always
        if missing:
            agrees()
            missing = [type for type in EVENTS if not seen[type]]
    assert missing == []


def test_an_edit_to_a_default_folds_the_same(tmp_path: Path) -> None:
    """Values of the program's own and those read from the log are equal, and not the same objects."""
    with Queue(tmp_path / "q.db") as queue:
        id = queue.enqueue("true", on_lost="dead", shell="/bin/bash")
        queue.cancel(id)
        queue.retry(id, on_lost="retry", argv=("true",))
        assert_every_fold_agrees(queue)
