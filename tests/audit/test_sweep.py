"""Sweeping (R24): what no job needs any more leaves the folder of the queue, and nothing that one needs does."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl import Queue, inputs
from queuectl.audit import sweep as sweeping
from queuectl.audit.archive import archive
from queuectl.audit.retention import retain
from queuectl.audit.retention_rules import DAY, change_state, read_state
from queuectl.audit.sweep import REPORTS, Sweep, Swept
from queuectl.clock import SECOND, now
from queuectl.home import progress_of, stderr_of
from queuectl.spec import Spec
from tests.support.archives import outputs, work


@pytest.fixture(params=["sqlite", "postgres"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    url = str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with Queue(url) as queue:
        yield queue


def sweep(queue: Queue, unused: dict[str, str] | None = None) -> Sweep:
    return Sweep(queue, unused or {}, lambda done, total: None)


def aged(queue: Queue) -> None:
    """As if all inputs here had been asked for two days ago."""
    for name in os.listdir(queue.home.stdin):
        moment = now() / SECOND - 2 * DAY
        os.utime(inputs.path_of(queue.home, name), (moment, moment))


def swept_twice(queue: Queue) -> int:
    """Sweep as on two days; how many inputs went."""
    aged(queue)
    first = sweep(queue)
    gone = first.run().inputs
    return gone + sweep(queue, first.unused).run().inputs


def test_outputs_of_jobs_that_are_gone_go(queue: Queue, tmp_path: Path) -> None:
    queue.enqueue_many(["true"] * 3)
    [stays, purged, archived] = work(queue, "w1")
    queue.purge(purged)
    queue.retry(stays)
    archive(queue, str(tmp_path / "old.ndjson.gz"), now(), {"completed"})
    identity = queue.home.identity()
    path = queue.home.output_of(identity, archived, 2)
    others = [queue.home.output_of(identity, job, 2) for job in (purged, "unknown")]
    for each in (path, stderr_of(path), progress_of(path), *others):
        Path(each).touch()  # as on another host
    os.mkdir(queue.home.output_of(identity, archived, 7))

    assert sweep(queue).run().outputs == 5

    assert outputs(queue) == {stays, "unknown"}


@pytest.mark.parametrize("needs", ["job", "edited", "schedule"])
def test_an_input_that_is_named_stays(queue: Queue, tmp_path: Path, needs: str) -> None:
    given, other = tmp_path / "given", tmp_path / "other"
    given.write_text("rows")
    other.write_text("other rows")
    if needs == "schedule":
        queue.schedules.add("nightly", Spec(command="cat", stdin=str(given)), cron="0 3 * * *")
    else:
        queue.enqueue("cat", stdin=str(other if needs == "edited" else given), id="reads")
    if needs == "edited":
        queue.edit("reads", stdin=str(given))
    assert swept_twice(queue) == (needs == "edited") * (1 + (queue.engine.shared_files is not None))
    [name] = inputs.names(queue.engine)
    assert inputs.read(name, queue.engine) == b"rows"


def test_an_input_goes_after_its_last_job(queue: Queue, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("rows")
    for _ in range(2):
        queue.enqueue("cat", stdin=str(given))
    work(queue, "w1")
    queue.purge("1")
    assert swept_twice(queue) == 0
    archive(queue, str(tmp_path / "old.ndjson.gz"), now())
    os.utime(inputs.path_of(queue.home, *os.listdir(queue.home.stdin)))
    assert sweep(queue).run() == Swept(), "it was asked for just now"
    swept_twice(queue)
    assert inputs.names(queue.engine) == set()
    assert os.listdir(queue.home.stdin) == []


def test_an_input_asked_for_meanwhile_stays(queue: Queue, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("rows")
    name = inputs.copy(str(given), queue.engine)
    aged(queue)
    first = sweep(queue)
    before = now() / SECOND - DAY
    inputs.copy(str(given), queue.engine)  # its job comes later
    assert not inputs.remove(name, queue.home, before)
    first.run()
    inputs.copy(str(given), queue.engine)
    assert sweep(queue, first.unused).run().inputs == 0
    assert inputs.read(name, queue.engine) == b"rows"


def test_old_reports_of_recoveries_go(queue: Queue) -> None:
    names = [f"recovered_jobs_{number:05}.json" for number in range(REPORTS + 3)]
    for name in [*names, "worker.jsonl"]:
        Path(queue.logs, name).touch()
    assert sweep(queue).run().reports == 3
    assert sorted(os.listdir(queue.logs)) == [*names[3:], "worker.jsonl"]


def test_a_long_log_of_messages_begins_anew(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "LOG_LIMIT", 6)
    log = Path(queue.logs, "worker.log")
    with open(log, "ab", buffering=0) as supervisor:
        supervisor.write(b"short\n")
        sweep(queue).run()
        assert log.read_bytes() == b"short\n"
        supervisor.write(b"longer\n")
        sweep(queue).run()
        supervisor.write(b"anew\n")
    assert (log.read_bytes(), Path(f"{log}.1").read_bytes()) == (b"anew\n", b"onger\n")


def test_a_sweep_is_made_once_a_day(queue: Queue) -> None:
    assert list(retain(queue)) == [], "no day is counted yet"
    change_state(queue.home, swept=now() - round(DAY * SECOND))
    assert list(retain(queue)) == [Swept()]
    assert list(retain(queue)) == []
    assert now() - read_state(queue.home).swept < 60 * SECOND
