"""The graph of jobs that depend on each other, as text and for Graphviz."""

from collections.abc import Collection, Iterator, Sequence

import msgspec

from projections.dependencies import DEPENDENCY_KINDS
from projections.jobs import Job
from queuectl.batch_summary import BatchSummary, summary
from queuectl.engines.view import View
from queuectl.events import BATCH
from queuectl.queries import get_job

Node = Job | BatchSummary | None
"""A job, or a batch on which jobs depend; None: it was purged or archived, or has never been here."""


class Edge(msgspec.Struct, frozen=True):
    """That one job depends on another, or on a batch; that a batch is made of jobs."""

    parent: str
    child: str
    kind: str
    """after, after_any, after_failure; `member`: the parent is a job of the batch."""


class JobGraph(msgspec.Struct):
    """Jobs and what they depend on. Each comes after those that it depends on."""

    nodes: dict[str, Node]
    """By id; a batch by `batch:NAME`, without all of its jobs."""
    edges: list[Edge]

    def parents(self, id: str) -> list[Edge]:
        """What a job depends on."""
        return [edge for edge in self.edges if edge.child == id]


def job_graph(view: View, ids: Collection[str] = ()) -> JobGraph:
    """These jobs, all that they depend on and all that depend on them; none named: of all that are blocked.

    Raises NotFound.
    """
    named = [get_job(view, id) for id in ids] if ids else view.blocked()
    found: dict[str, Node] = {}
    edges: dict[Edge, None] = {}
    for job in named:
        _upwards(view, job, found, edges)
    _downwards(view, named, found, edges)
    return JobGraph(_in_order(found, edges), list(edges))


def _upwards(view: View, job: Job, found: dict[str, Node], edges: dict[Edge, None]) -> None:
    left: list[Job] = [job]
    while left:
        job = left.pop()
        found[job.id] = job
        for edge in _edges(job):
            edges[edge] = None
            if edge.parent not in found:
                found[edge.parent] = above = _node(view, edge.parent)
                left += [above] if isinstance(above, Job) else []


def _downwards(view: View, jobs: Sequence[Job], found: dict[str, Node], edges: dict[Edge, None]) -> None:
    left, seen = [*jobs], {job.id for job in jobs}
    of_batches: dict[str, list[Job]] = {}
    while left:
        job = left.pop()
        children = view.children(job.id)
        if job.batch is not None:
            if job.batch not in of_batches:
                of_batches[job.batch] = view.children(BATCH + job.batch)
                children += of_batches[job.batch]
            if of_batches[job.batch]:
                edges[Edge(job.id, f"{BATCH}{job.batch}", "member")] = None
        for child in children:
            if child.id not in seen:
                seen.add(child.id)
                _upwards(view, child, found, edges)
                left.append(child)


def _node(view: View, reference: str) -> Node:
    if not reference.startswith(BATCH):
        return view.job(reference)
    batch = view.batch_state(reference.removeprefix(BATCH))
    return summary(batch, view.batch_counts(batch.name)) if batch is not None else None


def _edges(job: Job) -> Iterator[Edge]:
    for kind in DEPENDENCY_KINDS:
        for parent in getattr(job.policy, kind):
            yield Edge(parent, job.id, kind)


def _in_order(found: dict[str, Node], edges: Collection[Edge]) -> dict[str, Node]:
    """The jobs, those first on which others depend, otherwise as they came."""
    left: dict[str, int] = dict.fromkeys(found, 0)
    children: dict[str, list[str]] = {}
    for edge in edges:
        left[edge.child] += 1
        children.setdefault(edge.parent, []).append(edge.child)

    def arrival(id: str) -> int:
        node = found[id]
        return node.seq if isinstance(node, Job) else 0

    ready = sorted((id for id, count in left.items() if count == 0), key=arrival, reverse=True)
    ordered: dict[str, Node] = {}
    while ready:
        id = ready.pop()
        ordered[id] = found[id]
        for child in sorted(children.get(id, ()), key=arrival, reverse=True):
            left[child] -= 1
            if left[child] == 0:
                ready.append(child)
    return ordered
