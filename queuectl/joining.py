"""Enqueueing within a transaction of the application: the jobs are there if and only if its rows are."""

from collections.abc import Iterable, Sequence
from typing import Unpack

from queuectl import dotenv
from queuectl.engines import join
from queuectl.engines.base import Engine
from queuectl.enqueueing import Enqueueing
from queuectl.environment import EnvironmentReader
from queuectl.errors import Invalid
from queuectl.job_fields import Fields, Spec
from queuectl.spec import as_spec


class JoinedQueue:
    """The queue in a schema of the database to which the application is connected; `Queue.on` makes it.

    Each call appends to the log in the transaction that is open on the connection, or that its first statement begins.
    That transaction is never committed or rolled back here. From the first call to its end every other writer of the
    queue waits, workers included: enqueue last, and commit. Where a call raises, nothing of it is in the transaction,
    which can go on; but after Conflict it has to be rolled back and done again.
    """

    def __init__(self, connection: object, schema: str, actor: str) -> None:
        """See `Queue.on`."""
        self._engine = join(connection, schema)
        self._env_file = dotenv.read()
        self._environment = EnvironmentReader()
        self.actor = actor

    def enqueue(self, command: str | Sequence[str] | Spec, **fields: Unpack[Fields]) -> str:
        """Add a job and return its id, which it has for good as soon as the transaction is committed.

        Takes what `Queue.enqueue` takes, but for `stdin`, and raises what that does. Also raises Refused where the
        connection is in autocommit without a transaction, in pipeline mode, or in a transaction that has failed; Absent
        where the schema has no queue; Busy where others write for longer than 30 seconds; and Conflict where the
        transaction is REPEATABLE READ or SERIALIZABLE and others have written to the queue since it began.
        """
        return self.enqueue_many([as_spec(command, fields)])[0]

    def enqueue_many(self, specs: Iterable[str | Sequence[str] | Spec]) -> list[str]:
        """Add many jobs, all or none; returns their ids in order. Raises as `enqueue` does."""
        wanted = [as_spec(spec, {}) for spec in specs]
        if any(spec.stdin is not None for spec in wanted):
            raise Invalid("stdin: is copied to this host, which no transaction undoes: let the command open the file")
        # A new one each time: what it learns of the log is true only until the transaction is rolled back.
        return _Enqueuer(self._engine, self._env_file, self._environment, self.actor).enqueue_many(wanted)


class _Enqueuer(Enqueueing):
    def __init__(self, engine: Engine, env_file: dotenv.EnvFile, environment: EnvironmentReader, actor: str) -> None:
        self._engine = engine
        self._env_file = env_file
        self._environment = environment
        self.actor = actor
