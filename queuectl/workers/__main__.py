"""What a worker process, or a detached parent, runs: `python -m queuectl.workers '{"type": "worker", …}'`."""

import os
import signal
import sys
import warnings

import msgspec

from queuectl import engines
from queuectl.errors import Outdated, QueueError, SettingWarning, Unusable
from queuectl.host import subreaper, time_slice
from queuectl.queue import Queue
from queuectl.workers.chores.file_monitor import QueueGone, inode
from queuectl.workers.journal import Journal
from queuectl.workers.recovery import worker_lock
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.start_options import SupervisorOptions, WorkerOptions
from queuectl.workers.stderr import say
from queuectl.workers.supervisor import CANT_WRITE, Supervisor
from queuectl.workers.worker import WorkerLoop
from queuectl.workers.worker_process import SIGNALS

TIME_SLICE = 1e-4
"""Seconds that a worker has the processor at a time: it starts a command and sleeps, and is to be back soon."""


def main(argv: list[str]) -> int:
    """Do what the JSON document says; returns the exit code.

    0: through; 4: the database can't be used; `CANT_WRITE`: not by this worker just now.
    """
    options = msgspec.json.decode(argv[0], type=WorkerOptions | SupervisorOptions)
    warnings.simplefilter("ignore", SettingWarning)  # the command that started us has said it
    try:
        return Supervisor(options).run() if isinstance(options, SupervisorOptions) else _work(options)
    except QueueError as error:
        say(str(error))
        passing = isinstance(error, Unusable) and not isinstance(error, Outdated | QueueGone)
        return CANT_WRITE if passing and isinstance(options, WorkerOptions) else error.exit_code


def _work(options: WorkerOptions) -> int:
    for number in SIGNALS:
        # Orders come from the parent alone; what we run gets its signals' defaults back.
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take our children's exit codes away
    if options.orders is not None:
        os.set_inheritable(options.orders, False)  # not for the commands
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
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
