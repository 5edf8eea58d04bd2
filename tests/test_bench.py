"""The measuring itself: what a report says of figures that are known, and that a workload runs."""

import json
import subprocess
import sys
from pathlib import Path

from bench import report
from bench.measure import Figure, pairs

ROOT = Path(__file__).resolve().parent.parent


def figure(**changes: object) -> Figure:
    known = {
        "name": "drain",
        "floor_name": "xargs",
        "unit": "jobs/s",
        "better": "higher",
        "ours": [80.0, 90.0, 10.0],
        "floor": [100.0, 100.0, 100.0],
        "wanted_ratio": 0.7,
    }
    return Figure(**{**known, **changes})  # type: ignore[arg-type]


def test_the_ratio_is_the_median_over_the_pairs() -> None:
    assert figure().ratios == [0.8, 0.9, 0.1]
    assert figure().ratio == 0.8


def test_what_is_wanted_is_judged_in_its_direction() -> None:
    assert figure().reached is True
    assert figure(wanted=85.0).reached is False
    assert figure(better="lower", wanted_ratio=0.75).reached is False
    assert figure(wanted_ratio=None).reached is None


def test_pairs_alternate_who_goes_first() -> None:
    order: list[str] = []

    def run(side: str) -> float:
        order.append(side)
        return float(len(order))

    ours, floor = pairs(2, lambda: run("a"), lambda: run("b"), what="test")
    assert order == ["a", "b", "b", "a"]
    assert (ours, floor) == ([1.0, 4.0], [2.0, 3.0])


def test_the_table_tells_median_ratio_and_spread() -> None:
    line = next(line for line in report.table([figure()], {"cores": "2"}).splitlines() if line.startswith("drain "))
    assert line.split() == "drain 80.0 jobs/s 100.0 jobs/s 0.80 0.10 - 0.90 >= 0.70 reached".split()


def test_a_workload_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "startup", "--quick", "--json", "--dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    told = json.loads(done.stdout)["figures"]
    assert [entry["figure"] for entry in told] == ["queuectl enqueue true"]
    assert len(told[0]["pairs"]) == 10
    assert list(tmp_path.iterdir()) == [], "the scratch folders are gone at the end"
