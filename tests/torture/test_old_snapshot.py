"""A snapshot beside 5,000 jobs; `python -m tests.torture --full old-snapshot` has 50,000."""

from pathlib import Path

import pytest

from tests.torture import old_snapshot
from tests.torture.verdict import Breach


def test_an_old_snapshot_slows_turns_little(tmp_path: Path) -> None:
    assert old_snapshot.run(0, full=False, folder=tmp_path)["times as long"]


def test_a_slower_turn_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_snapshot, "SLOWER", 0.1)
    with pytest.raises(Breach, match=r"a turn takes \d"):
        old_snapshot.run(0, full=False, folder=tmp_path)
