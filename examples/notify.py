"""Send a message to a webhook for each job that ends, from the moment this is started.

    python notify.py http://localhost:8000/hook [HOW-MANY]

Follows the log, whoever appends to it. To go on where an earlier run has stopped, keep the `seq` of the last event
that was sent, and begin `after` it: then nothing is left out, and at most one message is sent twice.
"""

import json
import sys
import urllib.request

from queuectl import Queue

ENDS = ("completed", "dead", "cancelled")


def send(url: str, message: dict[str, object]) -> None:
    """POST a message as JSON. Raises URLError where nothing answers."""
    request = urllib.request.Request(url, json.dumps(message).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def main(url: str, count: int | None = None) -> None:
    """Send what ends from now on, all or the first `count`."""
    with Queue() as queue:
        last = queue.status().seq
        print("following", flush=True)
        for record in queue.events(after=last, follow=True):
            kind, _, id = record.stream.partition(":")
            if kind != "job" or record.type not in ENDS:
                continue
            job = queue.job(id)
            send(url, {"seq": record.seq, "id": id, "state": record.type, "exit_code": job.exit_code})
            count = count - 1 if count is not None else None
            if count == 0:
                return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
