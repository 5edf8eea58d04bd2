"""A queue with one worker that has no processes: it claims, and a test says how what it holds ends."""

from pathlib import Path

from queuectl import Queue, Spec
from queuectl.decisions import Outcome, Report
from queuectl.workers.turn import Claim, TurnWriter

DONE, FAILED = Outcome(exit_code=0), Outcome(cause="exit", exit_code=1)


class OneWorker:
    """The queue and its worker."""

    def __init__(self, folder: Path, slots: int = 64) -> None:
        self.queue = Queue(folder / "q.db", actor="test")
        self.queue.engine.set_durability("normal")
        self.writer = TurnWriter(self.queue, "w1", (), self.queue.home.identity())
        self.writer.start(slots)
        self.held: dict[str, Claim] = {}

    def add(self, id: str, **fields: object) -> str:
        return self.queue.enqueue(Spec(command="true", id=id, max_retries=0, **fields))  # pyright: ignore[reportArgumentType]

    def claim(self, want: int = 64) -> list[str]:
        claims = self.writer.turn([], [], want, holding=[claim.lease for claim in self.held.values()]).claims
        self.held |= {claim.job.id: claim for claim in claims}
        return [claim.job.id for claim in claims]

    def end(self, *ids: str, outcome: Outcome = DONE) -> None:
        reports = [Report(self.held.pop(id).lease, outcome) for id in ids]
        turn = self.writer.turn(reports, [], 0, holding=[claim.lease for claim in self.held.values()], look=True)
        assert turn.fenced == []
        self.cascade(turn.cascading)

    def cascade(self, left: bool) -> None:
        while left:
            with self.queue.engine.transaction() as tx:
                left = tx.cascade("worker:w1")

    def run(self) -> list[str]:
        """Claim and end all that may start, in the order in which it does."""
        order: list[str] = []
        while ids := self.claim():
            order += ids
            self.end(*ids)
        return order

    def states(self) -> dict[str, str]:
        return {job.id: job.state for job in self.queue.jobs()}

    def types(self, id: str) -> list[str]:
        with self.queue.engine.snapshot() as view:
            return [record.type for record in view.stream(f"job:{id}")]
