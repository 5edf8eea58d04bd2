"""Editing: what was asked of a job is changed, nearly all of it while it waits, a little of it later."""

from collections.abc import Collection, Mapping
from typing import Any, Unpack

import msgspec
from msgspec.structs import replace

from projections.dependencies import DEPENDENCY_KINDS
from projections.jobs import Job
from queuectl import bounds, decisions, inputs, policy
from queuectl.circles import refuse_circle
from queuectl.engines.callbacks import refuse_too_deep
from queuectl.engines.view import Transaction, View
from queuectl.enqueueing import Enqueueing
from queuectl.errors import Invalid, Refused
from queuectl.events import Enqueued, Event
from queuectl.job_fields import Edits, Spec
from queuectl.labels import NewStandings
from queuectl.options import TAKE_NONE
from queuectl.spec import build


class EditRequest(msgspec.Struct, frozen=True):
    """What is to be others of jobs, checked as far as that can be without them."""

    said: Mapping[str, Any]
    """Values by field of Spec."""
    whole: Collection[str]
    """Those of `env` and `tags` that take the place of what is there, rather than being added to it."""
    stdin: str | None
    """The name of the copied input."""
    secrets: Mapping[str, str] | None
    """The values of secret variables; None: none are given."""
    reason: str | None


class Editing(Enqueueing):
    """The command that changes what was asked. `Queue` has it."""

    def edit(
        self,
        *ids: str,
        among: Collection[str] | None = None,
        version: int | None = None,
        whole: Collection[str] = (),
        **changes: Unpack[Edits],
    ) -> list[str]:
        """Change what was asked of jobs, all or none, and return the ids of those of which anything is another now.

        `changes` are fields of Spec (see `enqueue`; also command or argv); None leaves one as it is, but as a timeout
        or a memory limit, of which it says that there is none. `env` and `tags` add to what the jobs have, or take its
        place where `whole` names them; `secrets` gives values anew. A job that waits can be changed in all that
        `Edits` has, in what it depends on only while it is blocked; one that runs in `max_retries`, `timeout`,
        `on_lost` and `tags`, as it runs; one that has ended in `tags`.

        `version`: that of the one job when its policy was read. `among` is as of `cancel`. Raises Invalid for a bad
        value, for a job to depend on that never was, and for jobs that would wait for each other; Refused where a job
        has come too far for a change, has another version by now, or would never start.
        """
        if version is not None and len({*ids}) != 1:
            raise Invalid("version: is that of one job: name that one alone")
        change = self.checked(changes, Edits.__optional_keys__, whole)

        def decide(tx: Transaction, job: Job) -> list[Event]:
            if version not in (None, job.version):
                raise Refused(f"job {job.id} has changed since it was read: see queuectl inspect {job.id} --events")
            names = [*change.said] if change.secrets is None else [*change.said, "secrets"]
            decisions.refuse_uneditable(job, names)
            wanted = self._wanted(tx, job, change)
            stored = tx.secrets(job.id) if change.secrets else {}
            new = {name: value for name, value in (change.secrets or {}).items() if stored.get(name) != value}
            if new:
                tx.keep_secrets(job.id, new)
                wanted = replace(wanted, secrets=(*sorted({*job.secrets, *new}),))
            return decisions.edit(job, wanted, change.reason, secrets=bool(new))

        return self._change(ids, among, decide)

    def checked(self, changes: Mapping[str, Any], known: Collection[str], whole: Collection[str] = ()) -> EditRequest:
        """What is to be changed, of these fields of Spec alone. Raises Invalid."""
        fields = {name: value for name, value in changes.items() if value is not None or name in TAKE_NONE}
        for name in fields:
            if name not in known:
                raise Invalid(f"{name} can't be changed; what can: {', '.join(sorted(known))}")
        spec = build(fields if "command" in fields or "argv" in fields else {**fields, "command": "true"})
        return EditRequest(
            said={name: getattr(spec, name) for name in fields if name not in ("secrets", "reason")},
            whole=whole,
            stdin=inputs.copy(spec.stdin, self._engine) if spec.stdin else None,
            secrets=spec.secrets if "secrets" in fields else None,
            reason=spec.reason,
        )

    def _wanted(self, tx: Transaction, job: Job, change: EditRequest) -> Enqueued:
        """The policy that a job is to have, but for its secrets. Raises Invalid and Refused for one that can't be."""
        wanted = policy.changed(decisions.in_force(job), change.said, tx.now, change.stdin, change.whole)
        bounds.check_codes(wanted.ok_codes, wanted.no_retry_codes)
        bounds.check_tags(wanted.tags)
        bounds.check_variables("env", wanted.env)
        if twice := wanted.env.keys() & {*job.secrets, *(change.secrets or ())}:
            raise Invalid(f"job {job.id} has {min(twice)} as a secret and not as one: choose")
        if "shell" in change.said and wanted.argv is not None:
            raise Invalid(f"shell: what job {job.id} runs is given as words, and run without a shell")
        if change.said.keys() & {"on_complete", "on_failure", "on_end"}:
            refuse_too_deep(tx, wanted)
        if "needs" in change.said:
            self.refuse_beyond(tx, [Spec(needs=wanted.needs, held=job.held)])
        if change.said.keys() & {*DEPENDENCY_KINDS}:
            wanted = replace(wanted, watching=_watching(tx, job, wanted))
        return wanted


def _watching(view: View, job: Job, wanted: Enqueued) -> str | None:
    """The job for whose end a job is to wait that depends on what is wanted; None: it may start.

    Raises Invalid where there is no such job, and where they would wait for each other; Refused where it never would.
    """
    refuse_circle(view, job, wanted)
    spec = Spec(id=job.id, **{kind: getattr(wanted, kind) for kind in DEPENDENCY_KINDS})
    return NewStandings(view, [spec], [job.id]).watching(spec)
