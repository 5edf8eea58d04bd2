"""What a worker process, or a supervisor in the background, runs: `python -m queuectl.workers`.

They are spawned as `… worker` and `… supervisor` and read their options from a descriptor. One that is started in
another way is given them as its only word, as JSON.
"""

import os
import sys
import warnings

import msgspec

from queuectl.errors import QueueError, SettingWarning
from queuectl.host.leaving import leave
from queuectl.workers import worker_process
from queuectl.workers.start_options import RetentionOptions, SupervisorOptions, WorkerOptions
from queuectl.workers.stderr import say


def main(argv: list[str]) -> int:
    """Do what the options say; returns the exit code.

    0: through; 4: the database can't be used; `CANT_WRITE`: not by this worker just now.
    """
    warnings.simplefilter("ignore", SettingWarning)  # the command that started us has said it
    if argv[0] == worker_process.ROLE:
        from queuectl.workers.work import work  # while its supervisor opens the queue

        document = worker_process.read_options()
        return work(msgspec.json.decode(document, type=WorkerOptions)) if document is not None else 0
    if argv[0] == worker_process.RETENTION_ROLE:
        from queuectl.workers.retention_process import retain  # imports what only it needs

        document = worker_process.read_options()
        os.close(worker_process.ORDERS_FD)
        return retain(msgspec.json.decode(document, type=RetentionOptions)) if document is not None else 0
    document = argv[0]
    if document == worker_process.SUPERVISOR_ROLE:
        document = worker_process.read_options()
        os.close(worker_process.ORDERS_FD)
        if document is None:
            return 0
    options = msgspec.json.decode(document, type=WorkerOptions | SupervisorOptions)
    if isinstance(options, SupervisorOptions):
        return _supervise(options)
    from queuectl.workers.work import work

    return work(options)


def _supervise(options: SupervisorOptions) -> int:
    for fd in (options.ready, options.leash):
        if fd is not None:
            os.set_inheritable(fd, False)  # in a worker it would stay open, and its end is waited for
    with worker_process.one_ahead("--db", options.worker.url):
        from queuectl.queue import Queue
        from queuectl.workers.supervisor import Supervisor

        try:
            with Queue(options.worker.url, create=False, logs=options.worker.logs) as queue:
                return Supervisor(options, queue).run()
        except QueueError as error:
            say(str(error))
            return error.exit_code


if __name__ == "__main__":
    code = main(sys.argv[1:])
    leave(code)
    sys.exit(code)
