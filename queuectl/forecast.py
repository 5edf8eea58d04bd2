"""When what runs should be done: by what its command says of its progress, else by past runs of the same command.

An estimate by progress takes the mean speed from the start of the attempt to the last report. So it is another one only
after a report, and the further the job is, the less it moves. An estimate by past runs is the median of the latest that
completed.
"""

from statistics import median

import msgspec

from projections.jobs import Job
from queuectl import progress
from queuectl.clock import SECOND
from queuectl.engines.view import Filter, View
from queuectl.events import Heartbeat, Recorded
from queuectl.home import Home, progress_of
from queuectl.progress import JobProgress
from queuectl.queries import Queries
from queuectl.units import Then

WINDOW = 1000
"""Jobs, the latest that completed, among which past runs of a command are looked for."""
RUNS = 9
"""Past runs of one command that are looked at, the latest ones."""
LEAST = 1.0
"""Percent below which a report says too little about the speed."""


class Forecast(msgspec.Struct, frozen=True):
    """How far a running job is, and when it should be done."""

    percent: float | None = None
    """What its command said last; None: nothing."""
    text: str | None = None
    eta: int | None = None
    """When it should be done: microseconds UTC, an estimate. None: that can't be told, or it should be by now."""
    by: str | None = None
    """By what that was estimated: `progress` or `past runs`."""


NOTHING = Forecast()
"""Of what does not run."""


class Forecasts:
    """Gives the forecasts for some jobs of about one moment: past runs are looked for once."""

    def __init__(self, queries: Queries, then: Then | None = None) -> None:
        """`then`: the moment of the past that is asked about; None: the present."""
        self._queries = queries
        self._then = then
        self._past: dict[tuple[str, str], list[str]] | None = None

    def __call__(self, job: Job) -> Forecast:
        """The forecast for a job."""
        if job.state != "processing" or job.claimed_at is None:
            return NOTHING
        if self._then is not None:
            return self._of_then(job, self._then)
        with self._queries.engine.snapshot() as view:
            return self.within(view, job)

    def within(self, view: View, job: Job) -> Forecast:
        """The forecast for a job that runs, as it is in a view of the present."""
        said = reported(view, self._queries.home, job)
        usual = self._usual(view, job) if said is None or said.percent < LEAST else None
        return forecast(job, said, usual, self._queries.engine.now())

    def _of_then(self, job: Job, then: Then) -> Forecast:
        """The forecast by the latest heartbeat that there was; past runs are not looked for."""
        where = Filter(streams=(f"worker:{job.worker}",), types=("heartbeat",), since=job.claimed_at, until=then.at)
        said, at, after = None, then.at or job.claimed_at or 0, 0
        with self._queries.engine.snapshot() as view:
            while page := view.events(after=after, upto=then.seq, where=where):
                after = page[-1].seq
                for record in page:
                    said = in_heartbeat(record, job) or said
                at = max(at, page[-1].at)
        return forecast(job, said, None, at)

    def _usual(self, view: View, job: Job) -> float | None:
        """The median of the seconds that past runs of the same command in the same queue took; None: there are none."""
        if self._past is None:
            self._past = {}
            for queue, command, id in view.latest_completed(WINDOW):
                self._past.setdefault((queue, command), []).append(id)
        seconds = view.run_seconds(self._past.get((job.queue, job.command), [])[:RUNS])
        return median(seconds) if seconds else None


def forecast(job: Job, said: JobProgress | None, usual: float | None, at: int) -> Forecast:
    """The forecast for a running job at a moment (µs UTC), by what it said, or by what it usually takes (seconds)."""
    percent, text = (said.percent, said.text) if said is not None else (None, None)
    begin, eta, by = job.claimed_at or at, None, None
    if job.suspended_at is None:
        if said is not None and said.percent >= LEAST:
            eta, by = begin + round(max(said.at - begin, 0) * 100 / said.percent), "progress"
        elif usual is not None:
            eta, by = begin + round(usual * SECOND), "past runs"
    return Forecast(percent, text, eta, by) if eta is not None and eta > at else Forecast(percent, text)


def reported(view: View, home: Home, job: Job) -> JobProgress | None:
    """What the command of a running job said last: in its file, else in the latest heartbeat of its worker."""
    worker = view.worker(job.worker) if job.worker is not None else None
    if worker is None or job.lease is None:
        return None
    said = progress.read(progress_of(home.output_of(worker.identity, job.id, job.lease)))
    if said is None and (last := view.last(f"worker:{worker.id}")) is not None:
        said = in_heartbeat(last, job)
    return said


def in_heartbeat(record: Recorded, job: Job) -> JobProgress | None:
    """What an event says of the progress of a running job; None where it is no heartbeat that does."""
    event = record.event
    for held in event.attempts if isinstance(event, Heartbeat) else ():
        if (held.job, held.attempt) == (job.id, job.attempt) and held.progress is not None:
            return JobProgress(held.progress, held.progress_text, record.at)
    return None
