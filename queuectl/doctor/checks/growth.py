"""The checks of growth and retention: how large the queue is, when the disk is full, and whether jobs leave it."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from queuectl import clock
from queuectl.audit.retention_rules import DAY, read_state, rules, stays
from queuectl.doctor.finding import Finding, fine, problem, warning
from queuectl.engines.view import View
from queuectl.events import Archived, Unreadable
from queuectl.home import Home
from queuectl.settings import Settings
from queuectl.units import counted, size_text, span

if TYPE_CHECKING:
    from projections.replay import Progress, ProgressBars
    from queuectl.doctor import InspectedQueue

WEEK = 7 * DAY
SOON = 30
"""Days: a disk that is full sooner is reported."""
FAR = 3650
"""Days: nothing is told of a disk that is full later."""
LARGE = 1 << 30
"""Bytes from which on it is said how to keep less."""
PAGE = 1000


class Kept(NamedTuple):
    """Bytes on disk in one folder."""

    size: int
    lately: int
    """Those of files that were written in the period that is looked at."""


def growth(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Tell how large the queue is and by how much it grows, and when the disk is full if it goes on like that."""
    bar = bars("Looking how much there is")
    storage = queue.engine.storage()
    with queue.engine.snapshot() as view:
        now = queue.engine.now()
        first = _first(view)
        period = min(WEEK, (now - first) / clock.SECOND) if first is not None else 0.0
        since = now - round(period * clock.SECOND)
        used = storage.size - view.free_space()
        events, archived, held = _events(view, view.seq_at(since))
    folders = {name: _kept(path, since, bar) for name, path in _folders(queue.home).items()}
    database = storage.size + storage.wal_size
    facts = {"database": database, **{name: kept.size for name, kept in folders.items()}}
    where = "database" if queue.engine.files else "database (on its server)"
    sizes = {where: database, **{name: kept.size for name, kept in folders.items() if kept.size}}
    what = ", ".join(f"{name} {size_text(size)}" for name, size in sizes.items())
    if period < DAY:
        age = f"began {span(round(period))} ago" if first is not None else "is empty"
        yield fine(f"{what}; the log {age}: too young for a rate", **facts)
        return
    days = period / DAY
    stayed = max(1 - archived / events, 0.0) if events else 0.0
    by_database = max(events - archived, 0) * used / max(held, 1) / days
    here = folders["outputs"].lately * stayed + folders["archives"].lately + folders["inputs"].lately
    by_files = here / days
    yield from _told(queue, what, by_database, by_files, {**facts, "period": round(days, 1)})


def _told(
    queue: "InspectedQueue", what: str, by_database: float, by_files: float, facts: dict[str, object]
) -> Iterator[Finding]:
    """The finding for a queue that grows by so many bytes a day."""
    disk = queue.disk()
    on_disk = by_files + (by_database if queue.engine.files else 0.0)
    left = max(disk.free - disk.floor, 0) / on_disk if on_disk >= 1 else None
    left = left if left is not None and left < FAR else None
    facts |= {
        "database_a_day": round(by_database),
        "files_a_day": round(by_files),
        "days": None if left is None else round(left),
    }
    rate = size_text(round(by_database + by_files))
    what += f"; {rate} more a day" if by_database + by_files >= 1 else "; it does not grow"
    kept = {rule.states for rule in rules(_settings(queue))}
    less = "jobs that ended longer ago leave it for archives, and their outputs are removed"
    do = f"queuectl config set keep 30d: {less}" if not kept else "make room, or keep jobs for less: config set keep"
    if left is not None and left < SOON:
        yield warning(f"{what}: at that rate the disk is full in about {counted(round(left), 'day')}", do, **facts)
        return
    size = sum(value for name, value in facts.items() if name in ("database", "outputs") and isinstance(value, int))
    if left is not None:
        what += f": the disk is full in about {counted(round(left), 'day')}"
    if size >= LARGE and not kept:
        yield warning(f"{what}; all jobs are kept for ever", do, **facts)
    else:
        yield fine(what, **facts)


def retention(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that what `keep` and `keep-dead` want archived is archived."""
    wanted = rules(_settings(queue))
    state = read_state(queue.home)
    if state.error is not None:
        ago = span(max(round((clock.now() - state.at) / clock.SECOND), 0))
        yield problem(
            f"could not be done {ago} ago: {state.error}",
            "mend that: a worker tries again every ten minutes",
            at=clock.text(state.at),
        )
    if not wanted:
        if state.error is None:
            yield fine("jobs are kept for ever")
        return
    with queue.engine.snapshot() as view:
        now = queue.engine.now()
        workers = [worker for worker in view.workers() if stays(worker)]
        late = [
            (rule, now - oldest[0])
            for rule in wanted
            for name in rule.states
            if (oldest := view.oldest_ends(now - round((rule.keep + rule.slack + DAY) * clock.SECOND), name, now, 1))
        ]
    if late and state.error is None:
        age = max(age for _, age in late)
        do = "start a worker that stays up (those with --drain, and `run`, do not archive)"
        yield warning(
            f"not up to date: the oldest job that should be in an archive ended {span(age // clock.SECOND)} ago",
            do if not workers else "a worker is at it; if that does not change, see worker.jsonl",
            oldest=clock.text(now - age),
        )
    elif state.error is None:
        kept = ", ".join(f"{' and '.join(rule.states)} jobs for {span(rule.keep)}" for rule in wanted)
        yield fine(f"kept: {kept}")


def _settings(queue: "InspectedQueue") -> Settings:
    with queue.engine.snapshot() as view:
        return queue.settings(view)


def _folders(home: Home) -> dict[str, str]:
    return {"outputs": home.output, "inputs": home.stdin, "archives": home.archives, "logs": home.logs}


def _first(view: View) -> int | None:
    """When the first event happened, of which an archived one has left its leaf; None in an empty log."""
    found = [each[0].at for each in (view.events(after=None, limit=1), view.leaves(after=None, limit=1)) if each]
    return min(found, default=None)


def _events(view: View, since: int) -> tuple[int, int, int]:
    """How many events were appended after event `since`, how many were archived after it, and how many there are."""
    head = view.head()[0]
    archived, last = 0, since
    while page := view.tombstones(after=last, limit=PAGE):
        for record in page:
            try:
                event = record.event
            except Unreadable:
                continue  # the check of the log tells
            archived += event.events if isinstance(event, Archived) else 0
        last = page[-1].seq
    return head - since, archived, view.size(head)


def _kept(path: str, since: int, bar: "Progress") -> Kept:
    """What the files in a folder take."""
    size = lately = 0
    try:
        with os.scandir(path) as entries:
            for number, entry in enumerate(entries):
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                size += found.st_blocks * 512
                lately += found.st_blocks * 512 if found.st_mtime * clock.SECOND >= since else 0
                bar(number, 0)
    except FileNotFoundError:
        pass  # none was made
    return Kept(size, lately)
