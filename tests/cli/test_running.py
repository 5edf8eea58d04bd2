"""`worker`, `run`, `wait`, `recover`, `monitor`: jobs that really run."""

import gzip
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from tests.support.paths import DATA
from tests.support.shell import Shell


def _until(what: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def test_workers_are_listed_and_stopped(queuectl: Shell):
    queuectl.make()
    parent = queuectl.start("worker", "start", "--count", "2", "--slots", "3", "--queue", "a", "--queue", "b")
    _until(lambda: len(queuectl("worker", "list", "--json").ok().ndjson) == 2)
    workers = queuectl("worker", "list", "--json").ndjson
    assert {(w["state"], w["alive"], w["slots"], tuple(w["queues"])) for w in workers} == {
        ("running", True, 3, ("a", "b"))
    }  # fmt: skip
    assert queuectl("status").json["workers"] == 2
    first, second = (worker["id"] for worker in workers)
    assert queuectl("worker", "stop", first, "--reason", "why").ok().out == f"{first}  stopped\n"
    assert [worker["id"] for worker in queuectl("worker", "list", "--json").ndjson] == [second]
    assert queuectl("stop-workers").ok().out == f"{second}  stopped\n"
    _, err = parent.communicate(timeout=20)
    assert (parent.returncode, err) == (0, b"")
    ended = queuectl("worker", "list", "--all", "--json").ndjson
    assert {(worker["id"], worker["state"]) for worker in ended} == {(first, "stopped"), (second, "stopped")}


def test_there_is_nothing_to_stop(queuectl: Shell):
    queuectl.make()
    for words in (["worker", "stop"], ["stop-workers"]):
        answer = queuectl(*words).ok()
        assert (answer.out, answer.err) == ("", "queuectl: no worker is up\n")
    assert "'nope'" in queuectl("worker", "stop", "nope").refused(1)


def test_a_detached_worker_outlives_its_starter(queuectl: Shell):
    answer = queuectl("worker", "start", "--detach", "--logs", "logs").ok()
    assert answer.out == ""
    assert "worker.log" in answer.err
    assert queuectl("run", "echo hi").ok().out == "hi\n"
    assert len(queuectl("worker", "stop").ok().lines) == 1
    assert (queuectl.folder / "logs" / "worker.jsonl").exists()


def test_a_worker_stops_after_its_time(queuectl: Shell):
    assert queuectl("worker", "start", "--for", "0.2s").ok()


def test_run_streams_output_and_returns_the_exit_code(queuectl: Shell):
    queuectl.make()
    answer = queuectl("run", "--max-retries", "0", "echo out; echo err >&2; exit 7")
    assert (answer.code, answer.out, answer.err) == (7, "out\nerr\n", "")
    answer = queuectl("run", "--", "printf", "%s", "a b")
    assert (answer.code, answer.out) == (0, "a b")
    assert queuectl("run", "--max-retries", "0", "kill -9 $$").code == 128 + 9
    assert queuectl("run", "--max-retries", "0", "--", "no-such-program").code == 127
    assert queuectl("worker", "list").out == "", "its own worker is gone"


def test_run_says_why_a_command_was_ended(queuectl: Shell):
    answer = queuectl("run", "--max-retries", "0", "--timeout", "0.3", "echo a; sleep 30")
    assert (answer.code, answer.out) == (143, "a\n")
    assert "ran into its timeout of 300ms" in answer.err


def test_run_goes_through_retries(queuectl: Shell):
    queuectl.make()
    answer = queuectl("run", "echo $QUEUECTL_ATTEMPT; test $QUEUECTL_ATTEMPT = 2", QUEUECTL_BACKOFF_BASE="1")
    assert (answer.code, answer.out, answer.err) == (0, "1\n2\n", "queuectl: attempt 2\n")


def test_run_takes_no_other_job(queuectl: Shell):
    queuectl("enqueue", "--id", "other", "touch ran").ok()
    queuectl("run", "--id", "mine", "true").ok()
    assert not (queuectl.folder / "ran").exists()


def test_run_goes_on_when_its_worker_is_killed(queuectl: Shell):
    queuectl.env["QUEUECTL_BACKOFF_BASE"] = "1"
    running = queuectl.start("run", "echo $QUEUECTL_ATTEMPT; test $QUEUECTL_ATTEMPT = 2 || sleep 60")
    assert running.stdout is not None
    assert running.stdout.readline() == b"1\n"
    os.kill(queuectl("worker", "list", "--json").json["pid"], signal.SIGKILL)
    assert running.stdout.readline() == b"2\n"
    running.communicate(timeout=20)
    assert running.returncode == 0


def test_an_interrupted_run_cancels_its_job(queuectl: Shell):
    queuectl.make()
    running = queuectl.start("run", "--id", "a", "echo up; sleep 60")
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (130, b"")
    assert queuectl("inspect", "a", "--json").json["state"] == "cancelled"


def test_a_run_interrupted_while_it_enqueues_cancels(queuectl: Shell):
    queuectl.make()
    other = apsw.Connection(str(queuectl.folder / "q.db"))
    other.execute("begin immediate")
    running = queuectl.start("run", "--id", "a", "sleep 60")
    wal = str(queuectl.folder / "q.db-wal")
    _until(lambda: wal in [os.readlink(fd) for fd in Path(f"/proc/{running.pid}/fd").iterdir()])
    time.sleep(0.5)  # it waits for the lock
    running.send_signal(signal.SIGINT)
    assert queuectl("list", "--json").ok().ndjson == []
    other.execute("commit")
    _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (130, b"")
    assert queuectl("inspect", "a", "--json").json["state"] == "cancelled"


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_terminated_run_cancels_its_job_alone(queuectl: Shell, number: int, code: int):
    queuectl.make()
    running = queuectl.start("run", "--id", "a", "echo up; sleep 60")
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    assert queuectl("run", "echo second").ok().out == "second\n", "the first one's worker is for its job alone"
    running.send_signal(number)
    _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (code, b"")
    assert queuectl("inspect", "a", "--json").json["state"] == "cancelled"


def test_a_second_signal_ends_the_wait(queuectl: Shell):
    queuectl.make()
    running = queuectl.start("run", "--id", "a", "trap '' TERM; echo up; while :; do sleep 1; done")
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    running.send_signal(signal.SIGTERM)
    _until(lambda: queuectl("inspect", "a", "--json").json["cancel_requested"])
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (143, b"queuectl: job a is being cancelled, and no longer waited for\n")


def test_a_closed_pipe_cancels_a_run(queuectl: Shell):
    running = queuectl.start("run", "--id", "a", "echo up; while echo more; do sleep 0.1; done")
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    running.stdout.close()
    running.communicate(timeout=20)
    assert running.returncode == 141
    assert queuectl("inspect", "a", "--json").json["state"] == "cancelled"


def test_an_unwritable_run_exits_as_its_job(queuectl: Shell):
    with open("/dev/full", "wb") as full:
        running = queuectl.start("run", "--id", "a", "--max-retries", "0", "echo kept; exit 3", stdout=full.fileno())
        _, err = running.communicate(timeout=20)
    assert running.returncode == 3
    assert b"what job a writes is kept; see `queuectl logs a`" in err
    assert queuectl("logs", "a").out == "kept\n"


def test_wait_prints_how_jobs_ended(queuectl: Shell):
    queuectl.env["QUEUECTL_BACKOFF_MAX"] = "0.1s"
    for id, command in (("good", "true"), ("bad", "exit 7"), ("killed", "kill -9 $$")):
        queuectl("enqueue", "--id", id, "--max-retries", "1", command).ok()
    waiting = queuectl.start("wait")
    _until(lambda: any(name.startswith("log-") for name in os.listdir(queuectl.folder / "q.db.d" / "bells")))
    queuectl.drain()
    out, err = waiting.communicate(timeout=20)
    told = err.splitlines()[-1]  # before it perhaps that no worker is up, on a slow machine
    assert (waiting.returncode, out, told) == (1, b"", b"queuectl: 1 completed, 2 dead (bad, killed)")
    assert queuectl("wait", "good").err == "queuectl: job good completed\n"
    assert queuectl("wait", "bad").err == "queuectl: job bad died: exit 7 after 2 attempts\n"
    assert queuectl("wait", "killed", "--brief").err == "queuectl: 1 dead (killed)\n"
    assert queuectl("wait", "good", "bad").err == "queuectl: 1 completed, 1 dead (bad)\n"


def test_wait_prints_each_end_on_a_terminal(queuectl: Shell, terminal: Callable[..., str]):
    queuectl("enqueue", "--id", "a", "true").ok()
    queuectl("enqueue", "--id", "b", "true").ok()
    queuectl.drain()
    queuectl("enqueue", "--id", "c", "true").ok()
    queuectl("cancel", "c").ok()
    lines = [f"queuectl: job {what}" for what in ("a completed", "b completed", "c was cancelled before it ran")]
    assert terminal("wait", "a", "b", "c").splitlines() == lines


def test_wait_gives_the_outcome(queuectl: Shell):
    for id, command in (("good", "true"), ("bad", "exit 7"), ("killed", "kill -9 $$")):
        queuectl("enqueue", "--id", id, "--max-retries", "0", command).ok()
    queuectl.drain()
    assert [queuectl("wait", id).code for id in ("good", "bad", "killed")] == [0, 7, 137]
    assert queuectl("wait", "good", "bad").code == 1
    assert queuectl("wait").code == 0
    queuectl("enqueue", "--hold", "true").ok()
    assert queuectl("wait").ok().err == "queuectl: 1 job waits for a person; `queuectl explain` tells why\n"
    assert [job["id"] for job in queuectl("wait", "good", "bad", "--json").ndjson] == ["good", "bad"]


def test_wait_wakes_when_the_job_has_ended(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "true").ok()
    waiting = queuectl.start("wait", "a")
    queuectl.drain()
    waiting.communicate(timeout=20)
    assert waiting.returncode == 0


def test_the_deadline_of_wait_passes(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "--delay", "1h", "true").ok()
    told = queuectl("wait", "a", "--timeout", "0.2s").refused(124)
    assert told == "after 200ms still waiting for 1 job: a (pending)"
    assert queuectl("wait", "--timeout", "0.2s").refused(124) == "after 200ms still waiting for 1 job: 1 pending"
    queuectl("enqueue", "--hold", "true").ok()
    assert queuectl("wait", "--timeout", "0.2s").refused(124) == "after 200ms still waiting for 1 of 2 jobs: 2 pending"
    queuectl("enqueue", "--id", "due", "true").ok()
    assert "no worker serves the queue default" in queuectl("wait", "due", "--timeout", "4s").err


def _gone(pid: int) -> bool:
    """Whether a process has ended; whoever adopted it may not have reaped it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _crash(queuectl: Shell, command: str, *words: str) -> None:
    """Run a job until it has said `up`, then kill its worker and the worker's parent."""
    queuectl("enqueue", "--id", "a", "--timeout", "none", *words, command).ok()
    parent = queuectl.start("worker", "start")
    following = queuectl.start("logs", "a", "--follow")
    assert following.stdout is not None
    assert following.stdout.readline() == b"up\n"
    worker = queuectl("worker", "list", "--json").ndjson[0]["pid"]
    parent.kill()
    os.kill(worker, signal.SIGKILL)
    following.kill()
    parent.communicate(timeout=20)
    following.communicate(timeout=20)


@pytest.mark.parametrize("command", ["recover", "recover-fail"])
def test_recover_brings_back_the_jobs_of_dead_workers(queuectl: Shell, command: str):
    _crash(queuectl, "echo $$ > pid; echo up; sleep 60")
    answer = queuectl(command, "--json", "--logs", "reports").ok().json
    assert [(job["job"], job["outcome"]) for job in answer["jobs"]] == [("a", "failed")]
    pid = int((queuectl.folder / "pid").read_text())
    assert _gone(pid), "what it left running was ended"
    job = queuectl("inspect", "a", "--json").json
    assert (job["state"], job["cause"]) == ("failed", "lost")
    assert [path.name[:15] for path in (queuectl.folder / "reports").iterdir()] == ["recovered_jobs_"]
    assert queuectl("status").json["workers"] == 0
    assert queuectl(command).ok().out == "nothing to recover\n"


def test_recover_names_workers_it_cannot_see(queuectl: Shell):
    """As in a queue that came from another machine: its worker can't be seen from here, and nothing is recovered."""
    data = DATA / "queue_v1.sqlite3.gz"
    (queuectl.folder / "q.db").write_bytes(gzip.decompress(data.read_bytes()))
    answer = queuectl("recover").ok()
    assert answer.out == "nothing to recover\n"
    assert "worker w2 (on old) can't be seen from here, and holds 6 jobs; if it lives no more" in answer.err
    assert "queuectl recover --hung" in answer.err


def test_on_lost_dead_kills_a_lost_job(queuectl: Shell):
    _crash(queuectl, "echo up; sleep 60", "--on-lost", "dead")
    lines = queuectl("recover").ok().lines
    assert lines[0].endswith(" is dead")
    assert lines[1].split() == ["JOB", "ATTEMPT", "WORKER", "OUTCOME", "NOW", "WHY"]
    assert lines[2].split()[:2] == ["a", "1"]
    assert lines[2].split()[3:8] == ["failed", "dead", "its", "worker", "died;"]
    assert queuectl("inspect", "a", "--json").json["state"] == "dead"


def test_the_monitor_recovers_until_it_is_stopped(queuectl: Shell):
    _crash(queuectl, "echo up; sleep 60")
    watching = queuectl.start("monitor", "--json")
    assert watching.stdout is not None
    assert b'"job":"a"' in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert (watching.returncode, err) == (130, b"")


@pytest.mark.parametrize("why", ["No space left on device", "Broken pipe"])
def test_the_monitor_survives_unwritable_output(queuectl: Shell, why: str):
    _crash(queuectl, "echo up; sleep 60")
    hear, tell = os.pipe()
    os.close(hear)
    full = os.open("/dev/full", os.O_WRONLY)
    watching = queuectl.start("monitor", stdout=full if why.startswith("No space") else tell)
    os.close(tell)
    os.close(full)
    assert watching.stderr is not None
    told = watching.stderr.readline().decode()
    assert f"standard output can't be written ({why}): recovery goes on, and its reports are in" in told
    assert queuectl("inspect", "a", "--json").json["state"] == "failed"
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert (watching.returncode, err) == (130, b"")


def test_run_works_under_an_ignored_sigchld(queuectl: Shell):
    queuectl.make()
    queuectl.before = ["env", "--ignore-signal=CHLD"]
    answer = queuectl("run", "--max-retries", "0", "exit 7")
    assert (answer.code, answer.err) == (7, "")
