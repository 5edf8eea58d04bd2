"""Notes: what was noted of jobs, a row for each, mostly by their own commands."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from projections.store import Questions, Store
from projections.table import Table
from queuectl.events import Noted, Recorded

if TYPE_CHECKING:
    from projections import Change


class Note(msgspec.Struct, frozen=True, gc=False):
    """One note on one job."""

    seq: int
    """Of its event."""
    job: str
    attempt: int | None
    """The number of the attempt inside which it was made; None: it was made from elsewhere."""
    noted_at: int
    """Microseconds UTC."""
    noted_by: str
    """The actor."""
    text: str


name = "notes"
version = 1
tables = ("notes",)
reads = frozenset({"noted", "purged", "archived"})
TABLE = Table("notes", Note, ("seq",))
schema = f"""
{TABLE.schema}
create index notes_of_job on notes (job);
"""


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Insert a row for each note; delete those of jobs that were purged or archived."""
    new: list[Note] = []
    gone: set[str] = set()
    for change in changes:
        record = change.record
        if record.type == "noted":
            if change.after is not None:
                new.append(_note(record, change.event))
        elif record.type == "purged" or (record.type == "archived" and record.stream.startswith("job:")):
            gone.add(record.subject)
    store.insert(TABLE, [note for note in new if note.job not in gone])
    store.delete(TABLE, "job", sorted(gone))


def _note(record: Recorded, event: Noted) -> Note:
    return Note(record.seq, record.subject, event.attempt, record.at, record.actor, event.text)


def of(records: Iterable[Recorded]) -> list[Note]:
    """The notes of a job after these events, in order. The table has none of one that was purged."""
    return [_note(record, event) for record in records if isinstance(event := record.event, Noted)]


class NoteQuestions(Questions):
    """What is asked of the notes."""

    def notes(self, job: str) -> list[Note]:
        """The notes on a job, in order."""
        rows = self._store.rows(f"select {TABLE.select('n')} from notes n where n.job = ? order by n.seq", (job,))
        return [TABLE.read(row) for row in rows]

    def note_texts(self, job: str) -> list[str]:
        """What was noted of a job."""
        return [text for (text,) in self._store.rows("select text from notes where job = ? order by seq", (job,))]

    def count_notes(self, job: str, attempt: int | None) -> int:
        """How many notes there are on a job that were made inside this attempt, or from elsewhere (None)."""
        sql = "select count(*) from notes where job = ? and attempt is not distinct from ?"
        return self._store.execute(sql, (job, attempt))[0][0]
