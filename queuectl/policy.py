"""From what a user asked for to the policy that stands in the log: a `Spec` with the settings filled in."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from projections.jobs import FINAL, Job
from projections.new_jobs import Alike
from queuectl.clock import SECOND, text
from queuectl.events import Enqueued, Trigger
from queuectl.job_fields import Spec
from queuectl.options import IN_EVENT, SETTINGS, Phase
from queuectl.runnable import SHELL
from queuectl.settings import Settings
from queuectl.spec import said


def template(settings: Settings, here: str, environment: str | None = None, trigger: Trigger | None = None) -> Enqueued:
    """The policy of a job of which nothing was said: its command and moment are still to be filled in.

    `here` is the enqueuer's folder, `environment` names what is kept of the enqueuer's; `trigger` is what enqueues it,
    where that is no person.
    """
    plain = Enqueued(
        run_at="", cwd=here, environment=environment, max_retries=0, backoff_base=1.0, backoff_max=0.0, trigger=trigger
    )
    values = {option.name: getattr(settings, option.name) for option in SETTINGS}
    return changed(plain, {name: value for name, value in values.items() if value != getattr(plain, name)})


def alike(
    specs: Iterable[Spec],
    ids: Iterable[str],
    settings: Settings,
    base: Enqueued,
    now: int,
    inputs: Mapping[str, str],
    watching: Callable[[Spec], str | None] = lambda spec: None,
) -> list[Alike]:
    """New jobs with their whole policies, of checked Specs: those of which the same was said, one after the other, are
    together.

    `base` is the template, `inputs` has the names of the copies of what they read. `watching` gives the job for whose
    end one waits first, and may refuse it. Raises, as QueueError, what is wrong with a setting that one of them needs.
    """
    groups: list[Alike] = []
    jobs: list[tuple[str, str | None]] = []
    before: dict[str, Any] | None = None
    for spec, id in zip(specs, ids, strict=True):
        asked = said(spec)
        if spec.id is not None:
            del asked["id"]
        if spec.argv is not None:
            asked["argv"] = spec.argv
        if asked != before:
            before = asked
            _check_settings(settings, asked)
            jobs = []
            made = resolve(spec, base, now, inputs[spec.stdin] if spec.stdin else None)
            if made.depends:
                made = replace(made, watching=watching(spec))
            groups.append(Alike(made, jobs))
        jobs.append((id, spec.command))
    return groups


def _check_settings(settings: Settings, said: Mapping[str, Any]) -> None:
    """Raise, as QueueError, what is wrong with a setting that a job of which this was said needs."""
    if settings.unusable:
        needed = [option.name for option in SETTINGS if not said.keys() & {option.name, *option.instead_of}]
        settings.require("keep_env", *needed)


def resolve(spec: Spec, base: Enqueued, now: int, stdin: str | None) -> Enqueued:
    """A new job's whole policy: the template with all that was said of the job, by a checked Spec. `now` is µs UTC."""
    plain = replace(base, command=spec.command, run_at=text(now))
    options = said(spec)
    if spec.argv is not None:
        options["argv"] = spec.argv
    return changed(plain, options, now, stdin) if options else plain


def changed(
    before: Enqueued,
    said: Mapping[str, Any],
    now: int = 0,
    stdin: str | None = None,
    whole: Collection[str] = (),
) -> Enqueued:
    """A job's policy with what was said: values of a checked Spec, by field.

    `now` is µs UTC, for a delay; `stdin` names the copied input. `env` and `tags` are added to, but for those that are
    given `whole`.
    """
    new: dict[str, Any] = {}
    for name, value in said.items():
        match name:
            case "command":
                new |= {"command": value, "argv": None}
            case "argv":
                new |= {"argv": list(value), "command": None, "shell": SHELL}
            case "delay":
                new["run_at"] = text(now + round(value * SECOND))
            case "at":
                new["run_at"] = text(value)
            case "backoff_base" | "backoff_max":
                new |= {name: value, "backoff": ()}
            case "env" | "tags":
                new[name] = value if name in whole else getattr(before, name) | value
            case "secrets":
                new[name] = (*sorted(value),)
            case "stdin":
                new[name] = stdin
            case _ if name in IN_EVENT:
                new[name] = value
            case _:
                pass  # not in the log: the id names the stream
    return replace(before, **new)


def renewed(policy: Enqueued, said: Collection[str], settings: Settings) -> Enqueued:
    """A policy with the settings as they are by now, for all of which nothing was said."""
    silent = [option for option in SETTINGS if not {option.name, *option.instead_of}.intersection(said)]
    values = {option.name: getattr(settings, option.name) for option in silent}
    if policy.argv is not None:
        values.pop("shell", None)
    return replace(policy, **values)


def phase(job: Job) -> Phase:
    """How far a job has come, for what can be changed of it."""
    if job.state in FINAL:
        return "ended"
    return "running" if job.state == "processing" else "blocked" if job.state == "blocked" else "waiting"
