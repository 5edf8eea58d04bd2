"""Which queues workers serve, and what is said of one that none does."""

import shlex

import msgspec


class Served(msgspec.Struct, frozen=True):
    """The queues whose jobs a worker takes: `name in served`."""

    everything: bool
    queues: frozenset[str]

    def __contains__(self, queue: str) -> bool:
        return self.everything or queue in self.queues


def unserved(queue: str) -> str:
    """What is said of a queue whose jobs no worker takes, with the command that helps."""
    return f"no worker serves the queue {queue}; {to_serve(queue)}"


def to_serve(queue: str) -> str:
    """The command that has the jobs of a queue run."""
    return f"start one with `queuectl worker start --queue {shlex.quote(queue)}`"
