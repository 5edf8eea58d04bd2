"""What a completed job takes on the disk, beside its events as JSON."""

import os
import subprocess

from bench.measure import Figure, Options, Side, queuectl, seconds
from bench.scratch import Scratch
from queuectl import Queue


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Bytes for each job `true`, once its worker has gone: database, side files, output and logs."""
    jobs = options.of(2_000, 500)
    databases = [drained(scratch.database(), jobs) for _ in range(options.rounds)]
    return [
        Figure(
            name="bytes on disk for a completed job",
            unit="bytes",
            better="lower",
            ours=[on_disk(os.path.dirname(database)) / jobs for database in databases],
            floor=Side("its events as JSON, a line each", [exported(scratch, each) / jobs for each in databases]),
            goal=2.5,
        )
    ]


def drained(database: str, jobs: int) -> str:
    """A queue in which a real worker has completed so many jobs. Raises RuntimeError where it has not."""
    with Queue(database) as queue:
        queue.enqueue_many(["true"] * jobs)
    seconds([*queuectl(), "worker", "start", "--drain", "--slots", "2", "--db", database])
    with Queue(database) as queue:
        if (completed := queue.status().counts["completed"]) != jobs:
            raise RuntimeError(f"of {jobs} jobs {completed} completed: see {database}")
    return database


def on_disk(folder: str) -> int:
    """The bytes that a folder's files and folders occupy, in whole blocks as the file system gives them out."""
    os.sync()  # until then it need not have given out any
    paths = [folder, *(os.path.join(at, name) for at, dirs, files in os.walk(folder) for name in (*dirs, *files))]
    return 512 * sum(os.lstat(path).st_blocks for path in paths)


def exported(scratch: Scratch, database: str) -> int:
    """The bytes of a queue's whole log as `queuectl export` writes it."""
    with open(os.path.join(scratch.fresh(), "events.ndjson"), "wb") as file:
        subprocess.run([*queuectl(), "export", "--format", "ndjson", "--db", database], stdout=file, check=True)
        return os.fstat(file.fileno()).st_size
