"""Batches that are halted in one transaction, where there is room for but a few of their jobs."""

from pathlib import Path

import pytest

from queuectl.decisions import Report
from queuectl.engines import dependants
from tests.support.one_worker import FAILED, OneWorker


def test_a_halt_without_room_takes_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = OneWorker(tmp_path)
    for id in ("a1", "a2", "a3", "a4"):
        one.queue.enqueue("false", id=id, max_retries=0 if id == "a1" else 3, batch="a", halt="soon,fail=1")
    one.add("b", batch="b", halt="soon,fail=1")
    one.claim()
    one.end("a1", outcome=FAILED)
    monkeypatch.setattr(dependants, "MOST", 2)
    one.writer.turn([Report(one.held.pop(id).lease, FAILED) for id in ("a2", "a3", "a4", "b")], [], 0)
    one.cascade(True)
    assert one.states() == {"a1": "dead", "a2": "cancelled", "a3": "cancelled", "a4": "cancelled", "b": "dead"}
    assert one.queue.batch("b").state.is_halted
    assert one.queue.check() == []
