"""Enqueue jobs from Python, wait until they have ended, and read how.

    python enqueue_and_wait.py

Needs a worker on the same queue. The waiting costs nothing: it is woken by what others append.
"""

from pathlib import Path

from queuectl import Deadline, Queue

with Queue() as queue:  # the queue that the command line would use; Queue("jobs.db") names one
    greeting = queue.enqueue("echo hello from attempt $QUEUECTL_ATTEMPT")
    failing = queue.enqueue(["test", "-e", "/no/such/file"], max_retries=1, backoff_base=1.0, backoff_max=0.1)
    try:
        jobs = queue.wait(greeting, failing, timeout=60)
    except Deadline as error:
        raise SystemExit(f"is a worker up? {error}") from None

    for job in jobs:
        print(f"{job.command}: {job.state} in attempt {job.attempt}, exit code {job.exit_code}")
    print("it wrote:", Path(queue.output(greeting)).read_text(encoding="utf-8").strip())
