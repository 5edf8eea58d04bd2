"""The home of a queue that is in PostgreSQL: this host's folder for it, in the user's state folder.

It is named by what the server and the schema are, not by how a URL calls them: every URL of one queue leads to the same
folder, also after a failover, and a copy of the queue in another cluster or database to another one.
"""

import hashlib
import os
from urllib.parse import unquote, urlsplit

from queuectl.engines.high_water import HighWater, HighWaterMark
from queuectl.engines.postgres.connection import ServerFacts
from queuectl.engines.postgres.location import PostgresLocation, with_passfile
from queuectl.engines.postgres.schema import About
from queuectl.errors import Unusable, shown
from queuectl.home import Home, failed, make_folder
from queuectl.host.atomic_file import write_file
from queuectl.host.procfs import machine_id
from queuectl.host.trust import check_folder


def open_home(facts: ServerFacts, about: About) -> Home:
    """The folder of this queue, made where it is missing. Raises Unusable where that is impossible or unsafe."""
    from platformdirs import user_state_dir

    key = f"{facts.system} {facts.database} {about.mark}".encode()
    name = hashlib.blake2b(key, digest_size=8).hexdigest()
    folder = os.path.realpath(os.path.join(user_state_dir("queuectl", appauthor=False), "postgresql", name))
    home = Home(folder, machine_id())
    try:
        make_folder(home.folder)
        check_folder(home.folder, "make files in")
        home.make()
    except OSError as error:
        raise failed(error.filename or home.folder, error) from error
    return home


def access(location: PostgresLocation, home: Home) -> str:
    """The URL by which workers and commands of this queue open it, which may be seen by all (`ps`, environments).

    A password that stood in the URL is kept in a file of the home, which libpq reads: a line for each role. Raises
    Unusable.
    """
    if location.password is None:
        return location.url
    path = home.folder + "/pgpass"
    role = f"*:*:*:{_escaped(unquote(urlsplit(location.dsn).username or '')) or '*'}:"
    line = role + _escaped(location.password)
    try:
        found = _read(path).decode().splitlines()
        if line not in found:
            others = [each for each in found if not each.startswith(role)]
            lines = sorted([*others, line], key=lambda each: each.startswith("*:*:*:*:"))  # what fits all comes last
            write_file(path, "".join(f"{each}\n" for each in lines).encode(), replace=True)
    except OSError as error:
        raise failed(path, error) from error
    return with_passfile(location, path)


def _escaped(field: str) -> str:
    """A field of a line in libpq's password file."""
    return field.replace("\\", "\\\\").replace(":", "\\:")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


LOST_EVENTS = (
    "a standby was promoted without all of them, or an older copy put in its place. Go back to the server that has"
    " them, or remove"
)


class PostgresHighWater(HighWater):
    """What this host knows as acknowledged: a standby that was promoted without it lacks what it should have."""

    def __init__(self, home: Home, url: str) -> None:
        super().__init__(home.folder + "/high-water")
        self._url = url

    def check_event(self, at: int | None, note: HighWaterMark) -> None:
        """Raise Unusable where the event of the note has another moment, `at`: the log was as long once, and is again,
        but others have gone on without what was acknowledged here. `at` None: there is no such event."""
        if at is not None and note.at is not None and at != note.at:
            raise Unusable(
                f"{self._url}: has another event {note.seq} than was acknowledged to this host: {LOST_EVENTS}"
                f" {shown(self._path)} to go on without"
            )

    def _another(self) -> Unusable:
        return Unusable(f"{self._url}: is not the queue that was here: check the URL, or remove {shown(self._path)}")

    def _behind(self, head: int, acknowledged: int) -> Unusable:
        return Unusable(
            f"{self._url}: ends with event {head}, but {acknowledged} were acknowledged to this host: {LOST_EVENTS}"
            f" {shown(self._path)} to go on without"
        )
