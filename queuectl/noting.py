"""Notes on jobs: a line that a command leaves in the history of its own job, or a person in that of any."""

from projections.notes import Note
from queuectl import decisions, enclosing_jobs
from queuectl.bounds import check_note
from queuectl.errors import Invalid
from queuectl.queries import Queries, get_job


class Noting(Queries):
    """The command that makes a note, and the question for them. `Queue` has both."""

    actor: str

    def note(self, text: str, job: str | None = None) -> None:
        """Note something of the job inside which this process runs, or from outside of the one that is named.

        A note is an event, which is kept: there can be 100 of an attempt, and 100 of a job from outside. Raises Invalid
        outside of any job where none is named, and for a text that is empty or longer than 1,000 characters; Refused
        where there are too many, or the attempt is over; NotFound.
        """
        check_note(text)
        attempt = None
        if job is None:
            job, attempt = enclosing_jobs.inside(self._engine), enclosing_jobs.attempt()
            if job is None or attempt is None:
                raise Invalid("note: this is not inside a job of this queue: name the job that it is about (--job ID)")
        with self._engine.transaction() as tx:
            noted = get_job(tx, job)
            events = decisions.note(noted, text, attempt, tx.count_notes(job, attempt))
            tx.append_of_jobs([(noted, events)], self.actor)

    def notes(self, id: str) -> list[Note]:
        """The notes on a job, in order."""
        with self._engine.snapshot() as view:
            return view.notes(id)
