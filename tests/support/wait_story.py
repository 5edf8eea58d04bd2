"""A queue with a clock that a test sets, and workers on it that claim and report without processes."""

from pathlib import Path
from typing import Any

from queuectl import Queue
from queuectl.clock import SECOND
from queuectl.decisions import Outcome, Release, Report
from queuectl.workers.turn import Claim, TurnWriter


class Story:
    """A queue whose clock stands still between two steps, and workers on it that have no processes."""

    def __init__(self, folder: Path, time: Any) -> None:
        self.queue = Queue(folder / "q.db", actor="cli:ann@here")
        self.queue.engine.set_durability("normal")
        self.time = time
        self.workers: dict[str, tuple[TurnWriter, int]] = {}
        self.held: dict[str, list[Claim]] = {}
        self.born = 0

    def after(self, seconds: float) -> "Story":
        """Let time pass."""
        self.time.tick(seconds)
        return self

    def start(self, slots: int = 1, queues: tuple[str, ...] = (), **resources: int | str) -> str:
        self.born += 1
        writer = TurnWriter(self.queue, id := f"w{self.born}", queues, self.queue.home.identity())
        writer.start(slots, resources=resources)
        self.workers[id], self.held[id] = (writer, slots), []
        return id

    def claim(self, id: str = "w1", want: int = 1) -> list[str]:
        """A worker claims so many jobs."""
        holding = [claim.lease for claim in self.held[id]]
        claims = self.workers[id][0].turn([], [], want, holding=holding, look=True).claims
        self.held[id] += claims
        return [claim.job.id for claim in claims]

    def end(self, id: str = "w1", cause: str | None = None, *, release: bool = False, repeats: bool = False) -> None:
        """A worker reports the end of all that it holds, or gives it back."""
        held, self.held[id] = self.held[id], []
        reports = [Report(claim.lease, Outcome(cause=cause, exit_code=3 if cause else 0)) for claim in held]
        releases = [Release(claim.lease, "a test", repeats) for claim in held]
        self.workers[id][0].turn([] if release else reports, releases if release else [], 0)

    def turn(self, id: str = "w1") -> None:
        """A worker with one slot reports what has ended, and claims a job for it, in one transaction."""
        reports = [Report(claim.lease, Outcome(exit_code=0)) for claim in self.held[id]]
        self.held[id] = self.workers[id][0].turn(reports, [], 1, look=True).claims

    def stop(self, id: str) -> None:
        self.end(id, release=True)
        self.workers.pop(id)[0].stop("asked to")

    def told(self, id: str) -> list[tuple[str, int]]:
        """The kinds of the spans of a job, with seconds; microseconds between two transactions are left out."""
        spans = self.queue.wait_history(id).spans
        return [(span.reason.kind, time) for span in spans if (time := round((span.until - span.since) / SECOND))]
