"""One of many processes that enqueue as fast as they can: `python -m bench.writer ours|plain DATABASE SECONDS`.

It says `ready` and waits for the end of its input; afterwards it tells how many jobs it got in, and the seconds of the
slowest of them.
"""

import os
import sys
from collections.abc import Callable

from bench import floor
from queuectl import Queue, clock


def main() -> None:
    """Write until the time is over."""
    kind, database, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    put = {"ours": through_queue, "plain": by_hand}[kind](database)
    print("ready", flush=True)
    sys.stdin.read()
    began = before = clock.monotonic()
    count, longest = 0, 0.0
    while before - began < seconds:
        put()
        now = clock.monotonic()
        longest = max(longest, now - before)
        count += 1
        before = now
    print(count, longest, flush=True)


def through_queue(database: str) -> Callable[[], object]:
    """An enqueue of ours."""
    queue = Queue(database)
    return lambda: queue.enqueue("true")


def by_hand(database: str) -> Callable[[], object]:
    """The same rows in plain apsw, after the pattern of the first ones, each with a number and a name of its own."""
    connection = floor.plain(database)
    (event,) = connection.execute("select * from events limit 1")
    (job,) = connection.execute("select * from jobs limit 1")
    event_sql, job_sql = floor.insert("events", event), floor.insert("jobs", job)
    numbers = iter(range(1 << 62))
    mine = f"job:{os.getpid()}-"

    def put() -> None:
        name = f"{mine}{next(numbers)}"
        connection.execute("begin immediate")
        connection.execute(event_sql, (None, name, *event[2:]))
        connection.execute(job_sql, (connection.last_insert_rowid(), name.removeprefix("job:"), *job[2:]))
        connection.execute("commit")

    return put


if __name__ == "__main__":
    main()
