"""What `doctor` asks of a SQLite database: whether it is sound, and the log in it whole."""

import os

import apsw

from projections.replay import Progress
from queuectl.engines.base import Holders, Storage
from queuectl.engines.sqlite import doorbell
from queuectl.engines.sqlite.location import Location
from queuectl.engines.view import ProjectionStatus, View
from queuectl.host import processes, procfs

READ_LOCKS = range(123, 128)
"""The bytes of the index (`-shm`) that SQLite's readers lock, as its file format has it."""

LOCKS = range(120, 128)
"""All bytes of it that are locked: by writers, checkpoints and recovery, too."""

SCHEMA = os.path.join(os.path.dirname(__file__), "schema.sql")


class SqliteHealth(View):
    """The part of a view that looks at the file rather than at what it says."""

    _db: apsw.Connection

    def damage(self, progress: Progress | None = None) -> list[str]:
        def tell() -> bool:
            if progress is not None:
                progress(self._db.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0], 0)
            return False

        found: list[str] = []
        self._db.set_progress_handler(tell, 10_000)  # also lets a Ctrl-C through
        try:
            for (text,) in self._db.execute("pragma integrity_check(100)"):
                found += (line for line in text.splitlines() if line != "ok" and not line.startswith("***"))
        except apsw.CorruptError as error:  # it looks at rows as well, and can't go on where a page holds none
            found.append(str(error))
            self._db.execute("rollback; begin")  # a transaction that has met it can't even be ended with a commit
        finally:
            self._db.set_progress_handler(None)
        return found

    def schema_differences(self) -> list[str]:
        with open(SCHEMA, encoding="utf-8") as file:
            schema = file.read()
        fresh = apsw.Connection(":memory:")
        try:
            for _ in fresh.execute(schema):
                pass
            here, wanted = _schema(self._db), _schema(fresh)
        finally:
            fresh.close()
        return [name for name, sql in wanted.items() if here.get(name) != sql]

    def highest_seq(self) -> int:
        return self._db.execute("select seq from sqlite_sequence where name = 'events'").get or 0

    def streams(self, *, after: str = "", upto: int, limit: int = 1000) -> list[tuple[str, int, int]]:
        rows = self._db.execute(
            """
            select stream, count(*) + sum(case type when 'archived' then data ->> '$.events' else 0 end), max(version)
            from events where stream > ? and seq <= ?
            group by stream order by stream limit ?
            """,
            (after, upto, limit),
        )
        return list(rows)

    def projection_statuses(self) -> list[ProjectionStatus]:
        rows = self._db.execute("select name, seq, source, broken, version from projection_state order by name")
        return [ProjectionStatus(*row) for row in rows]

    def free_space(self) -> int:
        return self._db.pragma("freelist_count") * self._db.pragma("page_size")

    def schema_version(self) -> int:
        return self._db.pragma("user_version")

    def wal_backlog(self) -> int:
        frames, done = self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        return max(frames - done, 0) * self._db.pragma("page_size")


def _schema(db: apsw.Connection) -> dict[str, str]:
    """What the schema holds, by name, as it was written."""
    return dict(db.execute("select name, sql from sqlite_master where sql is not null"))


def storage(location: Location) -> Storage:
    """The size of the files, and which processes of this host read, write or listen."""
    database, wal, index = location.files
    return Storage(
        os.stat(database).st_size,
        wal,
        os.stat(wal).st_size if os.path.exists(wal) else 0,
        [pid for pid in procfs.read_locks(index, READ_LOCKS) if pid != os.getpid()],
        [pid for pid in processes.writers(wal) if pid != os.getpid()],
        _writer(location.gate),
        doorbell.silent(location.bells),
    )


def holders(location: Location) -> Holders:
    """Who is inside the gate, or has locked the index exclusively; and who reads."""
    index = location.files[2]
    writer = _writer(location.gate)
    inside = {writer} if writer is not None else set[int]()
    try:
        return Holders(inside.union(procfs.write_locks(index, LOCKS)), procfs.read_locks(index, READ_LOCKS))
    except FileNotFoundError:  # nobody has the database open
        return Holders(inside, ())


def _writer(gate: str) -> int | None:
    try:
        with open(gate, "rb", buffering=0) as file:
            return procfs.flock_owner(file.fileno())
    except FileNotFoundError:  # made when it is first needed
        return None
