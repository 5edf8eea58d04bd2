"""The work of a worker process, from its options to its exit code."""

import os
import signal

from queuectl import engines
from queuectl.errors import Outdated, QueueError, Unusable
from queuectl.host import subreaper, time_slice
from queuectl.queue import Queue
from queuectl.workers.chores.file_monitor import QueueGone, inode
from queuectl.workers.inheritance import raise_file_limit
from queuectl.workers.journal import Journal
from queuectl.workers.recovery import worker_lock
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.start_options import WorkerOptions
from queuectl.workers.stderr import say
from queuectl.workers.worker import WorkerLoop
from queuectl.workers.worker_process import CANT_WRITE, SIGNALS

TIME_SLICE = 1e-4
"""Seconds that a worker has the processor at a time: it starts a command and sleeps, and is to be back soon."""


def work(options: WorkerOptions) -> int:
    """Run a worker in this process; returns the exit code.

    0: through; 4: the database can't be used; `CANT_WRITE`: not by this worker just now.
    """
    try:
        _work(options)
    except QueueError as error:
        say(str(error))
        passing = isinstance(error, Unusable) and not isinstance(error, Outdated | QueueGone)
        return CANT_WRITE if passing else error.exit_code
    return 0


def _work(options: WorkerOptions) -> None:
    for number in SIGNALS:
        # Orders come from the parent alone; what we run gets its signals' defaults back.
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take our children's exit codes away
    if options.orders is not None:
        os.set_inheritable(options.orders, False)  # not for the commands
    raise_file_limit(options.slots)  # the supervisor may have spawned us before it knew
    subreaper.become_subreaper()
    time_slice.shorten(TIME_SLICE)
    if options.database is not None and inode(engines.files(options.url)[0]) != options.database:
        raise QueueGone(f"{options.url}: is not there any more, or another one: worker {options.worker} does not start")
    with Queue(options.url, create=False, actor=f"worker:{options.worker}", logs=options.logs) as queue:
        queue.engine.set_worker(options.worker)
        journal = Journal(queue.logs, options.worker)
        try:
            held = worker_lock.take(queue.home.workers, options.worker)
            table = AttemptTable(held.path, options.slots)
        except OSError as error:
            raise Unusable(f"{queue.home.workers}: {error.strerror}: make room, or check your rights") from error
        done = WorkerLoop(queue, options, journal, table, held).run()
        held.close(keep=not done)
        journal.close()
