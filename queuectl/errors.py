"""What can go wrong, as a small family: each message is one line that says what was wrong and what to do.

Every error knows the exit code the command line gives for it (`exit_code`).
"""


def shown(path: str) -> str:
    """A path as it may stand in a message of one line: quoted and escaped where it holds what could break it."""
    return path if path.isprintable() else ascii(path)


class QueueError(Exception):
    """Something the caller asked for could not be done."""

    exit_code = 1


class NotFound(QueueError):
    """No such job, attempt, worker or key."""


class Invalid(QueueError, ValueError):
    """A value that is not accepted: the message names it and what would be."""

    exit_code = 2


class OutputGone(NotFound):
    """An attempt has run, and the file with its output is not there any more."""


class OutputElsewhere(NotFound):
    """The file with an output lies on another host."""


class Refused(QueueError):
    """The job's state does not allow it (retrying a running job, say)."""

    exit_code = 3


class Exists(Refused):
    """There is such a job already: one with that id, or with that unique key."""

    def __init__(self, text: str, job: str) -> None:
        """`job` is the id of the one that is there."""
        super().__init__(text)
        self.job = job


class Fenced(Refused):
    """A report under a lease that is no longer held: another worker owns the job's outcome now."""


class Conflict(QueueError):
    """The stream has moved on since its state was read (the optimistic lock): load again and decide again."""


class Unusable(QueueError):
    """The database can't be used: missing rights, not ours, corrupt, full, locked too long, of a newer version."""

    exit_code = 4


class Absent(Unusable):
    """There is no database where one was named, and none is to be made."""


class Busy(Unusable):
    """Another process has kept the database locked for too long."""


class Outdated(Unusable):
    """A newer queuectl has been at the database: this one must stop and be started anew."""


class Replaced(Unusable):
    """The files of an open database are not at their paths any more: nothing is read from them, or acknowledged."""


class Deadline(QueueError):
    """The time given to `wait` has passed."""

    exit_code = 124


class Notice(UserWarning):
    """Something that is done another way than was written: a line beside the answer."""


class TimeWarning(Notice):
    """A local time that a clock never shows: the first moment after it is meant."""


class SettingWarning(Notice):
    """A value of `.env` or the environment that is passed over: another program's, most likely."""
