"""What doctor says of pauses, suspended jobs, and jobs that need more than exists."""

from pathlib import Path

from freezegun import freeze_time

from queuectl import Queue, Spec, doctor
from queuectl.decisions import Outcome, Report
from queuectl.doctor import Finding, InspectedQueue
from queuectl.workers.turn import TurnWriter


def look(path: Path) -> list[Finding]:
    with InspectedQueue(str(path)) as queue:
        return next(check.findings for check in doctor.examine(queue) if check.name == "flow")


def test_nothing_to_say_of_an_open_queue(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue("true", needs={"gpu": 1})
        queue.pause("empty")
    [finding] = look(tmp_path / "q.db")
    assert (finding.severity, finding.do) == ("ok", None)


def test_an_old_pause_is_a_warning(tmp_path: Path) -> None:
    with freeze_time("2027-01-15T08:00:00Z") as time:
        with Queue(tmp_path / "q.db", actor="ann") as queue:
            queue.enqueue_many([Spec(command="true", queue="gpu")] * 2)
            queue.enqueue("true")
            queue.pause("gpu", reason="deploy")
            queue.pause(seconds=90_000.0)
        everything, gpu = look(tmp_path / "q.db")
        assert (gpu.severity, gpu.do) == ("ok", "let its jobs start: queuectl resume gpu")
        time.tick(86_401)
        everything, gpu = look(tmp_path / "q.db")
        assert gpu.severity == "warning"
        assert gpu.what == "the queue gpu is paused by ann, for 1d: deploy; 2 jobs wait"
        assert everything.severity == "ok", "this one ends by itself"
        assert everything.what.startswith("all queues are paused by ann, for 1d; 3 jobs wait; it ends at 2027-01-16T")
        assert everything.do == "let its jobs start: queuectl resume"


def test_a_pause_by_failure_is_a_warning(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.limit("default", pause_on_failure=True)
        queue.enqueue("false", id="bad", max_retries=0)
        queue.enqueue("true")
        writer = TurnWriter(queue, "w1", (), queue.home.identity())
        writer.start(1)
        [claim] = writer.turn([], [], 1).claims
        writer.turn([Report(claim.lease, Outcome(cause="exit", exit_code=1))], [], 0)
    [finding] = look(tmp_path / "q.db")
    assert finding.severity == "warning"
    assert "since job bad died; 1 job waits" in finding.what


def test_needs_beyond_what_exists_are_named(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.set_resource("gpu", indices="0-3")
        queue.enqueue_many([Spec(command="true", needs={"gpu": 4})] * 2)
        queue.set_resource("gpu", indices="0-1")
    [finding] = look(tmp_path / "q.db")
    assert finding.severity == "warning"
    assert finding.what == "2 jobs need gpu=4, and there is 2: 1 and others"
    assert finding.do == "see queuectl explain 1, or cancel what can't run"


def test_a_job_left_suspended_is_named(tmp_path: Path) -> None:
    with freeze_time("2027-01-15T08:00:00Z") as time:
        with Queue(tmp_path / "q.db") as queue:
            queue.enqueue("true", id="big")
            writer = TurnWriter(queue, "w1", (), queue.home.identity())
            writer.start(1)
            assert len(writer.turn([], [], 1).claims) == 1
            queue.suspend("big")
        [finding] = look(tmp_path / "q.db")
        assert (finding.severity, finding.do) == ("ok", "let it go on: queuectl continue big")
        time.tick(86_401)
        [finding] = look(tmp_path / "q.db")
        assert finding.severity == "warning"
        assert finding.what.startswith("1 job is suspended, since 2027-01-15T08:00:00.")
