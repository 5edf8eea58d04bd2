"""The check of the database's server, where it has one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from queuectl.doctor.finding import Finding

if TYPE_CHECKING:
    from projections.replay import ProgressBars
    from queuectl.doctor import InspectedQueue


def server(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check what the server says of itself: durability, clock, rights, sessions in the way, rows not cleaned up."""
    for symptom in queue.engine.health():
        yield Finding(symptom.severity, symptom.what, symptom.do, symptom.facts)
