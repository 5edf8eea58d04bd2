"""A shop whose orders are in the same PostgreSQL database as the queue, and that has a job done for each of them.

    python same_transaction.py postgresql://user@host/database SCHEMA ITEM ...

SCHEMA is the one of the queue. The job is appended in the transaction of the order, by the shop's own connection: it is
there if and only if the order is.
"""

import sys

import psycopg

from queuectl import Queue

STOCK = {"lamp": 3, "chair": 1}


def order(shop: psycopg.Connection, schema: str, item: str) -> str:
    """Take an order; returns the id of its job. Raises KeyError where there is none of it left."""
    with shop.transaction():  # commits, or rolls back where anything is raised
        [(number,)] = shop.execute("insert into orders (item) values (%s) returning number", (item,)).fetchall()
        job = Queue.on(shop, schema=schema).enqueue(["echo", f"order {number}: a {item} is on its way"])
        [(taken,)] = shop.execute("select count(*) from orders where item = %s", (item,)).fetchall()
        if taken > STOCK.get(item, 0):
            raise KeyError(item)  # a real shop would look first: here the job is taken back with the order
    return job


def main(database: str, schema: str, items: list[str]) -> None:
    """Open the shop, and take these orders."""
    Queue(f"{database}?schema={schema}").close()  # makes the queue where there is none
    with psycopg.connect(database, autocommit=True) as shop:
        shop.execute(
            "create table if not exists orders (number int generated always as identity primary key, item text)"
        )
        for item in items:
            try:
                print(f"ordered: {item}, job {order(shop, schema, item)}")
            except KeyError:
                print("sold out:", item)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
