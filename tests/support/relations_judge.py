"""A judge of dependencies, batches and callbacks, from the events alone: nothing that folds or decides is asked.

It is given the events as they come, also those that an archive removes later.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from queuectl.events import Recorded

ENDS = ("completed", "dead", "cancelled")
WRONG = ("dead", "cancelled")
KINDS = ("after", "after_any", "after_failure")
OPTIONS = {"completed": ("on_complete", "on_end"), "dead": ("on_failure", "on_end"), "cancelled": ("on_end",)}
MOVES = {
    "claimed": "processing", "completed": "completed", "failed": "failed", "retried": "failed", "dead": "dead",
    "cancelled": "cancelled", "unblocked": "pending",
}  # fmt: skip
"""The state of a job after an event of these types."""


class RelationsJudge:
    """What the log has told so far, and what was wrong with it."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.seen: Counter[str] = Counter()
        self._asked: dict[str, dict[str, Any]] = {}
        """By id: what `enqueued` said, with edits."""
        self._states: dict[str, str] = {}
        """By id: the latest state; of those that are gone, how they had ended."""
        self._failures: Counter[str] = Counter()
        self._purged: set[str] = set()
        self._rules: dict[str, str | None] = {}
        self._halted: set[str] = set()
        self._unfinished: set[str] = set()
        """The streams whose consequences were left for later."""
        self._ended_in: set[str] = set()
        """The batches of jobs that ended within the transaction."""
        self._on_dead: str | None = None
        """The callback of every job that dies."""
        self._untold: dict[str, str] = {}
        """By id of jobs whose callbacks were left for later: the end of which these tell."""
        self._due: Counter[tuple[str, str, str]] = Counter()
        """The callbacks that the transaction has to add: job, end, command; less those that it has added."""

    def hear(self, records: Iterable[Recorded]) -> None:
        """Look at some transactions, whole ones."""
        at = None
        for record in records:
            if record.at != at and at is not None:
                self._end_of_transaction(record.seq)
            at = record.at
            kind, _, name = record.stream.partition(":")
            data = msgspec.json.decode(record.data)
            if kind == "job":
                self._job(record, name, data)
            elif kind == "batch":
                self._batch(record, name, data)
            elif record.type == "config_set" and data["key"] == "on-dead":
                self._on_dead = data.get("value")
        if at is not None:
            self._end_of_transaction(0)

    def _job(self, record: Recorded, id: str, data: dict[str, Any]) -> None:
        type = record.type
        self.seen[type] += type == "waiting_for"
        if data.get("cascade"):
            self._unfinished.add(record.stream)
        match type:
            case "enqueued":
                if (trigger := data.get("trigger", {})).get("event") in ENDS:
                    self._due[trigger["job"], trigger["event"], data["command"]] -= 1
                    self.seen[f"callback of {trigger['event']}"] += 1
                    self.seen["callback of any death"] += data["command"].startswith("page")
                self._asked[id] = data
                self._states[id] = "blocked" if data.get("watching") else "pending"
            case "edited":
                self._edit(record, id, {name: new for name, (_, new) in data["changes"].items()})
            case "requeued":
                self._states[id] = "blocked" if data.get("watching") else "pending"
                self._failures[id] = 0
            case "released" | "interrupted":
                self._states[id] = "failed" if self._failures[id] else "pending"
            case "purged":
                self._purged.add(id)
            case "cascaded":
                self._unfinished.discard(record.stream)
                self._call_back(id)
            case _ if type in MOVES:
                self._move(record, id, type, data)
        if (type in ("enqueued", "requeued") and self._states[id] == "pending") or type == "unblocked":
            # Those that are enqueued with it come after it in the log: nothing is known of them yet.
            if stands := self._stands(id):
                self.faults.append(f"{record.seq}: {id} may start, and {stands}")
            self.seen[f"{type} and free"] += 1

    def _edit(self, record: Recorded, id: str, changes: dict[str, Any]) -> None:
        self._asked[id] |= changes
        if {*changes} & {*KINDS} and self._states[id] != "blocked":
            self.faults.append(f"{record.seq}: what {id} depends on is changed, and it is {self._states[id]}")
        if "watching" in changes and changes["watching"] is None and self._states[id] == "blocked":
            self.seen["edited and free"] += 1
            self._states[id] = "failed" if self._failures[id] else "pending"
            if stands := self._stands(id):
                self.faults.append(f"{record.seq}: {id} may start by an edit, and {stands}")

    def _move(self, record: Recorded, id: str, type: str, data: dict[str, Any]) -> None:
        batch = self._asked[id].get("batch")
        if type == "claimed":
            if self._states[id] not in ("pending", "failed"):
                self.faults.append(f"{record.seq}: {id} is claimed, and was {self._states[id]}")
            if batch in self._halted:
                self.faults.append(f"{record.seq}: {id} is claimed, and its batch {batch} is halted")
        if type == "failed":
            self._failures[id] += 1
        if type in ENDS and batch is not None:
            self._ended_in.add(batch)
        # What runs is cancelled once it is gone: by then the batch may be open again.
        at_once = type == "cancelled" and data.get("attempt") is None
        if at_once and data.get("cause") == "halt" and batch not in self._halted:
            self.faults.append(f"{record.seq}: {id} is cancelled by a halt, and {batch} is not halted")
        if type == "cancelled" and data.get("cause") == "dependency":
            self.seen["cancelled with its parents"] += 1
            if self._stands(id) != "it never starts":
                self.faults.append(
                    f"{record.seq}: {id} is cancelled with its parents, and {self._stands(id) or 'may start'}"
                )
        if type in ENDS and self._states[id] not in ENDS:
            self._untold[id] = type
        if type in ENDS and not data.get("cascade"):
            self._call_back(id)
        self._states[id] = MOVES[type]

    def _call_back(self, id: str) -> None:
        """The callbacks are due of an end of which they were not told yet."""
        if (state := self._untold.pop(id, None)) is None:
            return
        lines = [self._asked[id].get(option) for option in OPTIONS[state]]
        if state == "dead" and self._asked[id].get("trigger", {}).get("event") is None:
            lines.append(self._on_dead)
        self._due.update((id, state, line) for line in lines if line is not None)

    def _batch(self, record: Recorded, name: str, data: dict[str, Any]) -> None:
        self.seen[record.type] += 1
        match record.type:
            case "batch_opened":
                self._rules[name] = data.get("halt")
            case "batch_halted":
                self._halted.add(name)
                if data.get("cascade"):
                    self._unfinished.add(record.stream)
                counts = self.counts(name)
                told = {state: data[state] for state in ENDS} | {"total": data["total"]}
                if told != {state: counts[state] for state in ENDS} | {"total": counts.total()}:
                    self.faults.append(f"{record.seq}: batch {name} is halted with {told}, and has {dict(counts)}")
                if not self._is_met(name):
                    self.faults.append(f"{record.seq}: batch {name} is halted, and {self._rules[name]} is not met")
            case "batch_reopened":
                self._halted.discard(name)
            case _:
                self._unfinished.discard(record.stream)

    def _end_of_transaction(self, seq: int) -> None:
        for name in self._ended_in:
            if self._rules[name] is not None and name not in self._halted and self._is_met(name):
                self.faults.append(f"before {seq}: batch {name} meets {self._rules[name]}, and is not halted")
        self._ended_in.clear()
        for (id, state, line), count in self._due.items():
            if count:
                self.faults.append(f"before {seq}: {id} is {state}, and {line!r} is added {-count:+} times too often")
        self._due.clear()
        if self._unfinished:
            return
        for id, state in self._states.items():
            if state == "blocked" and (stands := self._stands(id)) != "it waits":
                self.faults.append(f"before {seq}: {id} is forgotten: it is blocked, and {stands or 'may start'}")
            if state in ("pending", "failed", "blocked") and self._asked[id].get("batch") in self._halted:
                self.faults.append(f"before {seq}: {id} waits, and its batch is halted")

    def _stands(self, id: str) -> str:
        """How a job stands with its parents; empty: it may start."""
        asked = {kind: [*self._parents(asked)] for kind in KINDS if (asked := self._asked[id].get(kind))}
        waits = any(state not in ENDS for state in (*asked.get("after", ()), *asked.get("after_any", ())))
        never = any(state in WRONG for state in asked.get("after", ()))
        if (failures := asked.get("after_failure")) and not any(state in WRONG for state in failures):
            left = any(state not in ENDS for state in failures)
            waits, never = waits or left, never or not left
        return "it never starts" if never else "it waits" if waits else ""

    def _parents(self, references: Iterable[str]) -> Iterator[str]:
        """The states of these jobs and of those of batches; `completed` of a batch of which nothing is left."""
        for reference in references:
            if not reference.startswith("batch:"):
                yield self._states.get(reference, "pending")
                continue
            members = [state for id, state in self._members(reference.removeprefix("batch:"))]
            yield from members or ["completed"]

    def _members(self, batch: str) -> Iterator[tuple[str, str]]:
        for id, asked in self._asked.items():
            if asked.get("batch") == batch and id not in self._purged:
                yield id, self._states[id]

    def counts(self, batch: str) -> Counter[str]:
        """How many jobs of a batch are in each state."""
        return Counter(state for _, state in self._members(batch))

    def _is_met(self, batch: str) -> bool:
        rule = re.fullmatch(r"(soon|now),(fail|success|done)=(\d+)", self._rules[batch] or "")
        assert rule is not None, self._rules[batch]
        counts = self.counts(batch)
        found = {"fail": counts["dead"], "success": counts["completed"], "done": sum(counts[state] for state in ENDS)}
        return found[rule[2]] >= int(rule[3])

    @property
    def waiting(self) -> list[str]:
        """The ids of jobs that wait."""
        return [id for id, state in self._states.items() if state in ("pending", "failed", "blocked")]
