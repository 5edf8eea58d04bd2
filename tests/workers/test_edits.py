"""What is edited of a job that runs holds for its attempt, and at once."""

import time
from collections.abc import Iterator

import pytest

from queuectl.clock import monotonic
from tests.support.lab import Fifo, Lab


@pytest.fixture
def go(lab: Lab) -> Iterator[Fifo]:
    """What the command of `running` waits for."""
    go = Fifo(lab.folder / "go")
    yield go
    go.close()


def running(lab: Lab, fifo: Fifo, go: Fifo, timeout: float | None) -> str:
    """A job without retries whose command has started, and waits to be let go."""
    id = lab.queue.enqueue(f"echo started > {fifo}; read line < {go}", timeout=timeout, max_retries=0)
    lab.start()
    assert fifo.line() == "started"
    return id


def test_a_shorter_timeout_ends_what_runs(lab: Lab, fifo: Fifo, go: Fifo) -> None:
    id = running(lab, fifo, go, None)
    time.sleep(0.5)
    began = monotonic()
    lab.queue.edit(id, timeout=0.2)
    lab.until(lambda: lab.queue.job(id).state == "dead")
    assert monotonic() - began < 3
    [attempt] = lab.queue.attempts(id)
    assert attempt.cause == "timeout"
    assert (attempt.error or "").startswith("ran into its timeout of 200ms: `queuectl retry")


@pytest.mark.parametrize("timeout", [None, 3600.0])
def test_a_longer_timeout_lets_it_run_on(lab: Lab, fifo: Fifo, go: Fifo, timeout: float | None) -> None:
    id = running(lab, fifo, go, 2.0)
    lab.queue.edit(id, timeout=timeout)
    time.sleep(2.5)
    with open(str(go), "w", encoding="utf-8") as file:
        file.write("go\n")
    lab.until(lambda: lab.queue.job(id).state == "completed")
    assert lab.log(id) == ["enqueued", "claimed", "edited", "completed"]


def test_a_new_timeout_leaves_out_suspensions(lab: Lab, fifo: Fifo, go: Fifo) -> None:
    id = running(lab, fifo, go, None)
    lab.queue.suspend(id)
    time.sleep(1.5)
    lab.queue.continue_(id)
    lab.queue.suspend(id)
    lab.queue.edit(id, timeout=2.0)
    time.sleep(1.0)
    lab.queue.continue_(id)
    lab.until(lambda: lab.queue.job(id).state == "dead")
    [attempt] = lab.queue.attempts(id)
    assert attempt.cause == "timeout"
    assert attempt.run_seconds is not None
    assert attempt.run_seconds >= 4.3


def test_fewer_retries_end_what_fails(lab: Lab, fifo: Fifo, go: Fifo) -> None:
    id = lab.queue.enqueue(f"echo started > {fifo}; read line < {go}; exit 3")
    lab.start()
    assert fifo.line() == "started"
    lab.queue.edit(id, max_retries=0, on_lost="dead")
    with open(str(go), "w", encoding="utf-8") as file:
        file.write("go\n")
    lab.until(lambda: lab.queue.job(id).state == "dead")
    assert lab.queue.job(id).attempt == 1


def test_an_attempt_that_waits_starts_as_edited(lab: Lab, fifo: Fifo, go: Fifo) -> None:
    """Its claim was made before the edit: what is left of the attempt before has to end first."""
    left = f"setsid sh -c 'trap \"\" TERM; echo left > {fifo}; while :; do sleep 0.1; done' & "
    command = f"[ $QUEUECTL_ATTEMPT = 1 ] || exec sleep 60; {left} read line < {go}; exit 3"
    id = lab.queue.enqueue(command, timeout=None, max_retries=1, backoff_max=0.0, grace=2.0)
    lab.start()
    assert fifo.line() == "left"
    with open(str(go), "w", encoding="utf-8") as file:
        file.write("go\n")
    lab.until(lambda: lab.queue.job(id).attempt == 2)
    lab.queue.edit(id, timeout=0.2)
    lab.until(lambda: lab.queue.job(id).state == "dead")
    first, second = lab.queue.attempts(id)
    assert (first.cause, second.cause) == ("exit", "timeout")
    assert second.run_seconds is not None
    assert second.run_seconds < 1.5, "it had its timeout from its start"
