"""`queuectl monitor`: recovery without a worker that runs jobs."""

import sys
from contextlib import suppress

import msgspec

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.commands.recover import print_report
from queuectl.cli.ui import output, stdout
from queuectl.errors import shown


def monitor(*, json: p.JsonLines = False, logs: p.Logs = None, db: p.Database = None) -> None:
    """Watch for dead workers and bring back their jobs, until Ctrl-C.

    $ queuectl monitor

    Every worker does this too; a monitor is for when none may be up for a while. It goes on when its output can't be
    written any more, and says so once; what it finds is in the folder of logs as well.
    """
    from queuectl.workers.monitor import monitor as recoveries

    with opening.open_queue(db, logs, follow=True) as q:
        if sys.stderr.isatty():
            output.message("watching for dead workers; Ctrl-C stops it")
        for report in recoveries(q):
            with suppress(OSError):
                if json:
                    output.documents([msgspec.structs.asdict(report)])
                else:
                    print_report(report)
            if (problem := stdout.flush_failure()) is not None:
                stdout.message(f"{problem}: recovery goes on, and its reports are in {shown(q.logs)}")
