"""Breaches of rules: the begin and the end of each, stored once by any number of evaluators."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from curio_persistence.capabilities.alerts import messages
from curio_persistence.capabilities.alerts.delivering import LOCK, delivery_changes, told_to
from curio_persistence.capabilities.alerts.measuring import Value
from curio_persistence.clock import Clock
from curio_persistence.errors import PersistenceError
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.table import Row
from curio_persistence.tables import ALERT_HISTORY, ALERT_RULES
from curio_persistence.tables.alerts import Alert, AlertRule, alert_row

_NEWEST = (Order("breach", descending=True),)
_BREACH: Where = (Filter("error", "is null"),)
_FAILING: Where = (Filter("resolved_at", "is null"), Filter("error", "is not null"))


class Breaches:
    """The alerts of rules, as the history has them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def newest(self, rule_id: str) -> Alert | None:
        """Return the newest breach of a rule, or None."""
        return self._newest((Filter("rule_id", "=", rule_id), *_BREACH))

    def _newest(self, where: Where) -> Alert | None:
        rows = self._store.select(ALERT_HISTORY, where, order=_NEWEST, limit=1)
        found = ALERT_HISTORY.decode(rows)
        return found[0] if found else None

    def append(self, alert: Alert) -> Alert:
        """Store an alert as the next one of its rule, inside a transaction, and return it."""
        newest = self._newest((Filter("rule_id", "=", alert.rule_id),))
        row = alert_row(alert)
        row["breach"] = 1 if newest is None else newest.breach + 1
        row["id"] = self._store.insert(ALERT_HISTORY, row)
        return ALERT_HISTORY.decode_row(row)

    def close(self, rule_id: str) -> None:
        """End the alert of a rule that is not evaluated any more; no sink is told."""
        where = (Filter("rule_id", "=", rule_id), Filter("resolved_at", "is null"))
        self._store.update(ALERT_HISTORY, where, {"resolved_at": encode_time(self._clock.now())})

    def expire(self, cutoff: datetime) -> int:
        """Delete alerts that were over before a time, except the newest breach of each rule."""
        old = (Filter("resolved_at", "<", encode_time(cutoff)), Filter("deliver_at", "is null"))
        deleted = 0
        for (rule_id,) in self._store.aggregate(ALERT_HISTORY, (), old, group_by=("rule_id",)):
            newest = self.newest(rule_id)
            kept = 0 if newest is None else newest.breach
            of_rule = (Filter("rule_id", "=", rule_id), Filter("breach", "<>", kept))
            deleted += self._store.delete(ALERT_HISTORY, (*of_rule, *old))
        return deleted

    def failing(self) -> set[str]:
        """Return the rules that could not be measured when they last were to be."""
        found = self._store.select_columns(ALERT_HISTORY, ("rule_id",), _FAILING)
        return {rule_id for (rule_id,) in found}

    def begin_failure(self, rule: AlertRule, error: PersistenceError, now: datetime) -> None:
        """Store that a rule cannot be measured, unless another evaluator has."""
        alert = Alert(
            alert_id=os.urandom(16).hex(),
            rule_id=rule.rule_id,
            breach=0,
            name=rule.name,
            message=f"Not measured: {error}",
            threshold=rule.threshold,
            value=None,
            triggered_at=now,
            error=type(error).__name__,
        )
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            if self._stored(rule) == [rule] and rule.rule_id not in self.failing():
                self.append(alert)

    def end_failure(self, rule_id: str, now: datetime) -> None:
        """Store that a rule could be measured again."""
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            failure = self._newest((Filter("rule_id", "=", rule_id), *_FAILING))
            if failure is not None:
                over = encode_time(max(now, failure.triggered_at))
                changes: Row = {"resolved_at": over, "resolution": "Measured again"}
                self._store.update(ALERT_HISTORY, (Filter("id", "=", failure.id),), changes)

    def begin(
        self, rule: AlertRule, newest: Alert | None, value: Value, now: datetime
    ) -> list[Alert]:
        """Store a new alert; none if the rule or its newest alert changed since they were read."""
        alert = Alert(
            alert_id=os.urandom(16).hex(),
            rule_id=rule.rule_id,
            breach=0,
            name=rule.name,
            message=messages.fired(rule, value),
            threshold=rule.threshold,
            value=value,
            triggered_at=now,
            deliveries=told_to(rule, "fired"),
            deliver_at=self._clock.now() if rule.sinks else None,
        )
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            if not self._is_unchanged(rule, newest):
                return []
            return [self.append(alert)]

    def end(self, rule: AlertRule, newest: Alert, value: Value, now: datetime) -> list[Alert]:
        """Store the end of an alert; nothing if another evaluator did, or the rule changed."""
        told = told_to(rule, "resolved")
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            if not self._is_unchanged(rule, newest):
                return []
            # Read again: what became of deliveries does not count as a change.
            alert = self.newest(rule.rule_id) or newest
            alert.resolved_at = max(now, alert.triggered_at)
            alert.resolution = messages.resolved(rule, value)
            alert.deliveries += told
            if told:
                alert.deliver_at = alert.deliver_at or self._clock.now()
            changes = delivery_changes(alert.deliveries, alert.deliver_at)
            for name in ("resolved_at", "resolution"):
                changes[name] = ALERT_HISTORY.encode_value(name, getattr(alert, name))
            self._store.update(ALERT_HISTORY, (Filter("id", "=", alert.id),), changes)
        return [alert]

    def _is_unchanged(self, rule: AlertRule, newest: Alert | None) -> bool:
        """Return whether the rule, and the state of its newest alert, are still as they were."""
        stored = self.newest(rule.rule_id)
        same = (stored and (stored.breach, stored.state)) == (
            newest and (newest.breach, newest.state)
        )
        return same and self._stored(rule) == [rule]

    def _stored(self, rule: AlertRule) -> list[AlertRule]:
        where = (Filter("rule_id", "=", rule.rule_id),)
        return ALERT_RULES.decode(self._store.select(ALERT_RULES, where))


def fires(rule: AlertRule, value: Value) -> bool:
    """Return whether a value is too much; without one it is not."""
    if rule.condition == "silence":
        return value == 0
    return value is not None and value > rule.threshold


def is_over(rule: AlertRule, value: Value) -> bool:
    """Return whether an alert is over: without a value it is."""
    if rule.condition == "silence":
        return value != 0
    return value is None or value <= messages.limit_of_end(rule)


def cools_down(rule: AlertRule, newest: Alert | None, now: datetime) -> bool:
    """Return whether a rule fired so recently that it may not fire again.

    A time that lies farther ahead than that was stored before the clock was set back.
    """
    if newest is None:
        return False
    return abs(now - newest.triggered_at) < timedelta(seconds=rule.cooldown_seconds)
