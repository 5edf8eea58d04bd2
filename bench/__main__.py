"""`python -m bench [--postgres] [drain|startup ...] [--json] [--quick] [--write] [--dir FOLDER ...]`."""

import argparse
import os
import sys
from contextlib import ExitStack

import msgspec

from bench import report
from bench.measure import Options
from bench.report import Run
from bench.scratch import Scratch
from bench.workloads import WORKLOADS, Workload

RECORD = os.path.join(os.path.dirname(__file__), "RESULTS.md")
POSTGRES_RECORD = os.path.join(os.path.dirname(__file__), "RESULTS-postgresql.md")


def on_postgres() -> dict[str, Workload]:
    """The workloads of `--postgres`. Raises ImportError where what only these need is not installed."""
    from bench.postgres.workloads import WORKLOADS

    return WORKLOADS


def main() -> int:
    """Measure what was named, or everything; 1 if something that is wanted was not reached."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Figures of QueueCTL, each beside a floor measured in the same run.",
        epilog="Exit status 1 if a goal was missed, by a whole run. Leave the machine alone while it measures. Where a "
        "new file takes much more than 20 us, files were deleted nearby of late: wait a minute, or name another disk.",
    )
    parser.add_argument(
        "workload", nargs="*", metavar="workload", help=f"{', '.join(WORKLOADS)}; all when none is named"
    )
    parser.add_argument(
        "--postgres", action="store_true",
        help="the workloads of the engine for PostgreSQL, on a server of its own (pip install -e '.[test]')",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON document, with every round")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work or less, to see that it runs")
    parser.add_argument("--write", action="store_true", help="also write the file of results, from a whole run")
    parser.add_argument(
        "--dir",
        action="append",
        metavar="FOLDER",
        help="where the scratch folders are made; not tmpfs, where a sync costs nothing; given again, a run in each",
    )
    asked = parser.parse_args()
    known = on_postgres() if asked.postgres else WORKLOADS
    names: list[str] = asked.workload or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown workload {unknown[0]!r}; known: {', '.join(known)}")
    if asked.write and (asked.quick or asked.workload):
        parser.error("--write is for a whole run: without --quick, and without naming workloads")
    options = Options(quick=asked.quick)
    facts = report.machine()
    with ExitStack() as stack:  # no folder is removed before all runs are done
        scratches = [stack.enter_context(Scratch(folder)) for folder in asked.dir or [None]]
        runs = [
            Run(report.place(scratch), {name: known[name](options, scratch) for name in names}) for scratch in scratches
        ]
    edition = report.POSTGRES if asked.postgres else report.SQLITE
    if asked.write:
        with open(POSTGRES_RECORD if asked.postgres else RECORD, "w", encoding="utf-8") as file:
            file.write(report.page(runs, facts, edition))
    if asked.json:
        print(msgspec.json.format(msgspec.json.encode(report.document(runs, facts))).decode())
    else:
        print(report.table(runs, facts, edition))
    missed = any(figure.reached is False for run in runs for figures in run.results.values() for figure in figures)
    return 1 if missed and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
