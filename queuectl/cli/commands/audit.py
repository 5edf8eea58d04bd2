"""`queuectl audit`: sealing the log, and proving that it is what was sealed."""

import re
from typing import TYPE_CHECKING, Annotated

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress
from queuectl.errors import Invalid
from queuectl.units import counted

if TYPE_CHECKING:
    from queuectl.audit.verdict import Verdict
    from queuectl.audit.verify import Anchor

_SHOWN = 20
"""Findings that are printed."""


def _anchor(text: str) -> "Anchor":
    from queuectl.audit.verify import Anchor

    if match := re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text.strip().lower(), re.ASCII):
        return Anchor(int(match[1]), match[2])
    raise Invalid(f"{text!r} is no anchor; give the SEQ:HASH that `queuectl audit seal` printed")


def seal(*, json: p.Json = False, db: p.Database = None) -> None:
    """Seal all events up to now, and print the anchor: SEQ:HASH.

    $ queuectl audit seal
    $ queuectl audit seal >> /mnt/elsewhere/anchors

    Keep anchors where whoever may write to the database can't: `audit verify --anchor` then proves that the log up to
    there is what it was. Workers go on meanwhile. Nothing is added when nothing has happened since the last seal.
    `queuectl config set seal-every 1h` lets workers seal.
    """
    from queuectl.audit.seal import seal as seal_log

    with opening.open_queue(db) as q:
        made = seal_log(q, progress.bar("Sealing"))
    if json:
        output.document({"upto": made.upto, "events": made.events, "hash": made.hash, "anchor": made.anchor})
        return
    output.line(made.anchor)
    sealed = f"sealed {counted(made.events, 'event')}, up to event {made.upto:,}"
    output.message(sealed if made.seq else "there are no events yet")


def verify(
    *,
    anchor: Annotated[
        list[str] | None,
        p.Parameter(
            name="--anchor",
            metavar="SEQ:HASH",
            help="An anchor that `audit seal` printed, kept elsewhere (may be repeated).",
            read_all=p.each(_anchor),
        ),
    ] = None,
    archive: Annotated[
        list[str] | None,
        p.Parameter(
            name="--archive",
            metavar="FILE",
            help="Where an archive is now, if it is not where it was written (may be repeated).",
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        p.Parameter(
            name="--allow-missing-archives",
            help="Archives may be elsewhere: their events are reported as unproven, and the exit code is 0.",
        ),
    ] = False,
    json: p.Json = False,
    db: p.Database = None,
) -> int:
    """Look whether any event was changed, removed or put in since it was sealed, and say which.

    $ queuectl audit verify
    $ queuectl audit verify --anchor 5022:7f0a1e29aa7a0a189f7f09d97416a750ac69b1d6ad1ab7d2556b68211d583d8c

    Archived events are looked at in their files. Exit code 0: all was checked, and nothing is wrong; 1: something is,
    or an archive is not here. What a seal proves, and why it takes an anchor against somebody who can write to the
    database: docs/guides/audit.md.
    """
    from queuectl.audit.verify import AuditedQueue
    from queuectl.audit.verify import verify as verify_log

    anchors: list[Anchor] = list(anchor or ())  # pyright: ignore[reportAssignmentType] - as the converter made them
    with opening.open_with(db, AuditedQueue) as q:
        bar = progress.bar("Verifying")
        verdict = verify_log(q, anchors, archive or (), bar, allow_missing_archives=allow_missing)
    if json:
        output.document(verdict.json())
    else:
        _print_verdict(verdict, len(anchors))
    return 0 if verdict.ok else 1


def _print_verdict(verdict: "Verdict", anchors: int) -> None:
    from queuectl.cli.ui import wording

    for finding in verdict.findings[:_SHOWN]:
        output.line(f"{output.paint('✗', 'red')} {output.escape(finding.what)}")
    if (more := len(verdict.findings) - _SHOWN + verdict.more) > 0:
        output.line(f"  and {more:,} more; --json has up to 1,000")
    hint = "" if verdict.allows_missing else ": give --archive FILE, or --allow-missing-archives"
    for each in verdict.unchecked:
        mark = output.paint("!", "yellow")
        count = counted(each.events, "event")
        output.line(f"{mark} unproven: {count} in {output.escape(each.file)}, which is not here{hint}")
    last = verdict.seal
    if not last.seq:
        output.line("nothing is sealed yet: run queuectl audit seal")
        return
    events = counted(last.events, "event")
    seals = counted(verdict.seals, "seal")
    if anchors:
        seals += f" and {counted(anchors, 'anchor')}"
    if verdict.ok:
        rest = ", as far as the archives are here" if verdict.unchecked else ""
        output.line(f"{output.paint('✓', 'green')} nothing was altered{rest}: {events} under {seals}")
    elif not verdict.findings:
        output.line(f"not all could be checked: {events} under {seals}")
    else:
        output.line(f"not all is what was sealed: {events} under {seals}")
    when = wording.relative_time(last.at)
    output.line(f"  last seal {when}, up to event {last.upto:,}; {counted(verdict.unsealed, 'event')} since")
