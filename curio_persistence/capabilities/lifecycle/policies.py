"""Retention policies: which runs are kept, and for how long."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from curio_persistence.capabilities.lifecycle.sizes import checked_bytes
from curio_persistence.capabilities.windows import checked_length
from curio_persistence.errors import InvalidValueError
from curio_persistence.models import AgentRunStatus
from curio_persistence.store.filters import checked_count
from curio_persistence.tables import RUNS

_LENGTHS = ("keep", "keep_content")
UNFINISHED = (AgentRunStatus.RUNNING.value, AgentRunStatus.PENDING.value)


@dataclass(frozen=True)
class RetentionPolicy:
    """The time for which finished runs are kept, with all that belongs to them.

    `keep` is an age, counted from when a run finished: a timedelta, or text such as `"90d"`.
    `max_runs` is how many runs are kept, the newest ones; child runs are not counted. `max_bytes`
    is how large the database may be, a number or text such as `"500MB"`: the runs that finished
    first are deleted until it is no larger. With several limits, a run is kept only while it is
    within each. With none, it is kept for ever. `keep_content` is the age at which texts are
    removed from runs, events, model calls and scores: numbers, names, statuses and times stay until
    the run expires.

    The policy applies to runs of `agent_id`, with `status`, and with one of `tags`; each may be
    several, and None is any. The first run of a tree decides for all of it. Where several policies
    fit a run, those with the most conditions decide; of equals, the run is kept as long as one of
    them keeps it.
    """

    name: str = "default"
    keep: timedelta | str | None = None
    max_runs: int | None = None
    keep_content: timedelta | str | None = None
    agent_id: str | Collection[str] | None = None
    status: str | Collection[str] | None = None
    tags: str | Collection[str] | None = None
    max_bytes: int | str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidValueError("A policy has a name.", field="name")
        for name in _LENGTHS:
            if (length := getattr(self, name)) is not None:
                object.__setattr__(self, name, checked_length(name, length))
        if self.max_runs is not None:
            object.__setattr__(self, "max_runs", checked_count("max_runs", self.max_runs))
        if self.max_bytes is not None:
            object.__setattr__(self, "max_bytes", checked_bytes("max_bytes", self.max_bytes))
        for condition in ("agent_id", "status", "tags"):
            object.__setattr__(self, condition, _checked(condition, getattr(self, condition)))
        if any(status in UNFINISHED for status in self.status or ()):
            raise InvalidValueError(
                "status is that of finished runs: others never expire.", field="status"
            )

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> RetentionPolicy:
        """Return the policy that `to_dict` described."""
        try:
            given: dict[str, Any] = dict(settings)
            for name in _LENGTHS:
                if (seconds := given.pop(f"{name}_seconds", None)) is not None:
                    given[name] = timedelta(seconds=seconds)
            return cls(**given)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidValueError(f"This is not a retention policy: {error}.") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the policy as JSON has it; what is not set is left out."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        for name in _LENGTHS:
            if name in known:
                known[f"{name}_seconds"] = known.pop(name).total_seconds()
        return known

    def of_content(self) -> RetentionPolicy:
        """Return the policy by which texts expire."""
        return replace(
            self, keep=self.keep_content, max_runs=None, max_bytes=None, keep_content=None
        )

    @property
    def age(self) -> timedelta | None:
        """The age at which runs expire; None if they do not by age."""
        assert not isinstance(self.keep, str)  # See __post_init__.
        return self.keep

    @property
    def most_bytes(self) -> int | None:
        """The size of a database above which runs expire."""
        assert not isinstance(self.max_bytes, str)  # See __post_init__.
        return self.max_bytes

    @property
    def expires(self) -> bool:
        """True if the policy deletes runs or removes their texts."""
        rules = (self.keep, self.max_runs, self.max_bytes, self.keep_content)
        return any(rule is not None for rule in rules)

    @property
    def conditions(self) -> int:
        """The number of conditions on runs."""
        return sum(value is not None for value in (self.agent_id, self.status, self.tags))

    def fits(self, agent_id: str, status: str, tags: Collection[str]) -> bool:
        """Return whether the policy is for a run with these values."""
        return (
            (self.agent_id is None or agent_id in self.agent_id)
            and (self.status is None or status in self.status)
            and (self.tags is None or not set(self.tags).isdisjoint(tags))
        )


def _checked(name: str, value: Any) -> tuple[str, ...] | None:
    """Return the values of a condition, each once and in their stored form."""
    if value is None:
        return None
    values = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else value
    if name == "tags":
        return tuple(sorted(json.loads(str(RUNS.encode_value(name, list(values)) or "[]"))))
    return tuple(sorted({str(RUNS.encode_value(name, each)) for each in values}))
