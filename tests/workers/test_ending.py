"""How attempts are ended as their jobs say: grace, stop signal, the signal of a cancel; and what exit codes mean."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from queuectl.workers.recovery import attempt_table, rescuer
from tests.support.lab import Fifo, Lab, gone, kill_all
from tests.support.shell import Shell

TIDIES = "trap 'sleep 2; echo tidied > tidied; exit 7' {signal}; echo $$ > {fifo}; while :; do sleep 0.05; done"
"""A command that needs two seconds after the signal, in its folder."""
STUBBORN = "trap '' TERM; echo $$ > {fifo}; while :; do sleep 0.05; done"


def tidies(lab: Lab, fifo: Fifo, **policy: Any) -> str:
    """Enqueue a command that tidies up on SIGINT."""
    command = TIDIES.format(signal="INT", fifo=fifo)
    policy = {"stop_signal": signal.SIGINT, "grace": 60.0, "timeout": None, "max_retries": 0, **policy}
    return lab.queue.enqueue(command, cwd=str(lab.folder), **policy)


def tidied(lab: Lab) -> bool:
    return (lab.folder / "tidied").exists()


# -- by the worker ---------------------------------------------------------------------------------------------------


def test_a_timeout_asks_by_the_stop_signal(lab: Lab, fifo: Fifo) -> None:
    id = tidies(lab, fifo, timeout=0.5)
    lab.drain()
    job = lab.queue.job(id)
    assert tidied(lab)
    assert (job.state, job.cause, job.exit_code) == ("dead", "timeout", 7)


def test_the_grace_is_the_jobs_own(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(STUBBORN.format(fifo=fifo), timeout=0.3, grace=1.0, max_retries=0)
    lab.drain()
    [attempt] = lab.queue.attempts(id)
    assert (attempt.cause, attempt.signal) == ("timeout", signal.SIGKILL)
    assert attempt.run_seconds is not None
    assert 1.3 <= attempt.run_seconds < 5.0, "it is neither killed at once nor given five seconds"


def test_a_cancel_names_its_signal(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(TIDIES.format(signal="USR1", fifo=fifo), cwd=str(lab.folder), timeout=None, grace=60.0)
    lab.start()
    fifo.line()
    lab.queue.cancel(id, signal=signal.SIGUSR1, reason="enough")
    assert lab.queue.job(id).cancel_signal == "USR1"
    [job] = lab.queue.wait(id, timeout=30)
    assert (job.state, job.exit_code, tidied(lab)) == ("cancelled", 7, True)
    [asked] = lab.records("cancel_requested", id)
    assert asked.data == '{"signal":"USR1","reason":"enough"}'


def test_a_second_cancel_may_kill(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(STUBBORN.format(fifo=fifo), timeout=None, grace=1000.0)
    lab.start()
    pid = int(fifo.line())
    lab.queue.cancel(id)
    lab.queue.cancel(id)
    lab.queue.cancel(id, signal="kill")
    [job] = lab.queue.wait(id, timeout=30)
    assert (job.state, job.signal, gone(pid)) == ("cancelled", signal.SIGKILL, True)
    assert lab.log(id) == ["enqueued", "claimed", "cancel_requested", "cancel_requested", "cancelled"]
    assert lab.queue.check() == []


@pytest.mark.parametrize("how", ["stop --now", "two signals"])
def test_a_stopped_worker_waits_for_the_grace(lab: Lab, fifo: Fifo, how: str) -> None:
    id = tidies(lab, fifo)
    parent = lab.start()
    fifo.line()
    if how == "stop --now":
        lab.queue.stop_workers(now=True, timeout=30)
    else:
        parent.send_signal(signal.SIGINT)
        parent.send_signal(signal.SIGTERM)
    assert lab.ended(parent) == (0, "")
    assert tidied(lab)
    assert lab.log(id) == ["enqueued", "claimed", "interrupted"]
    assert lab.queue.job(id).state == "pending"


def test_what_an_earlier_attempt_left_is_asked_so(lab: Lab, fifo: Fifo) -> None:
    left = lab.folder / "left.sh"
    left.write_text(TIDIES.format(signal="USR1", fifo=fifo))
    command = (
        f"test -e second && exit 0; touch second; setsid sh {left} >/dev/null 2>&1 & read line < {fifo}.ready; exit 1"
    )
    os.mkfifo(f"{fifo}.ready")
    id = lab.queue.enqueue(
        command, cwd=str(lab.folder), timeout=None, stop_signal="USR1", grace=60.0, max_retries=1, backoff_max=0.0
    )
    lab.start(drain=True)
    fifo.line()
    Path(f"{fifo}.ready").write_text("\n")
    [job] = lab.queue.wait(id, timeout=30)
    assert (job.state, job.attempt, tidied(lab)) == ("completed", 2, True)


# -- by recovery -----------------------------------------------------------------------------------------------------


def test_recovery_asks_by_the_stop_signal(lab: Lab, fifo: Fifo) -> None:
    id = tidies(lab, fifo)
    lab.start()
    pid = int(fifo.line())
    kill_all(lab)

    rescuer.recover(lab.queue)

    assert (gone(pid), tidied(lab)) == (True, True)
    assert lab.queue.job(id).cause == "lost"


def test_a_parent_recovers_by_the_stop_signal(lab: Lab, fifo: Fifo) -> None:
    id = tidies(lab, fifo)
    lab.start()
    fifo.line()
    [worker] = lab.up()
    os.kill(worker.pid, signal.SIGKILL)
    [job] = lab.queue.wait(id, timeout=30)
    assert (job.state, job.cause, tidied(lab)) == ("dead", "lost", True)


def test_recovery_asks_by_the_signal_of_the_cancel(lab: Lab, fifo: Fifo) -> None:
    id = tidies(lab, fifo, stop_signal="TERM")
    lab.start()
    fifo.line()
    [worker] = lab.up()
    os.kill(worker.pid, signal.SIGSTOP)
    lab.queue.cancel(id, signal="INT")
    kill_all(lab)

    rescuer.recover(lab.queue)

    assert tidied(lab)
    assert lab.log(id) == ["enqueued", "claimed", "cancel_requested", "cancelled"]


def test_recovery_has_patience_for_the_grace(lab: Lab, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescuer, "PATIENCE", 0.5)
    id = lab.queue.enqueue(STUBBORN.format(fifo=fifo), timeout=None, grace=2.0)
    lab.start()
    pid = int(fifo.line())
    kill_all(lab)

    report = rescuer.recover(lab.queue)

    assert ([each.job for each in report.jobs], report.left, gone(pid)) == ([id], [], True)


# -- exit codes ------------------------------------------------------------------------------------------------------


def test_an_exit_code_is_success_or_final(lab: Lab) -> None:
    ids = [lab.queue.enqueue(f"exit {code}", ok_codes=(3,), no_retry_codes=(64,), backoff_max=0.0, max_retries=1)
           for code in (0, 3, 64, 1)]  # fmt: skip
    lab.drain()
    jobs = [lab.queue.job(id) for id in ids]
    assert [(job.state, job.exit_code, job.attempt) for job in jobs] == [
        ("completed", 0, 1), ("completed", 3, 1), ("dead", 64, 1), ("dead", 1, 2),
    ]  # fmt: skip
    assert lab.log(ids[2]) == ["enqueued", "claimed", "failed", "dead"]
    assert "exit code 64 is not retried" in lab.records("dead", ids[2])[0].data


def test_what_cannot_start_may_be_final(lab: Lab) -> None:
    id = lab.queue.enqueue(["no-such-program"], no_retry_codes=(127,))
    lab.drain()
    job = lab.queue.job(id)
    assert (job.state, job.cause, job.attempt) == ("dead", "spawn", 1)


def test_a_success_is_known_to_recovery(lab: Lab, fifo: Fifo) -> None:
    """The worker is stopped when its command ends, and killed: its parent has the exit code."""
    id = lab.queue.enqueue(f"echo $$ > {fifo}; read line < {fifo}.go; exit 3", ok_codes=(3,), timeout=None)
    os.mkfifo(f"{fifo}.go")
    lab.start()
    pid = int(fifo.line())
    [worker] = lab.up()
    lab.until(lambda: attempt_table.read(f"{lab.queue.home.workers}/{worker.id}"))  # it may not have noted it yet
    os.kill(worker.pid, signal.SIGSTOP)
    Path(f"{fifo}.go").write_text("\n")
    lab.until(lambda: gone(pid))
    os.kill(worker.pid, signal.SIGKILL)
    [job] = lab.queue.wait(id, timeout=30)
    assert (job.state, job.exit_code) == ("completed", 3)


# -- on the command line ---------------------------------------------------------------------------------------------


def test_run_ends_as_its_job_says(queuectl: Shell, fifo: Fifo) -> None:
    command = TIDIES.format(signal="USR2", fifo=fifo)
    running = queuectl.start("run", "--stop-signal", "USR2", "--grace", "1m", "--timeout", "none", command)
    fifo.line()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=40)
    assert running.returncode == 130
    assert (queuectl.folder / "tidied").exists()


def test_run_exits_with_success_for_an_ok_code(queuectl: Shell) -> None:
    assert queuectl("run", "--ok-codes", "3", "exit 3").code == 0
    assert queuectl("run", "--no-retry-codes", "3", "exit 3").code == 3
    shown = queuectl("inspect", "1").ok().out
    assert "  0,3 succeed\n" in shown
    assert "completed, exit 3\n" in shown
    assert "  3 not retried\n" in queuectl("inspect", "2").ok().out


def test_cancel_takes_a_signal(queuectl: Shell, fifo: Fifo) -> None:
    command = TIDIES.format(signal="INT", fifo=fifo)
    queuectl("enqueue", "--id", "a", "--timeout", "none", "--grace", "1m", command).ok()
    with queuectl.start("worker", "start", "--drain") as worker:
        fifo.line()
        assert "'TREM' is no signal" in queuectl("cancel", "a", "--signal", "TREM").refused(2)
        assert not queuectl("inspect", "a", "--json").json["cancel_requested"]
        assert queuectl("cancel", "a", "--signal", "INT").ok().out == "a  being cancelled\n"
        assert queuectl("wait", "a", "--timeout", "30s").code == 7
        worker.communicate(timeout=20)
    assert (queuectl.folder / "tidied").exists()
    assert "asked to be cancelled, by INT" in queuectl("events", "--job", "a").ok().out


def test_a_retry_changes_how_it_ends(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "a", "--no-retry-codes", "3", "exit 3").ok()
    queuectl.drain()
    assert "exit code 3 is among ok-codes" in queuectl("retry", "a", "--ok-codes", "3").refused(2)
    changes = ("--ok-codes", "3", "--no-retry-codes", "none", "--grace", "2m", "--stop-signal", "2")
    queuectl("retry", "a", *changes).ok()
    queuectl.drain()
    job = queuectl("inspect", "a", "--json").ok().json
    assert (job["state"], job["grace"], job["stop_signal"]) == ("completed", 120, "INT")
    edited = queuectl("events", "--job", "a", "--type", "edited").ok().out
    assert "grace 5s → 2m; stop_signal TERM → INT; ok_codes 0 → 0,3; no_retry_codes 3 → none" in edited
    assert "  INT, after 2m KILL\n" in queuectl("inspect", "a").ok().out
    assert queuectl("replay", "--check").code == 0
