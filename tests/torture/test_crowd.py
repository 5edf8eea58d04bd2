"""Short: many processes write at once, and none starves, fails or loses a job."""

from pathlib import Path

from tests.torture import crowd


def test_many_enqueuers_and_claimers_all_make_progress(tmp_path: Path) -> None:
    figures = crowd.crowd(0, full=False, folder=tmp_path)

    assert figures["jobs enqueued"] != 0
    assert figures["enqueuer with the fewest"] != 0
    assert figures["claimer with the fewest"] != 0
