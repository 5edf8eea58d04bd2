"""Batches whose events come from elsewhere: from a log, or from an archive, which has those of the jobs alone."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, Spec
from queuectl.audit.archive import archive
from queuectl.audit.import_log import load
from queuectl.clock import now
from queuectl.engines import dependants
from queuectl.errors import QueueError, Refused
from queuectl.export import export

FOUR = [Spec(command="true", batch="x", halt="soon,done=1")] * 4


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A queue with a batch that was halted, and whose jobs were cancelled a part at a time."""
    monkeypatch.setattr(dependants, "MOST", 2)
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue_many(FOUR)
        queue.cancel("1")
        yield queue


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "copy.db") as copy:
        yield copy


def lines(queue: Queue) -> list[bytes]:
    return b"".join(export(queue)).splitlines(keepends=True)


def test_the_log_of_a_halt_is_taken_in(queue: Queue, copy: Queue) -> None:
    assert b'"stream":"batch:x","version":3,"type":"cascaded"' in b"".join(lines(queue))
    load(copy, lines(queue))
    assert copy.batch("x") == queue.batch("x")


def test_a_halt_without_a_rule_is_refused(queue: Queue, copy: Queue) -> None:
    def without_rule(line: bytes) -> bytes:
        event: dict[str, Any] = json.loads(line)
        if event["type"] == "batch_opened":
            event["data"] = {}
        return json.dumps(event).encode() + b"\n"

    with pytest.raises(QueueError, match="batch_halted"):
        load(copy, [*map(without_rule, lines(queue))])
    assert copy.status().seq == 0


def test_an_archived_member_runs_again_elsewhere(queue: Queue, copy: Queue, tmp_path: Path) -> None:
    archive(queue, str(tmp_path / "old.gz"), now())
    load(copy, gzip.decompress((tmp_path / "old.gz").read_bytes()).splitlines(keepends=True))
    assert copy.retry("2") == ["2"]
    assert copy.check() == []


@pytest.mark.parametrize("parent", ["2", "batch:x"])
def test_parents_left_behind_are_told(queue: Queue, copy: Queue, tmp_path: Path, parent: str) -> None:
    archive(queue, str(tmp_path / "first.gz"), now())
    queue.enqueue("true", id="child", after_any=(parent,))
    queue.cancel("child")
    archive(queue, str(tmp_path / "old.gz"), now())
    load(copy, gzip.decompress((tmp_path / "old.gz").read_bytes()).splitlines(keepends=True))
    assert copy.graph(["child"]).nodes[parent] is None
    with pytest.raises(Refused, match=f"depends on what this database has never had: {parent}; --ignore"):
        copy.retry("child")
    assert copy.retry("child", ignore_dependencies=True) == ["child"]
