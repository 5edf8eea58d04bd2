"""`queuectl run`: a job, waited for as if it had been started here."""

import shlex
from typing import TYPE_CHECKING

import msgspec

from queuectl import spec
from queuectl.cli import job_options, job_stdin, opening
from queuectl.cli import parameters as p
from queuectl.cli.commands.wait import exit_code
from queuectl.cli.ui import output, signals, stdout, stream
from queuectl.cli.ui.hint import WaitHint
from queuectl.cli.ui.printer import Printer, SplitPrinter
from queuectl.cli.ui.waiting_line import WaitingLine
from queuectl.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from projections.jobs import Job
    from queuectl.queue import Queue

PIPE = 141
"""The exit code of a program whose reader has gone: 128 + SIGPIPE."""


def run(
    command: job_options.Command = None,
    /,
    *words: job_options.Words,
    options: job_options.JobOptions = None,
    db: p.Database = None,
    argv: job_options.Argv = None,
) -> int:
    """Add a job, show its output while it runs, and exit with its exit code (128 + n for a signal).

    $ queuectl run 'make test'
    $ queuectl run --max-retries 0 --timeout none -- rsync -a src/ backup:/src/
    $ tar c src | queuectl run 'gzip >src.tgz'

    With --split-output what the job writes to stderr goes to stderr.

    It is run by a worker; where none is up, right here. Ctrl-C, SIGTERM and a reader who leaves (`| head`) cancel the
    job. What is piped in, or a file behind <, is what it reads, copied first, up to 64 MiB. A list that a `while read`
    loop reads is left alone, unless it comes through a pipe: say </dev/null there.
    """
    job = spec.filled(job_options.spec_from_words(command, words, argv, "run"), job_options.given_fields(options))
    if job.stdin is None and job_stdin.is_piped():
        job = msgspec.structs.replace(job, stdin="-")
    if job.stdin == "-":
        job_stdin.wait_until_readable()
    with signals.interruptible(), opening.open_queue(db, create=True) as q:
        from queuectl.workers.private_worker import PrivateWorker

        made, is_followed = None, False
        try:
            with signals.held_back():
                made = q.enqueue(job)
            job_options.mention_time_limit(q, made)
            job_options.mention_locks(q, job.needs)
            printer = SplitPrinter() if job.split_output else Printer()
            line = WaitingLine(q, [made], WaitHint(q, [made], has_worker=True), sparse=True)
            with PrivateWorker(q, [made], alone=True) as private, line:
                is_followed = True
                return _follow(q, made, printer, private.start_if_needed, line)
        except KeyboardInterrupt:
            if made is not None and not is_followed:
                _cancel(q, made, lambda: None)
            raise


def _follow(q: "Queue", id: str, printer: Printer, meanwhile: "Callable[[], None]", tell: "Callable[[], None]") -> int:
    """Show the output of a job until it has ended; return the exit code. Ctrl-C or a closed pipe cancels the job."""

    def at_each_step() -> None:
        meanwhile()
        tell()

    try:
        done = stream.follow(q, id, meanwhile=at_each_step, printer=printer)
    except KeyboardInterrupt:
        _cancel(q, id, meanwhile)
        raise
    except BrokenPipeError:
        stdout.discard()
        done = _cancel(q, id, meanwhile)
        return PIPE if done.state == "cancelled" else exit_code(done)
    except OSError:
        if (problem := stdout.flush_failure()) is None:
            raise
        stdout.message(f"{problem}: what job {id} writes is kept; see `queuectl logs {shlex.quote(id)}`")
        [done] = q.wait(id, meanwhile=lambda _: meanwhile())
    if done.error is not None:
        output.message(done.error)
    return exit_code(done)


def _cancel(q: "Queue", id: str, meanwhile: "Callable[[], None]") -> "Job":
    """Cancel the job and wait until it has ended; a second signal ends the wait."""
    try:
        q.cancel(id, reason="`queuectl run` was interrupted")
    except Refused:
        return q.job(id)  # it ended at the same moment
    try:
        [done] = q.wait(id, meanwhile=lambda _: meanwhile())
    except KeyboardInterrupt:
        stdout.message(f"job {id} is being cancelled, and no longer waited for")
        raise
    return done
