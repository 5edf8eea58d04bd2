"""The random mark of a database file: a copy that is made by `backup` gets one of its own (R42).

It lies in a table that no event changes. A database of before there were marks gets one with the next event.
"""

import os

import apsw


def read(db: apsw.Connection) -> str | None:
    """The mark; None where the file has none yet."""
    try:
        return db.execute("select mark from file_mark").get
    except apsw.SQLError:
        return None


def renew(db: apsw.Connection) -> str:
    """Give the file another mark, within a transaction; returns it."""
    mark = os.urandom(16).hex()
    db.execute("create table if not exists file_mark (mark text not null)")
    db.execute("delete from file_mark")
    db.execute("insert into file_mark (mark) values (?)", (mark,))
    return mark
