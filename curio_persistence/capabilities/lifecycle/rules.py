"""Policies and legal holds, which are stored in the database and decide what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from curio_persistence.capabilities.arguments import checked_run_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.lifecycle.policies import RetentionPolicy
from curio_persistence.capabilities.lifecycle.settings import Settings
from curio_persistence.capabilities.lifecycle.trees import Holds
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.tables import RUNS


class Rules(Capability):
    """The part of `Lifecycle` that has the policies and holds."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store, clock)
        self._settings = Settings(store, clock)

    def policies(self) -> list[RetentionPolicy]:
        """Return the stored policies, in the order in which they were made."""
        return [
            RetentionPolicy.from_dict({**settings, "name": name})
            for name, settings in self._settings.of("policy").items()
        ]

    def set_policy(self, policy: RetentionPolicy) -> None:
        """Store a policy in place of an earlier one of its name."""
        [policy] = checked_policies([policy])
        with self._settings.changing():
            self._settings.put("policy", policy.name, policy.to_dict())
            audit(self._store, self._clock, "set policy", policy.name, "policy", **policy.to_dict())

    def remove_policy(self, name: str) -> bool:
        """Remove a policy; return False if no policy has this name."""
        return self._remove("policy", name)

    def hold(
        self, name: str, *, run_id: str | None = None, tag: str | None = None, reason: str = ""
    ) -> None:
        """Keep a run, or all runs with a tag, and their trees, whatever the policies say.

        What is held under one name adds up. Runs on hold can still be deleted one by one, by
        `delete_agent_run`.
        """
        if (run_id is None) is (tag is None):
            raise InvalidValueError("A hold is of a run_id or of a tag.", field="run_id")
        if not isinstance(name, str) or not name or not isinstance(reason, str):
            raise InvalidValueError("A hold has a name, and its reason is a text.", field="name")
        runs = [] if run_id is None else [checked_run_id(run_id)]
        tags = [] if tag is None else [_checked_tag(tag)]
        with self._settings.changing():
            known = self.holds().get(name, {"run_ids": [], "tags": [], "reason": ""})
            held = {
                "run_ids": sorted({*known["run_ids"], *runs}),
                "tags": sorted({*known["tags"], *tags}),
                "reason": reason or known["reason"],
            }
            self._settings.put("hold", name, held)
            audit(self._store, self._clock, "hold", name, "hold", **held)

    def release(self, name: str) -> bool:
        """Remove a hold; return False if no hold has this name."""
        return self._remove("hold", name)

    def holds(self) -> dict[str, dict[str, Any]]:
        """Return the holds by name: each has `run_ids`, `tags` and a `reason`."""
        return self._settings.of("hold")

    def _remove(self, kind: str, name: str) -> bool:
        with self._settings.changing():
            removed = self._settings.remove(kind, name)
            if removed:
                action = "release" if kind == "hold" else f"remove {kind}"
                audit(self._store, self._clock, action, name, kind)
        return removed

    def _held(self) -> Holds:
        holds = self.holds().values()
        return Holds(
            frozenset(run_id for hold in holds for run_id in hold["run_ids"]),
            frozenset(tag for hold in holds for tag in hold["tags"]),
        )


def checked_policies(policies: Any) -> list[RetentionPolicy]:
    """Return the policies of an argument; raise InvalidValueError for other values."""
    found = list(policies) if isinstance(policies, Iterable) else [policies]
    for policy in found:
        if not isinstance(policy, RetentionPolicy):
            raise InvalidValueError(
                f"A policy is a RetentionPolicy, not a {type(policy).__name__}.", field="policies"
            )
    return found


def _checked_tag(tag: Any) -> str:
    [*tags] = json.loads(str(RUNS.encode_value("tags", [tag]) or "[]"))
    if len(tags) != 1:
        raise InvalidValueError(f"tag is a text, not {tag!r}.", field="tag")
    return str(tags[0])
