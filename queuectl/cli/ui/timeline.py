"""The history of a job as a timeline: events with durations and actors, and the gaps between them.

`build` makes entries from the moments of a history (`queuectl.history`) alone; `render` lays them out in columns.
An attempt (its claim, its heartbeats, its outcome and the events that follow in the same transaction) is one entry, at
the place of its claim.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from projections.jobs import FINAL
from queuectl import units
from queuectl.admission import UNSTARTED, Facts
from queuectl.cli.ui import output, wording
from queuectl.cli.ui.event_wording import event_text
from queuectl.clock import SECOND
from queuectl.events import Cancelled, Claimed, Execution, Failed, Heartbeat, Interrupted, Released, Retried
from queuectl.forecast import in_heartbeat
from queuectl.history import Moment
from queuectl.progress import JobProgress

_PAUSE = 1.0
"""Seconds without an event that make a gap."""

_CLAIM = "waiting to be claimed"
"""Said of a job that is due: its own events don't tell whether its queue was open and workers were there."""

_DOT, _BRANCH, _RAIL, _GAP, _NOW = "●├│⋮○"


class TimelineEntry(msgspec.Struct, frozen=True):
    """An event, an attempt, or a gap. Its text is raw: `render` escapes it."""

    mark: str
    what: str
    style: str = "dim"
    """The state of the job after it; its colour."""
    more: Sequence[Sequence[str]] = ()
    """Lines below the text, each of parts between which it may be broken."""
    at: int | None = None
    """Microseconds UTC; None for a gap."""
    seqs: str = ""
    """The seq of its event, or the first and last of several."""


def build(moments: Sequence[Moment], now: int | None = None, facts: Facts | None = None) -> list[TimelineEntry]:
    """Return the entries of a history. With `now` (µs UTC) the last one is the present state of an unfinished job.

    `facts`: of the workers and queues at present, where they are known.
    """
    entries: list[TimelineEntry] = []
    before: Moment | None = None
    for block in _blocks(moments):
        if before is not None:
            entries += _gap(before, block[0].record.at)
        first = block[0].record.event
        if isinstance(first, Claimed):
            entries += _attempt(before, block, first)
        else:
            record = block[0].record
            change = (_change(before, block), record.actor)
            entries.append(_entry(_DOT, block, event_text(record), (change,)))
        before = block[-1]
    if now is not None and before is not None and before.job is not None and before.job.state not in FINAL:
        entries += _present(before, moments, now, facts)
    return entries


def _blocks(moments: Iterable[Moment]) -> Iterator[list[Moment]]:
    """Group the moments of each attempt; every other moment is a group of its own."""
    block: list[Moment] = []
    for moment in moments:
        if block:
            processing = block[-1].job is not None and block[-1].job.state == "processing"
            follows = block[0].record.type == "claimed" and moment.record.at == block[-1].record.at
            if not processing and (moment.record.type == "claimed" or not follows):
                yield block
                block = []
        block.append(moment)
    if block:
        yield block


def _attempt(before: Moment | None, block: list[Moment], claimed: Claimed) -> Iterator[TimelineEntry]:
    """Return the entry of an attempt, and entries for the other events of the job during it."""
    claim = block[0].record
    beats: list[int] = []
    aside: list[Moment] = []
    follows: list[tuple[str]] = []
    said: JobProgress | None = None
    ending: Any = None
    what, actor = f"attempt {claimed.attempt} is running", claim.actor
    for moment in block[1:]:
        record, event = moment.record, moment.record.event
        if isinstance(event, Heartbeat):
            beats.append(record.at)
            said = (in_heartbeat(record, moment.job) if moment.job is not None else None) or said
        elif ending is not None:
            follows.append((event_text(record),))
        elif isinstance(event, Execution | Released):
            ending, actor = event, record.actor
            what = event_text(record)
        else:
            aside.append(moment)
    change = [_change(before, block), claim.actor]
    if actor != claim.actor:
        change.append(f"told by {actor}")
    used = [f"waited {_waited(before, claim.at)}"]
    if beats:
        used.append(f"{units.counted(len(beats), 'heartbeat')} over {_span(beats[-1] - claim.at)}")
    if isinstance(ending, Execution):
        used += _used(ending)
    elif said is not None and ending is None:
        used.append(wording.percent(said.percent, said.text))
    yield _entry(_DOT, block, what, (change, used, *follows))
    for moment in aside:
        yield _entry(_BRANCH, [moment], f"{event_text(moment.record)} · {moment.record.actor}")


def _entry(mark: str, block: Sequence[Moment], what: str, more: Sequence[Sequence[str]] = ()) -> TimelineEntry:
    first, last = block[0].record, block[-1].record
    seqs = f"{first.seq}" if first.seq == last.seq else f"{first.seq}-{last.seq}"
    return TimelineEntry(mark, what, _state(block[-1]), more, first.at, seqs)


def _state(moment: Moment) -> str:
    return moment.job.state if moment.job is not None else moment.record.type


def _change(before: Moment | None, block: Iterable[Moment]) -> str:
    """Return the states of the job: `pending → processing → failed`."""
    states = [_state(before) if before is not None else ""]
    for moment in block:
        if states[-1] != _state(moment):
            states.append(_state(moment))
    return " → ".join(states).lstrip()


def _waited(before: Moment | None, at: int) -> str:
    """Return how long the job was ready before its claim."""
    if before is None or before.job is None:
        return _span(0)
    job, since = before.job, before.record.at
    return _span(at - (since if job.forced else max(since, job.run_at)))


def _used(ended: Execution) -> Iterator[str]:
    """Yield the resources that an attempt used, and its exit code or signal unless the outcome names it."""
    if isinstance(ended, Cancelled | Interrupted) and ended.signal is not None:
        yield f"signal {wording.signal_name(ended.signal)}"
    elif not isinstance(ended, Failed) and ended.exit_code:
        yield f"exit {ended.exit_code}"
    if ended.cpu_seconds is not None:
        yield f"cpu {units.span(ended.cpu_seconds)}"
    if ended.max_rss is not None:
        yield f"memory {units.size_text(ended.max_rss)}"
    if ended.output_bytes is not None:
        cut = f", {units.size_text(ended.output_cut)} of it cut out" if ended.output_cut else ""
        yield f"output {units.size_text(ended.output_bytes)}{cut}"
    if ended.progress is not None:
        yield wording.percent(ended.progress, ended.progress_text)
    if ended.kept:
        yield "processes of it live on"


def _gap(before: Moment, at: int) -> Iterator[TimelineEntry]:
    """Return a gap, if there is one, with what the job waited for, as far as its own events tell that."""
    passed = (at - before.record.at) / SECOND
    if passed < _PAUSE:
        return
    what = units.span(passed)
    job = before.job
    if job is None or job.state not in UNSTARTED:
        what += " in the dead letter queue" if job is not None and job.state == "dead" else " later"
    elif job.held and not job.forced:
        what += " held"
    elif job.watching is not None:
        what += f" waiting for job {job.watching}"
    elif job.forced or job.run_at <= before.record.at:
        what += f" {_CLAIM}"
    elif job.run_at > at:
        what += " waiting, not due yet"
    else:
        early = (job.run_at - before.record.at) / SECOND
        due = "until its retry was due" if isinstance(before.record.event, Retried) else "until it was due"
        what += f": {units.span(early)} {due}, then {_CLAIM}" if passed - early >= _PAUSE else f" {due}"
    yield TimelineEntry(_GAP, what)


def _present(last: Moment, moments: Sequence[Moment], now: int, facts: Facts | None) -> Iterator[TimelineEntry]:
    """Return the entry for the present state of the job."""
    job = last.job
    assert job is not None
    what = f"{job.state}, {wording.state_detail(job, now, facts)}"
    if job.state == "processing":
        seen = {moment.record.type: moment.record.at for moment in moments}
        what = f"processing for {_span(now - seen['claimed'])}"
        if seen.get("heartbeat", 0) > seen["claimed"]:
            what += f", heartbeat {wording.relative_time(seen['heartbeat'], now)}"
        if job.suspended_at is not None:
            what += f", suspended {wording.relative_time(job.suspended_at, now)}"
        if job.cancel_requested:
            what += ", being cancelled"
    yield TimelineEntry(_NOW, f"now: {what}", job.state, at=now)


def _span(micros: int) -> str:
    return units.span(max(micros, 0) / SECOND) or "0s"


# -- on the page -----------------------------------------------------------------------------------------------------


def render(entries: Sequence[TimelineEntry], room: int) -> Iterator[str]:
    """Yield lines of columns: seqs, local time, time since the first event, and the text along a rail.

    No line is wider than `room` columns (60 or more). A line of its own shows a new date.
    """
    first = next((entry.at for entry in entries if entry.at is not None), 0)
    whens = [f"+{_elapsed(entry.at - first)}" if entry.at is not None else "" for entry in entries]
    wide = max((len(entry.seqs) for entry in entries), default=0)
    space = max(map(len, whens), default=0)
    blank = " " * (wide + 2 + 8 + 2 + space + 2)
    room -= len(blank) + 2
    day = _local(first).date()
    for entry, when in zip(entries, whens, strict=True):
        head = blank
        if entry.at is not None:
            local = _local(entry.at)
            if local.date() != day:
                day = local.date()
                yield output.paint(f"{local:%Y-%m-%d %z}", "bold")
            head = f"{entry.seqs:>{wide}}  {local:%H:%M:%S}  {when:>{space}}  "
        mark = entry.mark
        for text in output.wrap(output.escape(entry.what), room):
            yield f"{head}{output.paint(mark, entry.style)} {output.paint(text, entry.style)}"
            head, mark = blank, _RAIL if entry.at is not None else _GAP
        for parts in entry.more:
            for text in _flowed([output.escape(part) for part in parts], room):
                yield f"{blank}{output.paint(_RAIL, 'dim')} {output.paint(text, 'dim')}"


def _flowed(parts: Iterable[str], room: int) -> Iterator[str]:
    """Yield the parts in lines, broken between two parts where possible."""
    line = ""
    for part in parts:
        if line and output.display_width(line) + 3 + output.display_width(part) > room:
            yield from output.wrap(line, room)
            line = part
        else:
            line = f"{line} · {part}" if line else part
    yield from output.wrap(line, room)


def _local(at: int) -> datetime:
    return datetime.fromtimestamp(at // SECOND, UTC).astimezone()


def _elapsed(micros: int) -> str:
    seconds = micros / SECOND
    return f"{seconds:.3f}s" if seconds < 100 else units.span(seconds)
