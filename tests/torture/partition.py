"""Four hosts work on one queue, and one after another is cut off from its database, for moments or for too long.

The hosts are network namespaces, their leases last seconds. A command says at its start whether an earlier attempt of
its job is still alive; it ends by nothing but SIGKILL, or when its time is over. Nothing may overlap, and each job must
end as completed. The control does the same with workers that do not end themselves, whose commands must overlap.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from projections.jobs import Job
from queuectl import Queue, Spec
from queuectl.clock import monotonic
from queuectl.events import encode
from tests.support import short_lease
from tests.support.network import Host, Network
from tests.support.postgres.keeper import OWNER, Keeper, make_owner, room
from tests.support.postgres.servers import Servers
from tests.torture.verdict import Breach, Figures, Run

HOSTS = 4
LIVE = 12
"""Jobs that have not ended, always: three hosts can run them all."""
SLOTS = 6

COMMAND = """
for pid in $(cat job-$QUEUECTL_JOB_ID 2>&-); do kill -0 $pid 2>&- && echo $QUEUECTL_JOB_ID >> overlaps; done
echo $$ >> job-$QUEUECTL_JOB_ID; trap '' TERM
i=0; while test $i -lt TICKS && ! test -e over; do sleep 0.1; i=$((i + 1)); done
"""

START = """
import sys, json
from tests.support.short_lease import shorten
shorten()
from queuectl.workers.supervisor import start
sys.exit(start(sys.argv[1], **json.loads(sys.argv[2])))
"""


class Hosts:
    """The queue, and the hosts that work on it, which never have too little to do."""

    def __init__(self, folder: Path, stack: ExitStack, rng: random.Random, *, fenced: bool) -> None:
        self.folder = folder
        self._stack, self._rng = stack, rng
        self.network = stack.enter_context(Network(1 + HOSTS))
        keeper = stack.enter_context(Keeper())
        servers = stack.enter_context(Servers(room(keeper.name)))
        first, *self.hosts = self.network.hosts
        server = servers.create(host=first.address)
        with first.inside():
            server.start()
        address = server.address
        make_owner(address)
        here = f"postgresql://{OWNER}@/{OWNER}?host={address.sockets}&port={address.port}&schema=partition"
        self.queue = stack.enter_context(Queue(here))  # no cut is in the way of its socket
        self.parents = [
            self._start(number, host, address.url(OWNER, OWNER, "partition"), fenced=fenced)
            for number, host in enumerate(self.hosts)
        ]

    def _start(self, number: int, host: Host, url: str, *, fenced: bool) -> "subprocess.Popen[bytes]":
        more = {} if fenced else {"SHORT_LEASE_UNFENCED": "yes"}
        state = str(self.folder / f"state-{number}")
        env = short_lease.environment(SHORT_LEASE_HOST=f"host-{number}", XDG_STATE_HOME=state, **more)
        words = [sys.executable, "-c", START, url, encode({"slots": SLOTS}).decode()]
        with host.inside(), (self.folder / f"said-{number}").open("wb") as said:
            process = subprocess.Popen(
                words, env=env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip
        self._stack.callback(self._end, process)
        return process

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        (self.folder / "over").touch()
        process.terminate()
        process.wait(60)

    def cut(self, seconds: float | None) -> None:
        """Cut off a host that is running something, and connect it again; None: when others run all that it ran."""
        ran: dict[str, Job] = self.until(self._of_some_host, 60)
        [host] = {self._host_of(job) for job in ran.values()}
        self.network.cut(self.hosts[host])
        try:
            end = monotonic() + seconds if seconds is not None else None
            self.until(lambda: monotonic() > end if end is not None else self._went_on(ran), 100)
        finally:
            self.network.restore(self.hosts[host])

    def until(self, condition: Callable[[], Any], seconds: float) -> Any:
        """Wait until it is true, and see to it that there is enough to do; returns what it is."""
        deadline = monotonic() + seconds
        while not (found := condition()):
            if monotonic() > deadline:
                raise Breach([f"still waiting after {seconds} s"], {**self.queue.status().counts})
            self._keep_busy()
            time.sleep(0.05)
        return found

    def overlaps(self) -> int:
        path = self.folder / "overlaps"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def _of_some_host(self) -> dict[str, Job]:
        """The jobs of a host that runs any."""
        running = [*self.queue.jobs(state="processing")]
        hosts = sorted({self._host_of(job) for job in running})
        host = self._rng.choice(hosts) if hosts else None
        return {job.id: job for job in running if self._host_of(job) == host}

    def _host_of(self, job: Job) -> int:
        [host] = [worker.host for worker in self.queue.workers(all=True) if worker.id == job.worker]
        return int(host.removeprefix("host-"))

    def _went_on(self, ran: dict[str, Job]) -> bool:
        """Whether others run those of these jobs that have not ended, and any."""
        now = [job for id in ran if (job := self.queue.job(id)).state != "completed"]
        return all(job.attempt > ran[job.id].attempt and job.state == "processing" for job in now)

    def _keep_busy(self) -> None:
        live = sum(self.queue.status().counts[state] for state in ("pending", "processing", "failed"))
        if live < LIVE:
            self.queue.enqueue_many([self._spec() for _ in range(LIVE - live)])

    def _spec(self) -> Spec:
        ticks = str(self._rng.randint(20, 900))
        return Spec(
            command=COMMAND.replace("TICKS", ticks), cwd=str(self.folder), max_retries=1000, backoff_base=1.0,
            backoff_max=0.1, timeout=None,
        )  # fmt: skip


def _trial(
    seed: int, folder: Path | None, seconds: Sequence[float | None], *, fenced: bool
) -> tuple[list[str], Figures]:
    """Cut hosts off for so many seconds each (None: until others run what they ran).

    Returns what is wrong, overlaps aside.
    """
    rng = random.Random(seed)
    where = folder if folder is not None else Path(tempfile.mkdtemp(prefix="queuectl-torture-"))
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, XDG_STATE_HOME=str(where / "state")))
        it = Hosts(where, stack, rng, fenced=fenced)
        for each in seconds:
            it.cut(each)
        (where / "over").touch()
        it.queue.wait(timeout=120)
        jobs = [*it.queue.jobs()]
        faults = [f"job {job.id} is {job.state}" for job in jobs if job.state != "completed"]
        faults += [f"check: {line}" for line in it.queue.check()]
        figures: Figures = {
            "jobs": len(jobs),
            "cuts": len(seconds),
            "attempts lost with a host": sum(job.attempt - 1 for job in jobs),
            "overlaps": it.overlaps(),
        }
    if folder is None and not faults:
        shutil.rmtree(where)
    return faults, figures


def run(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """20 cuts, or 2, of which the first lasts too long; nothing may overlap."""
    rng = random.Random(seed)
    some = (rng.uniform(0.1, 2) * short_lease.LEASE for _ in range(18))
    seconds = [None, 0.3 * short_lease.LEASE, *(some if full else ())]
    faults, figures = _trial(seed, folder, seconds, fenced=True)
    if figures["overlaps"]:
        faults.append(f"commands overlapped {figures['overlaps']} times")
    if faults:
        raise Breach(faults, figures)
    return figures


def control(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """A long cut, or three, of hosts whose workers do not end themselves; some must overlap."""
    faults, figures = _trial(seed, folder, [None] * (3 if full else 1), fenced=False)
    if not figures["overlaps"]:
        raise Breach(["nothing overlapped", *faults], figures)
    return figures


RUNS: dict[str, Run] = {"partition": run, "partition-unfenced": control}
