"""The columns of `list --columns`: the fields of the document of a job, and its situation."""

from typing import TYPE_CHECKING, Any

from queuectl import units
from queuectl.clock import micros
from queuectl.documents import JOB, job_document
from queuectl.errors import Invalid
from queuectl.option_kinds import DURATION, TIMEOUT
from queuectl.options import OPTIONS

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.forecast import Forecast

SITUATION = "situation"
"""What a job is doing, waits for, or how it ended, in words."""
NAMES = (SITUATION, *(name for name in JOB.struct.__struct_fields__ if name not in ("attempts", "notes", "callbacks")))
DURATIONS = frozenset(option.name for option in OPTIONS if option.kind in (DURATION, TIMEOUT))
"""Fields of seconds."""


def columns_from(text: str) -> list[str]:
    """Return the names of `id,exit_code,tags`. Raises Invalid for an unknown one, or where one comes twice."""
    names = [word.strip().lower().replace("-", "_") for word in text.split(",")]
    for name in names:
        if name not in NAMES:
            raise Invalid(f"{name!r} is not a column{units.nearest(name, NAMES)}; there are {', '.join(NAMES)}")
        if names.count(name) > 1:
            raise Invalid(f"{name!r} comes twice")
    return names


def values(job: "Job", forecast: "Forecast", names: list[str], situation: str) -> dict[str, Any]:
    """Return the values of these columns, as the document of the job has them."""
    document = job_document(job, forecast)
    return {name: situation if name == SITUATION else getattr(document, name) for name in names}


def words(values: dict[str, Any]) -> list[str]:
    """Return values as a table shows them: moments in local time, nothing for what is not known."""
    return [_words(name, value) for name, value in values.items()]


def _words(name: str, value: Any) -> str:
    kind = type(value).__name__
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    if kind == "str":
        from queuectl.cli.ui.wording import local_time

        return local_time(micros(value)) if name.endswith("_at") else value
    if name in DURATIONS:
        return units.span(value)
    if kind == "dict":
        return " ".join(f"{key}={each}" if each != "" else key for key, each in value.items())
    if kind in ("tuple", "list") and all(isinstance(each, str | int) for each in value):
        return " ".join(map(str, value))
    import msgspec

    return msgspec.json.encode(value).decode()
