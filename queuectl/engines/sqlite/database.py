"""The SQLite file: opened, made, and refused where it is not ours, without a byte of it changed (R6, R9)."""

import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import apsw

from queuectl.engines.sqlite import file_mark
from queuectl.engines.sqlite.gate import Gate
from queuectl.engines.sqlite.location import Location
from queuectl.errors import Busy, Outdated, Unusable, shown
from queuectl.events import Newer, Unreadable
from queuectl.versions import SQLITE

APPLICATION_ID = 0x51435431
"""`QCT1`: what makes a SQLite file one of ours."""

SCHEMA = SQLITE
"""Version of the log's own schema, kept in `user_version`."""

OLDEST_SQLITE = 3_053_000
"""Before it, SQLite could lose a commit when the WAL was reset."""

BUSY = 5000
"""Milliseconds to wait for a lock of SQLite's own: our writers wait at the gate, so only strangers are met here."""

WAL_LIMIT = 1 << 20
"""Bytes of the WAL (q.db-wal) above which the last process to close the database writes it back."""

LARGEST = 4 << 20
"""Bytes to which the WAL is cut down when it begins anew, where a reader had made it grow."""

RESTORE = "restore a copy of it; `queuectl doctor` tells what is wrong"

HEADER = 100
"""Bytes at the beginning of a SQLite file that say what it is."""

SYNCHRONOUS = {"full": 2, "normal": 1}


class Translated:
    """SQLite's errors as ours, and those of a log that can't be read: one line that says what to do."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            return
        path = shown(self._path)
        match error:
            case Newer():
                raise Outdated(f"{path}: {error}") from error
            case Unreadable():
                raise Unusable(f"{path}: {error}") from error
            case apsw.BusyError() | apsw.LockedError():
                raise Busy(f"{path}: is locked by another program: close it and try again") from error
            case UnicodeDecodeError():  # of a text that SQLite holds: what is written is valid
                raise Unusable(f"{path}: is damaged ({error}): {RESTORE}") from error
            case apsw.Error():
                raise Unusable(f"{path}: {_explained(error)}") from error
            case _:
                pass


def _explained(error: apsw.Error) -> str:
    match error:
        case apsw.NotADBError():
            return "is not a SQLite database: name another file with --db"
        case apsw.CorruptError():
            return f"is damaged ({error}): {RESTORE}"
        case apsw.FullError():
            return "the disk is full: nothing was written; make room and try again"
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            return "can't be written: check the rights of the file and its folder"
        case apsw.ConnectionClosedError():
            return "has been closed: open the queue again"
        case apsw.CantOpenError():
            return "can't be opened: check the rights of the file and its folder"
        case apsw.IOError(extendedresult=apsw.SQLITE_IOERR_FSYNC):
            return "the disk can't tell whether it was written: mend it, and look before you do the same again"
        case apsw.IOError():
            return f"could not be read or written ({error}): check the disk"
        case _:
            return f"SQLite says: {error}"


def connect(
    location: Location, gate: Gate, patience: float | None, *, made: bool, admit: Callable[[apsw.Connection], None]
) -> apsw.Connection:
    """An open connection to the queue's database, `made` and switched to WAL first where that is still to do.

    `admit` is asked before anything is written, and raises where it is another database. Raises Unusable for a newer
    schema, or what can't be opened at all.
    """
    if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
        raise Unusable(f"SQLite {apsw.sqlite_lib_version()} is too old: install apsw >= 3.53")
    with Translated(location.database):
        db = apsw.Connection(location.database, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            if db.readonly("main"):  # SQLite takes what it gets, also where it was for want of a descriptor just now
                raise Unusable(f"{shown(location.database)}: can't be opened for writing: check the rights of the file")
            db.set_busy_timeout(BUSY)
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            # Plans do not depend on the values bound to a statement: else one with a join, such as that which loads a
            # job, is compiled again each time it runs, which takes five times as long as running it.
            db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
            admit(db)
            # The switch to WAL ignores the busy timeout and can't bear a reader, so none looks before it is done, and
            # then SQLite is asked once more: what was cut short is only undone when the file is opened.
            if not made or _schema(db) < SCHEMA or db.pragma("journal_mode") != "wal":
                with gate.hold(patience):
                    _refuse_emptied(db, location)
                    if _schema(db) < SCHEMA or db.pragma("journal_mode") != "wal":
                        _make(db)
            db.pragma("secure_delete", True)
            db.pragma("journal_size_limit", LARGEST)
        except BaseException:
            db.close()
            raise
    return db


def _refuse_emptied(db: apsw.Connection, location: Location) -> None:
    """Not to start over what is lost: workers make the id, and commits the note, only where there was a log by then."""
    used = os.path.lexists(location.home.id) or os.path.lexists(location.high_water)
    if used and db.pragma("application_id") != APPLICATION_ID:
        raise Unusable(
            f"{shown(location.database)}: is empty, but has been in use: put it back, or remove it to start anew"
        )


def _schema(db: apsw.Connection) -> int:
    """The version of the file's schema, 0 where it has none yet. Raises Unusable for a newer one."""
    version: int = db.pragma("user_version")
    if version > SCHEMA:
        raise Unusable(f"{shown(db.filename)}: has schema version {version}, this queuectl knows {SCHEMA}: upgrade it")
    return version


def disconnect(db: apsw.Connection, location: Location, *, present: bool) -> None:
    """Close the connection, and leave what stands at its paths alone where that is not what it has open (`present`).

    The last one to go leaves the WAL as it is, because a checkpoint costs a short command several syncs; but not
    one that has grown: those who come next could not begin it anew, for what was written back of it is forgotten when
    no process has the file open.
    """
    try:
        grown = present and os.stat(location.database + "-wal").st_size > WAL_LIMIT
    except FileNotFoundError:
        grown = False
    if grown:
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    db.close()


def is_made(path: str) -> bool:
    """Whether the file is a queue's database, whole and in WAL mode, as far as its header tells.

    False for none, an empty one, or one that another process is making. Raises Unusable where it is another program's.

    Only its header is read, where the mark never changes: the rest may be in the middle of a checkpoint, or of one that
    was killed, which SQLite mends when the file is opened with its WAL. It is read by SQLite's own file system
    layer, because closing a descriptor of ours would drop the locks of every connection that this process has.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if found.st_size == 0 or not stat.S_ISREG(found.st_mode):
        return False
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB
    file = apsw.VFSFile("", path, [flags, 0])
    try:
        header = file.xRead(HEADER, 0) if found.st_size >= HEADER else b""
    finally:
        file.xClose()
    if not header.strip(b"\0") and found.st_size >= HEADER and os.path.exists(path + "-journal"):
        return False  # the power was cut while it was made: SQLite puts back that it was empty
    if header[:16] != b"SQLite format 3\0":
        raise Unusable(f"{shown(path)}: is not a SQLite database: name another file with --db")
    program = int.from_bytes(header[68:72], "big")
    if program != APPLICATION_ID and (program or _has_tables(path)):
        raise Unusable(f"{shown(path)}: is another program's SQLite database: name another file with --db")
    return program == APPLICATION_ID and header[18:20] == b"\2\2"


def _has_tables(path: str) -> bool:
    """Whether there is anything in a file without a mark."""
    with _immutable(path) as peek:
        try:
            return peek.execute("select count(*) from sqlite_master").get > 0
        except apsw.CorruptError:
            return True  # another process is writing into it


def mark(db: apsw.Connection) -> str | None:
    """The file's mark; where another file's WAL makes nonsense of it, as it stands in the file alone."""
    try:
        return file_mark.read(db)
    except apsw.CorruptError:
        with _immutable(db.filename) as peek, suppress(apsw.CorruptError):
            return file_mark.read(peek)
    return None


def holds_another(path: str, mark: str) -> bool | None:
    """Whether the file, without its WAL, is another database than the one of that mark.

    None where that can't be told now: it is being written, or its mark is in the WAL alone.
    """
    try:
        with _immutable(path) as peek:
            found = file_mark.read(peek)
    except apsw.NotADBError:
        return True
    except apsw.Error:
        return None
    return None if found is None else found != mark


@contextmanager
def _immutable(path: str) -> Generator[apsw.Connection]:
    """The file without its WAL: not a byte of it, or beside it, changes."""
    name = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")  # as SQLite reads a URI
    peek = apsw.Connection(f"file:{name}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        yield peek
    finally:
        peek.close()


def make_schema(db: apsw.Connection) -> None:
    """Make what the schema has, or what is new of it, within a transaction: the log, no tables of projections."""
    here = os.path.join(os.path.dirname(__file__), "schema.sql")
    with open(here, encoding="utf-8") as file:
        schema = file.read()
    for (name,) in list(db.execute("select name from sqlite_master where type = 'trigger'")):
        db.execute(f"drop trigger {name}")
    for _ in db.execute(schema):
        pass
    if file_mark.read(db) is None:
        file_mark.renew(db)
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", SCHEMA)


def _make(db: apsw.Connection) -> None:
    """The schema, or what is new of it, in one transaction, then WAL.

    A new one lies in the file itself, not in the WAL alone: there its mark is looked for.
    """
    if db.pragma("application_id") != APPLICATION_ID:
        os.chmod(db.filename, 0o600)  # an empty file may have been there before, readable by all
    if _schema(db) < SCHEMA:
        db.execute("begin immediate")
        try:
            make_schema(db)
            db.execute("commit")
        except BaseException:
            if db.in_transaction:
                db.execute("rollback")
            raise
    mode = db.pragma("journal_mode", "wal")
    if mode != "wal":
        raise Unusable(f"{shown(db.filename)}: can't keep a WAL (journal mode {mode}): use another file system")
