"""A queue as it was after one of its events: the log folded up to there, into tables of its own."""

import apsw

from queuectl.engines.sqlite_view import SqliteView


class PastView(SqliteView):
    """A view of scratch tables, beside which the live log is read for what jobs were enqueued with."""

    def __init__(self, scratch: apsw.Connection, path: str, seq: int) -> None:
        """`path` is the live database; the tables have folded its log up to event `seq`."""
        super().__init__(scratch)
        scratch.execute("attach ? as live", (path,))
        row = scratch.execute(
            """
            select * from (select seq, at from events where seq <= ?1 order by seq desc limit 1)
            union all select * from (select seq, at from leaves where seq <= ?1 order by seq desc limit 1)
            order by seq desc limit 1
            """,
            (seq,),
        ).get
        self._head = row if row is not None else (0, 0)

    def head(self) -> tuple[int, int]:
        return self._head
