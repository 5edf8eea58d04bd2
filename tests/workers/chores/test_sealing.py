"""Workers seal the log as often as `seal-every` says, where anything has happened."""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from queuectl import Queue
from queuectl.audit.seal import read_seal, seal
from queuectl.audit.verify import verify
from queuectl.clock import monotonic
from queuectl.engines.sqlite.location import locate
from queuectl.engines.view import Leaf
from queuectl.events import Recorded
from queuectl.workers.chores.checkpoint import Checkpoint
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.chores.sealing import PAGE, REST, SealChore
from queuectl.workers.journal import Journal
from tests.support.chore_host import Host
from tests.support.lab import Lab


class Scene:
    """A sealer beside a queue, driven by hand."""

    def __init__(self, folder: Path) -> None:
        self.queue = Queue(folder / "q.db")
        self.journal = Journal(self.queue.logs, "me")
        self.host = Host()
        self.disturbed = False
        self.checkpoint = Checkpoint(self.host, self.queue.engine)
        self.sealer = self.another()

    def another(self) -> SealChore:
        return SealChore(self.host, self.queue, "me", self.journal, self.checkpoint, lambda: not self.disturbed)

    def seals(self) -> int:
        return len(list(self.queue.events(type="sealed")))

    def run(self, count: int = 10) -> None:
        for _ in range(count):
            self.sealer.run(monotonic())


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.sealer.close()
    scene.journal.close()
    scene.queue.close()


def lines(logs: str) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in Path(logs, "worker.jsonl").read_bytes().splitlines()]


def test_workers_seal_only_what_is_not_sealed(lab: Lab) -> None:
    lab.queue.set_config("seal-every", "200ms")
    lab.queue.enqueue_many(["true"] * 300)
    lab.start(count=2)
    lab.up(2)
    lab.queue.wait(timeout=30)

    def all_sealed() -> list[Recorded]:
        found, head = lab.records("sealed"), lab.queue.status().seq
        return found if found and read_seal(found[-1]).upto == found[-1].seq - 1 == head - 1 else []

    sealed = lab.until(all_sealed)

    time.sleep(1)

    assert lab.records("sealed") == sealed, "an idle queue is left alone"
    assert verify(lab.queue).findings == []
    assert sealed[-1].actor.startswith("worker:")
    assert [line["hash"] for line in lines(lab.queue.logs) if line["event"] == "sealed"][-1] in sealed[-1].data


def test_a_worker_hears_of_the_setting(lab: Lab) -> None:
    lab.start()
    lab.up()
    lab.queue.wait(lab.queue.enqueue("true"), timeout=10)
    assert lab.records("sealed") == []
    lab.queue.set_config("seal-every", "1h")
    lab.until(lambda: lab.records("sealed"))


def test_without_the_setting_nothing_is_sealed(scene: Scene) -> None:
    scene.queue.enqueue("true")
    scene.sealer.set_interval(3600)
    scene.sealer.set_interval(None)
    assert scene.sealer.due == NEVER
    scene.run()
    assert scene.seals() == 0


def test_seal_is_made_page_by_page(scene: Scene) -> None:
    scene.queue.enqueue_many(["true"] * (3 * PAGE))
    scene.sealer.set_interval(3600)
    scene.run(1 + 3)
    assert scene.seals() == 0
    with scene.queue.engine.snapshot() as view:
        assert len(view.leaves()) == 3 * PAGE
    scene.run(1)
    assert scene.seals() == 1


def test_where_nothing_has_happened_nothing_is_written(scene: Scene) -> None:
    scene.queue.enqueue("true")
    scene.sealer.set_interval(0.000001)
    scene.run()
    assert scene.seals() == 1
    head = scene.queue.status().seq
    scene.run(5)
    assert scene.queue.status().seq == head


def test_recent_seal_by_another_program_is_enough(scene: Scene) -> None:
    scene.queue.enqueue("true")
    seal(scene.queue)
    scene.queue.enqueue("true")
    scene.sealer.set_interval(3600)
    scene.run()
    assert scene.seals() == 1
    scene.sealer.set_interval(0.01)
    time.sleep(0.02)
    scene.run()
    assert scene.seals() == 2


def test_one_worker_at_a_time_seals(scene: Scene) -> None:
    scene.queue.enqueue("true")
    first = scene.another()
    first.set_interval(3600)
    first.run(monotonic())
    scene.sealer.set_interval(3600)
    scene.run()
    assert scene.seals() == 0
    first.close()  # as its death would
    scene.run()
    assert scene.seals() == 1


def test_failure_to_seal_is_told_and_retried_later(scene: Scene) -> None:
    scene.queue.enqueue("true")
    with scene.queue.engine.snapshot() as view:
        [record] = view.events()
    with scene.queue.engine.transaction() as tx:
        tx.keep_leaves([Leaf(record.seq, record.at, bytes(32))])
    scene.sealer.set_interval(3600)
    scene.run(2)
    [told] = scene.host.warnings
    assert told == (
        "can't seal the log: event 1 does not fit its leaf: one of them was changed: run queuectl audit verify"
    )
    assert scene.sealer.due > monotonic() + REST / 2


def test_while_others_write_a_step_is_put_off(scene: Scene) -> None:
    scene.queue.enqueue("true")
    scene.sealer.set_interval(3600)
    gate = os.open(locate(scene.queue.url).gate, os.O_RDWR)
    fcntl.flock(gate, fcntl.LOCK_EX)
    scene.run(5)
    assert (scene.host.warnings, scene.seals()) == ([], 0)
    os.close(gate)
    scene.run(5)
    assert scene.seals() == 1


def test_a_page_waits_while_the_worker_is_disturbed(scene: Scene) -> None:
    scene.sealer.set_interval(3600)
    assert scene.sealer.due <= monotonic()
    scene.disturbed = True
    assert scene.sealer.due == NEVER
