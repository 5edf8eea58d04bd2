"""What a worker does with a command: its outcome in the log, its ends, its surroundings."""

import json
import os
import stat
import time
from pathlib import Path

import pytest

from queuectl.events import Completed, Failed, Heartbeat
from queuectl.host import processes
from queuectl.workers.execution import output
from queuectl.workers.turn import TurnWriter
from tests.support.lab import Fifo, Lab, gone


def failure(lab: Lab, id: str) -> Failed:
    event = lab.records("failed", id)[-1].event
    assert isinstance(event, Failed)
    return event


def test_timeout_sends_term_and_is_named(lab: Lab) -> None:
    id = lab.queue.enqueue("trap 'echo bye; exit 9' TERM; sleep 60 & wait", timeout=0.3, max_retries=0)

    lab.drain()

    failed = failure(lab, id)
    assert (failed.cause, failed.exit_code, failed.signal) == ("timeout", 9, None)
    assert "timeout of 300ms" in (failed.error or "")
    assert (failed.run_seconds or 0) >= 0.3
    assert Path(lab.queue.output(id)).read_text() == "bye\n"


def test_command_ignoring_term_is_killed_with_its_children(lab: Lab, fifo: Fifo) -> None:
    command = f"trap '' TERM; (trap '' TERM; echo $(sh -c 'echo $PPID') > {fifo}; sleep 60; sleep 60) & wait; sleep 60"
    id = lab.queue.enqueue(command, timeout=0.2, max_retries=0)
    process = lab.start(drain=True)
    grandchild = int(fifo.line())

    assert lab.ended(process) == (0, "")

    failed = failure(lab, id)
    assert (failed.cause, failed.exit_code, failed.signal) == ("timeout", None, 9)
    assert (failed.run_seconds or 0) >= 5
    assert gone(grandchild)


def test_exit_codes_and_signals_are_told_apart(lab: Lab) -> None:
    code = lab.queue.enqueue("exit 77", max_retries=0)
    killed = lab.queue.enqueue("kill -SEGV $$", max_retries=0)

    lab.drain()

    assert (failure(lab, code).cause, failure(lab, code).exit_code, failure(lab, code).signal) == ("exit", 77, None)
    assert (failure(lab, killed).cause, failure(lab, killed).exit_code, failure(lab, killed).signal) == (
        "signal",
        None,
        11,
    )


def test_cpu_time_peak_memory_and_output_are_measured(lab: Lab) -> None:
    busy = "import time; block = b'x' * (200 << 20)\nwhile time.process_time() < 0.3: pass\nprint('done')"
    id = lab.queue.enqueue(["python3", "-c", busy])

    lab.drain()

    event = lab.records("completed", id)[0].event
    assert isinstance(event, Completed)
    assert 0.3 <= (event.cpu_seconds or 0) < 30
    assert 200 << 20 < (event.max_rss or 0) < 400 << 20
    assert event.output_bytes == 5
    [attempt] = lab.queue.attempts(id)
    assert (attempt.cpu_seconds, attempt.max_rss, attempt.output_bytes) == (
        event.cpu_seconds,
        event.max_rss,
        event.output_bytes,
    )


def test_each_attempt_has_its_own_private_output_file(lab: Lab) -> None:
    id = lab.queue.enqueue(
        "umask; echo attempt $QUEUECTL_ATTEMPT; exit 1", max_retries=1, backoff_base=1, backoff_max=0.01
    )
    before = os.umask(0o002)
    try:
        lab.drain()
    finally:
        os.umask(before)

    paths = [lab.queue.output(id, number) for number in (1, 2)]
    assert [Path(path).read_text().splitlines() for path in paths] == [["0002", "attempt 1"], ["0002", "attempt 2"]]
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in paths} == {0o600}


def test_command_runs_in_the_enqueuers_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    here = lab.folder / "here"
    here.mkdir()
    (here / "input").write_text("from stdin\n")
    (here / "bin").mkdir()
    (here / "bin" / "greet").write_text("#!/bin/sh\necho hello from the bin of the caller\n")
    (here / "bin" / "greet").chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("QUEUECTL_KEEP_ENV", "PATH")
    names = "QUEUECTL_DB QUEUECTL_JOB_ID QUEUECTL_ATTEMPT QUEUECTL_QUEUE SECRET WORKERS"
    command = f'for name in {names}; do eval "echo \\$$name"; done; pwd; greet; cat'
    lab.queue.enqueue(
        command, id="job1", queue="q2", secrets={"SECRET": "s e cret"}, cwd=str(here), stdin=str(here / "input")
    )
    monkeypatch.undo()
    monkeypatch.setenv("WORKERS", "its own")

    lab.drain()

    assert Path(lab.queue.output("job1")).read_text().splitlines() == [
        lab.database,
        "job1",
        "1",
        "q2",
        "s e cret",
        "its own",
        str(here),
        "hello from the bin of the caller",
        "from stdin",
    ]
    assert "s e cret" not in "".join(record.data for record in lab.queue.events())


def test_command_starts_with_default_signals_and_descriptors(lab: Lab) -> None:
    pipe = lab.queue.enqueue("yes | head -1")
    descriptors = lab.queue.enqueue("ls /proc/self/fd; cat /proc/self/status | grep SigIgn")

    lab.drain()

    assert Path(lab.queue.output(pipe)).read_text() == "y\n"
    *numbers, ignored = Path(lab.queue.output(descriptors)).read_text().split()
    assert numbers == ["0", "1", "2", "3", "77", "SigIgn:"]  # 3 is what ls reads
    assert int(ignored, 16) & 0x7FFFFFFF == 0  # above are the C library's own


def test_exit_codes_survive_an_ignored_sigchld(lab: Lab) -> None:
    id = lab.queue.enqueue("exit 4", max_retries=0)
    ignoring = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    process = lab.python(
        f"{ignoring}import sys; from queuectl.workers.supervisor import start\n"
        f"sys.exit(start({lab.database!r}, drain=True))"
    )

    assert lab.ended(process) == (0, "")

    assert lab.queue.job(id).exit_code == 4


def test_job_without_its_secret_values_is_dead(lab: Lab) -> None:
    id = lab.queue.enqueue(f"touch {lab.folder}/ran", secrets={"TOKEN": "1", "OTHER": "2"})
    with lab.queue.engine.transaction() as tx:
        tx.forget_secrets([id])
    after = lab.queue.enqueue("true")

    lab.drain()

    assert lab.log(id) == ["enqueued", "claimed", "failed", "dead"]
    failed = failure(lab, id)
    assert failed.cause == "spawn"
    assert "OTHER, TOKEN" in (failed.error or "")
    assert not (lab.folder / "ran").exists()
    assert lab.queue.job(after).state == "completed"


def test_secret_values_are_forgotten_once_the_job_completes(lab: Lab) -> None:
    kept = lab.queue.enqueue("exit 1", secrets={"TOKEN": "1"}, max_retries=0)
    done = lab.queue.enqueue("true", secrets={"TOKEN": "1"})

    lab.drain()

    with lab.queue.engine.transaction() as tx:
        assert (tx.secrets(kept), tx.secrets(done)) == ({"TOKEN": "1"}, {})


def test_output_past_the_limit_loses_its_middle(lab: Lab) -> None:
    lab.queue.set_config("output-limit", "1MiB")
    quick = lab.queue.enqueue("echo first; yes | head -c 20M; echo last")
    slow = lab.queue.enqueue("echo first; for i in 1 2 3; do yes | head -c 20M; sleep 0.4; done; echo last")

    lab.drain(slots=2)

    for id, size in ((quick, 20 << 20), (slow, 60 << 20)):
        event = lab.records("completed", id)[0].event
        assert isinstance(event, Completed)
        path = lab.queue.output(id)
        assert os.stat(path).st_size == event.output_bytes == size + 11
        assert os.stat(path).st_blocks * 512 < 2 << 20
        begin, end = output.cut(path) or (0, 0)
        assert event.output_cut == end - begin > size - (2 << 20)
        with open(path, "rb") as file:
            assert file.read(8) == b"first\ny\n"
            file.seek(-6, os.SEEK_END)
            assert file.read() == b"\nlast\n"


def test_heartbeats_name_the_attempts_that_a_worker_holds(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"read line < {fifo}", timeout=None)
    lab.worker(constants={"chores.heartbeat.INTERVAL": 0.05})
    beats = lab.until(lambda: len(found := lab.records("heartbeat")) >= 3 and found)

    Path(fifo.path).write_text("go\n")
    lab.queue.wait(id, timeout=20)

    for record in beats:
        event = record.event
        assert isinstance(event, Heartbeat)
        assert [(held.job, held.attempt) for held in event.attempts] == [(id, 1)]
    lab.queue.stop_workers(timeout=10)
    beats = len(lab.records("heartbeat"))
    assert sum(moment.record.type == "heartbeat" for moment in lab.queue.history(id)) == beats
    assert lab.records("worker_stopped")


def test_worker_records_its_process_and_whether_private(lab: Lab) -> None:
    TurnWriter(lab.queue, "shared", (), "cafe").start(1)
    TurnWriter(lab.queue, "private", (), "cafe", only=["7"]).start(1)

    shared, private = lab.queue.workers()

    assert (shared.pid, shared.start_ticks) == (os.getpid(), processes.start_time(os.getpid()))
    assert (shared.private, private.private) == (False, True)


def test_journal_is_private_lines_of_json(lab: Lab) -> None:
    lab.queue.enqueue("exit 3", id="bad", max_retries=0)
    lab.queue.enqueue("true", id="good")

    lab.drain()

    path = lab.folder / "q.db.d" / "logs" / "worker.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {line["event"] for line in lines} == {"started", "completed", "failed", "stopped"}
    [bad] = [line for line in lines if line.get("job") == "bad"]
    assert (bad["event"], bad["cause"], bad["exit_code"], bad["then"]) == ("failed", "exit", 3, "dead")


def test_cancel_ends_the_command(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo $$ > {fifo}; exec sleep 60")
    process = lab.start(drain=True)
    pid = int(fifo.line())

    lab.queue.cancel(id, reason="changed my mind")

    assert lab.ended(process) == (0, "")
    assert lab.log(id) == ["enqueued", "claimed", "cancel_requested", "cancelled"]
    assert lab.queue.job(id).signal == 15
    assert gone(pid)


def test_commands_run_on_while_others_write(lab: Lab, fifo: Fifo) -> None:
    first = lab.queue.enqueue(f"echo up > {fifo}; sleep 0.3; echo done > {fifo}")
    second = lab.queue.enqueue("true")
    lab.start()
    fifo.line()

    with lab.queue.engine.transaction():
        assert fifo.line() == "done"
        time.sleep(1)

    jobs = lab.queue.wait(first, second, timeout=20)
    assert [(job.state, job.attempt) for job in jobs] == [("completed", 1), ("completed", 1)]


@pytest.mark.parametrize("where", ["gate", "database"])
def test_timeout_holds_while_the_database_is_locked(lab: Lab, fifo: Fifo, where: str) -> None:
    go = Fifo(lab.folder / "go")
    other = lab.queue.enqueue(f"read line < {go}")
    id = lab.queue.enqueue(f"echo up > {fifo}; exec sleep 60", max_retries=0, timeout=1.5)
    lab.worker(slots=2)
    fifo.line()
    lock = {
        "gate": "from queuectl.engines.sqlite.gate import Gate;"
        " held = Gate(sys.argv[1] + '.d/gate').hold(9); held.__enter__()",
        "database": "import apsw; db = apsw.Connection(sys.argv[1]); db.execute('begin immediate')",
    }[where]
    code = f"import sys, time; {lock}; open(sys.argv[2], 'w').write('locked\\n'); time.sleep(4)"
    lab.python(code, lab.database, str(fifo))
    assert fifo.line() == "locked"
    Path(go.path).write_text("go\n")  # its report has to wait for the lock, and the worker with it

    [job, _] = lab.queue.wait(id, other, timeout=20)

    assert job.cause == "timeout"
    seconds = lab.queue.attempts(id)[0].run_seconds
    assert seconds is not None
    assert seconds < 3.5, "and not as long as the database was kept"
    go.close()


def test_turn_is_retried_when_the_database_is_locked(lab: Lab, fifo: Fifo) -> None:
    go = Fifo(lab.folder / "go")
    id = lab.queue.enqueue(f"echo up > {fifo}; read line < {go}; exit 7", max_retries=0, timeout=None)
    lab.worker(constants={"worker.PAUSE": 0.05})
    fifo.line()
    # Somebody who does not know of the gate: SQLite's own lock is what the worker meets.
    stranger = lab.python(
        """
import apsw, sys, time
db = apsw.Connection(sys.argv[1])
db.execute('begin immediate')
with open(sys.argv[2], 'w') as fifo:
    print('locked', file=fifo)
time.sleep(60)
        """,
        lab.database,
        str(fifo),
    )
    assert fifo.line() == "locked"
    Path(go.path).write_text("go\n")
    journal = lab.folder / "q.db.d" / "logs" / "worker.jsonl"
    lab.until(lambda: "is locked by another program" in journal.read_text())
    stranger.kill()

    [job] = lab.queue.wait(id, timeout=20)

    assert (job.state, job.exit_code, job.attempt) == ("dead", 7, 1)
    go.close()
