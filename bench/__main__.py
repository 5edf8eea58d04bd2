"""`python -m bench [enqueue|drain|startup ...] [--json] [--quick] [--dir FOLDER]`."""

import argparse
import sys

import msgspec

from bench import report
from bench.measure import Options
from bench.scratch import Scratch
from bench.workloads import WORKLOADS


def main() -> int:
    """Measure what was named, or everything; 1 if something that is wanted was not reached."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Figures of QueueCTL, each beside a floor measured in the same run.",
        epilog="Exit status 1 if a wanted figure was missed. Leave the machine alone while it measures. Where a new "
        "file takes much more than 20 us, files were deleted nearby of late: wait a minute, or name another disk.",
    )
    parser.add_argument(
        "workload", nargs="*", metavar="workload", help=f"{', '.join(WORKLOADS)}; all when none is named"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, with every pair")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs")
    parser.add_argument("--dir", help="where the scratch folders are made; not tmpfs, where a sync costs nothing")
    asked = parser.parse_args()
    names = asked.workload or list(WORKLOADS)
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"unknown workload {unknown[0]!r}; known: {', '.join(WORKLOADS)}")
    options = Options(quick=asked.quick)
    with Scratch(asked.dir) as scratch:
        facts = report.machine(scratch)
        figures = [figure for name in names for figure in WORKLOADS[name](options, scratch)]
    if asked.json:
        print(msgspec.json.format(msgspec.json.encode(report.document(figures, facts))).decode())
    else:
        print(report.table(figures, facts))
    return 1 if any(figure.reached is False for figure in figures) and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
