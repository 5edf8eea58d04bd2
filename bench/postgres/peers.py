"""Other queues on PostgreSQL, from PyPI, where they are installed (`pip install -e '.[bench]'`).

Their jobs are functions that do nothing, called within the worker. All their tables are logged, as ours are, and each
commit is as durable.
"""

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import psycopg

from bench.measure import Options
from bench.postgres.crew import Part

CONCURRENCY = 8
"""Jobs that Procrastinate's worker runs at a time: with more or fewer it is no faster."""

BATCH = 64
"""Jobs that PgQueuer takes at a time: with its own default, 10, it is slower."""

Running = Callable[[], Coroutine[Any, Any, None]]


class Rival(msgspec.Struct, frozen=True):
    """Another queue, and one worker of it that empties it."""

    name: str
    package: str
    jobs: int
    """In each round."""
    enqueue: Callable[[str, int], Coroutine[Any, Any, Running]]
    """Make its tables in the database of this URL, enqueue so many jobs, and return what runs them all."""
    left: str
    """SQL: how many of its jobs have not ended well."""

    def part(self, dsn: str) -> Part:
        """A process that enqueues, and is timed while it works. Raises RuntimeError where jobs are left."""

        def prepare() -> Callable[[], object]:
            loop = asyncio.new_event_loop()
            run = loop.run_until_complete(self.enqueue(dsn, self.jobs))

            def work() -> None:
                loop.run_until_complete(run())
                with psycopg.connect(dsn) as connection:
                    if (left := connection.execute(self.left.encode()).fetchone()) != (0,):
                        raise RuntimeError(f"{self.name}: of {self.jobs} jobs {left} are left")

            return work

        return prepare


async def procrastinate(dsn: str, jobs: int) -> Running:
    """Procrastinate, with psycopg."""
    module: Any = importlib.import_module("procrastinate")
    app = module.App(connector=module.PsycopgConnector(conninfo=dsn))

    async def nothing() -> None:
        pass

    task = app.task(name="nothing")(nothing)
    await app.open_async()
    await app.schema_manager.apply_schema_async()
    await task.batch_defer_async(*[{}] * jobs)

    async def run() -> None:
        await app.run_worker_async(wait=False, concurrency=CONCURRENCY, listen_notify=False)

    return run


async def pgqueuer(dsn: str, jobs: int) -> Running:
    """PgQueuer, with psycopg."""
    module: Any = importlib.import_module("pgqueuer")
    types: Any = importlib.import_module("pgqueuer.types")
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    queries = module.Queries(module.PsycopgDriver(connection))
    await queries.install()
    await queries.enqueue(["nothing"] * jobs, [None] * jobs, [0] * jobs)
    manager = module.QueueManager(queries)

    async def nothing(_: object) -> None:
        pass

    manager.entrypoint("nothing")(nothing)

    async def run() -> None:
        await manager.run(batch_size=BATCH, mode=types.QueueExecutionMode.drain)

    return run


RIVALS = (
    Rival(
        "procrastinate", "procrastinate", 500, procrastinate,
        "select count(*) from procrastinate_jobs where status <> 'succeeded'",
    ),
    Rival("pgqueuer", "pgqueuer", 1_000, pgqueuer, "select count(*) from pgqueuer"),
)  # fmt: skip


def installed(options: Options) -> list[Rival]:
    """Those that can be imported here; none for a quick run."""
    return [rival for rival in RIVALS if not options.quick and importlib.util.find_spec(rival.package) is not None]
