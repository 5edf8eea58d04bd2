"""What new jobs depend on: labels become ids, and what can't be is refused before anything is written."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from projections.dependencies import DEPENDENCY_KINDS, Parent
from queuectl import decisions
from queuectl.engines.dependants import named
from queuectl.engines.view import View
from queuectl.errors import Invalid
from queuectl.job_fields import Spec

LABEL = "@"
"""What a reference to a job of the same file begins with: `@build` is the one whose name is `build`."""


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
    resolved: list[Spec] = []
    edges: dict[int, list[int]] = {}
    for place, spec in enumerate(specs):
        changed: dict[str, Any] = {} if spec.name is None else {"name": None}
        for kind in DEPENDENCY_KINDS:
            if references := getattr(spec, kind):
                if any(reference.startswith(LABEL) for reference in references):
                    references = changed[kind] = _ids(references, kind, labels, ids, place)
                if inside := [own[id] for id in references if id in own]:
                    edges[place] = [*edges.get(place, ()), *inside]
        resolved.append(replace(spec, **changed) if changed else spec)
    if cycle := _cycle(edges):
        words = " -> ".join(specs[place].name or ids[place] for place in cycle)
        raise WrongJobs(
            f"after: {words}: {'it waits for itself' if len(cycle) == 2 else 'they wait for each other'}",
            *cycle[:-1],
        )
    return resolved


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


def _cycle(edges: Mapping[int, Sequence[int]]) -> list[int]:
    """Jobs that wait for each other, the first one again at the end; none: there are no such."""
    done: set[int] = set()
    for start in edges:
        path: dict[int, None] = {}
        stack: list[tuple[int, bool]] = [(start, True)]
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
        """`specs` are resolved; those of `ids` are new. Raises Invalid where there is no such job."""
        self._own = {
            id: (2 if depends(spec) else 1, spec.held, -spec.priority, place)
            for place, (id, spec) in enumerate(zip(ids, specs, strict=True))
        }
        wanted = dict.fromkeys(id for spec in specs for kind in DEPENDENCY_KINDS for id in getattr(spec, kind))
        others = [id for id in wanted if id not in self._own]
        self._others = {parent.id: parent for parent in named(view, {DEPENDENCY_KINDS[0]: others})}
        for place, spec in enumerate(specs):
            for kind in DEPENDENCY_KINDS:
                for id in getattr(spec, kind):
                    if id not in self._own and self._others[id].state is None:
                        raise WrongJobs(f"{kind}: there is no job {id!r}", place)

    def watching(self, spec: Spec) -> str | None:
        """The job for whose end one of them waits first; None: it may start. Raises Refused where it never would."""
        parents = [self._parent(id, kind) for kind in DEPENDENCY_KINDS for id in getattr(spec, kind)]
        found = decisions.standing(parents)
        decisions.refuse_never(spec.id, found, {parent.id: parent.state for parent in parents})
        return found.watching

    def _parent(self, id: str, kind: str) -> Parent:
        if (place := self._own.get(id)) is not None:
            return Parent(id, kind, "pending", (1, *place))  # it ends after all that are there already
        other = self._others[id]
        return Parent(id, kind, other.state, (0, *other.place))
