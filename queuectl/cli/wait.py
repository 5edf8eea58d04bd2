"""`queuectl wait`: until jobs have ended."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from queuectl.cli import output, session
from queuectl.cli import parameters as p

if TYPE_CHECKING:
    from projections.jobs import Job


def wait(
    *ids: Annotated[str, Parameter(name="ID", help="The jobs. None named: until nothing is left to do.")],
    timeout: Annotated[
        float | None, p.option("--timeout", "DURATION", "Give up after so long (exit code 124).", p.positive)
    ] = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> int:
    """Wait until jobs have ended: completed, dead or cancelled.

    $ queuectl wait job1 && echo done
    $ queuectl wait --timeout 10m

    Of one job the exit code is its own (128 + n for a signal); of several 0 if all completed, else 1.
    """
    with session.opened(db) as q:
        wanted = [q.resolve(id) for id in ids]
        bar = output.progress("Waiting" if len(wanted) != 1 else f"Waiting for {output.safe(wanted[0])}", 0.3)
        done = q.wait(*wanted, timeout=timeout, progress=bar)
        if json:
            from queuectl.documents import job_document

            output.documents(job_document(job) for job in done)
        if len(done) == 1:
            return code(done[0])
        return 0 if all(job.state == "completed" for job in done) else 1


def code(job: "Job") -> int:
    """The exit code that stands for how a job ended: 0, its own, 128 + n for a signal, or 1."""
    if job.state == "completed":
        return 0
    if job.signal is not None:
        return 128 + job.signal
    return job.exit_code or 1
