"""A machine that has no room for another process just now: what can't be started is due again later."""

import resource

from queuectl.clock import SECOND, micros
from queuectl.events import Released
from tests.support.lab import Lab


def running(lab: Lab) -> list[str]:
    """The jobs whose commands run."""
    return [job.id for job in lab.queue.jobs(state="processing")]


def test_what_finds_no_descriptor_is_due_later(lab: Lab) -> None:
    lab.start(slots=60)
    [worker] = lab.up()
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (80, 4096))
    lab.queue.enqueue_many(["sleep 60"] * 60)

    released = lab.until(lambda: len(found := lab.records("released")) == 60 - len(running(lab)) and found)

    assert len(released) >= 20
    for record in released:
        event, job = record.event, lab.queue.job(record.subject)
        assert isinstance(event, Released)
        assert event.reason == "can't be started: Too many open files"
        assert event.not_before is not None
        assert abs(micros(event.not_before) - record.at - 10 * SECOND) < SECOND
        assert (job.state, job.attempt, job.run_at) == ("pending", 0, micros(event.not_before))

    id = released[0].subject
    [reason] = lab.queue.reasons(id)
    assert (reason.kind, reason.since, reason.when) == ("postponed", released[0].at, lab.queue.job(id).run_at)
    assert (reason.why, reason.frees) == ("can't be started: Too many open files", f"queuectl start {id}")
    # Nor is there one with which to look for what its earlier claim has left: the worker lives on.
    lab.queue.start(id)
    lab.until(lambda: lab.log(id).count("released") == 2)
    [again] = lab.records("released", id)[1:]
    assert isinstance(again.event, Released)
    assert again.event.not_before is None, "it is forced, and would not wait"
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    lab.until(lambda: id in running(lab))
    assert [each.id for each in lab.up()] == [worker.id]
    assert not lab.records("failed")
