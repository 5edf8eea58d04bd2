"""Enqueue each piece of work at most once, however often the program that finds it is run.

    python enqueue_once.py FOLDER

An id is never used again in a queue, so an id made of what identifies the work is a guard against doubles. It holds
between programs too: of two that enqueue the same id at the same time one is refused.
"""

import sys
from pathlib import Path

from queuectl import Queue, Refused


def main(folder: Path) -> None:
    """Enqueue the compression of each file that was not enqueued before."""
    with Queue() as queue:
        for file in sorted(folder.glob("*.log")):
            changed = int(file.stat().st_mtime)  # in the id, so that a file that has changed is new work
            try:
                id = queue.enqueue(
                    ["gzip", "--keep", "--force", str(file.absolute())], id=f"gzip-{file.name}-{changed}"
                )
                print("enqueued", id)
            except Refused as error:
                print("passed over:", error)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
