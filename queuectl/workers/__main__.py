"""What a worker process, or a detached parent, runs: `python -m queuectl.workers '{"type": "worker", …}'`."""

import os
import signal
import sys
import warnings

import msgspec

from queuectl import paths
from queuectl.errors import Outdated, QueueError, SettingWarning, Unusable
from queuectl.host import processes
from queuectl.queue import Queue
from queuectl.workers.chores.own_files import Displaced, inode
from queuectl.workers.journal import Journal
from queuectl.workers.recovery import worker_lock
from queuectl.workers.recovery.attempt_table import Roster
from queuectl.workers.stderr import say
from queuectl.workers.supervisor import CANT_WRITE, SIGNALS, Crew, Pool
from queuectl.workers.worker import Loop, Task


def main(argv: list[str]) -> int:
    """Do what the JSON document says; returns the exit code.

    0: through; 4: the database can't be used; `pool.CANT_WRITE`: not by this worker just now, as its parent is told.
    """
    what = msgspec.json.decode(argv[0], type=Task | Crew)
    warnings.simplefilter("ignore", SettingWarning)  # the command that started us has said it
    try:
        return Pool(what).run() if isinstance(what, Crew) else _work(what)
    except QueueError as error:
        say(str(error))
        passing = isinstance(what, Task) and isinstance(error, Unusable) and not isinstance(error, Outdated | Displaced)
        return CANT_WRITE if passing else error.exit_code


def _work(task: Task) -> int:
    for number in SIGNALS:
        # Orders come from the parent alone; what we run gets its signals' defaults back.
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take our children's exit codes away
    if task.orders is not None:
        os.set_inheritable(task.orders, False)  # not for the commands
    processes.subreaper()
    if task.database is not None and inode(paths.place(task.url).database) != task.database:
        raise Displaced(f"{task.url}: is not there any more, or another one: worker {task.worker} does not start")
    with Queue(task.url, create=False, actor=f"worker:{task.worker}", logs=task.logs) as queue:
        queue.engine.identify(task.worker)
        journal = Journal(queue.logs, task.worker)
        try:
            held = worker_lock.take(queue.place.workers, task.worker)
            roster = Roster(held.path, task.slots)
        except OSError as error:
            raise Unusable(f"{queue.place.workers}: {error.strerror}: make room, or check your rights") from error
        done = Loop(queue, task, journal, roster, held).run()
        held.close(keep=not done)
        journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
