"""The check of the schedules: whether anything fires them, and whether their moments can be told here."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from queuectl.clock import text
from queuectl.doctor.finding import Finding, fine, problem, some, warning
from queuectl.units import counted

if TYPE_CHECKING:
    from projections.replay import ProgressBars
    from queuectl.doctor import InspectedQueue
    from queuectl.schedule_summary import ScheduleSummary


def schedules(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that the schedules fire."""
    with queue.engine.snapshot() as view:
        states = view.schedules()
    if not states:
        yield fine("nothing is scheduled")
        return
    from queuectl.schedule_summary import any_fires, summarize  # few queues need it

    found = [summarize(state, queue.engine.now()) for state in states]
    findings = [finding for each in found for finding in _of(each)]
    waiting = [each.name for each in found if each.waits]
    if waiting and not any_fires(queue):
        what = f"no worker is up: {counted(len(waiting), 'schedule fires', 'schedules fire')} nothing: {some(waiting)}"
        findings.append(warning(what, "start one: queuectl worker start", schedules=waiting))
    if not findings:
        first = min((each for each in found if each.next is not None), key=lambda each: each.next or 0, default=None)
        following = f", the next moment is that of {first.name}: {text(first.next or 0)}" if first is not None else ""
        findings.append(fine(f"{counted(len(found), 'schedule')}{following}"))
    yield from findings


def _of(schedule: "ScheduleSummary") -> Iterator[Finding]:
    name, state = shlex.quote(schedule.name), schedule.state
    if schedule.error is not None:
        yield problem(
            f"schedule {schedule.name} fires nothing here: {schedule.error}",
            f"install it, or queuectl schedule edit {name} --tz ZONE",
            schedule=schedule.name,
        )
    if state.paused_job is not None:
        yield warning(
            f"schedule {schedule.name} is paused since job {state.paused_job} died",
            f"see queuectl inspect {shlex.quote(state.paused_job)}, then queuectl schedule resume {name}",
            schedule=schedule.name,
        )
