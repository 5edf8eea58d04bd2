"""Jobs that belong together and run on different hosts: unique keys, dependencies, batches, callbacks."""

import itertools

from msgspec.structs import replace

from queuectl import Spec
from tests.support.worker_hosts import WorkerHost, WorkerHosts


def on_own_queues(hosts: WorkerHosts, *named: WorkerHost) -> None:
    """Have each host run what is in the queue of its name."""
    for host in named:
        host.worker("--queue", host.name, "--slots", "2")
    hosts.up(len(named))


def test_one_key_is_one_job_of_all_hosts(hosts: WorkerHosts, a: WorkerHost, b: WorkerHost) -> None:
    enqueue = ("enqueue", "--unique", "nightly", "touch began; while test ! -e go; do sleep 0.05; done")
    begun = [host.background(*enqueue) for host in (a, b) for _ in range(5)]
    ids = {process.communicate(timeout=50)[0] for process in begun}
    assert ids == {b"1\n"}
    b.worker()
    hosts.until((hosts.folder / "began").exists)
    assert a(*enqueue).ok().out == "1\n"
    assert "nightly" in a("enqueue", "--unique", "nightly", "true").refused(3)
    (hosts.folder / "go").touch()
    hosts.queue.wait("1", timeout=50)
    assert a(*enqueue).ok().out == "2\n"
    assert hosts.queue.check() == []


def test_dependencies_cross_hosts(hosts: WorkerHosts, a: WorkerHost, b: WorkerHost) -> None:
    on_own_queues(hosts, a, b)
    first = hosts.queue.enqueue("sleep 0.2; echo built", queue="a")
    second = hosts.queue.enqueue("true", queue="b", after=(first,))
    third = hosts.queue.enqueue("exit 3", queue="a", after=(second,), max_retries=0)
    never = hosts.queue.enqueue("true", queue="b", after=(third,))
    cleanup = hosts.queue.enqueue("true", queue="b", after_failure=(third,))
    hosts.queue.wait(first, second, third, never, cleanup, timeout=50)

    states = [hosts.queue.job(id).state for id in (first, second, third, never, cleanup)]
    assert states == ["completed", "completed", "dead", "cancelled", "completed"]
    assert [hosts.ran(id) for id in (first, second, third, cleanup)] == ["a", "b", "a", "b"]
    chain = [hosts.queue.attempts(id)[0] for id in (first, second, third, cleanup)]
    for before, after in itertools.pairwise(chain):
        assert before.ended_at is not None
        assert before.ended_at <= after.claimed_at
    assert hosts.queue.check() == []


def test_a_batch_halts_on_all_hosts(hosts: WorkerHosts, a: WorkerHost, b: WorkerHost) -> None:
    on_own_queues(hosts, a, b)
    busy = "touch ran-$QUEUECTL_JOB_ID; while :; do sleep 0.05; done"
    here = str(hosts.folder)
    job = Spec(command=busy, batch="night", halt="now,fail=1", cwd=here, max_retries=0, timeout=None)
    runs = hosts.queue.enqueue_many([replace(job, queue=queue) for queue in "ab"])
    for id in runs:
        hosts.until((hosts.folder / f"ran-{id}").exists)
    waits = hosts.queue.enqueue(replace(job, queue="b", delay=3600))
    fails = hosts.queue.enqueue(replace(job, queue="b", command="exit 1"))

    said = b("wait", "--batch", "night")
    assert said.code == 1
    assert "halted by" in said.err
    assert [hosts.queue.job(id).state for id in (*runs, waits, fails)] == ["cancelled"] * 3 + ["dead"]
    assert [hosts.ran(id) for id in runs] == ["a", "b"]


def test_callbacks_come_once(hosts: WorkerHosts, a: WorkerHost, b: WorkerHost) -> None:
    for host in (a, b):
        host.worker("--slots", "2")
    hosts.up(2)
    told = "echo $QUEUECTL_TRIGGER_JOB $QUEUECTL_TRIGGER_STATE >> told"
    job = Spec(command="true", max_retries=0, on_end=told, cwd=str(hosts.folder))
    ids = hosts.queue.enqueue_many([replace(job, command=f"exit {n % 2}") for n in range(20)])
    hosts.queue.wait(timeout=50)

    lines = (hosts.folder / "told").read_text().splitlines()
    ended = {id: "completed" if n % 2 == 0 else "dead" for n, id in enumerate(ids)}
    assert sorted(lines) == sorted(f"{id} {ended[id]}" for id in ids)
    assert hosts.queue.check() == []
