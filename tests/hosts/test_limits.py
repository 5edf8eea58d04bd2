"""Limits, rates and resources hold over the workers of all hosts together: a judge of the log says so, and the jobs."""

from collections import defaultdict

import msgspec
from msgspec.structs import replace

from queuectl import Queue, Spec
from queuectl.events import Claimed, Recorded
from tests.support.worker_hosts import WorkerHost, WorkerHosts
from tests.torture.flow_judge import Run, most, read
from tests.torture.flow_log import Law, Log, Rate

LAW = Law(limits={"three": 3}, rates={"rated": Rate(10, 5)}, pieces={"port": frozenset({7, 8})})
STAMPED = """
mark() { echo "$1 $QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT $(date +%s%N) ${QUEUECTL_PORT:--}" >> stamps; }
mark S; sleep 0.1; mark E
"""


def judged(queue: Queue) -> Log:
    """The log, as a judge has read it that knows nothing of the program."""
    log = Log(LAW)
    for record in queue.events():
        log.take(msgspec.json.decode(record.json()))
    assert [*log.faults, *log.unfinished(), *log.too_many_starts()] == []
    assert log.law == LAW
    return log


def claims(queue: Queue) -> list[tuple[Recorded, Claimed]]:
    return [(each, each.event) for each in queue.events(type="claimed") if isinstance(each.event, Claimed)]


def test_limits_are_exact_over_hosts(hosts: WorkerHosts, a: WorkerHost, b: WorkerHost) -> None:
    queue = hosts.queue
    queue.limit("three", concurrency=3)
    queue.limit("rated", rate="10/s", burst=5)
    queue.set_resource("port", indices="7-8")
    for host in (a, b, hosts.add()):
        host.worker("--slots", "3")
    hosts.up(3)

    job = Spec(command=STAMPED, cwd=str(hosts.folder))
    queue.enqueue_many([*[replace(job, queue="three")] * 40, *[replace(job, queue="rated")] * 20])
    queue.enqueue_many([replace(job, needs={"port": 1})] * 20)
    hosts.ended()

    log = judged(queue)
    runs, unreadable = read((hosts.folder / "stamps").read_bytes())
    assert unreadable == []
    by_queue: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_queue[log.queues[run.job]].append(run)
    assert (len(by_queue["three"]), most(by_queue["three"]), log.most["three"]) == (40, 3, 3)
    for piece in (7, 8):
        assert most(run for run in runs if piece in run.pieces) == 1
    assert len({worker.identity for worker in queue.workers()}) == 3
    assert len({event.worker for _, event in claims(queue)}) > 1, "more hosts than one claimed"
    assert queue.check() == []


def test_pieces_are_each_hosts_own(hosts: WorkerHosts, a: WorkerHost, b: WorkerHost) -> None:
    for host, offer in ((a, "gpu=0-1"), (b, "gpu=0-0"), (hosts.add(), "tape=1")):
        host.worker("--slots", "4", "--resource", offer)
    hosts.up(3)
    one, two = ([Spec(command="sleep 0.1", needs={"gpu": need})] * count for need, count in ((1, 12), (2, 4)))
    one, two, none = map(hosts.queue.enqueue_many, (one, two, ["sleep 0.1"] * 24))
    hosts.ended()

    ran: defaultdict[str, set[str]] = defaultdict(set)
    for id in (*one, *two, *none):
        ran[hosts.ran(id)].add(id)
    assert ran["a"] >= {*two}
    assert ran["b"] & {*one}
    assert not ran["b"] & {*two}, "there is one piece"
    assert ran["c"] & {*none}
    assert not ran["c"] & {*one, *two}, "there is none"
    assert most_together(hosts.queue) == 2, "a piece of the same number is another one on another host"


def most_together(queue: Queue) -> int:
    """The most that have a piece of the number 0 at the same time; no piece of one home is granted twice."""
    held: dict[str, dict[int, str]] = defaultdict(dict)
    found = 0
    for record in queue.events():
        if isinstance(event := record.event, Claimed) and event.granted:
            pieces = event.granted["gpu"]
            assert isinstance(pieces, tuple)
            for piece in pieces:
                assert held[event.home or ""].setdefault(piece, record.subject) == record.subject
        elif record.type == "completed":
            for home, pieces in held.items():
                held[home] = {piece: job for piece, job in pieces.items() if job != record.subject}
        found = max(found, sum(0 in pieces for pieces in held.values()))
    return found
