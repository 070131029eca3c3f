"""Read the run as a whole from the files of a run folder."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import fsum, inf, isfinite
from typing import Any, TypeGuard

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.merging import joined_objects
from curio_persistence.models import AgentRun, AgentRunStatus
from curio_persistence.tables import RUNS

CRASHED = "The run wrote neither its end nor a summary.json: it crashed, or was still going on."
"""The message of a run of which it is only supposed that it failed."""

_STATUSES = {
    "ok": AgentRunStatus.COMPLETED,
    "success": AgentRunStatus.COMPLETED,
    "succeeded": AgentRunStatus.COMPLETED,
    "completed": AgentRunStatus.COMPLETED,
    "failed": AgentRunStatus.ERROR,
    "failure": AgentRunStatus.ERROR,
    "error": AgentRunStatus.ERROR,
    "canceled": AgentRunStatus.CANCELLED,
    "cancelled": AgentRunStatus.CANCELLED,
    "timed_out": AgentRunStatus.TIMEOUT,
    "timeout": AgentRunStatus.TIMEOUT,
}
"""Words of AGDD and MAGSAG for how a run ended; another word is kept as it is."""

_GOES_ON = {"start", "resume", "retry", "recovery", "recovered"}
"""Log events after which an error before them did not end the run."""

_TOTALS = ("cost_usd", "token_count")
"""Sums that the summary has already."""

_ENDING = ("status", "finished_at", "error_message")
_PLAIN = ("agent_id", "agent_name", "parent_run_id", "started_at")
_JOINED = ("metrics", "metadata")
_LONGEST_ID = 255


@dataclass(slots=True)
class RunFacts:
    """One run, as far as its files were read."""

    run_id: str
    summary_file: dict[str, Any] | None
    plan: dict[str, Any] | None
    agent_id: str = ""
    agent_name: str = ""
    parent_run_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    first: datetime | None = None
    last: datetime | None = None
    status: str | None = None
    error: str | None = None
    values: dict[str, list[int | float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.agent_id = _if_fitting("agent_id", self.summary, "slug") or ""

    @property
    def summary(self) -> dict[str, Any]:
        return self.summary_file or {}

    def event_id(self, *parts: object) -> str:
        """Return the name of an event, made of its position."""
        name = "/".join(map(str, ("agdd", self.run_id, *parts)))
        return name if len(name) <= _LONGEST_ID else f"agdd/{_digest(name)}"

    def saw(self, moment: datetime) -> None:
        """Note that something of the run happened at this time."""
        if self.first is None or moment < self.first:
            self.first = moment
        if self.last is None or moment > self.last:
            self.last = moment

    def learn(self, event: str, data: dict[str, Any], moment: datetime) -> None:
        """Learn what a line of the log says of the run."""
        if event in _GOES_ON:
            self.status = self.error = self.ended_at = None
        if event == "start":
            self._start(data, moment)
        elif event == "error" and self.status is None:
            self.error = error_text(data)
            self.ended_at = moment
        elif event == "end":
            self._end(data, moment)

    def _start(self, data: dict[str, Any], moment: datetime) -> None:
        fitting("agent_id", data, "slug")  # The agent is known by now; this refuses a wrong one.
        agent_name = fitting("agent_name", data, "agent")
        parent_run_id = fitting("parent_run_id", data, "parent_run_id")
        self.started_at = self.started_at or moment
        self.agent_name = agent_name or self.agent_name
        self.parent_run_id = parent_run_id or self.parent_run_id

    def _end(self, data: dict[str, Any], moment: datetime) -> None:
        word = fitting("status", data, "status")
        if word is not None:
            self.status = _status(word)
        elif self.error is None:
            self.status = AgentRunStatus.COMPLETED
        if self.status == AgentRunStatus.COMPLETED:
            self.error = None
        self.error = text_in(data, "error") or self.error
        self.ended_at = moment

    def measured(self, name: str, value: Any) -> None:
        """Note a value of a metric; only numbers can be added up."""
        if _is_finite(value):
            self.values[name].append(value)

    def to_run(self) -> AgentRun:
        status, error = self._outcome()
        return AgentRun(
            self.agent_id,
            self.run_id,
            self.agent_name,
            started_at=self.started_at or self.first,
            finished_at=self.ended_at or self.last,
            status=status,
            error_message=error,
            created_at=self.started_at or self.first,
            parent_run_id=self.parent_run_id,
            metrics=self._totals() or None,
            metadata=self._metadata(),
        )

    def _outcome(self) -> tuple[str, str | None]:
        if self.status is not None:
            return self.status, self.error
        if self.error is not None:
            return AgentRunStatus.ERROR, self.error
        if self.summary_file is None:
            return AgentRunStatus.ERROR, CRASHED
        return _status(_if_fitting("status", self.summary, "status") or "completed"), None

    def _totals(self) -> dict[str, int | float]:
        totals = {name: _sum(values) for name, values in self.values.items()}
        totals.update((name, self.summary[name]) for name in _TOTALS if name in self.summary)
        return {name: total for name, total in totals.items() if _is_finite(total)}

    def _metadata(self) -> dict[str, Any]:
        """Return the rest of what was written about the run; the metrics are events."""
        metadata: dict[str, Any] = {"imported_from": "agdd"}
        if self.summary_file is not None:
            metadata["summary"] = {k: v for k, v in self.summary.items() if k != "metrics"}
        if self.plan is not None:
            metadata["plan"] = self.plan
        return metadata


def completed(stored: AgentRun, found: AgentRun) -> AgentRun:
    """Return a stored run with what its folder tells by now.

    What other programs added to it stays. A run that has a better end is not taken for failed.
    """
    names = [*_PLAIN, *_ENDING]
    ended = stored.status not in (AgentRunStatus.PENDING, AgentRunStatus.RUNNING)
    if found.error_message == CRASHED and ended and stored.error_message != CRASHED:
        names = [*_PLAIN]
    changes = {name: getattr(found, name) for name in names}
    for name in _PLAIN:
        changes[name] = changes[name] or getattr(stored, name)
    for name in _JOINED:
        changes[name] = joined_objects(getattr(stored, name), getattr(found, name))
    return replace(stored, **changes)


def text_in(values: dict[str, Any], name: str) -> str | None:
    """Return the text under a name; None if there is something else, or nothing."""
    value = values.get(name)
    return value if isinstance(value, str) and value else None


def fitting(field: str, values: dict[str, Any], name: str) -> str | None:
    """Return the text under a name; raise InvalidValueError if the field cannot hold it."""
    value = text_in(values, name)
    if value is not None:
        RUNS.encode_value(field, value)
    return value


def _if_fitting(field: str, values: dict[str, Any], name: str) -> str | None:
    try:
        return fitting(field, values, name)
    except InvalidValueError:
        return None


def error_text(data: dict[str, Any]) -> str:
    """Return the text of an error, in whatever form it was written."""
    value = next((data[name] for name in ("error", "message", "type") if data.get(name)), "error")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _status(word: str) -> str:
    return _STATUSES.get(word.lower(), word)


def _sum(values: list[int | float]) -> int | float:
    if all(isinstance(value, int) for value in values):
        return sum(values)
    try:
        return fsum(values)
    except OverflowError:  # No float is so large.
        return inf


def _is_finite(value: Any) -> TypeGuard[int | float]:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:  # A whole number that no float is as large as.
        return False


def _digest(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
