"""What the doctor says of the hosts that have workers: which are silent, and whose clocks are wrong (R48)."""

import msgspec
import pytest
from freezegun import freeze_time

from queuectl import doctor
from queuectl.doctor import Finding, InspectedQueue
from queuectl.events import WorkerStarted
from queuectl.workers import introduction
from tests.support.lab import Lab
from tests.support.other_host import worker_on


def look(lab: Lab, check: str = "hosts") -> list[Finding]:
    with InspectedQueue(lab.database) as queue:
        return next(each.findings for each in doctor.examine(queue) if each.name == check)


def test_hosts_with_workers_are_listed(lab: Lab) -> None:
    assert [each.what for each in look(lab)] == ["none has a worker up"]
    for host, id in (("b", "one"), ("b", "two"), ("a", "three")):
        worker_on(lab.queue, host, id, claims=0)
    [finding] = look(lab)
    assert (finding.severity, finding.what) == ("ok", "a (1 worker), b (2 workers)")
    assert look(lab, "workers")[0].what == "3 up, none dead or stuck"


def test_a_silent_host_is_named_with_the_remedy(lab: Lab) -> None:
    with freeze_time("2026-11-24T12:00:00Z"):
        lab.queue.enqueue("true")
        worker_on(lab.queue, "b", "one")
        worker_on(lab.queue, "b", "two", claims=0)
    worker_on(lab.queue, "a", "three", claims=0)
    with freeze_time("2026-11-24T12:00:50Z"):
        assert look(lab)[0].severity == "ok"
    with freeze_time("2026-11-24T12:05:00Z"):
        [finding] = look(lab)
    assert finding.severity == "warning"
    assert finding.what == ("host b was not heard for 5m, longer than the lease of its 2 workers, which hold 1 job")
    assert str(finding.do).startswith("if it is gone for good: queuectl recover --gone b; ")
    assert (finding.facts["host"], finding.facts["jobs"]) == ("b", 1)
    assert finding.facts["heard_at"] == "2026-11-24T12:00:00.000003Z"


def test_a_wrong_clock_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = WorkerStarted

    def started(**fields: object) -> WorkerStarted:
        return msgspec.structs.replace(real(**fields), clock_ahead=7200.0)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(introduction, "WorkerStarted", started)
    worker_on(lab.queue, "b", "one", claims=0)
    [finding] = look(lab)
    assert finding.severity == "warning"
    assert finding.what.startswith("the clock of host b is 2h ahead of the database's, as its latest worker")
