"""What new jobs depend on: labels become ids, and what can't be is refused before anything is written."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from projections.dependencies import DEPENDENCY_KINDS, Parent
from queuectl import decisions
from queuectl.engines.parents import named
from queuectl.engines.view import View
from queuectl.errors import Invalid
from queuectl.events import BATCH
from queuectl.job_fields import Spec

LABEL = "@"
"""What a reference to a job of the same file begins with: `@build` is the one whose name is `build`."""


Node = int | str
"""A job by its place among those that are enqueued together, or `batch:NAME` for all of these that are in a batch."""


class WrongJobs(Invalid):
    """What is wrong with some of the jobs that are enqueued together."""

    def __init__(self, text: str, *places: int) -> None:
        """`places`: which they are, from 0."""
        super().__init__(text)
        self.places = places


def depends(spec: Spec) -> bool:
    """Whether a job depends on others."""
    return bool(spec.after or spec.after_any or spec.after_failure)


def resolve(specs: Sequence[Spec], ids: Sequence[str]) -> list[Spec]:
    """The jobs with the ids of those that they name by labels, themselves without a name.

    Raises Invalid for a label that is not there or is given twice, and where jobs wait for each other.
    """
    labels: dict[str, int] = {}
    for place, spec in enumerate(specs):
        if spec.name is not None and labels.setdefault(spec.name, place) != place:
            raise WrongJobs(f"name: {spec.name!r} is given twice", labels[spec.name], place)
    own = {id: place for place, id in enumerate(ids)}
    batches = _batches(specs)
    resolved: list[Spec] = []
    edges: dict[Node, list[Node]] = {}
    for place, spec in enumerate(specs):
        changed: dict[str, Any] = {} if spec.name is None else {"name": None}
        for kind in DEPENDENCY_KINDS:
            if references := getattr(spec, kind):
                if any(reference.startswith(LABEL) for reference in references):
                    references = changed[kind] = _ids(references, kind, labels, ids, place)
                if inside := [own.get(id, id) for id in references if id in own or id in batches]:
                    edges[place] = [*edges.get(place, ()), *inside]
        resolved.append(replace(spec, **changed) if changed else spec)
    if cycle := _cycle(edges | batches):
        words = " -> ".join(each if isinstance(each, str) else specs[each].name or ids[each] for each in cycle)
        places = [each for each in cycle[:-1] if not isinstance(each, str)]
        raise WrongJobs(
            f"after: {words}: {'it waits for itself' if len(places) == 1 else 'they wait for each other'}", *places
        )
    return resolved


def _batches(specs: Sequence[Spec]) -> dict[Node, list[Node]]:
    """The places of the jobs of each batch here, by `batch:NAME`."""
    found: dict[Node, list[Node]] = {}
    for place, spec in enumerate(specs):
        if spec.batch is not None:
            found.setdefault(BATCH + spec.batch, []).append(place)
    return found


def _ids(
    references: Iterable[str], kind: str, labels: Mapping[str, int], ids: Sequence[str], place: int
) -> tuple[str, ...]:
    found: list[str] = []
    for reference in references:
        if not reference.startswith(LABEL):
            found.append(reference)
        elif (label := reference.removeprefix(LABEL)) in labels:
            found.append(ids[labels[label]])
        else:
            raise WrongJobs(f"{kind}: no job here has the name {label!r}", place)
    return (*dict.fromkeys(found),)


def _cycle(edges: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """Jobs that wait for each other, the first one again at the end; none: there are no such."""
    done: set[Node] = set()
    for start in edges:
        path: dict[Node, None] = {}
        stack: list[tuple[Node, bool]] = [(start, True)]
        while stack:
            job, enters = stack.pop()
            if not enters:
                path.pop(job)
                done.add(job)
            elif job in path:
                members = list(path)
                return [*members[members.index(job) :], job]
            elif job not in done:
                path[job] = None
                stack.append((job, False))
                stack += [(parent, True) for parent in edges.get(job, ())]
    return []


class NewStandings:
    """How new jobs stand with those that they depend on: others, and each other."""

    def __init__(self, view: View, specs: Sequence[Spec], ids: Sequence[str]) -> None:
        """`specs` are resolved; those of `ids` are new. Raises Invalid where there is no such job, or no such batch."""
        self._own: dict[str, tuple[str, tuple[Any, ...]]] = {}
        """By id, and by `batch:NAME` of the last of that batch: the id of a new job, with its place."""
        for place, (id, spec) in enumerate(zip(ids, specs, strict=True)):
            # They end after all that are there already.
            job = id, (1, 2 if depends(spec) else 1, spec.held, -spec.priority, place)
            self._own[id] = job
            if spec.batch is not None:
                batch = BATCH + spec.batch
                self._own[batch] = max(self._own.get(batch, job), job, key=lambda each: each[1])
        wanted = dict.fromkeys(id for spec in specs for kind in DEPENDENCY_KINDS for id in getattr(spec, kind))
        others = [id for id in wanted if id not in self._own or id.startswith(BATCH)]
        self._others = named(view, others, DEPENDENCY_KINDS[0])
        for place, spec in enumerate(specs):
            for kind in DEPENDENCY_KINDS:
                for id in getattr(spec, kind):
                    if id not in self._own and self._others[id][0].state is None:
                        what = f"batch {id.removeprefix(BATCH)!r}" if id.startswith(BATCH) else f"job {id!r}"
                        raise WrongJobs(f"{kind}: there is no {what}", place)

    def watching(self, spec: Spec) -> str | None:
        """The job for whose end one of them waits first; None: it may start. Raises Refused where it never would."""
        parents = [
            parent for kind in DEPENDENCY_KINDS for id in getattr(spec, kind) for parent in self._parents(id, kind)
        ]
        found = decisions.standing(parents)
        decisions.refuse_never(spec.id, found, {parent.id: parent.state for parent in parents})
        return found.watching

    def _parents(self, id: str, kind: str) -> Iterator[Parent]:
        for other in self._others.get(id, ()):
            if other.state is not None:
                yield replace(other, kind=kind, place=(0, *other.place))
        if (new := self._own.get(id)) is not None:
            yield Parent(new[0], kind, "pending", new[1])
