"""What can be changed of a job, as text: a JSON spec to be edited, and the words `FIELD=VALUE` of `--set`."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from projections.jobs import Job
from queuectl import clock, spec, units
from queuectl.cli import parameters as p
from queuectl.errors import Invalid
from queuectl.option_kinds import IDS, MOMENT, SWITCH, VARIABLES, Kind
from queuectl.options import EDITABLE, IN_EVENT, OF_NAME, Option, is_editable
from queuectl.policy import phase

_NOT_SHOWN = frozenset({"secrets", "stdin", "reason"})
"""Of the first two the log has the names alone; the last one is that of the edit."""
_FIELDS = ("command", *EDITABLE)


def text(job: Job) -> str:
    """Return what can be changed of a job as it is, as a JSON spec."""
    now, policy = phase(job), job.policy
    fields: dict[str, Any] = {}
    if is_editable("command", now):
        fields["command"] = policy.command if policy.command is not None else policy.argv
    for name in EDITABLE:
        if not is_editable(name, now) or name in _NOT_SHOWN:
            continue
        if name == "at":
            fields[name] = clock.text(job.run_at)
        elif name in IN_EVENT:
            fields[name] = _number(getattr(policy, name))
    if policy.argv is not None:
        fields.pop("shell", None)
    for name in ("backoff_base", "backoff_max") if policy.backoff else ("backoff",):  # the other way of the two
        fields.pop(name, None)
    return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode() + "\n"


def _number(value: Any) -> Any:
    """Return a value as a person would write it: 60, not 60.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def differences(before: str, after: bytes) -> dict[str, Any]:
    """Return the fields of Spec that one text gives otherwise than the one before; what it leaves out is not changed.

    Raises Invalid.
    """
    was, new = spec.read_fields(before), spec.read_fields(after)
    return {name: value for name, value in new.items() if name not in was or was[name] != value}


def read_words(words: Sequence[str]) -> dict[str, Any]:
    """Return the fields of Spec that words as `FIELD=VALUE` give. Raises Invalid."""
    texts: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Invalid(f"--set: {word!r} is not FIELD=VALUE")
        if name in ("held", "hold"):
            raise Invalid("--set: a job is held by `queuectl hold`, and let go by `queuectl release`")
        if name not in _FIELDS:
            near = units.nearest(name, _FIELDS) or f"; there are {', '.join(_FIELDS)}"
            raise Invalid(f"--set: {name!r} is no field that can be changed{near}")
        texts.setdefault(name, []).append(value)
    fields: dict[str, Any] = {}
    for name, values in texts.items():
        try:
            fields |= _command(values) if name == "command" else _value(OF_NAME[name], values)
        except Invalid as error:
            raise Invalid(f"--set {name}: {str(error).removeprefix(f'{name}: ')}") from None
    return fields


def _command(texts: Sequence[str]) -> Mapping[str, Any]:
    """Return what is to run: a line, or words where that is a JSON array."""
    line = _only(texts)
    try:
        return {"argv": msgspec.json.decode(line, type=tuple[str, ...])}
    except msgspec.DecodeError:
        return {"command": line}


def _value(option: Option, texts: Sequence[str]) -> Mapping[str, Any]:
    """Return the field that texts give, of which several are several values: one may be JSON."""
    kind = option.kind
    if (value := _json(kind, texts)) is not UNSET:
        value = kind.load(value)
    elif kind is IDS and list(texts) == [""]:
        value = kind.load([])
    elif kind is SWITCH:
        raise Invalid(f"{texts[0]!r} is not true or false")
    elif kind.many:
        value = p.variables(texts) if kind is VARIABLES else kind.read_all(texts)
    else:
        value = kind.read(_only(texts))
    return value if kind is MOMENT else {option.name: value}


def _json(kind: Kind, texts: Sequence[str]) -> Any:
    """Return the value that one text has as JSON; UNSET for another number of texts, and where it is not such JSON."""
    try:
        return msgspec.json.decode(texts[0], type=kind.json) if len(texts) == 1 else UNSET
    except msgspec.DecodeError:
        return UNSET


def _only(texts: Sequence[str]) -> str:
    if len(texts) > 1:
        raise Invalid("is given twice")
    return texts[0]
