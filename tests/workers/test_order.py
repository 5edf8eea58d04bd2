"""The order of a worker's steps: a free slot is filled before the end that made it so is reported."""

import os
import select
from itertools import pairwise

import pytest

from queuectl.clock import monotonic
from queuectl.decisions import Release
from queuectl.events import encode
from queuectl.spec import Spec
from queuectl.workers.chores.memory_groups import MemoryGroups
from queuectl.workers.claims import GIVE_BACK, Claims
from queuectl.workers.execution import traces
from queuectl.workers.pending_reports import PendingReports
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.slots import Slots
from queuectl.workers.start_options import WorkerOptions
from queuectl.workers.turn import TurnWriter
from tests.support.lab import Lab

TRACED = """
import os, sys
from queuectl.workers.__main__ import main
from queuectl.workers.pending_reports import PendingReports
spawn, report = os.posix_spawn, PendingReports.report
def starting(*words, **options):
    os.write(1, b"start\\n")
    return spawn(*words, **options)
def reporting(*words):
    os.write(1, b"report\\n")
    return report(*words)
os.posix_spawn, PendingReports.report = starting, reporting
sys.exit(main(sys.argv[1:]))
"""
"""A worker that says when it starts a command, and when it makes the report of one."""


def steps(lab: Lab, line: str) -> list[str]:
    """What a worker of one slot, which claims ahead, has done with 30 such jobs: `start` and `report` of each."""
    lab.queue.enqueue_many([Spec(command=line, max_retries=0)] * 30)
    options = WorkerOptions(lab.database, "alone", slots=1, drain=True)
    code, said = lab.ended(lab.python(TRACED, encode(options).decode()))
    assert code == 0
    return said.split()


def pending_reports(said: list[str]) -> int:
    """How often a command was started while the end of the one before was still to be reported."""
    return sum(a == b == "start" for a, b in pairwise(said))


def test_next_command_starts_before_the_report(lab: Lab) -> None:
    said = steps(lab, "true")

    assert (said.count("start"), said.count("report")) == (30, 30)
    assert pending_reports(said) > 0


def test_failure_is_reported_before_the_next_start(lab: Lab) -> None:
    """An order to stop may explain it, and then nothing may have been started."""
    said = steps(lab, "false")

    assert (said.count("start"), said.count("report")) == (30, 30)
    assert pending_reports(said) == 0


class Bench:
    """The parts of a worker of one slot, without its loop."""

    def __init__(self, lab: Lab) -> None:
        self.poll = select.poll()
        path = lab.folder / "table"
        path.touch()
        table = AttemptTable(str(path), 1)
        self.pending = PendingReports(table)
        identity = lab.queue.home.identity()
        self.writer = TurnWriter(lab.queue, "w1", (), identity)
        self.writer.start(1)
        groups = MemoryGroups(None)
        self.slots = Slots(
            lab.queue, identity, 1, table, self.pending, groups, self.poll, lambda why, now: pytest.fail(why)
        )
        self.claims = Claims(self.slots, self.pending, ahead=True)

    def claim(self, want: int, releases: list[Release]) -> None:
        self.claims.claimed(self.writer.turn((), releases, want), want, monotonic())

    def collect(self) -> None:
        [(fd, _)] = self.poll.poll(20_000)
        self.slots.collect(fd, monotonic())


def test_prepared_start_goes_with_its_claim(lab: Lab) -> None:
    """The job is claimed anew: its output file and its tag are those of the new claim."""
    bench = Bench(lab)
    id = lab.queue.enqueue(f"echo ${traces.TAG}")
    bench.claim(1, [])
    bench.claims.prepare()
    bench.claims.run(monotonic() + GIVE_BACK)
    assert (len(bench.claims), len(bench.pending.releases)) == (0, 1)
    bench.claim(1, bench.pending.releases[:])
    bench.claims.prepare()

    bench.claims.start(monotonic())
    bench.collect()
    bench.slots.report(monotonic())

    assert os.listdir(lab.queue.home.output) == [os.path.basename(output_of(lab, id, 4))]
    with open(output_of(lab, id, 4)) as file:
        assert file.read().strip().endswith(f":{id}:4")


def output_of(lab: Lab, id: str, lease: int) -> str:
    return lab.queue.home.output_of(lab.queue.home.identity(), id, lease)
