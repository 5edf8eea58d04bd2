"""Jobs: the table of all jobs, with the indexes that claims and lists use, and what is asked of it."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from projections.job import FINAL as FINAL
from projections.job import STATES as STATES
from projections.job import Job as Job
from projections.job import evolve as evolve
from projections.store import Questions, Store, marks
from projections.table import Codec, Table
from queuectl.events import CALLBACK_PRIORITY, VOCABULARY, Enqueued

if TYPE_CHECKING:
    from projections import Change

# -- the table -------------------------------------------------------------------------------------------------------

name = "jobs"
version = 16
tables = ("jobs",)
reads = None

WAITING = "state in ('pending', 'failed')"
PLAIN = "demand = ''"
NEEDY = "demand <> ''"
PAST_LIMITS = f"priority >= {CALLBACK_PRIORITY}"
ENDED = "state in ('completed', 'dead', 'cancelled')"
"""Conditions of the partial indexes below. A query must repeat them word for word to use these indexes."""

# The policy is not stored twice: it is read from the log, by seq. Only that of an edited job is stored here, whole, in
# the present form; so a new version of `enqueued` needs a new version of this table. Nor is there an index of ids: the
# log has one of its streams, and a job has the seq of the event that its stream begins with.
TABLE = Table(
    "jobs",
    Job,
    ("seq",),
    apart=("policy",),
    codecs={
        "secrets": Codec(
            "text", lambda names: ",".join(names) or None, lambda text: tuple(text.split(",")) if text else ()
        )
    },
)

# Three indexes are for claims: over all queues, and by lane (R31) of jobs that need no more than a slot, and of those
# that do. They hold waiting jobs only, so finished jobs cost a claim nothing; those that are held come last, so that
# they cost nothing either. Then comes the priority, so that jobs claimed in turn lie close together however many queues
# and delayed jobs there are; SQLite orders equal entries by seq.
# The others are for lists: `jobs_ended` gives the latest ends of each state, also of one queue, without the rest.
schema = f"""
{TABLE.schema}
create index jobs_waiting on jobs (held, priority, run_at) where {WAITING};
create index jobs_waiting_by_queue on jobs (held, priority, queue, run_at) where {WAITING} and {PLAIN};
create index jobs_waiting_by_lane on jobs (held, priority, queue, demand, run_at) where {WAITING} and {NEEDY};
create index jobs_failed on jobs (held, priority, run_at) where state = 'failed';
create index jobs_forced on jobs (seq) where forced = 1;
create index jobs_postponed on jobs (queue, demand) where postponed > 0;
create index jobs_blocked on jobs (queue) where state = 'blocked';
create index jobs_watching on jobs (watching) where watching is not null;
create index jobs_unique on jobs (unique_key) where unique_key is not null;
create index jobs_of_batch on jobs (batch, state) where batch is not null;
create index jobs_triggered on jobs (triggered_by, state) where triggered_by is not null;
create index jobs_cascading on jobs (seq) where cascading = 1;
create index jobs_claimed on jobs (worker) where worker is not null;
create index jobs_past_limits on jobs (state, queue, held) where {PAST_LIMITS};
create index jobs_ended on jobs (state, finished_at, queue) where {ENDED};
"""


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Write the latest state of each job in the batch: one row for each job, however many events it had."""
    new: dict[int, Job] = {}
    moved: dict[int, Job] = {}
    gone: list[int] = []
    for change in changes:
        job, before = change.after, change.before
        if isinstance(job, Job):
            (new if before is None or job.seq in new else moved)[job.seq] = job
        elif isinstance(before, Job) and new.pop(before.seq, None) is None:
            moved.pop(before.seq, None)
            gone.append(before.seq)
    store.insert(TABLE, new.values())
    store.update(TABLE, moved.values())
    store.delete(TABLE, "seq", gone)


_INPUT = re.compile(r'"stdin"\s*:\s*"([0-9a-f]{64})"')
"""The name of an input in the text of a policy."""

# -- questions -------------------------------------------------------------------------------------------------------

SELECT = f"""
select {TABLE.select("j")}, case when j.edited is null then e.v else {Enqueued.v} end,
    coalesce(j.edited, cast(e.data as text))
from jobs j join events e on e.seq = j.seq
"""
"""The columns of a job. A condition on `j` follows; its rows are for `read`."""
_V, _POLICY = len(TABLE.columns), len(TABLE.columns) + 1


def read(row: tuple[Any, ...]) -> Job:
    """The job of a row of `SELECT`."""
    return TABLE.read(row, VOCABULARY.decode("enqueued", row[_V], row[_POLICY]))


class JobQuestions(Questions):
    """What is asked of the table of jobs. `queues`: of all where none are named."""

    def job(self, id: str) -> Job | None:
        """The job of exactly this id."""
        rows = self._store.execute(f"{SELECT} where e.stream = ? and e.version = 1", (f"job:{id}",))
        return read(rows[0]) if rows else None

    def holder(self, key: str) -> Job | None:
        """The job that has this unique key, as long as it has not ended."""
        rows = self._store.execute(f"{SELECT} where j.unique_key = ?", (key,))
        return read(rows[0]) if rows else None

    def jobs(self, seqs: Sequence[int]) -> list[Job]:
        """The jobs with these seqs (a page at most), in this order; those that are gone are left out."""
        rows = self._store.rows(f"{SELECT} where j.seq in ({marks(seqs)})", seqs) if seqs else ()
        found = {job.seq: job for job in map(read, rows)}
        return [found[seq] for seq in seqs if seq in found]

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        """Ids of jobs that begin with `prefix`."""
        sql = """
            select j.id from events e join jobs j on j.seq = e.seq
            where e.stream >= ? and e.stream < ? and e.version = 1 order by e.stream limit ?
        """
        return [id for (id,) in self._store.rows(sql, (f"job:{prefix}", f"job:{prefix}\U0010ffff", limit))]

    def processing(self, queue: str | None = None) -> list[Job]:
        """The jobs that are processing, of all queues or of one, in the order in which they came."""
        of_queue = "" if queue is None else "and j.queue = ?"
        # The plus keeps SQLite from reading the whole table in this order, in the place of the few in the index.
        sql = f"{SELECT} where j.worker is not null {of_queue} order by +j.seq"
        return [read(row) for row in self._store.rows(sql, () if queue is None else (queue,))]

    def jobs_of(self, worker: str) -> list[Job]:
        """The jobs that this worker holds."""
        return [read(row) for row in self._store.rows(f"{SELECT} where j.worker = ?", (worker,))]

    def callbacks(self, id: str) -> list[Job]:
        """The callbacks of a job that are in the table, as they came."""
        rows = self._store.rows(f"{SELECT} where j.triggered_by = ? order by j.seq", (f"job:{id}",))
        return [job for job in map(read, rows) if job.policy.trigger is not None and job.policy.trigger.is_callback]

    def inputs_of_jobs(self) -> set[str]:
        """The names of the inputs that jobs read (`--stdin`). All policies are looked at."""
        policy = "coalesce(j.edited, cast(e.data as text))"
        sql = f"select {policy} from jobs j join events e on e.seq = j.seq where {policy} like '%\"stdin\"%'"
        return {name for (text,) in self._store.rows(sql) for name in _INPUT.findall(text)}

    def workers_with_jobs(self) -> list[str]:
        """The ids of the workers that hold any job, in no order; ended ones and unknown ones too."""
        return [id for (id,) in self._store.rows("select distinct worker from jobs where worker is not null")]
