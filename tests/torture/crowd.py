"""A crowd: 16 processes enqueue as fast as they can while 8 claim and report, and nobody may starve or fail.

The claimers take turns with the log as workers do, but run no commands: what is tortured here is the way to the log.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from queuectl import Queue
from queuectl.clock import monotonic
from queuectl.decisions import Outcome, Report
from queuectl.events import encode
from queuectl.workers.recovery import worker_lock
from queuectl.workers.turn import TurnWriter
from tests.support.paths import ROOT
from tests.torture.verdict import Breach, Figures, Run

ENQUEUERS, CLAIMERS = 16, 8
HICCUP, STARVED = 1.0, 20
"""A process starves if one transaction takes longer than HICCUP seconds and STARVED mean transactions together."""

MEMBER = """
import sys
from tests.torture.crowd import member
member(sys.argv[1], sys.argv[2], float(sys.argv[3]))
"""


class Result(msgspec.Struct):
    """The result of one process."""

    role: str
    waits: list[float]
    """Seconds that each of its transactions took, waiting included."""
    ids: list[str]
    """Of the jobs that it enqueued, or whose outcome it reported."""


def member(url: str, role: str, seconds: float) -> None:
    """One process: writes "ready", starts at a line on stdin, and writes its Result to stdout at the end."""
    result = Result(role, [], [])
    with Queue(url, actor=f"crowd:{os.getpid()}") as queue:
        if role == "claim":
            _claim(queue, result, seconds)
        else:
            _go()
            end = monotonic() + seconds
            while (began := monotonic()) < end:
                result.ids.append(queue.enqueue("true"))
                result.waits.append(monotonic() - began)
    sys.stdout.buffer.write(encode(result))


def _go() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


def _claim(queue: Queue, result: Result, seconds: float) -> None:
    me = f"claimer-{os.getpid()}"
    queue.engine.set_worker(me)
    writer = TurnWriter(queue, me, (), queue.home.identity())
    bell = queue.engine.listen("work")
    with worker_lock.take(queue.home.workers, me):
        writer.start(8)
        _go()
        end = monotonic() + seconds
        reports: list[Report] = []
        while (began := monotonic()) < end or reports:
            bell.clear()
            turn = writer.turn(reports, (), 8 if began < end else 0)
            result.waits.append(monotonic() - began)
            if turn.fenced:
                raise AssertionError(f"fenced, though nobody died: {turn.fenced}")
            result.ids += [report.lease.job for report in reports]
            reports = [Report(claim.lease, Outcome(exit_code=0)) for claim in turn.claims]
            if not reports:
                bell.wait(min(0.5, end - monotonic()))
        writer.stop("time is up")
    bell.close()


def crowd(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """16 enqueue and 8 claim, for 5 seconds or a minute. Nothing here is drawn at random: the seed is ignored."""
    seconds = 60.0 if full else 5.0
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="queuectl-torture-") as scratch:
            return crowd(seed, full, Path(scratch))
    with Queue(folder / "q.db") as queue:
        results, faults = _together(queue, folder, seconds)
        return _judged(queue, results, faults, seconds)


def _together(queue: Queue, folder: Path, seconds: float) -> tuple[list[Result], list[str]]:
    roles = ["enqueue"] * ENQUEUERS + ["claim"] * CLAIMERS
    members: list[subprocess.Popen[bytes]] = []
    faults: list[str] = []
    results: list[Result] = []
    with open(folder / "said", "w+b") as said:
        try:
            for role in roles:
                words = [sys.executable, "-c", MEMBER, queue.url, role, str(seconds)]
                members.append(
                    subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
                )
            for each in members:
                assert each.stdout is not None
                if each.stdout.readline() != b"ready\n":
                    faults.append(f"process {each.pid} could not begin")
            for each in members:
                assert each.stdin is not None
                each.stdin.write(b"go\n")
                each.stdin.flush()
            for each in members:
                out, _ = each.communicate(timeout=seconds + 20)
                if each.returncode == 0:
                    results.append(msgspec.json.decode(out, type=Result))
                else:
                    faults.append(f"process {each.pid} ended with {each.returncode}")
        except subprocess.TimeoutExpired as problem:
            faults.append(f"a process has not ended: {problem}")
        finally:
            for each in members:
                if each.poll() is None:
                    each.send_signal(signal.SIGKILL)
                each.communicate()
        said.seek(0)
        faults += said.read().decode(errors="replace").splitlines()
    return results, faults


def _judged(queue: Queue, results: list[Result], faults: list[str], seconds: float) -> Figures:
    enqueuers = [each for each in results if each.role == "enqueue"]
    claimers = [each for each in results if each.role == "claim"]
    enqueued = Counter(id for each in enqueuers for id in each.ids)
    reported = Counter(id for each in claimers for id in each.ids)
    states = {job.id: job.state for job in queue.jobs()}
    log = Counter((record.type, record.subject) for record in queue.events())

    faults += [f"job {id}: acknowledged {count} times" for id, count in enqueued.items() if count != 1]
    faults += [f"job {id}: reported {count} times" for id, count in reported.items() if count != 1]
    faults += [f"job {id}: acknowledged, but not there" for id in set(enqueued) - set(states)]
    faults += [f"job {id}: nobody enqueued it" for id in set(states) - set(enqueued)]
    for (type, subject), count in log.items():
        if count != 1:
            faults.append(f"{subject}: {type} {count} times")
    for id, state in states.items():
        if state != ("completed" if id in reported else "pending"):
            faults.append(f"job {id}: is {state}")
    faults += [f"check: {line}" for line in queue.check()]
    longest = max((max(each.waits) for each in results), default=0.0)
    fair = seconds * len(results) / max(sum(len(each.waits) for each in results), 1)
    if longest > HICCUP + STARVED * fair:
        faults.append(f"a writer waited {longest:.3f} s, where a round of all takes {fair:.3f} s")

    waits = sorted(wait for each in enqueuers for wait in each.waits)
    turns = sorted(wait for each in claimers for wait in each.waits)
    figures: Figures = {
        "seconds": seconds,
        "jobs enqueued": len(states),
        "jobs completed": len(reported),
        "enqueued per second": round(len(states) / seconds),
        "completed per second": round(len(reported) / seconds),
        "transactions per second": round((len(waits) + len(turns)) / seconds),
        **_spread("enqueuer", enqueuers),
        **_spread("claimer", claimers),
    }
    for who, times in (("enqueue", waits), ("turn", turns)):
        if times:
            figures |= {
                f"{who}: median ms": round(statistics.median(times) * 1000, 2),
                f"{who}: 99 % ms": round(times[len(times) * 99 // 100] * 1000, 2),
                f"{who}: longest ms": round(times[-1] * 1000, 2),
            }
    if faults:
        raise Breach(faults, figures)
    return figures


def _spread(who: str, those: list[Result]) -> Figures:
    counts = sorted(len(each.waits) for each in those) or [0]
    return {f"{who} with the fewest": counts[0], f"{who} with the most": counts[-1]}


RUNS: dict[str, Run] = {"crowd": crowd}
