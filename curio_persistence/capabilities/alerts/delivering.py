"""Deliver what the history says is due, and store what became of it.

An evaluator claims due alerts for as long as sending takes, sends, and stores the outcome. One that
is killed in between loses nothing: when its claim has run out, they are due again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from random import uniform
from time import monotonic
from typing import NamedTuple

from curio_persistence.capabilities.alerts.messages import notification
from curio_persistence.capabilities.alerts.report import AlertReport
from curio_persistence.capabilities.alerts.sending import Callables, Job, SinkError, send_all
from curio_persistence.clock import Clock
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Order
from curio_persistence.store.table import Row
from curio_persistence.tables import ALERT_HISTORY
from curio_persistence.tables.alert_sinks import AlertSink
from curio_persistence.tables.alerts import Alert, AlertDelivery, AlertRule, Told

LOCK = "alerts"
_ATTEMPTS = 5
_BACKOFF = (2, 8, 30, 120)
"""Seconds from each failed attempt to the next one; up to a half is added."""
_CLAIM = timedelta(seconds=30)
"""How long an alert is left alone by other evaluators; sending takes less, see `TIMEOUT`."""
_FARTHEST = timedelta(seconds=200)
"""No attempt is planned farther ahead: a time that is was stored before the clock was set back."""
_AT_ONCE, _LOOKED_AT = 20, 200
_LONGEST = 30.0
"""Seconds after which the rest is left to the next evaluation."""
_UNDELIVERED = (Filter("deliver_at", "is not null"),)
_BY_TIME = (Order("deliver_at"), Order("id"))


def told_to(rule: AlertRule, told: Told) -> list[AlertDelivery]:
    """Return the deliveries to the sinks of a rule, before the first attempt."""
    return [
        AlertDelivery(
            sink=sink.name,
            told=told,
            state="pending",
            attempts=0,
            at=None,
            error=None,
        )
        for sink in rule.sinks
    ]


def undelivered(store: Store) -> list[Alert]:
    """Return alerts with deliveries to make, those that are due first."""
    rows = store.select(ALERT_HISTORY, _UNDELIVERED, order=_BY_TIME, limit=_LOOKED_AT)
    return ALERT_HISTORY.decode(rows)


class _Attempt(NamedTuple):
    """A delivery that is tried now."""

    alert: Alert
    delivery: AlertDelivery
    job: Job | None
    """None where the rule has no such sink any more."""


class Delivering:
    """Makes the deliveries that are due, to the sinks of these rules."""

    def __init__(
        self, store: Store, clock: Clock, rules: Iterable[AlertRule], callables: Callables
    ) -> None:
        self._store = store
        self._clock = clock
        self._rules = {rule.rule_id: rule for rule in rules}
        self._sinks = {
            (rule.rule_id, sink.name): sink for rule in self._rules.values() for sink in rule.sinks
        }
        self._callables = callables

    def deliver(self, report: AlertReport) -> None:
        """Try each delivery that is due once."""
        until = monotonic() + _LONGEST
        while monotonic() < until and any(map(self._next_of, self._due())):
            attempts = self._claim()
            sent = iter(send_all([a.job for a in attempts if a.job], self._callables))
            for attempt in attempts:
                error = next(sent) if attempt.job else _gone()
                self._note(attempt.delivery, error)
                report.delivered += error is None
                report.undelivered += error is not None
            self._store_outcomes(attempts)

    def _due(self) -> Iterator[Alert]:
        now = self._clock.now()
        for alert in undelivered(self._store):
            assert alert.deliver_at is not None
            if not timedelta(0) < alert.deliver_at - now <= _FARTHEST:
                yield alert

    def _claim(self) -> list[_Attempt]:
        """Take some of the alerts that are due, and count the attempt before it is made."""
        attempts: list[_Attempt] = []
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            due = [(alert, some) for alert in self._due() if (some := self._next_of(alert))]
            for alert, deliveries in due[:_AT_ONCE]:
                for delivery in deliveries:
                    delivery["attempts"] += 1
                    attempts.append(_Attempt(alert, delivery, self._job(alert, delivery)))
                self._put(alert, self._clock.now() + _CLAIM)
        return attempts

    def _next_of(self, alert: Alert) -> list[AlertDelivery]:
        """Return the first delivery to each sink, but none to a function of other programs."""
        first: dict[str, AlertDelivery] = {}
        for delivery in alert.deliveries:
            if delivery["state"] == "pending":
                first.setdefault(delivery["sink"], delivery)
        return [each for each in first.values() if self._knows(self._sink(alert, each))]

    def _knows(self, sink: AlertSink | None) -> bool:
        return sink is None or sink.kind != "callable" or sink.name in self._callables

    def _sink(self, alert: Alert, delivery: AlertDelivery) -> AlertSink | None:
        return self._sinks.get((alert.rule_id, delivery["sink"]))

    def _job(self, alert: Alert, delivery: AlertDelivery) -> Job | None:
        sink = self._sink(alert, delivery)
        if sink is None:
            return None
        return Job(sink, notification(self._rules[alert.rule_id], alert, delivery["told"]))

    def _note(self, delivery: AlertDelivery, error: SinkError | None) -> None:
        """Write the outcome of an attempt into a delivery."""
        delivery["at"] = self._clock.now().isoformat()
        delivery["error"] = None if error is None else str(error)
        if error is None:
            delivery["state"] = "delivered"
        elif not error.again or delivery["attempts"] >= _ATTEMPTS:
            delivery["state"] = "failed"

    def _store_outcomes(self, attempts: list[_Attempt]) -> None:
        """Store the outcomes, beside what was added to the same alerts meanwhile."""
        done: dict[int, dict[tuple[str, str], AlertDelivery]] = {}
        for alert, delivery, _ in attempts:
            done.setdefault(alert.id or 0, {})[_key(delivery)] = delivery
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            these = (Filter("id", "in", tuple(done)),)
            for alert in ALERT_HISTORY.decode(self._store.select(ALERT_HISTORY, these)):
                outcomes = done[alert.id or 0]
                alert.deliveries = [outcomes.get(_key(each), each) for each in alert.deliveries]
                self._put(alert, self._next_attempt(alert.deliveries))

    def _next_attempt(self, deliveries: Iterable[AlertDelivery]) -> datetime | None:
        attempts = [each["attempts"] for each in deliveries if each["state"] == "pending"]
        if not attempts:
            return None
        most = max(attempts)
        seconds = _BACKOFF[min(most, len(_BACKOFF)) - 1] * uniform(1, 1.5) if min(attempts) else 0
        return self._clock.now() + timedelta(seconds=seconds)

    def _put(self, alert: Alert, deliver_at: datetime | None) -> None:
        where = (Filter("id", "=", alert.id),)
        self._store.update(ALERT_HISTORY, where, delivery_changes(alert.deliveries, deliver_at))


def delivery_changes(deliveries: list[AlertDelivery], deliver_at: datetime | None) -> Row:
    """Return the columns of an alert that list its deliveries, and when the next is due."""
    values: Mapping[str, object] = {"deliveries": deliveries, "deliver_at": deliver_at}
    return {name: ALERT_HISTORY.encode_value(name, value) for name, value in values.items()}


def _gone() -> SinkError:
    return SinkError("the rule has no such sink", again=False)


def _key(delivery: AlertDelivery) -> tuple[str, str]:
    return delivery["sink"], delivery["told"]
