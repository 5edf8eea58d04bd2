"""Sealing: by several at once, while others write, killed half-way, of a log that comes from elsewhere (R23)."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.audit import leaves
from queuectl.audit.import_log import load, rebuild
from queuectl.audit.seal import Seal, Sealing, seal
from queuectl.audit.verify import Anchor, verify
from queuectl.errors import Invalid, QueueError
from queuectl.export import export
from tests.support.tampering import findings, tamper, twice_sealed

KILLED = """
import os, signal, sys
from queuectl import Queue
from queuectl.audit.seal import Sealing
with Queue(sys.argv[1]) as queue:
    sealing = Sealing(queue, "test", page=10)
    for _ in range(3):
        sealing.step()
    os.kill(os.getpid(), signal.SIGKILL)
"""
WRITE = """
import sys
from queuectl import Queue
with Queue(sys.argv[1]) as queue:
    print("up", flush=True)
    while True:
        queue.enqueue_many(["true"] * 20)
"""
SEAL = """
import sys
from queuectl import Queue
from queuectl.audit.seal import seal
with Queue(sys.argv[1]) as queue:
    print(seal(queue).anchor)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with two seals; nobody has it open."""
    twice_sealed(tmp_path / "q.db")
    return tmp_path / "q.db"


def exported(queue: Queue) -> list[bytes]:
    """The whole log, a line an event."""
    return b"".join(export(queue)).splitlines()


def test_a_killed_sealer_does_not_block_the_next(path: Path) -> None:
    with Queue(path) as queue:
        queue.enqueue_many(["true"] * 100)
        subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=30, check=False)
        with queue.engine.snapshot() as view:
            assert [each.seq for each in view.leaves(after=11)] == list(range(12, 42))
        assert verify(queue).findings == []
        made = seal(queue)
        assert (made.upto, made.events) == (114, 114)
        assert verify(queue).findings == []


def test_an_event_changed_during_sealing_stops_it(path: Path) -> None:
    with Queue(path) as queue:
        queue.enqueue_many(["true"] * 100)
    subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=30, check=False)
    tamper(path, "update events set actor = 'cli:somebody@else' where seq = 13")
    with Queue(path) as queue:
        with pytest.raises(QueueError, match=r"event 13 does not fit its leaf: .*run queuectl audit verify"):
            seal(queue)
        assert queue.status().seq == 114
    assert findings(path) == [
        ("changed", "event 13 (enqueued of job:11) does not fit its leaf: it was changed, or its leaf")
    ]


def test_concurrent_sealers_share_one_seal(path: Path) -> None:
    with Queue(path) as queue, Queue(path) as other:
        late = Sealing(queue, "late")
        while late.done < late.head:
            late.step()
        first = seal(other)
        assert late.step() == first
        assert queue.status().seq == first.seq


def test_a_sealer_that_reaches_further_makes_another_seal(path: Path) -> None:
    with Queue(path) as queue, Queue(path) as other:
        early = Sealing(queue, "early", page=2)
        early.step()
        queue.enqueue("true")
        late = Sealing(other, "late", page=2)
        late.step()
        while (first := early.step()) is None:
            pass
        while (second := late.step()) is None:
            pass
        assert (first.upto, second.upto) == (14, 16)
        assert verify(queue, [Anchor(first.upto, first.hash), Anchor(second.upto, second.hash)]).findings == []


def test_sealers_and_writers_go_on_at_once(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    with Queue(path) as queue:
        writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE) for _ in range(2)]
        try:
            for writer in writers:
                assert writer.stdout is not None
                writer.stdout.readline()
            sealers = [
                subprocess.Popen([sys.executable, "-c", SEAL, str(path)], stdout=subprocess.PIPE) for _ in range(2)
            ]
            mine: list[Seal] = []
            while len(mine) < 5:
                mine.append(seal(queue))
                while queue.status().seq == mine[-1].seq:
                    time.sleep(0.001)
            theirs = [sealer.communicate(timeout=30)[0].decode().strip() for sealer in sealers]
            during = verify(queue)
        finally:
            for writer in writers:
                writer.kill()
                writer.communicate()
        anchors = [Anchor(int(each.partition(":")[0]), each.partition(":")[2]) for each in theirs]
        anchors += [Anchor(each.upto, each.hash) for each in mine]
        found = verify(queue, anchors)
        assert during.findings == []
        assert found.findings == []
        assert found.seals >= len({each.upto for each in mine}) > 1


def test_verify_is_right_while_others_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Queue(path) as queue:
        asked = queue.engine.acknowledged

        def acknowledged() -> int:
            queue.enqueue("true")
            return asked()

        monkeypatch.setattr(queue.engine, "acknowledged", acknowledged)

        assert verify(queue).findings == []


# -- logs from elsewhere ---------------------------------------------------------------------------------------------


def test_an_imported_log_can_be_verified_and_sealed(path: Path, tmp_path: Path) -> None:
    with Queue(path) as queue, Queue(tmp_path / "new.db") as new:
        load(new, exported(queue))
        found = verify(new)
        assert (found.findings, found.seals, found.unsealed) == ([], 2, 3)
        anchor = seal(queue)
        assert seal(new) == Seal(anchor.seq, anchor.version, seal(new).at, anchor.upto, anchor.events, anchor.hash)
    tamper(tmp_path / "new.db", "update events set actor = 'x' where seq = 3")
    assert findings(tmp_path / "new.db") == [("changed", "event 3 (enqueued of job:3) was changed")]


def test_a_log_changed_before_import_is_detected(path: Path, tmp_path: Path) -> None:
    with Queue(path) as queue, Queue(tmp_path / "new.db") as new:
        load(new, [line.replace(b'"command":"true"', b'"command":"rm"') for line in exported(queue)])
        assert {each.kind for each in verify(new).findings} == {"seal"}


def test_an_import_without_leaves_can_be_sealed(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with Queue(path) as queue, Queue(tmp_path / "new.db") as new:
        monkeypatch.setattr(leaves, "keep", broken)
        with pytest.raises(KeyboardInterrupt):
            load(new, exported(queue))
        monkeypatch.undo()
        assert {each.kind for each in verify(new).findings} == {"leaf"}
        seal(new)
        assert verify(new).findings == []


def test_an_invalid_seal_is_refused_naming_the_line(path: Path, tmp_path: Path) -> None:
    with Queue(path) as queue, Queue(tmp_path / "new.db") as new:
        lines = [line.replace(b'"upto":5', b'"upto":50') for line in exported(queue)]
        with pytest.raises(Invalid, match=r"line 6: .*event 6 is no seal as any was made; nothing was taken in"):
            load(new, lines)


def test_a_rebuilt_queue_has_the_same_leaves(path: Path, tmp_path: Path) -> None:
    tamper(path, "update events set actor = 'x' where seq = 3")
    with Queue(path) as queue:
        rebuild(queue, str(tmp_path / "new.db"))
    assert findings(tmp_path / "new.db") == findings(path) == [("changed", "event 3 (enqueued of job:3) was changed")]
