"""The tables by which hosts read each other's files. Each call is one transaction of its own, beside the log's lock."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from queuectl.engines.postgres.listener import notify
from queuectl.engines.postgres.session import Session
from queuectl.engines.shared_files import ATTENTION, OutputEnds, OutputPiece, OutputRequest

Result = TypeVar("Result")
Run = Callable[[Callable[[Session], Any]], Any]
"""Runs a function with a usable session, in a new one where the connection turns out to be lost: all here may be done
twice."""

_PAGE = 1000

_EXPIRED = "until < clock_timestamp() - interval '1 hour'"
"""Of a reader that was killed."""


class PostgresSharedFiles:
    """See `queuectl.engines.shared_files.SharedFiles`."""

    def __init__(self, run: Run, schema: str, key: int) -> None:
        """`schema` is the name as SQL has it, `key` its oid as the key of a lock."""
        self._run = run
        self._outputs, self._inputs, self._requests = (
            f"{schema}.{table}" for table in ("outputs", "inputs", "output_requests")
        )
        self._key = key

    def keep_outputs(self, ends: Iterable[OutputEnds]) -> None:
        rows = [(each.job, each.lease, each.source, each.size, each.head, each.tail) for each in ends]
        if not rows:
            return
        columns = [list(column) for column in zip(*rows, strict=True)]

        def keep(session: Session) -> None:
            session.queue("begin")
            session.queue("set local synchronous_commit = off")  # the barrier after the report makes this durable too
            session.queue(
                f"""
                insert into {self._outputs} (job, lease, source, size, head, tail)
                select * from unnest(?::text[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bytea[], ?::bytea[])
                on conflict do nothing
                """,
                columns,
            )
            session.queue("commit")
            session.flush()

        self._run(keep)

    def output_ends(self, job: str, lease: int) -> dict[int, OutputEnds]:
        rows = self._rows(
            f"select job, lease, source, size, head, tail from {self._outputs} where job = ? and lease = ?",
            (job, lease),
        )
        return {ends.source: ends for ends in map(_ends, rows)}

    def every_output(self) -> Iterator[OutputEnds]:
        last: tuple[Any, ...] = ("", 0, 0)
        while rows := self._rows(
            f"""
            select job, lease, source, size, head, tail from {self._outputs}
            where (job, lease, source) > (?, ?, ?) order by job, lease, source limit {_PAGE}
            """,
            last,
        ):
            yield from map(_ends, rows)
            last = rows[-1][:3]

    def forget_outputs(self, attempts: Sequence[tuple[str, int]]) -> None:
        jobs, leases = [job for job, _ in attempts], [lease for _, lease in attempts]
        self._rows(
            f"""
            delete from {self._outputs} using unnest(?::text[], ?::bigint[]) as gone (job, lease)
            where outputs.job = gone.job and outputs.lease = gone.lease
            """,
            (jobs, leases),
        )

    def keep_input(self, name: str, data: bytes) -> None:
        # Written anew also where it is there: nobody who finds it unused meanwhile removes it. Its data is not touched.
        if not self._rows(f"update {self._inputs} set name = name where name = ? returning 1", (name,)):
            self._rows(f"insert into {self._inputs} (name, data) values (?, ?) on conflict do nothing", (name, data))

    def input(self, name: str) -> bytes | None:
        rows = self._rows(f"select data from {self._inputs} where name = ?", (name,))
        return bytes(rows[0][0]) if rows else None

    def inputs(self) -> list[str]:
        return [name for (name,) in self._rows(f"select name from {self._inputs}", ())]

    def input_versions(self) -> dict[str, str]:
        return dict(self._rows(f"select name, xmin::text from {self._inputs}", ()))

    def forget_inputs(self, versions: Mapping[str, str]) -> None:
        self._rows(
            f"""
            delete from {self._inputs} using unnest(?::text[], ?::text[]) as unused (name, version)
            where inputs.name = unused.name and inputs.xmin::text = unused.version
            """,
            ([*versions], [*versions.values()]),
        )

    def can_ask(self) -> bool:
        rights = " and ".join(f"has_table_privilege(?1, '{right}')" for right in ("insert", "update", "delete"))
        return bool(self._rows(f"select not pg_is_in_recovery() and {rights}", (self._requests,))[0][0])

    def ask(self, request: OutputRequest, *, wake: bool) -> None:
        def put(session: Session) -> None:
            session.queue(
                f"""
                insert into {self._requests} (id, identity, job, lease, source, start, number, until)
                values (?, ?, ?, ?, ?, ?, ?, clock_timestamp() + interval '{ATTENTION} s')
                on conflict (id) do update set start = excluded.start, number = excluded.number, until = excluded.until
                """,
                (
                    request.id, request.identity, request.job, request.lease, request.source,
                    request.start, request.number,
                ),
            )  # fmt: skip
            if wake:
                session.queue(notify(self._key, "work"))
            session.flush()

        self._run(put)

    def answer_to(self, request: OutputRequest) -> OutputPiece | None:
        rows = self._rows(
            f"select size, data_begin, data_end, data from {self._requests} where id = ? and answered = ?",
            (request.id, request.number),
        )
        if not rows:
            return None
        size, begin, end, data = rows[0]
        return OutputPiece(size, begin, end, bytes(data))

    def withdraw(self, reader: str) -> None:
        self._rows(f"delete from {self._requests} where id = ? or {_EXPIRED}", (reader,))

    def requests(self, identity: str) -> list[tuple[OutputRequest, bool]]:
        rows = self._rows(
            f"""
            select id, identity, job, lease, source, start, number, answered = number from {self._requests}
            where identity = ? and until > clock_timestamp()
            """,
            (identity,),
        )
        return [(OutputRequest(*row[:-1]), bool(row[-1])) for row in rows]

    def answer(self, request: OutputRequest, piece: OutputPiece) -> None:
        self._rows(
            f"""
            update {self._requests} set answered = number, size = ?, data_begin = ?, data_end = ?, data = ?
            where id = ? and number = ? and answered < number
            """,
            (piece.size, piece.begin, piece.end, piece.data, request.id, request.number),
        )

    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._run(lambda session: session.execute(sql, values))


def _ends(row: tuple[Any, ...]) -> OutputEnds:
    job, lease, source, size, head, tail = row
    return OutputEnds(job, lease, source, size, bytes(head), bytes(tail))
