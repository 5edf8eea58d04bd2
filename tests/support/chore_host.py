"""A worker as its chores see it, which only records what they ask for."""


class Host:
    """See `ChoreHost`."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.pauses: list[str] = []
        self.stopped: list[str] = []
        self.abandoned: list[str] = []
        self.turns_after = 0.0
        self.turns_requested = 0

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def pause(self, message: str, now: float) -> None:
        self.pauses.append(message)

    def postpone_turns(self, until: float) -> None:
        self.turns_after = until

    def request_turn(self) -> None:
        self.turns_requested += 1

    def stop(self, reason: str) -> None:
        self.stopped.append(reason)

    def abandon(self, reason: str) -> None:
        self.abandoned.append(reason)
