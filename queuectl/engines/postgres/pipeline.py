"""Statements that are sent together and answered in one round trip: libpq's pipeline, without a cursor for each.

psycopg's own sends each statement as soon as it has it, and looks for answers each time: where a turn has twenty
statements, that costs more than the rest of the turn.
"""

from collections import OrderedDict
from collections.abc import Generator, Sequence
from itertools import count
from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import fetch_many, send

PREPARED = 100
"""Statements that stay prepared; of more, those that were not used for longest are given up."""

Statement = tuple[bytes, Sequence[Any]]
"""SQL, with `$1` and so on, and its values."""

_Key = tuple[bytes, tuple[int, ...]]
"""The SQL of a statement that is prepared, and the types of its values."""


class _Sent(NamedTuple):
    """What one answer belongs to."""

    prepares: _Key | None = None
    name: bytes = b""


class Pipeline:
    """The pipeline of one connection, which nothing else has prepared statements on."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._prepared: OrderedDict[_Key, bytes] = OrderedDict()
        self._names = count()

    def run(self, statements: Sequence[Statement], *, prepare: bool = True) -> list[tuple[Any, ...]]:
        """Run them, followed by a Sync, and return the rows of the last.

        `prepare`: whether the next transaction is in the same session of the server, which has what was prepared.
        Raises psycopg's error for the first that failed, after which none has run; or of a lost connection.
        """
        transformer: Any = Transformer(self._connection)
        dumped = [_dumped(transformer, sql, values) for sql, values in statements]
        pgconn = self._connection.pgconn
        pgconn.enter_pipeline_mode()
        try:
            sent = self._send(dumped, prepare)
            pgconn.pipeline_sync()
            answers = self._answers(len(sent))
        except BaseException:
            if pgconn.status != pq.ConnStatus.BAD:
                self._connection.close()  # it was left in the middle
            raise
        pgconn.exit_pipeline_mode()
        for each, answer in zip(sent, answers, strict=True):
            if each.prepares is not None and answer.status == pq.ExecStatus.COMMAND_OK:
                self._prepared[each.prepares] = each.name
        _raise_first(answers)
        last = answers[-1]
        if last.status != pq.ExecStatus.TUPLES_OK:
            return []
        transformer.set_pgresult(last)
        return transformer.load_rows(0, last.ntuples, tuple)

    def _send(self, statements: Sequence["_Dumped"], prepare: bool) -> list[_Sent]:
        """Put them into libpq's buffer; what there will be answers to, in order."""
        pgconn = self._connection.pgconn
        sent: list[_Sent] = []
        while len(self._prepared) > PREPARED:
            _, name = self._prepared.popitem(last=False)
            pgconn.send_query_params(b"deallocate " + name, None)
            sent.append(_Sent())
        new: dict[_Key, bytes] = {}
        for each in statements:
            if not each.values or not prepare:
                pgconn.send_query_params(each.sql, each.values, each.types, each.formats)
            else:
                key = (each.sql, each.types)
                name = self._prepared.get(key) or new.get(key)
                if name is None:
                    name = new[key] = b"queuectl_%d" % next(self._names)
                    pgconn.send_prepare(name, each.sql, each.types)
                    sent.append(_Sent(key, name))
                elif key not in new:
                    self._prepared.move_to_end(key)
                pgconn.send_query_prepared(name, each.values, each.formats)
            sent.append(_Sent())
        return sent

    def _answers(self, number: int) -> list["pq.abc.PGresult"]:
        """So many, and that to the Sync. Raises OperationalError, with the server's reason, where it is lost."""
        answers: list[pq.abc.PGresult] = []

        def fetched() -> Generator[Any, Any, None]:
            yield from send(self._connection.pgconn)
            while len(answers) <= number:
                answers.extend((yield from fetch_many(self._connection.pgconn)))

        try:
            self._connection.wait(fetched())
        except psycopg.OperationalError:
            try:
                _raise_first(answers)
            except psycopg.Error as reason:
                raise psycopg.OperationalError(str(reason)) from reason
            raise
        return answers[:number]


class _Dumped(NamedTuple):
    """A statement with its values as libpq takes them."""

    sql: bytes
    values: Sequence[Any]
    types: tuple[int, ...]
    formats: Sequence[pq.Format]


def _dumped(transformer: Any, sql: bytes, values: Sequence[Any]) -> _Dumped:
    if not values:
        return _Dumped(sql, (), (), ())
    dumped = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
    return _Dumped(sql, dumped, tuple(transformer.types), transformer.formats)


def _raise_first(answers: Sequence["pq.abc.PGresult"]) -> None:
    """Raise the error of the first statement that failed; those behind it were skipped."""
    for answer in answers:
        if answer.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(answer)
