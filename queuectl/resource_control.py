"""Resources: how much there is of each, said and asked (R34)."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import msgspec

from projections.resources import ResourceState
from queuectl import amounts, decisions, on_empty
from queuectl.clock import text
from queuectl.engines.base import Progress
from queuectl.engines.view import Transaction, View, Write
from queuectl.errors import Invalid, Refused
from queuectl.events import Event
from queuectl.flow_queries import FlowQueries
from queuectl.job_fields import Spec
from queuectl.selection import stock
from queuectl.stock import Pool
from queuectl.units import Then


class ResourceSummary(msgspec.Struct, frozen=True):
    """A resource in one place: how much there is, and who has it."""

    pool: Pool
    hosts: list[str]
    """Where it is offered by workers; empty: it is of the whole queue."""
    state: ResourceState | None
    """What was said of it, where it is of the whole queue."""

    def json(self) -> dict[str, Any]:
        """The document."""
        pool, state = self.pool, self.state if self.pool.home is None else None
        return {
            "resource": pool.resource,
            "home": pool.home,
            "hosts": self.hosts,
            "capacity": pool.capacity,
            "indices": [*pool.indices] if pool.indices is not None else None,
            "used": pool.used,
            "free": pool.free,
            "held_by": [
                {"job": grant.job, "amount": grant.amount, "indices": [*grant.indices]} for grant in pool.grants
            ],
            "set_at": text(state.set_at) if state is not None and state.set_at is not None else None,
            "set_by": state.set_by if state is not None else None,
            "reason": state.reason if state is not None else None,
        }


class ResourceControl(FlowQueries):
    """The commands about resources. `Queue` has them."""

    actor: str

    def set_resource(
        self, name: str, capacity: int | None = None, *, indices: str | None = None, reason: str | None = None
    ) -> ResourceState:
        """Say how much there is of a resource, over all workers but those that offer their own; returns its state.

        `indices` names the pieces, as `0-3,7`; then their number is the capacity. Who has any keeps it. Raises Invalid
        for what can't be.
        """
        if indices is not None:
            amounts.check_indexed(name)
            numbers = amounts.indices(indices)
            if capacity is not None and capacity != len(numbers):
                raise Invalid(f"resource {name}: these are {len(numbers)} indices, not {capacity}: give one of both")
            capacity, indices = len(numbers), amounts.ranges(numbers)
        elif capacity is None:
            raise Invalid(f"resource {name}: say how much there is, or which --indices")
        amounts.check_needs({name: capacity})
        much, pieces = capacity, indices
        return self._decide_on_resource(name, lambda state: decisions.set_resource(state, much, pieces, reason))[0]

    def unset_resource(self, name: str, *, reason: str | None = None) -> bool:
        """Say nothing of a resource any more: there is one of it. Returns whether anything was said."""
        amounts.check_resource(name)
        return self._decide_on_resource(name, lambda state: decisions.unset_resource(state, reason))[1]

    def resources(self, *, then: Then | None = None, progress: Progress | None = None) -> list[ResourceSummary]:
        """All resources that are set, offered or held, as they are or as they were `then`, by name.

        Raises NotFound for a moment before the log began.
        """
        with self.as_of(then, ("workers", "jobs", "resources", "grants"), progress) as view:
            return _summaries(view)

    def unset_resources(self, names: Iterable[str]) -> list[str]:
        """Of these resources, those of which nobody has said or offered any: of each there is one."""
        with self._engine.snapshot() as view:
            found = stock(view, "")
            return [name for name in dict.fromkeys(names) if not any(pool.is_set for pool in found.pools(name))]

    def refuse_beyond(self, tx: Transaction, specs: Collection[Spec]) -> None:
        """Raise Refused where a job needs more of a resource than exists anywhere, unless it is held."""
        asking = [spec for spec in specs if spec.needs and not spec.held]
        found = stock(tx, "") if asking else None
        for spec in asking:
            if found is not None and (beyond := found.beyond(spec.needs)) is not None:
                name, most = beyond
                need, there = amounts.text(spec.needs[name]), amounts.text(most)
                raise Refused(
                    f"{name}={need}, and there {'is' if most == 1 else 'are'} {there}: see `queuectl resource set`; "
                    "--hold adds the job all the same"
                )

    def _decide_on_resource(
        self, name: str, decide: Callable[[ResourceState | None], list[Event]]
    ) -> tuple[ResourceState, bool]:
        """The state of a resource after what was decided, and whether that changed anything."""
        with self._engine.transaction() as tx, on_empty.coming_to_rest(tx, self.actor):
            state = tx.resource_state(name)
            events = decide(state)
            changes = tx.append([Write(f"resource:{name}", state, events)] if events else [], self.actor)
        return (changes[-1].after if changes else state or ResourceState(name, 0)), bool(changes)


def _summaries(view: View) -> list[ResourceSummary]:
    found, states = stock(view, ""), {state.name: state for state in view.resource_states()}
    offering = view.offers()
    return [
        ResourceSummary(
            pool,
            sorted({each.host for each in offering if pool.home == each.identity and name in each.resources}),
            states.get(name),
        )
        for name in found.names
        for pool in found.pools(name)
    ]
