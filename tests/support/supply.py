"""How much there is of resources, and who has what: counted apart from the program that is tested."""

from collections.abc import Mapping

from queuectl import amounts
from queuectl.workers.turn import Claim


class Supply:
    """How much there is of resources, told apart from the program: None is one."""

    def __init__(self) -> None:
        self.set: dict[str, tuple[int, ...] | int | None] = {}
        self.offers: dict[str, Mapping[str, int | str]] = {}

    def offered(self, name: str) -> tuple[int, ...] | int | None:
        """What all workers offer; they have one home."""
        found = [offers[name] for offers in self.offers.values() if name in offers]
        pieces = {piece for each in found if isinstance(each, str) for piece in amounts.indices(each)}
        return tuple(sorted(pieces)) or max((each for each in found if isinstance(each, int)), default=None)

    def pool(self, name: str) -> tuple[int, ...] | int:
        """The pieces there are, or how much."""
        return self.offered(name) or self.set.get(name) or 1

    def most(self, name: str) -> int:
        """How much a job may ask for."""
        return max(_much(self.offered(name) or 0), _much(self.set.get(name) or 0)) or 1

    def pieces(self, claim: Claim, name: str) -> tuple[int, ...]:
        """The numbers of the pieces that a claim has."""
        given = claim.granted.get(name, 0)
        return given if not isinstance(given, int) else ()

    def free(self, name: str, claims: list[Claim]) -> int:
        """How much nobody has."""
        there = self.pool(name)
        left = max(0, _much(there) - sum(claim.job.policy.needs.get(name, 0) for claim in claims))
        if isinstance(there, int):
            return left
        held = {piece for claim in claims for piece in self.pieces(claim, name)}
        return min(left, len([piece for piece in there if piece not in held]))


def _much(there: tuple[int, ...] | int) -> int:
    return there if isinstance(there, int) else len(there)
