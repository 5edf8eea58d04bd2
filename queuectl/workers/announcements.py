"""What a supervisor makes known of itself: to its starter, on its terminal, and to the manager of the service it is."""

import os
from contextlib import suppress

from queuectl.host.notify_socket import NotifySocket
from queuectl.workers.start_options import READY, SupervisorOptions
from queuectl.workers.stderr import is_watched, say


class Announcements:
    """Announcements of one supervisor."""

    def __init__(self, options: SupervisorOptions, notify: NotifySocket) -> None:
        self._options = options
        self._notify = notify

    def up(self) -> None:
        """The workers have been spawned."""
        options = self._options
        if options.ready is not None:
            with suppress(OSError):  # the starter may be gone
                os.write(options.ready, READY)
            os.close(options.ready)
        many = f"{options.count} workers" if options.count != 1 else "1 worker"
        slots = f", {options.worker.slots} slots each" if options.worker.slots != 1 else ""
        self._tell(f"{many} up{slots}; Ctrl-C finishes what runs and stops")
        self._notify.ready(f"{many} up{slots}")

    def stopping(self, signals: int) -> None:
        """So many signals to stop have come."""
        self._tell("finishing what runs; once more ends it" if signals == 1 else "ending what runs: it runs again")
        self._notify.stopping("finishing what runs" if signals == 1 else "ending what runs")

    def _tell(self, text: str) -> None:
        if is_watched() and not self._options.worker.is_private:
            say(text)
