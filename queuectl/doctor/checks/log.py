"""The checks of what is stored: the file, the log, the projections, and the clock that stamps the events."""

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

if TYPE_CHECKING:
    from queuectl.doctor import Bars, InspectedQueue

PAGE = 5000
"""Rows read at a time: nothing is kept open between two (R8)."""

AHEAD = 1.0
"""Seconds that the last event may lie in the future: less is no clock that was set back."""

RESTORE = "stop the workers, keep what is there, and restore a copy of the files"


def file(queue: "InspectedQueue", bars: "Bars") -> Iterator[Finding]:
    """Whether the database is sound, and the log's schema whole. The one check that reads without a pause."""
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
            what += "; but the log is whole"
            if _is_fine(settings, queue, bars):  # or no command but this one starts
                do += "; `queuectl export` writes the log out as it is"
        yield problem(what, do, bytes=size, damage=damage)
    if missing:
        yield problem(
            f"the log is not kept as it should be: without {some(missing)}, anybody may change it",
            f"find out who has changed the schema, and what else; then {RESTORE}",
            missing=missing,
        )
    if not damage and not missing:
        yield fine(f"{size_text(size)}, undamaged, {shown(queue.url)}", bytes=size)


def _is_fine(
    check: Callable[["InspectedQueue", "Bars"], Iterator[Finding]], queue: "InspectedQueue", bars: "Bars"
) -> bool:
    try:
        return all(finding.severity == "ok" for finding in check(queue, bars))
    except QueueError:
        return False


class _Log(msgspec.Struct):
    """What was found on the way through the log."""

    reached: int = 0
    """The last number of which is known that an event had it."""
    at: int = 0
    events: int = 0
    gaps: list[tuple[int, int]] = []
    wrong: list[str] = []
    newer: list[str] = []
    told: int = 0
    """How many events were archived, as the tombstones tell."""
    gone: int = 0
    """How many are not there but have left their leaf."""

    def read(self, page: leaves.Page) -> None:
        """Go on by a page."""
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
                self.told += event.events if isinstance(event, Archived) else 0
        here = {record.seq for record in page.records}
        known = here.union(leaf.seq for leaf in page.leaves)
        self.events += len(here)
        self.gone += len(known) - len(here)
        for seq in sorted(known):
            self.reach(seq)

    def reach(self, seq: int) -> None:
        """There was an event of this number."""
        if seq > self.reached + 1:
            self.gaps.append((self.reached + 1, seq - 1))
        self.reached = seq


def log(queue: "InspectedQueue", bars: "Bars") -> Iterator[Finding]:
    """Whether every event is there or was archived, in order and readable, and every stream whole."""
    with queue.engine.snapshot() as view:
        head, given = view.head()[0], view.highest_seq()
    bar = bars("Reading the log")
    found, end = _Log(gaps=[], wrong=[], newer=[]), 0
    while end < head:
        with queue.engine.snapshot() as view:
            page = leaves.page(view, end, head, PAGE)
        found.read(page)
        end = page.end
        bar(end, head)
    if given > found.reached:
        found.reach(given + 1)
    torn, streams = _torn(queue, head)
    if not found.gone and found.told == sum(until - first + 1 for first, until in found.gaps):
        found.gaps, found.gone = [], found.told  # archived before the log was taken in here: an export has no leaves
    lacking = 0 if found.gaps or _is_archiving(queue, head) else found.gone - found.told
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
            f"{counted(found.gone, 'event')} left the log, but the tombstones tell of {found.told:,}",
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
        told += f"; {found.told:,} archived" if found.told else ""
        facts = {"events": found.events, "streams": streams, "archived": found.told}
        yield fine(told if found.events else "no events yet", **facts)


def _is_archiving(queue: "InspectedQueue", head: int) -> bool:
    """Whether events have been archived while the log was read: then nothing can be told from how many there are."""
    with queue.engine.snapshot() as view:
        return bool(view.tombstones(after=head, limit=1))


def _torn(queue: "InspectedQueue", head: int) -> tuple[list[str], int]:
    """The streams with versions missing, and how many streams there are."""
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


def replayed(queue: "InspectedQueue", bars: "Bars") -> Iterator[Finding]:
    """Whether the tables say what the log says."""
    differences = queue.engine.check(bars("Comparing the tables with the log"))
    if differences:
        yield problem(
            f"the tables do not say what the log says: {some(differences)}",
            "run `queuectl replay`, which makes them anew from the log",
            differences=differences,
        )
    else:
        yield fine("the tables say what the log says")


def projections(queue: "InspectedQueue", bars: "Bars") -> Iterator[Finding]:
    """Whether every projection has folded all of the log. Ours have, or the queue would not have opened."""
    with queue.engine.snapshot() as view:
        head, all = view.head()[0], view.projection_statuses()
    findings = [finding for each in all for finding in _standing(each, head)]
    yield from findings or [fine(f"all {len(all)} at event {head:,}", seq=head)]


def _standing(each: ProjectionStatus, head: int) -> Iterator[Finding]:
    facts = {"projection": each.name, "seq": each.seq, "source": each.source}
    if each.broken is not None:
        yield problem(
            f"{each.name} was set aside at event {each.seq:,}, when it raised {each.broken}",
            f"mend {each.source}, then run `queuectl replay {each.name}`",
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


def clock(queue: "InspectedQueue", bars: "Bars") -> Iterator[Finding]:
    """Whether the last event lies in the future."""
    with queue.engine.snapshot() as view:
        seq, at = view.head()
    ahead = (at - clocks.now()) / clocks.SECOND
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
