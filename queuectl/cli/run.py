"""`queuectl run`: a job, waited for as if it had been started here."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from queuectl.cli import enqueue as asking
from queuectl.cli import given, output, session, stream
from queuectl.cli import parameters as p
from queuectl.cli.wait import code

if TYPE_CHECKING:
    from queuectl.queue import Queue


def run(
    command: asking.Command = None,
    /,
    *words: asking.Words,
    options: asking.Options = None,
    db: p.Database = None,
    argv: asking.Argv = None,
) -> int:
    """Add a job, show its output while it runs, and exit with its exit code (128 + n for a signal).

    $ queuectl run 'make test'
    $ queuectl run --max-retries 0 --timeout none -- rsync -a src/ backup:/src/

    $ tar c src | queuectl run 'gzip >src.tgz'

    It is run by a worker; where none is up, right here. Ctrl-C cancels the job. What is piped in, or a file behind <,
    is what it reads, copied first, up to 64 MiB. A list that a `while read` loop reads is left alone, unless it comes
    through a pipe: say </dev/null there.
    """
    job = asking.filled(asking.asked(command, words, argv, "run"), asking.said(options))
    if job.stdin is None and given.is_for_the_job():
        job = msgspec.structs.replace(job, stdin="-")
    if job.stdin == "-":
        given.expect()
    with session.opened(db) as q:
        made = q.enqueue(job)
        asking.tell_limit(q, made)
        with ExitStack() as stack:
            if not _served(q, job.queue):
                from queuectl.workers.pool import run_one

                stack.enter_context(run_one(q, made))
            try:
                done = stream.follow(q, made)
                if done.error is not None:
                    output.note(done.error)
                return code(done)
            except (KeyboardInterrupt, BrokenPipeError):
                _cancel(q, made)
                raise


def _served(q: "Queue", queue: str) -> bool:
    """Whether a worker is up that takes jobs of this queue."""
    return any(
        worker.slots > 0 and (not worker.queues or queue in worker.queues) and q.alive(worker.id)
        for worker in q.workers()
        if worker.state == "running"
    )


def _cancel(q: "Queue", id: str) -> None:
    from queuectl.errors import Refused

    try:
        q.cancel(id, reason="`queuectl run` was interrupted")
    except Refused:
        return  # it ended at the same moment
    q.wait(id)
