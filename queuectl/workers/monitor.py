"""Recovery without running jobs: `queuectl monitor`, and `queuectl recover --hung`."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from queuectl.clock import monotonic
from queuectl.host import pidfd
from queuectl.queue import Queue
from queuectl.workers.chores.recovery_watch import COURTESY, RecoveryWatch
from queuectl.workers.recovery import hang_detector, worker_lock
from queuectl.workers.recovery.hang_detector import HangDetector
from queuectl.workers.recovery.rescuer import RecoveryReport, recover
from queuectl.workers.turn import TurnWriter


@contextmanager
def observer(queue: Queue) -> Generator[TurnWriter]:
    """Be a worker without slots for the time of the context: it recovers others, and is not counted among them."""
    id = os.urandom(4).hex()
    with worker_lock.take(queue.home.workers, id):
        writer = TurnWriter(queue, id, (), queue.home.identity())
        writer.start(slots=0)
        try:
            yield writer
        finally:
            writer.stop("observer")


def monitor(queue: Queue) -> Iterator[RecoveryReport]:
    """Recover dead and hung workers for ever; yields what each finished recovery did."""
    with observer(queue) as me:
        watch = RecoveryWatch(queue, me)
        while True:
            yield from watch.look(monotonic())
            pidfd.wait([], max(0.0, watch.due - monotonic()))


def recover_hung(queue: Queue, *, patience: float | None = None) -> RecoveryReport:
    """Watch long enough to find the workers that hang, kill them, and recover all that are dead (see `recover`).

    That is 20 seconds; where workers of other hosts are silent, until their leases have run out.
    """
    with observer(queue) as me:
        detector = HangDetector(queue, me)
        silent: dict[str, str] = {}
        began = monotonic()
        while (now := monotonic()) < (until := began + detector.patience + hang_detector.INTERVAL):
            if now >= detector.next_tick:
                for worker in detector.tick(now):
                    hang_detector.kill(queue, worker)
                    if hang_detector.is_unseen(queue, worker):
                        silent[worker.id] = hang_detector.silence(queue, worker)
            pidfd.wait([], max(0.0, min(detector.next_tick, until) - monotonic()))
    return recover(queue, patience=patience, courtesy=COURTESY, silent=silent)
