"""A job that tells how far it is, and leaves a note of what it found.

queuectl enqueue 'python progress.py 1000000'; queuectl list
"""

import os
import sys
from bisect import bisect
from math import isqrt

from queuectl import Queue


def tell(done: int, total: int) -> None:
    """Write how far it is: percent, and a text. Outside of a job nobody asks."""
    if path := os.environ.get("QUEUECTL_PROGRESS"):
        with open(path, "w") as file:
            print(100 * done / total, f"{done:,} of {total:,}", file=file)


limit = int(sys.argv[1])
primes: list[int] = []
for number in range(2, limit):
    if number % 1000 == 0:
        tell(number, limit)
    if all(number % prime for prime in primes[: bisect(primes, isqrt(number))]):
        primes.append(number)
tell(limit, limit)

with Queue(os.environ["QUEUECTL_DB"]) as queue:
    queue.note(f"{len(primes):,} primes below {limit:,}")
