"""The ages at which a worker that is cut off makes way, and at which others take over (R48)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import host_lease
from queuectl.errors import Invalid
from queuectl.host_lease import HostLease, Stage

leases = st.floats(host_lease.SHORTEST, host_lease.LONGEST).map(HostLease)


def test_default_lease_does_what_is_documented() -> None:
    lease = HostLease(60.0)
    ages = (0.0, 30.0, 30.1, 44.9, 45.0, 49.9, 50.0, 1e9)
    assert [lease.stage(age).name for age in ages] == [
        *("WORKS", "WORKS", "STARTS_NOTHING", "STARTS_NOTHING", "TERMINATES", "TERMINATES", "KILLS", "KILLS"),
    ]
    assert lease.parent_ends_at == 52.0
    assert lease.taken_over_at == pytest.approx(71.2)  # pyright: ignore[reportUnknownMemberType]


@given(leases)
def test_everything_ends_before_others_begin(lease: HostLease) -> None:
    assert lease.kills_at < lease.parent_ends_at < lease.seconds < lease.taken_over_at


@given(leases)
def test_faster_clocks_elsewhere_take_nothing_early(lease: HostLease) -> None:
    """What is over when the lease is, by a clock that is 2 % slow, has a margin left by one that is right."""
    assert lease.taken_over_at - lease.seconds * host_lease.DRIFT >= host_lease.MARGIN * 0.999


@given(leases, st.floats(0, 2 * host_lease.LONGEST), st.floats(0, 2 * host_lease.LONGEST))
def test_stages_only_rise_with_age(lease: HostLease, one: float, another: float) -> None:
    assert lease.stage(min(one, another)) <= lease.stage(max(one, another))


@given(leases)
def test_nothing_starts_that_is_to_end(lease: HostLease) -> None:
    assert lease.stage(host_lease.STARTS * lease.seconds) in (Stage.WORKS, Stage.TERMINATES)
    assert lease.stage(lease.seconds - host_lease.TERM) >= Stage.TERMINATES


@given(leases)
def test_idle_workers_are_heard_in_time(lease: HostLease) -> None:
    assert lease.idle_heartbeat < lease.idle_silence < lease.taken_over_at


@pytest.mark.parametrize("text", ["29", "1d1s", "0"])
def test_a_lease_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not a duration from 30s to 1d"):
        host_lease.parse(text)


def test_a_difference_of_clocks_is_told() -> None:
    assert host_lease.told_clock(7200.0) == "is 2h ahead of the database's"
    assert host_lease.told_clock(-61.0) == "is 1m1s behind the database's"
