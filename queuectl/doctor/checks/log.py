"""The checks of the database file, the log, the projections and the clock."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from queuectl import clock as clocks
from queuectl.audit import leaves
from queuectl.doctor.checks.environment import settings
from queuectl.doctor.finding import Finding, fine, problem, some, warning
from queuectl.engines.view import ProjectionStatus
from queuectl.errors import QueueError, shown
from queuectl.events import Archived, Newer, Unreadable
from queuectl.units import counted, size_text, span
from queuectl.versions import OLDEST_READER

if TYPE_CHECKING:
    from projections.replay import ProgressBars
    from queuectl.doctor import InspectedQueue

PAGE = 5000
"""Rows read in one snapshot, so that no read transaction stays open for long (R8)."""

AHEAD = 1.0
"""Seconds by which the last event may lie in the future before it is reported."""

RESTORE = "stop the workers, keep what is there, and restore a copy of the files"


def file(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check the database file and the schema of the log. The only check that reads in one long transaction."""
    with queue.engine.snapshot() as view:
        damage, missing = view.damage(bars("Reading the file, page")), view.schema_differences()
    size = queue.engine.storage().size
    if damage:
        what = f"the database is damaged: {some(damage)}"
        do = (
            "stop the workers, keep what is there, and try `queuectl replay`, which makes every table but the log anew;"
            " where it can't, restore a copy of the files"
        )
        if _is_fine(log, queue, bars):
            what += "; but the log is complete"
            if _is_fine(settings, queue, bars):  # otherwise `export` does not start
                do += "; `queuectl export` writes the log out as it is"
        yield problem(what, do, bytes=size, damage=damage)
    if missing:
        yield problem(
            f"the log is not protected against changes: {some(missing)} missing",
            f"find out who has changed the schema, and what else; then {RESTORE}",
            missing=missing,
        )
    if not damage and not missing:
        yield fine(f"{size_text(size)}, undamaged, {shown(queue.url)}", bytes=size)


def _is_fine(
    check: Callable[["InspectedQueue", "ProgressBars"], Iterator[Finding]],
    queue: "InspectedQueue",
    bars: "ProgressBars",
) -> bool:
    try:
        return all(finding.severity == "ok" for finding in check(queue, bars))
    except QueueError:
        return False


class _LogScan(msgspec.Struct):
    """The state of a scan through the log."""

    reached: int = 0
    """The last seq that is known to have been given to an event."""
    at: int = 0
    events: int = 0
    gaps: list[tuple[int, int]] = []
    wrong: list[str] = []
    newer: list[str] = []
    archived: int = 0
    """Number of archived events, according to the tombstones."""
    leaf_only: int = 0
    """Number of events that are missing but have a leaf."""

    def read(self, page: leaves.Page) -> None:
        """Scan the next page."""
        for record in page.records:
            if record.at < self.at:
                self.wrong.append(f"event {record.seq} is older than the one before it")
            self.at = record.at
            try:
                event = record.event
            except Newer as error:
                self.newer.append(f"event {record.seq}: {error}")
            except Unreadable as error:
                self.wrong.append(f"event {record.seq}: {error}")
            else:
                self.archived += event.events if isinstance(event, Archived) else 0
        here = {record.seq for record in page.records}
        known = here.union(leaf.seq for leaf in page.leaves)
        self.events += len(here)
        self.leaf_only += len(known) - len(here)
        for seq in sorted(known):
            self.reach(seq)

    def reach(self, seq: int) -> None:
        """Record that an event with this seq existed."""
        if seq > self.reached + 1:
            self.gaps.append((self.reached + 1, seq - 1))
        self.reached = seq


def log(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that every event is present or archived, readable and in order, and that no stream has gaps."""
    with queue.engine.snapshot() as view:
        head, given = view.head()[0], view.highest_seq()
    bar = bars("Reading the log")
    found, end = _LogScan(gaps=[], wrong=[], newer=[]), 0
    while end < head:
        with queue.engine.snapshot() as view:
            page = leaves.page(view, end, head, PAGE)
        found.read(page)
        end = page.end
        bar(end, head)
    if given > found.reached:
        found.reach(given + 1)
    torn, streams = _torn(queue, head)
    if not found.leaf_only and found.archived == sum(until - first + 1 for first, until in found.gaps):
        found.gaps, found.leaf_only = (
            [],
            found.archived,
        )  # archived before an import: an export has no leaves
    lacking = 0 if found.gaps or _is_archiving(queue, head) else found.leaf_only - found.archived
    if found.gaps:
        count = sum(until - first + 1 for first, until in found.gaps)
        names = [str(first) if first == until else f"{first}-{until}" for first, until in found.gaps]
        yield problem(
            f"{counted(count, 'event')} of the log {'was' if count == 1 else 'were'} removed: {some(names)}",
            f"{RESTORE} that has them",
            removed=[{"from": first, "to": until} for first, until in found.gaps],
        )
    if lacking:
        yield problem(
            f"{counted(found.leaf_only, 'event')} left the log, but the tombstones tell of {found.archived:,}",
            f"run `queuectl audit verify`, which tells which; then {RESTORE} that has them",
            lacking=lacking,
        )
    if torn:
        yield problem(
            f"{counted(len(torn), 'stream')} not whole: {some(torn)}",
            f"{RESTORE} that has them",
            streams=torn,
        )
    if found.wrong:
        what = f"{counted(len(found.wrong), 'event')} can't be true: {some(found.wrong)}"
        yield problem(what, RESTORE, events=found.wrong)
    if found.newer:
        yield problem(
            f"{counted(len(found.newer), 'event')} can't be read: {some(found.newer)}", "upgrade queuectl here"
        )
    if not (found.gaps or lacking or torn or found.wrong or found.newer):
        told = f"{counted(found.events, 'event')} in {counted(streams, 'stream')}, none missing"
        told += f"; {found.archived:,} archived" if found.archived else ""
        facts = {"events": found.events, "streams": streams, "archived": found.archived}
        yield fine(told if found.events else "no events yet", **facts)


def _is_archiving(queue: "InspectedQueue", head: int) -> bool:
    """Whether events were archived during the scan, so that the number of missing events proves nothing."""
    with queue.engine.snapshot() as view:
        return bool(view.tombstones(after=head, limit=1))


def _torn(queue: "InspectedQueue", head: int) -> tuple[list[str], int]:
    """The streams with missing versions, and the number of all streams."""
    torn: list[str] = []
    count, after = 0, ""
    while True:
        with queue.engine.snapshot() as view:
            page = view.streams(after=after, upto=head, limit=PAGE)
        if not page:
            return torn, count
        torn += [stream for stream, events, version in page if events != version]
        count += len(page)
        after = page[-1][0]


def replayed(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that the tables equal a replay of the log."""
    differences = queue.engine.check(bars("Comparing the tables with the log"))
    if differences:
        yield problem(
            f"the tables do not say what the log says: {some(differences)}",
            "run `queuectl replay`, which makes them anew from the log",
            differences=differences,
        )
    else:
        yield fine("the tables say what the log says")


def projections(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that every projection has folded the whole log; built-in ones have, or the queue would not open."""
    with queue.engine.snapshot() as view:
        head, all, schema = view.head()[0], view.projection_statuses(), view.schema_version()
    if findings := [finding for each in all for finding in _position(each, head)]:
        yield from findings
        return
    versions = {each.name: each.version for each in all}
    yield fine(
        f"all {len(all)} at event {head:,}, schema {schema}; read by queuectl {OLDEST_READER} and newer",
        seq=head, schema=schema, versions=versions, oldest_reader=OLDEST_READER,
    )  # fmt: skip


def _position(each: ProjectionStatus, head: int) -> Iterator[Finding]:
    facts = {"projection": each.name, "seq": each.seq, "source": each.source}
    if each.broken is not None:
        yield problem(
            f"{each.name} was set aside at event {each.seq:,}, when it raised {each.broken}",
            f"fix {each.source}, then run `queuectl replay {each.name}`",
            **facts,
            broken=each.broken,
        )
    elif each.seq < head:
        yield warning(
            f"{each.name} is {counted(head - each.seq, 'event')} behind: its code ({each.source}) is not installed"
            " where the queue is written",
            f"install it there, or run `queuectl replay {each.name}` where it is",
            **facts,
        )
    elif each.seq > head:
        yield problem(
            f"{each.name} has folded event {each.seq:,}, but the log ends with {head:,}",
            f"{RESTORE} that has them; or run `queuectl replay` to go on without these events",
            **facts,
        )


def clock(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that the last event does not lie in the future."""
    with queue.engine.snapshot() as view:
        seq, at = view.head()
    ahead = (at - queue.engine.now()) / clocks.SECOND
    if ahead > AHEAD:
        yield warning(
            f"the last event ({seq:,}) lies {span(ahead)} in the future: the clock was set back, or was wrong then",
            "set the clock right. Nothing is lost: events keep their order, and jobs become due by the clock as it is",
            seq=seq,
            at=clocks.text(at),
            seconds=round(ahead, 3),
        )
    else:
        yield fine("no event lies in the future")
