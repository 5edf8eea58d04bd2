"""What was acknowledged last, and in which file, noted beside the SQLite database.

Where the `-wal` was removed, or an older copy put in the database's place, SQLite opens it without a word, as it was
some time ago; where another database was laid under a `-wal` that was left, it mixes the two.
"""

from queuectl.engines.high_water import HighWater
from queuectl.engines.sqlite.location import Location
from queuectl.errors import Unusable, shown


class SqliteHighWater(HighWater):
    """The note in the queue's home."""

    def __init__(self, location: Location) -> None:
        super().__init__(location.high_water)
        self._location = location

    def _another(self) -> Unusable:
        name, folder = shown(self._location.database), shown(self._location.home.folder)
        return Unusable(
            f"{name}: is not the database that was here, but a copy or another one: put that back; or, to go on"
            f" with this one, stop the workers, move {name}-wal, {name}-shm and {folder} away and try again"
        )

    def _behind(self, head: int, acknowledged: int) -> Unusable:
        return Unusable(
            f"{shown(self._location.database)}: ends with event {head}, but {acknowledged} were acknowledged: its -wal"
            " was removed, or an older copy put in its place. Put back what belongs to it, or remove"
            f" {shown(self._path)} to go on so"
        )
