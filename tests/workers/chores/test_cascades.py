"""What one transaction has left of dependants is looked at by workers (R32)."""

import pytest

from queuectl import Spec
from queuectl.engines import dependants
from queuectl.events import Cancelled
from tests.support.lab import Lab

FIRST = Spec(command="false", id="first", max_retries=0)


def fan(count: int) -> list[Spec]:
    """Jobs that all depend on the first one."""
    return [FIRST, *[Spec(command="true", after=("first",))] * count]


def chain(count: int) -> list[Spec]:
    """Jobs of which each depends on the one before it."""
    names = ["first", *(f"@n{number}" for number in range(1, count))]
    return [FIRST, *(Spec(command="true", name=f"n{place}", after=(name,)) for place, name in enumerate(names, 1))]


@pytest.mark.parametrize("shape", [fan, chain])
def test_a_worker_goes_on_with_what_was_left(lab: Lab, shape: object) -> None:
    count = 2 * dependants.MOST + 500
    lab.queue.enqueue_many(fan(count) if shape is fan else chain(count))
    lab.start()
    lab.until(lambda: lab.queue.status().counts["cancelled"] == count)
    ends = [record.stream for record in lab.queue.events() if isinstance(record.event, Cancelled)]
    assert len(ends) == len(set(ends)) == count, "each once"
    assert any(record.type == "cascaded" for record in lab.queue.events())
    assert lab.queue.check() == []
