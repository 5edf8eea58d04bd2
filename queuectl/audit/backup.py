"""A consistent copy of a queue while workers go on: its log and its tables as of one moment, in one file."""

import os

from queuectl.host.atomic_file import draft
from queuectl.queue import Queue


def backup(queue: Queue, path: str, *, secrets: bool = False, force: bool = False) -> int:
    """Write the copy whole or not at all and return its size in bytes.

    The values given with `--secret` are left out unless `secrets`. Outputs and copied inputs are not part of it, nor is
    the queue's identity: a copy is another queue. Raises QueueError where it can't be written, Unusable.
    """
    with draft(path, force=force, never=queue.engine.files) as name:
        queue.engine.copy(name, secrets=secrets)
        return os.stat(name).st_size
