"""Rules of alerts, and the history of what they found, in our tables.

Our evaluation measures runs and model calls, and theirs measures events: a rule keeps its own
condition, which ours leaves alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from curio_persistence.capabilities.alerts import Alert, AlertSink
from curio_persistence.capabilities.alerts import AlertRule as RuleRecord
from curio_persistence.capabilities.deletions import audit
from curio_persistence.compat.agentlens.base import Part
from curio_persistence.compat.agentlens.filters import DEFAULT_LIMIT, MOST, HistoryQuery
from curio_persistence.compat.agentlens.records import KEY, kept_in, object_of, text_for
from curio_persistence.compat.agentlens.states import STORED, VERSION, label, storable_tags
from curio_persistence.compat.agentlens.times import moment_of, text_of
from curio_persistence.compat.agentlens.values import (
    AlertHistory,
    AlertHistoryResult,
    AlertRule,
    made,
    named,
)
from curio_persistence.errors import InvalidValueError, NotFoundError
from curio_persistence.store.codecs import encode_id
from curio_persistence.store.filters import Where, checked_count
from curio_persistence.tables import ALERT_HISTORY, ALERT_RULES

CONDITIONS = (
    "error_rate_exceeds",
    "cost_exceeds",
    "latency_exceeds",
    "event_count_exceeds",
    "no_events_for",
)
_SECONDS = 60
_LONGEST = 525_600
"""The minutes of a year."""


class Alerts(Part):
    """The calls for rules of alerts, and for their history."""

    # --- rules --------------------------------------------------------------------------------

    def create_alert_rule(self, rule: Any) -> None:
        """Store a rule; raise ConflictError if there is one with its id."""
        now = text_of(self._clock.now())
        # In a rule that was made without its times, they are empty.
        values = {name: value for name, value in named(AlertRule, rule).items() if value != ""}
        given = {"created_at": now, "updated_at": now, "enabled": True, **values}
        record = rule_record(AlertRule.from_dict(given))
        with self._writing():
            self._store.insert(ALERT_RULES, ALERT_RULES.encode(record))
            self._audit("create alert rule", record)

    def update_alert_rule(self, rule_id: str, updates: Any) -> None:
        """Change the fields of a rule that are given; raise NotFoundError without the rule."""
        changes = {name: value for name, value in named(AlertRule, updates).items() if name != "id"}
        with self._writing():
            rule = self._existing(rule_id)
            if not changes:
                return
            now = text_of(self._clock.now())
            record = rule_record(replace(rule, **{"updated_at": now, **changes}))
            row = ALERT_RULES.encode(record)
            self._store.update(ALERT_RULES, ALERT_RULES.where(rule_id=rule_id), row)
            self._audit("update alert rule", record)

    def delete_alert_rule(self, rule_id: str) -> None:
        """Delete a rule, whose history stays; raise NotFoundError without the rule."""
        with self._writing():
            self._existing(rule_id)
            self.persistence.alerts.delete(rule_id)

    def get_alert_rule(self, rule_id: str) -> AlertRule | None:
        """Return a rule, or None."""
        where = (*STORED, ALERT_RULES.filter("rule_id", "=", rule_id))
        return next(iter(self._rules(where)), None)

    def list_alert_rules(self) -> list[AlertRule]:
        """Return all rules, in the order in which they were created."""
        return self._rules(STORED)

    def _rules(self, where: Where) -> list[AlertRule]:
        rows = self._store.select(ALERT_RULES, where)
        return [_rule_of(record) for record in ALERT_RULES.decode(rows)]

    def _existing(self, rule_id: str) -> AlertRule:
        rule = self.get_alert_rule(rule_id)
        if rule is None:
            raise NotFoundError(f"Alert rule not found: {rule_id}")
        return rule

    def _audit(self, action: str, record: RuleRecord) -> None:
        about = {"condition": record.condition, "threshold": record.threshold}
        audit(self._store, self._clock, action, record.rule_id, "alert rule", None, **about)

    # --- history ------------------------------------------------------------------------------

    def insert_alert_history(self, entry: Any) -> None:
        """Store that a rule fired; raise ConflictError if there is an entry with its id."""
        given = made(AlertHistory, entry)
        rule = self.get_alert_rule(given.rule_id)
        self.persistence.alerts.append(_alert_of(given, rule.name if rule else given.rule_id))

    def list_alert_history(
        self,
        rule_id: str | Mapping[str, Any] | None = None,
        limit: int = DEFAULT_LIMIT,
        offset: int = 0,
    ) -> AlertHistoryResult:
        """Return when rules fired, or one of them, the last time first.

        All may be given as one mapping.
        """
        if isinstance(rule_id, Mapping):
            return self.list_alert_history(**named(HistoryQuery, rule_id))
        limit, offset = checked_count("limit", limit), checked_count("offset", offset)
        where = (
            STORED if rule_id is None else (*STORED, ALERT_HISTORY.filter("rule_id", "=", rule_id))
        )
        rows = self._store.select(ALERT_HISTORY, where, limit=min(limit, MOST), offset=offset)
        entries = [_entry_of(alert) for alert in ALERT_HISTORY.decode(rows)]
        return AlertHistoryResult(entries, self._store.count(ALERT_HISTORY, where))


def rule_record(rule: AlertRule) -> RuleRecord:
    """Return a rule as ours; raise InvalidValueError for one that cannot be evaluated."""
    _check(rule)
    scope = object_of(rule.scope)
    sinks = {channel: _sink_of(channel) for channel in rule.notify_channels}
    kept = {
        "v": VERSION,
        "windowMinutes": rule.window_minutes,
        "scope": rule.scope,
        # The URLs of sinks are kept by these alone: they may have secrets in them.
        "notifyChannels": [None if sinks[each] else each for each in rule.notify_channels],
        "createdAt": rule.created_at,
        "updatedAt": rule.updated_at,
        "name": rule.name,
    }
    seconds = max(round(rule.window_minutes * _SECONDS), 1)
    return RuleRecord(
        rule_id=rule.id,
        name=label(rule.name) or rule.id,
        condition=rule.condition,
        threshold=float(rule.threshold),
        window_seconds=seconds,
        cooldown_seconds=seconds,
        enabled=rule.enabled,
        agent_id=agent_in(scope),
        tags=list(storable_tags(tags_in(scope))) or None,
        sinks=tuple(sink for each in rule.notify_channels if (sink := sinks[each]) is not None),
        metadata=json.dumps({KEY: kept}, ensure_ascii=False),
        created_at=moment_of(rule.created_at, "AlertRule.created_at"),
        updated_at=moment_of(rule.updated_at, "AlertRule.updated_at"),
    )


def _check(rule: AlertRule) -> None:
    _is_id("id", rule.id)
    if rule.condition not in CONDITIONS:
        known = ", ".join(CONDITIONS)
        raise _refusal("condition", f"is one of {known}, not {rule.condition!r:.80}")
    for name, value in ("threshold", rule.threshold), ("window_minutes", rule.window_minutes):
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise _refusal(name, f"is a number, not {value!r:.80}")
        if value < 0:
            raise _refusal(name, f"may not be negative, but is {value}")
    if not rule.window_minutes or rule.window_minutes > _LONGEST:
        raise _refusal("window_minutes", f"is at most {_LONGEST:,}, and not 0")
    if not isinstance(rule.enabled, bool):
        raise _refusal("enabled", f"is True or False, not {rule.enabled!r:.80}")
    if not isinstance(rule.name, str):
        raise _refusal("name", f"is a text, not {rule.name!r:.80}")
    if not isinstance(rule.notify_channels, list) or not all(
        isinstance(channel, str) for channel in rule.notify_channels
    ):
        raise _refusal("notify_channels", "is a list of texts")


def _is_id(name: str, value: Any) -> None:
    try:
        encode_id(value)
    except (TypeError, ValueError) as error:
        raise _refusal(name, str(error)) from error


def _refusal(name: str, reason: str) -> InvalidValueError:
    field = f"AlertRule.{name}"
    return InvalidValueError(f"{field} {reason}.", field=field)


def agent_in(scope: Mapping[str, Any]) -> str | None:
    """Return the agent that a rule is about."""
    agent = scope.get("agentId", scope.get("agent_id"))
    return agent if isinstance(agent, str) and agent else None


def tags_in(scope: Mapping[str, Any]) -> list[Any]:
    """Return the tags of the sessions that a rule is about."""
    tags = scope.get("tags")
    return tags if isinstance(tags, list) else []


def _sink_of(channel: str) -> AlertSink | None:
    """Return the webhook that a channel names, if it names one."""
    try:
        return AlertSink.webhook(channel)
    except InvalidValueError:
        return None


def _rule_of(record: RuleRecord) -> AlertRule:
    kept = kept_in(record.metadata)
    urls = iter(sink.url for sink in record.sinks)
    assert record.created_at is not None
    assert record.updated_at is not None
    return AlertRule(
        id=record.rule_id,
        name=kept.get("name", record.name),
        enabled=record.enabled,
        condition=record.condition,
        threshold=record.threshold,
        window_minutes=kept.get("windowMinutes", record.window_seconds / _SECONDS),
        scope=kept.get("scope", {}),
        notify_channels=[
            str(next(urls, "")) if each is None else each for each in kept.get("notifyChannels", ())
        ],
        created_at=text_for(record.created_at, kept.get("createdAt")),
        updated_at=text_for(record.updated_at, kept.get("updatedAt")),
    )


def _alert_of(entry: AlertHistory, name: str) -> Alert:
    kept = {"v": VERSION, "triggeredAt": entry.triggered_at, "resolvedAt": entry.resolved_at}
    resolved = entry.resolved_at
    return Alert(
        alert_id=entry.id,
        rule_id=entry.rule_id,
        breach=0,  # It is counted when it is stored.
        name=label(name) or entry.rule_id,
        message=entry.message,
        threshold=entry.threshold,
        value=entry.current_value,
        triggered_at=moment_of(entry.triggered_at, "AlertHistory.triggered_at"),
        resolved_at=None if resolved is None else moment_of(resolved, "AlertHistory.resolved_at"),
        metadata=json.dumps({KEY: kept}),
    )


def _entry_of(alert: Alert) -> AlertHistory:
    kept, resolved = kept_in(alert.metadata), alert.resolved_at
    return AlertHistory(
        id=alert.alert_id,
        rule_id=alert.rule_id,
        triggered_at=text_for(alert.triggered_at, kept.get("triggeredAt")),
        current_value=0.0 if alert.value is None else alert.value,
        threshold=alert.threshold,
        message=alert.message,
        resolved_at=None if resolved is None else text_for(resolved, kept.get("resolvedAt")),
    )
