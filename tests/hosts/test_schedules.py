"""Schedules that the workers of several hosts fire: each moment once, or told as skipped."""

from tests.support.schedule_judge import faults, fire
from tests.support.worker_hosts import WorkerHost, WorkerHosts

MOMENTS = 5
"""So many moments of the quickest schedule are waited for."""


def fired(hosts: WorkerHosts) -> list[str]:
    return [record.subject for record in hosts.queue.events(type="schedule_fired")]


def test_each_moment_is_fired_once(hosts: WorkerHosts, a: WorkerHost, b: WorkerHost) -> None:
    queue = hosts.queue
    queue.schedules.add("often", "true", every=1, overlap="allow")
    queue.schedules.add("slow", "sleep 1.5", every=1, overlap="skip")
    queue.schedules.add("behind", "sleep 0.1", every=2, overlap="queue")
    begun = [host.worker("--count", "2", "--slots", "4") for host in (a, b, hosts.add())]
    hosts.up(6)
    hosts.until(lambda: fired(hosts).count("often") >= MOMENTS)

    a("schedule", "pause", "behind").ok()
    begun[1].kill()  # its workers notice, and stop
    hosts.until(lambda: fired(hosts).count("often") >= 2 * MOMENTS)
    b("schedule", "resume", "behind").ok()
    run = b("schedule", "run", "slow").ok().out.strip()
    queue.wait(run, timeout=50)

    a("stop-workers").ok()  # the judge reads the log more than once
    at = queue.status().at
    for name in ("often", "slow", "behind"):
        fire(queue, name)
        assert faults(queue, name, at) == []
    assert any(record.type == "schedule_skipped" for record in queue.events())
    jobs = [job for job in queue.jobs(limit=1000) if job.id.startswith("often@")]
    assert len({hosts.ran(job.id) for job in jobs if job.state == "completed"}) > 1, "more hosts than one ran them"
    assert queue.check() == []
