"""A shop that takes orders in its own SQLite database, and has a job done for each order that it really has.

    python outbox.py shop.db ITEM ...
    queuectl worker start --outbox shop.db --drain

The job is a row in the same transaction as the order: it is there if and only if the order is. Workers move it into the
queue, exactly once.
"""

import json
import sqlite3
import sys

from queuectl.outbox import schema

STOCK = {"lamp": 3, "chair": 1}


def order(shop: sqlite3.Connection, item: str) -> None:
    """Take an order. Raises KeyError where there is none of it left, and then nothing has been asked for."""
    with shop:  # commits, or rolls back where anything is raised
        number = shop.execute("insert into orders (item) values (?)", (item,)).lastrowid
        job = {"command": ["echo", f"order {number}: a {item} is on its way"], "tags": {"item": item}}
        shop.execute("insert into queuectl_outbox (id, job) values (?, ?)", (f"mail-{number}", json.dumps(job)))
        (taken,) = shop.execute("select count(*) from orders where item = ?", (item,)).fetchone()
        if taken > STOCK.get(item, 0):
            raise KeyError(item)


def main(path: str, items: list[str]) -> None:
    """Open the shop, and take these orders."""
    shop = sqlite3.connect(path)
    if not shop.execute("select 1 from sqlite_master where name = 'orders'").fetchone():
        shop.execute("create table orders (number integer primary key, item text not null)")
        shop.execute(schema("sqlite"))
    for item in items:
        try:
            order(shop, item)
            print("ordered:", item)
        except KeyError:
            print("sold out:", item)
    shop.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
