"""`queuectl run`: a job, waited for as if it had been started here."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

from queuectl.cli import enqueue as asking
from queuectl.cli import output, session, stream
from queuectl.cli import parameters as p
from queuectl.cli.wait import code

if TYPE_CHECKING:
    from queuectl.queue import Queue

MaxRetries = Annotated[
    int | None,
    p.option(
        "--max-retries",
        "N",
        "Further attempts after the first one has failed. [default: 3, a setting]",
        p.count(0, 1_000_000),
    ),
]


def run(
    command: asking.Command = None,
    /,
    *words: asking.Words,
    id: asking.Id = None,
    queue: asking.InQueue = None,
    priority: asking.Priority = None,
    max_retries: MaxRetries = None,
    timeout: asking.Timeout = None,
    env: p.Env = None,
    cwd: asking.Cwd = None,
    stdin: asking.Stdin = None,
    reason: p.Reason = None,
    db: p.Database = None,
    argv: asking.Argv = None,
) -> int:
    """Add a job, show its output while it runs, and exit with its exit code (128 + n for a signal).

    $ queuectl run 'make test'
    $ queuectl run --max-retries 0 --timeout none -- rsync -a src/ backup:/src/

    It is run by a worker; where none is up, right here. Ctrl-C cancels the job.
    """
    given: dict[str, Any] = {
        "id": id, "queue": queue, "priority": priority, "max_retries": max_retries, "cwd": cwd, "stdin": stdin,
        "reason": reason, "env": p.environment(env) or None,
    }  # fmt: skip
    fields = {name: value for name, value in given.items() if value is not None}
    if timeout is not None:
        fields["timeout"] = timeout[0]
    job = asking.filled(asking.asked(command, words, argv, "run"), fields)
    with session.opened(db) as q:
        made = q.enqueue(job)
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
