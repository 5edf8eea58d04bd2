"""The watch over load and memory: when it looks, what it says, and that it has jobs looked for again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl import host_limits
from queuectl.host_limits import HostLimits
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.chores.host_watch import LOOK, HostWatch
from queuectl.workers.journal import Journal
from tests.support.chore_host import Host


class Loads(list[float]):
    """What the load is at each look; the last one stays."""

    def next(self) -> float:
        return self.pop(0) if len(self) > 1 else self[0]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    loads = Loads()
    monkeypatch.setattr(host_limits, "load", loads.next)
    return loads


@pytest.fixture
def watch(tmp_path: Path) -> Callable[[Host, HostLimits], HostWatch]:
    return lambda host, limits: HostWatch(host, limits, Journal(str(tmp_path), "w"))


Watch = Callable[[Host, HostLimits], HostWatch]


def test_without_limits_it_never_looks(watch: Watch, loads: Loads) -> None:
    chore = watch(Host(), HostLimits())
    assert chore.may_claim(10.0), "a look would raise"
    assert (chore.due, chore.holds_back) == (NEVER, False)


def test_it_holds_back_until_the_load_falls(watch: Watch, loads: Loads, tmp_path: Path) -> None:
    host = Host()
    chore = watch(host, HostLimits(max_load=4.0))
    loads[:] = [3.99]
    assert chore.may_claim(10.0)
    loads[:] = [4.0, 5.0, 3.0]
    assert not chore.may_claim(11.0)
    assert (chore.due, chore.holds_back, host.turns_requested) == (11.0 + LOOK, True, 0)
    assert not chore.may_claim(12.0)
    assert len(loads) == 2, "it looks no more often than it said"
    chore.run(16.0)
    assert (chore.due, host.turns_requested) == (16.0 + LOOK, 0)
    chore.run(21.0)
    assert (chore.due, host.turns_requested, chore.holds_back) == (NEVER, 1, False)
    assert chore.may_claim(21.0)

    assert host.warnings == ["claims nothing for now: load 4.00, limit 4 (said once)"]
    loads[:] = [8.0]
    assert not chore.may_claim(30.0)
    assert len(host.warnings) == 1
    lines = [json.loads(line) for line in (tmp_path / "worker.jsonl").read_text().splitlines()]
    assert [(line["event"], line.get("why")) for line in lines] == [
        ("holds back", "load 4.00, limit 4"),
        ("claims again", None),
        ("holds back", "load 8.00, limit 4"),
    ]
