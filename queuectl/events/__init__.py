"""Every type of event, and its JSON form.

An event is a frozen Struct; together they are one tagged union, `Event`. The tag is the `type` column of the log, so
payloads do not repeat it. Moments in payloads are RFC 3339 text, durations are seconds, sizes are bytes. A stored
payload is never encoded again. `queuectl.events.vocabulary` reads payloads, old forms too.
"""

from typing import Any

import msgspec

from queuectl.clock import text
from queuectl.errors import Invalid
from queuectl.events.batch import BATCH as BATCH
from queuectl.events.batch import BatchHalted as BatchHalted
from queuectl.events.batch import BatchOpened as BatchOpened
from queuectl.events.batch import BatchReopened as BatchReopened
from queuectl.events.execution import Execution as Execution
from queuectl.events.job import Archived as Archived
from queuectl.events.job import Cancelled as Cancelled
from queuectl.events.job import CancelRequested as CancelRequested
from queuectl.events.job import Cascaded as Cascaded
from queuectl.events.job import Claimed as Claimed
from queuectl.events.job import Completed as Completed
from queuectl.events.job import Continued as Continued
from queuectl.events.job import Dead as Dead
from queuectl.events.job import Edited as Edited
from queuectl.events.job import Ended as Ended
from queuectl.events.job import Enqueued as Enqueued
from queuectl.events.job import Failed as Failed
from queuectl.events.job import Forced as Forced
from queuectl.events.job import Held as Held
from queuectl.events.job import Interrupted as Interrupted
from queuectl.events.job import Moved as Moved
from queuectl.events.job import Noted as Noted
from queuectl.events.job import Passed as Passed
from queuectl.events.job import Purged as Purged
from queuectl.events.job import Released as Released
from queuectl.events.job import Requeued as Requeued
from queuectl.events.job import Retried as Retried
from queuectl.events.job import Suspended as Suspended
from queuectl.events.job import Unblocked as Unblocked
from queuectl.events.job import Unheld as Unheld
from queuectl.events.job import WaitingFor as WaitingFor
from queuectl.events.log import ConfigSet as ConfigSet
from queuectl.events.log import EnvironmentKept as EnvironmentKept
from queuectl.events.log import Sealed as Sealed
from queuectl.events.payload import Payload as Payload
from queuectl.events.queue import QueueLimited as QueueLimited
from queuectl.events.queue import QueuePaused as QueuePaused
from queuectl.events.queue import QueueResumed as QueueResumed
from queuectl.events.resource import ResourceSet as ResourceSet
from queuectl.events.resource import ResourceUnset as ResourceUnset
from queuectl.events.schedule import ScheduleAdded as ScheduleAdded
from queuectl.events.schedule import ScheduleEdited as ScheduleEdited
from queuectl.events.schedule import ScheduleFired as ScheduleFired
from queuectl.events.schedule import SchedulePaused as SchedulePaused
from queuectl.events.schedule import ScheduleRemoved as ScheduleRemoved
from queuectl.events.schedule import ScheduleResumed as ScheduleResumed
from queuectl.events.schedule import ScheduleRewound as ScheduleRewound
from queuectl.events.schedule import ScheduleSkipped as ScheduleSkipped
from queuectl.events.schedule import ScheduleTerms as ScheduleTerms
from queuectl.events.trigger import CALLBACK_PRIORITY as CALLBACK_PRIORITY
from queuectl.events.trigger import Trigger as Trigger
from queuectl.events.vocabulary import Newer as Newer
from queuectl.events.vocabulary import Unreadable as Unreadable
from queuectl.events.vocabulary import Vocabulary
from queuectl.events.worker import Heartbeat as Heartbeat
from queuectl.events.worker import HeldAttempt as HeldAttempt
from queuectl.events.worker import StopRequested as StopRequested
from queuectl.events.worker import WorkerLost as WorkerLost
from queuectl.events.worker import WorkerStarted as WorkerStarted
from queuectl.events.worker import WorkerStopped as WorkerStopped
from queuectl.rate import Rate as Rate

Event = (
    Enqueued
    | Claimed
    | Completed
    | Failed
    | Retried
    | Dead
    | Requeued
    | Edited
    | CancelRequested
    | Cancelled
    | Cascaded
    | WaitingFor
    | Unblocked
    | Released
    | Interrupted
    | Held
    | Unheld
    | Forced
    | Suspended
    | Continued
    | Noted
    | Purged
    | Archived
    | WorkerStarted
    | Heartbeat
    | StopRequested
    | WorkerStopped
    | WorkerLost
    | QueuePaused
    | QueueResumed
    | QueueLimited
    | ResourceSet
    | ResourceUnset
    | BatchOpened
    | BatchHalted
    | BatchReopened
    | ScheduleAdded
    | ScheduleEdited
    | SchedulePaused
    | ScheduleResumed
    | ScheduleRemoved
    | ScheduleFired
    | ScheduleSkipped
    | ScheduleRewound
    | EnvironmentKept
    | ConfigSet
    | Sealed
)


WAKING: frozenset[str] = frozenset(kind.type for kind in Event.__args__ if kind.wakes_workers)
"""The types of events after which a worker may have something to do."""

VOCABULARY = Vocabulary(Event.__args__, {})

encode = msgspec.json.Encoder().encode


def stored(event: Event) -> str:
    """The payload of an event as the log stores it.

    Raises Invalid where a field is of another type than it should be: nobody could read that again, and it stays.
    """
    data = encode(event).decode()
    try:
        VOCABULARY.decode(event.type, event.v, data)
    except Unreadable as error:
        raise Invalid(f"{event.type}: {error.__cause__}") from None
    return data


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """One row of the log. `at` is in microseconds UTC; `data` is the stored text, exactly."""

    seq: int
    stream: str
    version: int
    type: str
    v: int
    at: int
    actor: str
    data: str

    @property
    def event(self) -> Event:
        """The payload, upcast where it is old. Raises Unreadable where it is damaged or newer than this program."""
        return VOCABULARY.decode(self.type, self.v, self.data)

    @property
    def subject(self) -> str:
        """The id in the stream's name: `job1` of `job:job1`."""
        return self.stream.partition(":")[2]

    def json(self, **more: Any) -> bytes:
        """The event as every command shows it, with the stored payload unchanged, and `more` fields after it."""
        return encode({
            "seq": self.seq,
            "stream": self.stream,
            "version": self.version,
            "type": self.type,
            "v": self.v,
            "at": text(self.at),
            "actor": self.actor,
            "data": msgspec.Raw(self.data.encode()),
            **more,
        })  # fmt: skip
