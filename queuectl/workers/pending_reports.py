"""What a worker's next turn writes: reports of attempts that have ended, and claims to give back."""

from itertools import takewhile

import msgspec

from queuectl import decisions
from queuectl.decisions import Lease, Release, Report, Stop
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.recovery.attempt_table import AttemptTable

REPORT = 0.025
"""Seconds that a report may wait for others, so that one commit serves many, while there are claimed jobs to start."""
DOUBT = 0.5
"""Seconds that a report waits which an order to stop would explain, and with it whatever is to start."""


class PendingReports:
    """Reports and releases, oldest first, until they are written. All times are monotonic seconds."""

    def __init__(self, table: AttemptTable) -> None:
        """An attempt leaves `table` once its report is written."""
        self.reports: list[Report] = []
        self.releases: list[Release] = []
        self.due = NEVER
        """When these should be written at the latest."""
        self.stop: Stop | None = None
        """What the worker was told to stop by."""
        self._rows: list[int | None] = []
        """For each report the attempt's row in the table."""
        self._table = table
        self._doubtful_until = 0.0

    @property
    def doubtful_until(self) -> float:
        """Until when an order to stop may come that explains an end: what started before that would be ended too."""
        return self._doubtful_until if self.stop is None else 0.0

    def report(self, report: Report, row: int | None, now: float) -> None:
        """Have the next turn report the end of an attempt, which has this row in the table."""
        if self.stop is None and decisions.is_from_outside(report.outcome) and now >= self._doubtful_until:
            self._doubtful_until = now + DOUBT  # not later for each further one: reports must not wait for ever
        self.reports.append(report)
        self._rows.append(row)
        self.due = min(self.due, now + REPORT)

    def release(self, lease: Lease, reason: str, now: float, *, repeats: bool = False) -> None:
        """Have the next turn give back a claim, at once: others may be waiting for it. `repeats`: see `Release`."""
        self.releases.append(Release(lease, reason, repeats))
        self.due = now

    def settled(self, now: float) -> list[Report]:
        """The reports, oldest first, up to one that an order to stop may still explain."""
        doubtful = now < self.doubtful_until
        return [*takewhile(lambda each: not (doubtful and decisions.is_from_outside(each.outcome)), self.reports)]

    @property
    def leases(self) -> list[Lease]:
        """Of all of these, also of reports that are not settled."""
        return [each.lease for each in (*self.reports, *self.releases)]

    def explain(self, stop: Stop | None) -> None:
        """The worker was told to stop, by `stop` where that is known: it explains ends that are not yet reported."""
        self.stop = stop or self.stop
        for at, each in enumerate(self.reports):
            self.reports[at] = msgspec.structs.replace(each, outcome=decisions.explained(each.outcome, self.stop))

    def written(self, reports: int, releases: int) -> None:
        """So many of the reports and releases, the oldest, are in the log."""
        for row in self._rows[:reports]:
            if row is not None:
                self._table.remove(row)
        del self.reports[:reports], self._rows[:reports], self.releases[:releases]
        if not self.reports and not self.releases:
            self.due = NEVER
