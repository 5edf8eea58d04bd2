"""At rest: whether anything in the queue will still happen by itself (R46)."""

from collections.abc import Collection, Iterator, Sequence

from projections.counts import Count
from projections.jobs import FINAL
from projections.queues import ALL
from queuectl.admission import WAITING
from queuectl.engines.view import View


def live_jobs(view: View, queues: Sequence[str] = ()) -> int:
    """How many jobs of these queues (none named: of all) have not ended and wait for no person.

    Those that wait for one are held, or in a queue that is paused without an end.
    """
    return sum(count.jobs for count in _live(view, queues, _paused(view)))


def at_rest(view: View, queues: Sequence[str], now: int, ours: int) -> bool:
    """Whether nothing in these queues (none named: in all) will happen by itself, starts that users delayed aside.

    `ours`: how many processing jobs can't end before the asker does, or can't be ended at all.
    """
    paused = _paused(view)
    live = [*_live(view, queues, paused)]
    if any(count.state == "failed" for count in live) or view.forced(queues):
        return False
    if sum(count.jobs for count in live if count.state == "processing") > ours:
        return False
    due = view.next_due(queues, paused) if ALL not in paused else None
    return due is None or due > now


def _live(view: View, queues: Sequence[str], paused: Collection[str]) -> Iterator[Count]:
    for count in view.all_counts(queues):
        shut = ALL in paused or count.queue in paused
        if count.state not in FINAL and not count.held and not (shut and count.state in WAITING):
            yield count


def _paused(view: View) -> set[str]:
    """The queues that are paused until somebody resumes them."""
    return {name for name, gate in view.gates().items() if gate.state.paused_for_good}
