"""The questions about what attempts have written: where that is, and what can be read of it from here."""

import os
from collections.abc import Collection

import msgspec
from msgspec import structs

from projections.attempts import Attempt
from projections.workers import Worker
from queuectl.engines.shared_files import ATTENTION, SharedFiles
from queuectl.errors import NotFound, OutputElsewhere, OutputGone
from queuectl.home import stderr_of
from queuectl.outputs import LocalOutput, Output, OutputOfEnds, RemoteOutput
from queuectl.queries import Queries, get_job
from queuectl.units import size_text


class OutputPlace(msgspec.Struct, frozen=True):
    """Where the output of an attempt is."""

    attempt: Attempt
    path: str
    """Of the output file, in the home of its host."""
    identity: str
    """Of that home."""
    host: str | None = None
    """The other host; None: it is this one."""
    is_served: bool = False
    """Whether a worker lives there that can be asked."""

    def __str__(self) -> str:
        """What the attempt wrote."""
        size = self.attempt.output_bytes
        wrote = f"wrote {size_text(size)}" if size is not None else "has run"
        return f"attempt {self.attempt.number} of job {self.attempt.job} {wrote}"

    @property
    def gone(self) -> str:
        """That the file was here, and is not any more."""
        return f"{self}, and its output file is gone: {self.path}"

    @property
    def where(self) -> str:
        """On which other host the file is."""
        attempt, name = self.attempt, os.path.basename(self.path)
        return f"the output of attempt {attempt.number} of job {attempt.job} is on host {self.host}, file {name}"

    def open(self, files: SharedFiles | None, source: int) -> Output | None:
        """What can be read of it; None where it has no such source. Raises OutputGone where nothing can be read."""
        if files is None or (self.host is None and os.path.isfile(self.path)):
            try:
                return LocalOutput(stderr_of(self.path) if source else self.path)
            except FileNotFoundError:
                return None
        job, lease = self.attempt.job, self.attempt.lease
        kept = files.output_ends(job, lease)
        ends = kept.get(source)
        if ends is not None and not ends.tail:
            return OutputOfEnds(ends, self.where)
        if kept and ends is None:
            return None
        why = "where no worker can be asked"
        if self.is_served and not files.can_ask():
            why = "and who reads a replica, or may only read, can't ask its worker"
        elif self.is_served:
            output = RemoteOutput(files, self.identity, job, lease, source, self.where)
            if self.attempt.outcome is None and not source:
                return output  # it may be followed: a worker that is silent now may answer later
            piece = output.ask(0, ATTENTION)
            if piece is not None and piece.size is not None:
                return output
            output.close()
            if piece is not None:
                why = "which is gone there"
                if source and ends is None:
                    return None
        where = f"{self.where}, {why}" if self.host is not None else self.gone
        if ends is not None:
            return OutputOfEnds(ends, where)
        raise OutputGone(where)


class OutputQueries(Queries):
    """What attempts have written. `Queue` has it."""

    def output(self, id: str, attempt: int | None = None) -> str:
        """The path of the file with an attempt's output (stdout and stderr as they came); the latest that has one.

        Of an attempt with `split_output` it has the stdout, and `stderr` tells where the rest is. Raises NotFound where
        the job or the attempt is unknown, or has written none; OutputElsewhere where the file lies on another host, of
        which `open_output` reads it.
        """
        found = self._find_output(id, attempt)
        if found.host is None and not os.path.isfile(found.path):
            raise OutputGone(found.gone)
        if found.host is not None:
            raise OutputElsewhere(f"{found.where}: `queuectl logs {id}` shows what can be read from here")
        return found.path

    def stderr(self, id: str, attempt: int | None = None) -> str | None:
        """The path of the file with the same attempt's stderr; None if that is in the output file. Raises NotFound."""
        path = stderr_of(self.output(id, attempt))
        return path if os.path.isfile(path) else None

    def open_output(self, id: str, attempt: int | None = None, *, stderr: bool = False) -> Output | None:
        """What an attempt has written, here or on another host; the latest that has an output. The caller closes it.

        Of one with `split_output` its stdout, or with `stderr` its stderr; None where that is not apart. What can't be
        read of a file on another host, because no worker runs there, is missing but for beginning and end. Raises
        NotFound as `output` does, and OutputGone where nothing of it can be read.
        """
        return self._find_output(id, attempt).open(self._engine.shared_files, int(stderr))

    def _find_output(self, id: str, attempt: int | None) -> OutputPlace:
        """Where the output of an attempt is. Raises NotFound."""
        with self._engine.snapshot() as view:
            get_job(view, id)
            attempts = [a for a in view.attempts(id) if attempt in (None, a.number)]
            workers = {a.worker: view.worker(a.worker) for a in attempts}
            identities = {each.identity for each in view.workers(live=True)}
        if attempt is not None and not attempts:
            raise NotFound(f"job {id} has no attempt {attempt}")
        for each in reversed(attempts):
            if (found := self._output_of(each, workers[each.worker], identities)) is not None:
                return found
        which = f"job {id}" if attempt is None else f"attempt {attempt} of job {id}"
        raise NotFound(f"{which} has no output yet")

    def _output_of(self, attempt: Attempt, worker: Worker | None, live: Collection[str]) -> OutputPlace | None:
        """Where the output of an attempt is; None where it has none yet. `live`: the homes with workers, by identity.

        Raises OutputGone where nothing of it is kept elsewhere.
        """
        identity = worker.identity if worker is not None else ""
        path = self.home.output_of(identity, attempt.job, attempt.lease)
        place = OutputPlace(attempt, path, identity)
        if os.path.isfile(path):
            return place
        has_started = attempt.started_at is not None or attempt.cause == "lost"
        if worker is not None and self._engine.shared_files is not None and not self.home.has_identity(identity):
            place = structs.replace(place, host=worker.host, is_served=identity in live)
            return place if has_started or attempt.outcome is None else None
        if has_started and self._engine.shared_files is None:
            raise OutputGone(place.gone)
        return place if has_started else None
