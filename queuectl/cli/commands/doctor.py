"""`queuectl doctor`: what is wrong with the queue, and what to do about it."""

from typing import TYPE_CHECKING

from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress
from queuectl.units import counted

if TYPE_CHECKING:
    from queuectl.doctor import Check, Finding

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}
_INDENT = 15
"""Columns before the text, for the mark and the name of the check."""


def doctor(*, json: p.Json = False, db: p.Database = None) -> int:
    """Look the queue over, and say what is wrong and what to do about it.

    $ queuectl doctor
    $ queuectl doctor --json

    It changes nothing, and workers go on meanwhile. Looked at are the database file, the log event by event, the tables
    that are made from it, settings, rights, disk, workers, what can't be ended, and what is left behind.
    Exit code 1: there are problems (warnings alone don't count).
    """
    from queuectl.doctor import InspectedQueue, examine
    from queuectl.engines import resolve
    from queuectl.errors import Absent
    from queuectl.settings import database

    checks: list[Check] = []
    named = database(db)
    path = resolve(named.path)
    try:
        queue = InspectedQueue(named.path, progress=progress.bar("Rebuilding the views"))
    except Absent as error:
        if named.source is not None:
            raise Absent(f"{error}, named by {named.source}") from None
        if json:
            output.document({"healthy": True, "database": path, "checks": []})
        else:
            output.line(f"There is no queue yet; it would be {output.escape(path)}.")
        return 0
    with queue:
        for check in examine(queue, progress.bar):
            checks.append(check)
            if not json:
                _print_check(check)
    healthy = all(check.severity != "problem" for check in checks)
    if json:
        output.document({"healthy": healthy, "database": path, "checks": [check.json() for check in checks]})
    else:
        output.line()
        output.line(_verdict(checks))
    return 0 if healthy else 1


def _print_check(check: "Check") -> None:
    import sys

    name = check.name
    for finding in check.findings:
        mark, colour = MARKS[finding.severity]
        first, *more = _lines(finding)
        output.line(f"{output.paint(mark, colour)} {output.paint(f'{name:<{_INDENT - 3}}', 'bold')} {first}")
        for line in more:
            output.line(f"{'':{_INDENT}}{line}")
        name = ""
    sys.stdout.flush()  # the next check may take a while


def _lines(finding: "Finding") -> list[str]:
    room = output.width() - _INDENT
    lines = output.wrap(output.escape(finding.what), room)
    if finding.do is not None:
        first, *more = output.wrap(output.escape(finding.do), room - 2)
        lines += [f"{output.paint('→', 'dim')} {first}", *(f"  {line}" for line in more)]
    return lines


def _verdict(checks: "list[Check]") -> str:
    severities = [finding.severity for check in checks for finding in check.findings]
    counts = {severity: severities.count(severity) for severity in ("problem", "warning")}
    parts = [counted(count, severity) for severity, count in counts.items() if count]
    if not parts:
        return output.paint("The queue is healthy.", "green")
    if not counts["problem"]:
        return f"The queue is healthy; {parts[0]}."
    return output.paint(f"{', '.join(parts)}.", "red")
