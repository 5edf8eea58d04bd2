"""Batches: jobs join one when they are enqueued, and no job waits for a batch that it belongs to."""

from collections.abc import Iterable, Sequence

from projections.batches import BatchState, stream
from projections.jobs import Job
from queuectl import decisions
from queuectl.circles import path_up, references_of
from queuectl.engines.view import Transaction, View
from queuectl.errors import Invalid, NotFound, Refused
from queuectl.events import BATCH
from queuectl.job_fields import Spec
from queuectl.labels import depends


def get_batch(view: View, name: str) -> BatchState:
    """The batch of this name. Raises NotFound."""
    if (batch := view.batch_state(name)) is None:
        raise NotFound(f"no batch {name!r}; see `queuectl batch list`")
    return batch


def join_batches(tx: Transaction, specs: Sequence[Spec], ids: Sequence[str], actor: str) -> None:
    """Have these new jobs be in their batches, of which those that are new are opened. The specs are resolved.

    Raises Invalid for a rule without a batch and for a job that would wait for itself, Refused where a batch is halted
    or has another rule.
    """
    rules: dict[str, str | None] = {}
    for spec in specs:
        if spec.batch is None:
            if spec.halt is not None:
                raise Invalid("halt: is the rule of a batch: give --batch NAME as well")
            continue
        rule = rules.setdefault(spec.batch, spec.halt)
        if spec.halt not in (None, rule):
            if rule is not None:
                raise Refused(f"batch {spec.batch} is given two rules: {rule} and {spec.halt}")
            rules[spec.batch] = spec.halt
    for name, rule in rules.items():
        batch = tx.batch_state(name)
        tx.append_to(stream(name), batch, decisions.join(name, batch, rule), actor)
    _refuse_circles(tx, specs, ids)


def halted_members(view: View, name: str) -> list[Job]:
    """The jobs of a batch that are dead or were cancelled because it was halted. Raises NotFound."""
    get_batch(view, name)
    return [job for job in view.members(name, ("dead", "cancelled")) if job.state == "dead" or job.cause == "halt"]


def reopen_batches(tx: Transaction, jobs: Iterable[Job], reason: str | None, actor: str) -> None:
    """Have the batches of jobs that are to run again be halted no more. Of jobs from an archive there may be none.

    Raises Refused where not all that waited in one of them has been cancelled yet.
    """
    for name in dict.fromkeys(job.batch for job in jobs if job.batch is not None):
        if (batch := tx.batch_state(name)) is None:
            continue
        tx.append_to(stream(name), batch, decisions.reopen(batch, reason), actor)


def _refuse_circles(view: View, specs: Sequence[Spec], ids: Sequence[str]) -> None:
    """Raise Invalid where a new job would wait for a job that depends on the batch which the new one joins.

    Also where that has ended: it may be run again. That new jobs do not wait for each other is known.
    """
    own = dict(zip(ids, specs, strict=True))
    references: dict[str, dict[str, str]] = {}
    for id, spec in own.items():
        if spec.batch is not None and depends(spec):
            references.setdefault(spec.batch, {}).update((each, id) for each in references_of(spec))
    for batch, first in references.items():
        after_it = {job.id for job in view.children(BATCH + batch)}
        if after_it and (path := path_up(view, [*first], after_it, own)):
            words = " -> ".join([own[first[path[0]]].id or "the new job", *path, BATCH + batch])
            raise Invalid(f"after: {words}, which it would join: they would wait for each other")
