"""`queuectl stop-workers`: `queuectl worker stop` of all workers."""

from queuectl.cli import parameters as p
from queuectl.cli.commands import worker


def stop_workers(
    *,
    now: worker.Now = False,
    timeout: worker.Timeout = None,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Stop all workers, and return when they are gone.

    $ queuectl stop-workers
    $ queuectl stop-workers --now
    """
    worker.stop(now=now, timeout=timeout, reason=reason, json=json, db=db)
