"""Grants: which processing job has how much of which resource, and where. A row goes when its job leaves processing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from projections.jobs import Job
from projections.store import Questions, Store, marks
from projections.table import Codec, Table
from queuectl.events import Claimed

if TYPE_CHECKING:
    from projections import Change


class Grant(msgspec.Struct, frozen=True, gc=False):
    """How much a job has of a resource."""

    seq: int
    """Of the `claimed` event."""
    resource: str
    job: str
    home: str
    """The identity of the queue's folder at which it is held."""
    amount: int
    indices: tuple[int, ...] = ()
    """The numbers of the pieces; empty: they have none."""


name = "grants"
version = 1
tables = ("grants",)
reads = frozenset({"claimed", "completed", "failed", "cancelled", "released", "interrupted"})
TABLE = Table(
    "grants",
    Grant,
    ("seq", "resource"),
    codecs={
        "indices": Codec(
            "text",
            lambda numbers: ",".join(map(str, numbers)) or None,
            lambda text: tuple(map(int, text.split(","))) if text else (),
        )
    },
)
schema = f"""
{TABLE.schema}
create index grants_by_job on grants (job);
"""


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Add what claims grant, and remove what belongs to jobs that are not processing any more."""
    new: dict[str, list[Grant]] = {}
    gone: list[str] = []
    for change in changes:
        before, after = change.before, change.after
        if change.record.type == "claimed":
            if change.event.granted:
                new[change.record.subject] = _grants(change.record.seq, change.record.subject, change.event)
        elif _had_any(before) and not _had_any(after) and new.pop(before.id, None) is None:
            gone.append(before.id)
    store.delete(TABLE, "job", gone)  # first: such a job may have been claimed anew
    store.insert(TABLE, [grant for grants in new.values() for grant in grants])


def _had_any(subject: object) -> bool:
    """Whether a job may have any at that time."""
    return isinstance(subject, Job) and subject.demand != "" and subject.state == "processing"


def _grants(seq: int, job: str, event: Claimed) -> list[Grant]:
    return [
        Grant(seq, resource, job, event.home or "", given)
        if isinstance(given, int)
        else Grant(seq, resource, job, event.home or "", len(given), given)
        for resource, given in sorted(event.granted.items())
    ]


class GrantQuestions(Questions):
    """What is asked of the grants."""

    def grants(self, resources: Sequence[str] | None = None) -> list[Grant]:
        """Who has what: of these resources, or of all; in the order of the claims."""
        where = f"where g.resource in ({marks(resources)})" if resources is not None else ""
        rows = self._store.rows(f"select {TABLE.select('g')} from grants g {where} order by g.seq", resources or ())
        return [TABLE.read(row) for row in rows]
