"""The library: each command of a user is one transaction, all or nothing, with the documented refusals."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import pytest
from freezegun import freeze_time

from queuectl import Queue, Spec
from queuectl.clock import SECOND, micros
from queuectl.engines.sqlite.location import locate
from queuectl.errors import Deadline, Invalid, NotFound, Refused, Unusable
from queuectl.events import Enqueued, EnvironmentKept
from queuectl.job_fields import Fields
from tests.support.engine_actions import claim, report
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no .env but the test's own


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


@pytest.fixture
def queue(path: Path) -> Iterator[Queue]:
    with Queue(path, actor="ann") as queue:
        yield queue


def last(queue: Queue) -> Enqueued:
    """The policy of the newest job."""
    return max(queue.jobs(), key=lambda job: job.seq).policy


def end(queue: Queue, id: str, cause: str | None = None) -> None:
    """Let a worker run the job that is next, which must be this one, to its end."""
    [(job, lease)] = claim(queue.engine, "w", 1)
    assert job.id == id
    report(queue.engine, lease, cause)


# -- adding ----------------------------------------------------------------------------------------------------------


def test_a_job_is_added_with_every_field(queue: Queue, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("text")
    with freeze_time("2026-11-24T12:00:00Z"):
        id = queue.enqueue(
            ["make", "it so"], id="a", queue="q", priority=-3, delay=1.5, max_retries=7, backoff_base=3, backoff_max=90,
            jitter=0.5, timeout=2.5, env={"C": "3"}, secrets={"B": "1", "A": "2"}, cwd="sub", stdin="input",
            on_lost="dead", keep_children=True, reason="why not",
        )  # fmt: skip
    assert id == "a"
    job = queue.job("a")
    assert (job.queue, job.priority, job.command, job.state) == ("q", -3, "make 'it so'", "pending")
    assert job.run_at == micros("2026-11-24T12:00:00Z") + 3 * SECOND // 2
    assert (job.max_retries, job.timeout, job.secrets, job.enqueued_by) == (7, 2.5, ("A", "B"), "ann")
    policy = job.policy
    assert (policy.backoff_base, policy.backoff_max, policy.jitter) == (3, 90, 0.5)
    assert policy.env == {"C": "3"}
    assert (policy.on_lost, policy.keep_children, policy.reason) == ("dead", True, "why not")
    assert policy.cwd == str(tmp_path / "sub")
    assert policy.stdin is not None
    assert Path(queue.home.stdin, policy.stdin).read_text() == "text"


def test_ids_are_given_or_count_up(queue: Queue) -> None:
    assert queue.enqueue("true") == "1"
    assert queue.enqueue_many(["true", Spec(command="true", id="mine"), "false"]) == ["2", "mine", "3"]
    assert queue.enqueue("true") == "4"
    assert [job.id for job in queue.jobs()] == ["1", "2", "mine", "3", "4"]


def test_a_spec_may_be_given_with_changes(queue: Queue) -> None:
    spec = Spec(command="true", priority=5)
    assert queue.enqueue(spec, id="a") == "a"
    assert queue.job("a").priority == 5


def test_many_jobs_are_added_all_or_none(queue: Queue) -> None:
    queue.enqueue("true", id="taken")
    head = queue.status().seq
    good = Spec(command="true")
    for bad, error in [
        (Spec(command="true", id="taken"), Refused),
        (Spec(command="true", id="twice"), Refused),
        (Spec(command=""), Invalid),
        (Spec(command="true", stdin="/nowhere"), Invalid),
    ]:
        with pytest.raises(error):
            queue.enqueue_many([good, Spec(command="true", id="twice"), good, bad])
        assert queue.status().seq == head
        assert queue.status().total == 1


def test_many_jobs_are_one_transaction_however_many_chunks(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuectl.enqueueing.CHUNK", 10)
    told: list[int] = []
    assert queue.enqueue_many(["true"] * 25, progress=told.append) == [str(n) for n in range(1, 26)]
    assert told == [10, 20, 25]
    assert len({record.at for record in queue.events()}) == 1
    clash = [*["true"] * 12, Spec(command="true", id="x"), *["true"] * 12, Spec(command="true", id="x")]
    with pytest.raises(Refused):
        queue.enqueue_many(clash)
    assert queue.status().total == 25
    assert queue.enqueue("true") == "26"
    assert queue.enqueue_many([]) == []


def test_an_id_is_never_used_again(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    with pytest.raises(Refused, match=r"there is a job 'a' already") as error:
        queue.enqueue("true", id="a")
    assert error.value.exit_code == 3
    end(queue, "a")
    queue.purge("a")
    with pytest.raises(Refused, match="never used again"):
        queue.enqueue("true", id="a")
    with pytest.raises(Refused, match="given twice"):
        queue.enqueue_many([Spec(command="true", id="b"), Spec(command="true", id="b")])


def test_bad_values_are_named(queue: Queue) -> None:
    for fields, word in [
        ({"priorty": 1}, "priorty"), ({"max_retries": -1}, "max_retries"), ({"id": "12"}, "digits"),
        ({"timeout": 0}, "timeout"), ({"delay": 1, "at": 1}, "delay or at"), ({"on_lost": "cry"}, "on_lost"),
    ]:  # fmt: skip
        with pytest.raises(Invalid, match=word) as error:
            queue.enqueue("true", **fields)
        assert error.value.exit_code == 2
    assert queue.status().seq == 0


def test_a_job_has_its_enqueuers_folder_and_environment(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUEUECTL_KEEP_ENV")
    queue.set_config("keep-env", "PATH, COLOUR")
    monkeypatch.setenv("PATH", "/here/bin")
    monkeypatch.setenv("COLOUR", "red")
    queue.enqueue_many(["true", "false"])
    queue.enqueue("true")
    [kept] = queue.events(type="environment_kept")
    assert isinstance(kept.event, EnvironmentKept)
    assert kept.event.variables == {"COLOUR": "red", "PATH": "/here/bin"}
    assert {(job.policy.cwd, f"env:{job.policy.environment}") for job in queue.jobs()} == {(str(tmp_path), kept.stream)}
    monkeypatch.delenv("COLOUR")
    queue.enqueue("true")
    assert len([*queue.events(type="environment_kept")]) == 2
    assert queue.check() == []
    monkeypatch.setenv("COLOUR", os.fsdecode(b"\xff"))
    with pytest.raises(Invalid, match="COLOUR is not valid UTF-8"):
        queue.enqueue("true")


def test_only_a_regular_file_is_input(queue: Queue, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, why in [("fifo", "not a regular file"), (str(tmp_path), "not a regular file"), ("none", "can't read")]:
        with pytest.raises(Invalid, match=why):
            queue.enqueue("true", stdin=name)
    (tmp_path / "link").symlink_to("q.db")
    for name in ("q.db", "q.db-wal", "link"):  # to read it would drop SQLite's locks (R6)
        with pytest.raises(Invalid, match="the queue's own database"):
            queue.enqueue("true", stdin=name)
    (tmp_path / "one").write_text("same")
    (tmp_path / "two").write_text("same")
    queue.enqueue_many([Spec(command="true", stdin="one"), Spec(command="true", stdin="two")])
    assert len(os.listdir(queue.home.stdin)) == 1


# -- settings --------------------------------------------------------------------------------------------------------


def test_the_highest_ranking_source_sets_the_policy(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def retries(**fields: Unpack[Fields]) -> int:
        queue.enqueue("true", **fields)
        return last(queue).max_retries

    assert retries() == 3
    (tmp_path / ".env").write_text("MAX_RETRIES=4\nBACKOFF_BASE=5\n")
    assert retries() == 3, "it is read when the queue is opened"
    with Queue(queue.url) as again:
        again.enqueue("true")
    assert (last(queue).max_retries, last(queue).backoff_base) == (4, 5.0)
    monkeypatch.setenv("MAX_RETRIES", "6")
    assert retries() == 6
    queue.set_config("max_retries", "7", reason="trial")
    assert retries() == 7
    monkeypatch.setenv("QUEUECTL_MAX_RETRIES", "8")
    assert retries() == 8
    assert retries(max_retries=9) == 9
    assert queue.config()["max-retries"].source == "environment QUEUECTL_MAX_RETRIES"
    monkeypatch.delenv("QUEUECTL_MAX_RETRIES")
    queue.set_config("max-retries", None)
    assert retries() == 6


def test_a_change_of_settings_touches_later_jobs_only(queue: Queue) -> None:
    queue.enqueue("true", id="before")
    queue.set_config("max-retries", "0")
    queue.set_config("timeout", "none")
    queue.enqueue("true", id="after")
    assert (queue.job("before").max_retries, queue.job("before").timeout) == (3, 60.0)
    assert (queue.job("after").max_retries, queue.job("after").timeout) == (0, None)
    queue.replay()
    assert (queue.job("before").max_retries, queue.job("before").timeout) == (3, 60.0)


def test_invalid_settings_are_refused_changes_are_events(queue: Queue) -> None:
    for key, value in [("max-retrys", "1"), ("max-retries", "-1"), ("timeout", "soon")]:
        with pytest.raises(Invalid):
            queue.set_config(key, value)
    assert queue.status().seq == 0
    queue.set_config("jitter", "0.5", reason="spread")
    [record] = queue.events()
    assert (record.type, record.actor, record.data) == (
        "config_set", "ann", '{"key":"jitter","value":"0.5","reason":"spread"}',
    )  # fmt: skip


# -- changing --------------------------------------------------------------------------------------------------------


def test_cancel_ends_what_waits_and_asks_what_runs(queue: Queue) -> None:
    queue.enqueue_many([Spec(command="true", id=id) for id in ("runs", "waits")])
    [(_, lease)] = claim(queue.engine, "w", 1)
    queue.cancel("runs", "waits", reason="enough")
    assert (queue.job("waits").state, queue.job("runs").state) == ("cancelled", "processing")
    assert queue.job("runs").cancel_requested
    queue.cancel("runs")  # asked already: nothing more
    report(queue.engine, lease, "cancel")
    assert queue.job("runs").state == "cancelled"
    with pytest.raises(Refused, match="cancelled already"):
        queue.cancel("runs")


def test_changes_are_all_or_none(queue: Queue) -> None:
    queue.enqueue_many([Spec(command="true", id=id) for id in ("done", "waits")])
    end(queue, "done")
    head = queue.status().seq
    for change, ids, error in [
        (queue.cancel, ("waits", "done"), Refused),
        (queue.retry, ("done", "waits"), Refused),
        (queue.purge, ("done", "waits"), Refused),
        (queue.cancel, ("waits", "nobody"), NotFound),
        (queue.purge, ("done", "nobody"), NotFound),
    ]:
        with pytest.raises(error) as raised:
            change(*ids)
        assert raised.value.exit_code == (3 if error is Refused else 1)
        assert queue.status().seq == head
    queue.cancel("waits", "waits")
    assert queue.status().seq == head + 1


def test_retry_runs_a_finished_job_again(queue: Queue) -> None:
    queue.enqueue("true", id="a", max_retries=0)
    for state in ("pending", "processing"):
        assert queue.job("a").state == state
        with pytest.raises(Refused, match=state):
            queue.retry("a")
        if state == "pending":
            [(_, lease)] = claim(queue.engine, "w")
    report(queue.engine, lease, "exit")  # pyright: ignore[reportPossiblyUnboundVariable]
    assert queue.dead() == ["a"]
    queue.retry("a", reason="mended")
    assert (queue.job("a").state, queue.job("a").failures, queue.dead()) == ("pending", 0, [])
    end(queue, "a")
    queue.retry("a")
    end(queue, "a")
    assert [(a.number, a.outcome) for a in queue.attempts("a")] == [(1, "failed"), (2, "completed"), (3, "completed")]
    assert next(queue.events(type="requeued")).data.endswith('"reason":"mended"}')


def test_purge_removes_a_job_but_keeps_its_history(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    end(queue, "a")
    queue.purge("a", reason="tidy")
    assert queue.status().total == 0
    assert list(queue.jobs()) == []
    assert queue.attempts("a") == []
    with pytest.raises(NotFound, match="'a' was purged; its history"):
        queue.job("a")
    with pytest.raises(NotFound):
        queue.retry("a")
    assert [moment.record.type for moment in queue.history("a")][-1] == "purged"
    assert queue.check() == []


def test_the_dead_are_listed_by_queue(queue: Queue) -> None:
    for id, name in (("a", "q"), ("b", "r")):
        queue.enqueue("false", id=id, queue=name, max_retries=0)
        end(queue, id, "exit")
    assert queue.dead() == ["b", "a"]
    assert queue.dead("q") == ["a"]


# -- waiting ---------------------------------------------------------------------------------------------------------


def test_wait_returns_the_jobs_that_have_ended(queue: Queue) -> None:
    queue.enqueue_many([Spec(command="true", id=id) for id in ("a", "b")])
    end(queue, "a")
    queue.cancel("b")
    told: list[tuple[int, int]] = []
    jobs = queue.wait("b", "a", "b", timeout=0, progress=lambda *seen: told.append(seen))
    assert [(job.id, job.state) for job in jobs] == [("b", "cancelled"), ("a", "completed")]
    assert told == [(2, 2)]
    assert queue.wait() == []


def test_wait_has_a_deadline(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    for ids in (("a",), ()):
        with pytest.raises(Deadline, match=r"after 50ms still waiting for 1 job: ") as error:
            queue.wait(*ids, timeout=0.05)
        assert error.value.exit_code == 124
    with pytest.raises(NotFound):
        queue.wait("nobody")
    assert os.listdir(locate(queue.url).bells) == []


def test_wait_is_woken_by_the_ending_process(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    script = """
import sys
from queuectl import Queue
from tests.support.engine_actions import claim, report
with Queue(sys.argv[1]) as queue:
    sys.stdin.readline()
    [(_, lease)] = claim(queue.engine, "w")
    report(queue.engine, lease, exit_code=0)
"""
    worker = subprocess.Popen(
        [sys.executable, "-c", script, queue.url], cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def go(ended: int, of: int) -> None:
        if worker.stdin is not None and not worker.stdin.closed:
            worker.stdin.write("go\n")
            worker.stdin.close()

    [job] = queue.wait("a", timeout=30, progress=go)
    assert (job.state, job.exit_code) == ("completed", 0)
    assert worker.wait(30) == 0
    assert worker.stderr is not None
    assert worker.stderr.read() == ""
    worker.stderr.close()


# -- the queue itself ------------------------------------------------------------------------------------------------


def test_everything_survives_close_and_reopen(path: Path) -> None:
    with Queue(path) as queue:
        queue.enqueue_many(["true", "false", "true"])
        end(queue, "1")
        end(queue, "2", "exit")
        before = (list(queue.jobs()), list(queue.events()), list(queue.all_attempts()), queue.status())
    queue.close()
    with Queue(f"sqlite:///{path}") as queue:
        assert (list(queue.jobs()), list(queue.events()), list(queue.all_attempts()), queue.status()) == before
        assert queue.enqueue("true") == "4"


def test_the_library_finds_the_queue_like_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Queue() as queue:
        assert queue.url == str(tmp_path / "state" / "queuectl" / "queue.db")
    (tmp_path / ".env").write_text("DB_PATH=./db/queue.db\n")
    with Queue() as queue:
        assert queue.url == str(tmp_path / "db" / "queue.db")
    monkeypatch.setenv("QUEUECTL_DB", str(tmp_path / "named.db"))
    with Queue() as queue:
        assert queue.url == str(tmp_path / "named.db")
    with pytest.raises(Unusable, match="no server has the socket"):
        Queue("postgresql:///db?host=/nonexistent")


def test_the_actor_is_in_the_log(path: Path) -> None:
    with Queue(path) as queue:
        queue.enqueue("true")
        assert next(queue.events()).actor.startswith("library:")
        assert next(queue.events()).actor.endswith(f"@{os.uname().nodename}")
