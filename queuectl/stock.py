"""What there is of each resource, who has it, and what is left for the next job (R34): pure.

A resource is counted in one pool over the whole queue, or, where workers offer it, in a pool of its own at each home:
the folder of the queue on one host, of which all workers there are.
"""

from collections.abc import Iterable, Mapping

import msgspec

from projections.grants import Grant
from projections.jobs import Job
from projections.resources import ResourceState
from projections.workers import Worker
from queuectl import amounts
from queuectl.clock import SECOND

Granted = dict[str, int | tuple[int, ...]]
"""By resource: how much, or the numbers of the pieces."""


class Pool(msgspec.Struct):
    """So much of a resource, for the whole queue or at one home, and who has it."""

    resource: str
    home: str | None
    """Where workers offer it; None: for the whole queue."""
    capacity: int
    indices: tuple[int, ...] | None
    """The numbers of its pieces; None: they have none."""
    grants: list[Grant]
    is_set: bool = True
    """Whether anybody has said how much there is."""

    @property
    def used(self) -> int:
        """How much is granted; more than there is, where the capacity was lowered."""
        return sum(grant.amount for grant in self.grants)

    @property
    def free_indices(self) -> tuple[int, ...]:
        """The pieces that nobody has, lowest first."""
        held = {number for grant in self.grants for number in grant.indices}
        return tuple(number for number in self.indices or () if number not in held)

    @property
    def free(self) -> int:
        """How much may be granted."""
        left = max(0, self.capacity - self.used)
        return left if self.indices is None else min(left, len(self.free_indices))

    def grow(self, need: int) -> "Pool":
        """The smallest pool that has so much free: with further numbers, or with a larger capacity."""
        if self.indices is None:
            return msgspec.structs.replace(self, capacity=max(self.capacity, self.used + need))
        indices, number = [*self.indices], 0
        while (pool := msgspec.structs.replace(self, capacity=len(indices), indices=(*indices,))).free < need:
            number = max(number, max(indices, default=-1) + 1)
            indices.append(number)
        return pool


RESERVES = 600 * SECOND
"""For how long (µs) a job must have been due before what it needs is kept for it (R35)."""


class Reservation(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a resource for a job, from those behind it."""

    job: Job
    resource: str
    amount: int


class Stock:
    """All resources, as they are for a job that starts at one home."""

    def __init__(
        self, home: str, states: Iterable[ResourceState], offering: Iterable[Worker], grants: Iterable[Grant]
    ) -> None:
        """`states`: of the resources of which anything was said; `offering`: the workers that offer any."""
        self.home = home
        self._states = {state.name: state for state in states if state.capacity is not None}
        self._offers: dict[str, dict[str, list[int | str]]] = {}
        for worker in offering:
            for name, offer in worker.resources.items():
                self._offers.setdefault(name, {}).setdefault(worker.identity, []).append(offer)
        self._grants: dict[str, list[Grant]] = {}
        for grant in grants:
            self._grants.setdefault(grant.resource, []).append(grant)
        self._pools: dict[str, Pool] = {}

    @property
    def names(self) -> list[str]:
        """The resources that are set, offered or granted."""
        return sorted({*self._states, *self._offers, *self._grants})

    def pools(self, name: str) -> list[Pool]:
        """All pools of a resource: that of the whole queue, and those of homes."""
        homes = [self._offered(name, home) for home in sorted(self._offers.get(name, {}))]
        return homes if homes and name not in self._states else [self._whole(name), *homes]

    def pool(self, name: str) -> Pool:
        """The pool from which a job that starts here is granted the resource."""
        found = self._pools.get(name)
        if found is None:
            offered = self._offers.get(name, {})
            found = self._offered(name, self.home) if self.home in offered else self._whole(name)
            self._pools[name] = found
        return found

    def lacking(self, needs: Mapping[str, int], reserved: Mapping[str, int] = {}) -> list[Pool]:
        """The pools that have less than is needed, besides what is `reserved`; none: all can be granted."""
        return [pool for name, need in needs.items() if (pool := self.pool(name)).free - reserved.get(name, 0) < need]

    def reservations(self, needy: Iterable[Job], now: int) -> list[Reservation]:
        """What is kept for which of these jobs, which are due, may start otherwise, and come in the order of claims.

        Of those that lack a resource the first one that needs it reserves it, once it was due for `RESERVES`; none that
        needs more than exists. No state: it follows from the moments and from who has what.
        """
        found: list[Reservation] = []
        reserved: dict[str, int] = {}
        met: set[str] = set()
        for job in needy:
            needs = job.policy.needs
            if not self.lacking(needs, reserved) or self.beyond(needs) is not None:
                continue
            for name, need in needs.items():
                if name not in met and job.run_at <= now - RESERVES:
                    found.append(Reservation(job, name, need))
                    reserved[name] = need
                met.add(name)
        return found

    def grant(self, job: str, needs: Mapping[str, int]) -> Granted:
        """Take what a job needs, which is free: the lowest numbers first."""
        granted: Granted = {}
        for name, need in needs.items():
            pool = self.pool(name)
            pieces = pool.free_indices[:need]
            granted[name] = pieces if pool.indices is not None else need
            pool.grants.append(Grant(0, name, job, self.home, need, pieces))
        return granted

    def beyond(self, needs: Mapping[str, int]) -> tuple[str, int] | None:
        """The first resource of which more is needed than exists anywhere, and how much does; None: there is none."""
        for name, need in needs.items():
            most = max(pool.capacity for pool in self.pools(name))
            if need > most:
                return name, most
        return None

    def exceeded(self, needs: Mapping[str, int]) -> bool:
        """Whether more is needed than there is here, whoever has it."""
        return any(need > self.pool(name).capacity for name, need in needs.items())

    def _offered(self, name: str, home: str) -> Pool:
        offers = self._offers[name][home]
        pieces = {number for each in offers if isinstance(each, str) for number in amounts.indices(each)}
        most = max((each for each in offers if isinstance(each, int)), default=0)
        grants = [grant for grant in self._grants.get(name, ()) if grant.home == home]
        if pieces:
            return Pool(name, home, len(pieces), tuple(sorted(pieces)), grants)
        return Pool(name, home, most, None, grants)

    def _whole(self, name: str) -> Pool:
        state, offered = self._states.get(name), self._offers.get(name, {})
        grants = [grant for grant in self._grants.get(name, ()) if grant.home not in offered]
        if state is None or state.capacity is None:
            return Pool(name, None, 0 if offered else 1, None, grants, is_set=False)
        pieces = amounts.indices(state.indices) if state.indices is not None else None
        return Pool(name, None, state.capacity, pieces, grants)


def kept(reservations: Iterable[Reservation]) -> dict[str, int]:
    """How much is kept of each resource."""
    return {each.resource: each.amount for each in reservations}


def holders(grants: Iterable[Grant]) -> tuple[str, ...]:
    """The ids of the jobs that have these, each once."""
    return tuple(dict.fromkeys(grant.job for grant in grants))
