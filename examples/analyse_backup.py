"""Ask questions in SQL of a copy of the queue, with nothing but Python's own sqlite3.

    python analyse_backup.py

`queuectl backup` copies the queue as of one moment while workers go on. docs/reference/tables.md describes the tables.
Never open the queue's own file with sqlite3 in a process that has a `Queue` open: a copy is always safe.
"""

import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

SLOWEST = """
    select jobs.command, count(*), round(sum(run_seconds), 1), round(max(run_seconds), 1)
    from attempts join jobs on jobs.id = attempts.job
    where outcome in ('completed', 'failed')
    group by jobs.command order by sum(run_seconds) desc limit 10
"""
FAILURES = """
    select cause, coalesce(exit_code, -signal), count(*) from attempts
    where outcome = 'failed' group by 1, 2 order by 3 desc
"""


def main() -> None:
    """Print the commands that took the most time, and what failures there were."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy.db")
        subprocess.run(["queuectl", "backup", copy], check=True, stdout=subprocess.DEVNULL)
        with closing(sqlite3.connect(copy)) as database:
            for command, runs, total, longest in database.execute(SLOWEST):
                print(f"{command}: {runs} runs, {total} s, the longest {longest} s")
            for cause, code, times in database.execute(FAILURES):
                print(f"failed by {cause} {code}: {times} times")


if __name__ == "__main__":
    main()
