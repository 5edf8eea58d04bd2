"""The outbox: jobs that an application asks for in its own transactions, moved into the log, each exactly once.

An application that keeps its data in a database of its own inserts a row into a table there (`schema`), in the same
transaction as what the job is about: so the row is there if and only if the rest is. Rows are moved by workers
(`worker start --outbox URL`), or, from a database that workers don't know, by a program of the application (`relay`).

The id of a row is the id of its job, and ids are never used again in a queue: a row that comes a second time, because
its relay died before it was removed or because two relays have read it, is known to be in the log.
"""

from queuectl.outbox.delivery import Delivery
from queuectl.outbox.schema import DIALECTS as DIALECTS
from queuectl.outbox.schema import schema as schema
from queuectl.outbox.table import Connection, OutboxTable
from queuectl.queue import Queue


def relay(connection: Connection, queue: Queue) -> dict[str, str]:
    """Move the committed rows of an outbox into the log, in their order; returns why rows were refused, by their ids.

    `connection` is a DB-API connection of its own to the application's database: it is committed. A row is enqueued as
    `queuectl enqueue --id ID --if-absent` would by this process, and removed once its job is durable. A row whose job
    is refused stays, its column `error` says why; until that is null again it is passed over.

    Any number of relays may run at once, and each may die at any moment. Raises what the driver raises, Invalid where
    its parameter style is not known or this process could enqueue no job at all, Unusable where the queue can't be
    used; call it again then.
    """
    table = OutboxTable(connection)
    refused: dict[str, str] = {}
    while rows := table.read():
        delivery = Delivery(queue, rows)
        while delivery.step():
            pass
        table.settle(delivery.moved, delivery.refused)
        refused |= {str(row.id): why for row in rows if (why := delivery.refused.get(row.number)) is not None}
    return refused
