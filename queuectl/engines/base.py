"""The seam: what an engine is. It keeps the log and the projections, and nothing above it knows how.

No SQL, no type of a database and no path crosses it, so that PostgreSQL
can stand beside SQLite without a change to queue, workers or command line. `tests/engines/` is the definition: one
suite, run against every engine.

An engine promises:

- an append writes the events and all projections in one atomic step, or nothing;
- an event's place in its stream is taken once: appending after a version that is not the stream's last is a `Conflict`;
- `ready` gives the jobs that may run, by priority (higher first), then `run_at`, then the order in which they came;
- reading the log page by page, each after the last seq seen, gives every event, and each once;
- who listens is woken soon after another process has appended.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal, Protocol

import msgspec

from projections.replay import Progress
from queuectl import clock
from queuectl.engines.contents import Contents
from queuectl.engines.shared_files import SharedFiles
from queuectl.engines.view import Rerun, Transaction, View
from queuectl.home import Home
from queuectl.host.flock import FileLock

PAST = (
    "jobs", "attempts", "counts", "workers", "config", "queues", "starts", "resources", "grants", "schedules", "notes",
)  # fmt: skip
"""The projections of which the past can be asked."""


class Listener(Protocol):
    """A doorbell: becomes readable when an event was appended that this listener waits for."""

    @property
    def path(self) -> str | None:
        """The file by which it is rung: where that was removed, nothing rings any more. None where there is none."""
        ...

    def fileno(self) -> int:
        """For `select`."""
        ...

    def clear(self) -> bool:
        """Drain the doorbell; return whether it had rung."""
        ...

    def wait(self, timeout: float | None) -> bool:
        """Sleep until it rings (True) or `timeout` seconds have passed (False)."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class Storage(msgspec.Struct, frozen=True):
    """The database as it is stored. Sizes are bytes, processes pids of this host."""

    size: int
    wal: str | None = None
    """What is committed and not yet written back to its place; None where the engine has no such file."""
    wal_size: int = 0
    readers: Sequence[int] = ()
    """Processes that are reading just now, and keep the WAL from being written back."""
    users: Sequence[int] = ()
    """Processes that have the WAL open."""
    writer: int | None = None
    """The process that has the right to write just now."""
    silent_listeners: int = 0
    """Listeners that ended without saying so; they are removed at the next event."""


class Holders(msgspec.Struct, frozen=True):
    """Processes of this host, by pid, that hold what others wait for while they have it."""

    writing: Collection[int]
    """Nobody else can write meanwhile."""
    reading: Collection[int]
    """What is committed meanwhile can't be worked off (SQLite: the WAL grows)."""


class Symptom(msgspec.Struct, frozen=True):
    """Something that a database's server says of itself."""

    severity: Literal["ok", "warning", "problem"]
    """As of a finding of `doctor`."""
    what: str
    do: str | None = None
    """What to do about it; None: nothing."""
    facts: dict[str, Any] = {}
    """For programs: sizes are bytes, times seconds."""


class Engine(ABC):
    """Where log and projections live."""

    made: bool
    """Whether there was no database, and this engine has made one."""
    many_hosts: ClassVar[bool]
    """Whether workers of several hosts may be at one database: then each counts its lease (R48)."""
    url: str
    """What names the database everywhere on this host, without a password; for SQLite the absolute path."""
    access: str
    """By what other processes of this user on this host open it: the same, with the path of a file that has the
    password where the URL had one."""
    home: Home
    """The queue's folder on this host."""
    shared_files: SharedFiles | None = None
    """What this host and others can read of each other's files; None where all is on one host."""
    sessions = 0
    """How many sessions of a server it has had. What was read in an earlier one may have been lost with that server."""

    def now(self) -> int:
        """The database's clock (µs UTC), by which all is due: where it is a server's, as it was asked last and has gone
        on since (P6)."""
        return clock.now()

    @property
    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """The files of the database on this host, the main one first; none where it is a server's.

        Nothing but the engine may open them: closing another descriptor would drop SQLite's locks (R6).
        """

    def owns(self, path: str) -> bool:
        """Whether a path leads to one of the database's files. Raises OSError where it leads to what can't be told."""
        own = [file for file in self.files if os.path.exists(file)]
        return os.path.realpath(path) in self.files or (
            os.path.exists(path) and any(os.path.samefile(path, file) for file in own)
        )

    @abstractmethod
    def uses(self, pid: int) -> bool | None:
        """Whether a process of this host has the database open; None where that can't be told."""

    @abstractmethod
    def alone(self, name: str) -> FileLock | None:
        """The lock of that name, of which one process of all holds one at a time; None where another has it."""

    @abstractmethod
    def storage(self) -> Storage:
        """How much there is of the database, and what is in the way of its upkeep."""

    def health(self) -> Iterable[Symptom]:
        """What the server says of itself, for `doctor`; nothing where there is none."""
        return ()

    @abstractmethod
    def holders(self) -> Holders:
        """Who reads and writes just now (microseconds: nothing but locks is looked at)."""

    @abstractmethod
    def snapshot(self, *, long: bool = False) -> AbstractContextManager[View]:
        """A view that does not change while it is open. Short: never keep it open between pages of output.

        `long`: all of it is read, and written elsewhere. (PostgreSQL ends what is open for 2 s without a question.)
        """

    @abstractmethod
    def transaction(
        self, patience: float | None = 30.0, meanwhile: Callable[[], None] | None = None
    ) -> AbstractContextManager[Transaction]:
        """The write lock, then a transaction. Raises Unusable when it waited longer than `patience` seconds.

        `meanwhile` is called now and then while it waits: a worker has deadlines to keep.
        """

    @abstractmethod
    def listen(self, kind: str) -> Listener:
        """A doorbell for `work` (something may be claimed, or must be stopped) or `log` (anything was appended)."""

    @abstractmethod
    def replay(self, names: Sequence[str] = (), progress: Progress | None = None) -> int:
        """Drop the tables of all (or the named) projections and fold them anew; returns how many events were folded."""

    @abstractmethod
    def check(self, progress: Progress | None = None) -> list[str]:
        """Fold the whole log into scratch tables and compare: a line for each difference, none when all is true."""

    @abstractmethod
    def past(
        self, seq: int, names: Collection[str] = PAST, progress: Progress | None = None
    ) -> AbstractContextManager[View]:
        """A view of the queue as it was after event `seq`, folded anew; of no more than these projections."""

    @abstractmethod
    def rerun(
        self, after: int, upto: int, names: Collection[str], progress: Progress | None = None
    ) -> AbstractContextManager[Rerun]:
        """The queue as it was after event `after`, folded anew, to be taken forward up to event `upto`.

        `names`: those of the projections that are asked.
        """

    @abstractmethod
    def load(self, contents: Contents, progress: Progress | None = None) -> int:
        """Take in what another database had, all or nothing, and fold the log; returns its last seq.

        Raises Refused where there is a log here already, Invalid where what is given is no whole log.
        """

    @abstractmethod
    def copy(self, path: str, *, secrets: bool) -> None:
        """Make an empty file a queue's SQLite database with log and tables as of one moment, while others go on.

        The values of secret variables only with `secrets`.
        """

    @abstractmethod
    def acknowledged(self) -> int:
        """The seq of the last event that is known to have been acknowledged; 0 where nothing is known."""

    @abstractmethod
    def set_durability(self, level: str) -> None:
        """What a commit survives from now on: `full` a power cut, `normal` only the death of the program."""

    @abstractmethod
    def set_worker(self, worker: str) -> None:
        """Say which worker this process is, so that one that hangs while it writes can be told from a command."""

    def while_waiting(self, meanwhile: Callable[[], None] | None) -> None:  # noqa: B027
        """Call this now and then from now on, whenever a server is waited for; None: nothing any more.

        A worker has to end in time what it runs, whatever it waits for (R48). What a transaction is told goes before.
        """

    @abstractmethod
    def checkpoint(self) -> None:
        """What has piled up behind the commits is worked off, where it is much (SQLite: the WAL written back).

        A worker calls this when its commands are started; after a commit of anybody else it is done at once.
        """

    @abstractmethod
    def is_current(self, *, side_files: bool = True) -> bool:
        """Whether what is open is still what stands at its paths; without `side_files`, the database alone."""

    @abstractmethod
    def reopen(self) -> None:
        """Open the database anew, after files of it were removed that can be made again (the WAL).

        What was committed is in the database first, unless another process has begun new files, which must not be
        written over. Raises Unusable where it can't be opened, Busy where a reader is in the way.
        """

    @abstractmethod
    def truncate_wal(self) -> None:
        """What a worker does while nothing else is to do (SQLite: write the WAL back into the database)."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything. Harmless when repeated."""
