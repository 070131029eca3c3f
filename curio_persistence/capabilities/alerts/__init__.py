"""Alerts: rules about what agents record, the breaches of these rules, and who is told."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from random import uniform
from threading import Event
from time import monotonic
from typing import Any, TypedDict, Unpack

from curio_persistence.capabilities.alerts import messages
from curio_persistence.capabilities.alerts.delivering import (
    LOCK,
    Delivering,
    delivery_changes,
    told_to,
    undelivered,
)
from curio_persistence.capabilities.alerts.measuring import Value, is_measured, measure
from curio_persistence.capabilities.alerts.report import AlertReport, AlertTest
from curio_persistence.capabilities.alerts.rules import (
    DEFAULTS,
    AlertOptions,
    AlertSettings,
    changed_rule,
    make_rule,
)
from curio_persistence.capabilities.alerts.sending import Callables, Job, send_all
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.record_filter import Condition, FilterKind
from curio_persistence.capabilities.windows import TimeLike, checked_length
from curio_persistence.errors import (
    ClosedError,
    ConflictError,
    InvalidValueError,
    NotFoundError,
    PersistenceError,
)
from curio_persistence.results.pages import Direction, Page, read_page
from curio_persistence.store.codecs import decode_time, encode_time
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.tables import ALERT_HISTORY, ALERT_RULES
from curio_persistence.tables.alert_sinks import AlertSink
from curio_persistence.tables.alerts import Alert, AlertRule, alert_row, rule_row

__all__ = ["Alert", "AlertReport", "AlertRule", "AlertSink", "AlertTest", "Alerts"]

_AS_FIRED = (Order("id"),)
_NEWEST = (Order("breach", descending=True),)
_STATES: Mapping[str, Where] = {
    "firing": (Filter("resolved_at", "is null"),),
    "resolved": (Filter("resolved_at", "is not null"),),
}


class AlertFilters(TypedDict, total=False):
    """The filters of alerts; an alert must pass all that are given."""

    rule_id: str | None
    alert_id: str | None
    state: str | None
    since: TimeLike | None
    until: TimeLike | None


def _checked_state(state: Any) -> str:
    if state not in _STATES:
        raise InvalidValueError(f"state is firing or resolved, not {state!r}.", field="state")
    return str(state)


ALERT_FILTERS = FilterKind(
    ALERT_HISTORY,
    AlertFilters,
    conditions={"state": Condition(_checked_state, lambda state: _STATES[state])},
)
AlertOutcome = AlertReport | PersistenceError


class Alerts(Capability):
    """Rules, stored in the database; their evaluation, and the history of what they found."""

    # --- rules ----------------------------------------------------------------------------------

    def create(
        self,
        rule_id: str,
        condition: str,
        threshold: float | None = None,
        **settings: Unpack[AlertOptions],
    ) -> AlertRule:
        """Store a new rule, and return it; raise ConflictError if there is one of this id.

        It fires when its value, in a `window` that ends now (`"15m"`), is above the `threshold`:

        - `"error_rate"`: the share of failed runs among those that ended, or of model calls of a
          `model` that failed;
        - `"cost"`, `"token_count"` and `"latency"`: US dollars, input and output tokens, and
          milliseconds of model calls (`aggregation="avg"`, `"p50"`, `"p95"` or `"p99"`);
        - `"event_count"`: events, or the calls of a `model`;
        - `"silence"`: nothing came, no run, event or model call; it has no threshold;
        - `"metric"`: what agents measured as `metric`, by any `aggregation` of `query_metrics`.

        Without a value, as without a run that ended, it does not fire. It is over when the value is
        at most `resolve_below`, or the threshold. It does not fire again until `cooldown` after it
        fired last. `agent_id`, `session_id`, `user_id`, `tags` (any of them) and `model` say which
        records it is about; `sinks` who is told, as `AlertSink.log()`.
        """
        given: AlertSettings = {"condition": condition, "threshold": threshold}
        rule = make_rule(rule_id, {**DEFAULTS, **given, **settings})
        now = self._clock.now()
        row = rule_row(rule, now, now)
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            if self.get(rule.rule_id) is not None:
                raise ConflictError(
                    f"There is an alert rule {rule_id!r} already: update it, or delete it first."
                )
            self._store.insert(ALERT_RULES, row)
            self._audit("create", rule)
        return self._existing(rule.rule_id)

    def update(self, rule_id: str, **settings: Unpack[AlertSettings]) -> AlertRule:
        """Change some settings of a rule, and return it; raise NotFoundError without one.

        An alert that it began goes on, unless the rule is disabled now.
        """
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            known = self._existing(rule_id)
            rule, now = changed_rule(known, settings), self._clock.now()
            changes = rule_row(rule, known.created_at or now, now)
            self._store.update(ALERT_RULES, ALERT_RULES.where(rule_id=rule_id), changes)
            if not rule.enabled:
                self._close(rule_id)
            self._audit("update", rule)
            return self._existing(rule_id)

    def delete(self, rule_id: str) -> bool:
        """Delete a rule; return False if there is none. Its history stays."""
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            rule = self.get(rule_id)
            if rule is None:
                return False
            self._store.delete(ALERT_RULES, ALERT_RULES.where(rule_id=rule_id))
            self._close(rule_id)
            self._audit("delete", rule)
        return True

    def get(self, rule_id: str) -> AlertRule | None:
        """Return a rule, or None."""
        where = (ALERT_RULES.filter("rule_id", "=", _checked_rule_id(rule_id)),)
        found = ALERT_RULES.decode(self._store.select(ALERT_RULES, where))
        return found[0] if found else None

    def list(self) -> builtins.list[AlertRule]:
        """Return all rules, in the order in which they were made."""
        return ALERT_RULES.decode(self._store.select(ALERT_RULES))

    def _existing(self, rule_id: str) -> AlertRule:
        rule = self.get(rule_id)
        if rule is None:
            raise NotFoundError(f"Alert rule not found: {rule_id}")
        return rule

    def _audit(self, action: str, rule: AlertRule) -> None:
        details = {n: v for n, v in rule.to_dict().items() if v is not None and n not in _DATED}
        audit(self._store, self._clock, action, rule.rule_id, "alert rule", **details)

    def _close(self, rule_id: str) -> None:
        """End the alert of a rule that is not evaluated any more; nobody is told."""
        where = (Filter("rule_id", "=", rule_id), *_STATES["firing"])
        self._store.update(ALERT_HISTORY, where, {"resolved_at": encode_time(self._clock.now())})

    # --- history --------------------------------------------------------------------------------

    def history(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        **filters: Unpack[AlertFilters],
    ) -> Page[Alert]:
        """Return one page of alerts by the time at which they fired.

        The filters are `rule_id`, `alert_id`, `state` (`"firing"` or `"resolved"`), `since` and
        `until`.
        """
        where = ALERT_FILTERS.of(filters).where(self._clock)
        return read_page(self._store, ALERT_HISTORY, where, order=order, limit=limit, cursor=cursor)

    def count(self, **filters: Unpack[AlertFilters]) -> int:
        """Return the number of alerts that pass the filters of `history`."""
        return self._store.count(ALERT_HISTORY, ALERT_FILTERS.of(filters).where(self._clock))

    def append(self, alert: Alert) -> Alert:
        """Store an alert that another program raised, and return it; nobody is told.

        `breach` is counted here. Raise ConflictError if there is an alert with this `alert_id`.
        """
        row = alert_row(replace(alert, breach=0, deliver_at=None))
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            row["breach"] = self._next_breach(alert.rule_id)
            ident = self._store.insert(ALERT_HISTORY, row)
        return replace(ALERT_HISTORY.decode_row(row), id=ident)

    def _newest_of(self, rule_id: str) -> Alert | None:
        where = (Filter("rule_id", "=", rule_id),)
        rows = self._store.select(ALERT_HISTORY, where, order=_NEWEST, limit=1)
        found = ALERT_HISTORY.decode(rows)
        return found[0] if found else None

    def _next_breach(self, rule_id: str) -> int:
        newest = self._newest_of(rule_id)
        return 1 if newest is None else newest.breach + 1

    # --- evaluation -----------------------------------------------------------------------------

    def evaluate(
        self, now: datetime | None = None, *, callables: Callables | None = None
    ) -> AlertReport:
        """Measure all enabled rules, store what began and what is over, and tell the sinks.

        Any number of programs may do so: each alert fires once, and each notification is sent by
        one of them. A rule or a sink that fails stops no other. A notification that was not
        delivered is tried again by later evaluations, five times in all. `callables` are the
        functions that sinks name; each is called with a dict, in a thread of its own. Not inside a
        transaction.
        """
        self._store.check_outside("alerts.evaluate()")
        callables = _checked_callables(callables)
        moment = decode_time(encode_time(self._clock.now() if now is None else _checked_now(now)))
        assert moment is not None
        report = AlertReport(moment)
        rules = self.list()
        for rule in rules:
            if rule.enabled and is_measured(rule):
                self._evaluate(rule, moment, report)
        Delivering(self._store, self._clock, rules, callables).deliver(report)
        report.fired, report.resolved = self._again(report.fired), self._again(report.resolved)
        return report

    def _again(self, alerts: builtins.list[Alert]) -> builtins.list[Alert]:
        """Return alerts with what became of their deliveries."""
        where = (Filter("id", "in", tuple(alert.id for alert in alerts)),)
        return ALERT_HISTORY.decode(self._store.select(ALERT_HISTORY, where, order=_AS_FIRED))

    def _evaluate(self, rule: AlertRule, now: datetime, report: AlertReport) -> None:
        """Measure one rule, and store the begin or the end of an alert."""
        report.rules += 1
        try:
            # Read before the value: a change by another evaluator in between is noticed.
            newest = self._newest_of(rule.rule_id)
            value = measure(self._store, rule, now)
            if newest is not None and newest.state == "firing":
                ended = self._resolve(rule, newest, value, now) if _is_over(rule, value) else None
                report.resolved += [ended] if ended else []
            elif _fires(rule, value) and not _cools_down(rule, newest, now):
                begun = self._fire(rule, newest, value, now)
                report.fired += [begun] if begun else []
        except ClosedError:
            raise
        except PersistenceError as error:
            report.failed[rule.rule_id] = str(error)
            _log_failure(f"Alert rule {messages.one_line(rule.rule_id)} was not evaluated", error)

    def _fire(
        self, rule: AlertRule, newest: Alert | None, value: Value, now: datetime
    ) -> Alert | None:
        """Store a new alert; None if the rule or its newest alert changed since it was read."""
        alert = Alert(
            alert_id=os.urandom(16).hex(),
            rule_id=rule.rule_id,
            breach=1 if newest is None else newest.breach + 1,
            name=rule.name,
            message=messages.fired(rule, value),
            threshold=rule.threshold,
            value=None if value is None else float(value),
            triggered_at=now,
            deliveries=told_to(rule, "fired"),
            deliver_at=self._clock.now() if rule.sinks else None,
        )
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            if not self._is_unchanged(rule, newest):
                return None
            alert.id = self._store.insert(ALERT_HISTORY, alert_row(alert))
        return alert

    def _resolve(self, rule: AlertRule, newest: Alert, value: Value, now: datetime) -> Alert | None:
        """Store the end of an alert; None if another evaluator did."""
        told = told_to(rule, "resolved")
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            if not self._is_unchanged(rule, newest):
                return None
            # Read again: what became of deliveries does not count as a change.
            alert = self._newest_of(rule.rule_id) or newest
            alert.resolved_at = max(now, alert.triggered_at)
            alert.resolution = messages.resolved(rule, value)
            alert.deliveries += told
            if told:
                alert.deliver_at = alert.deliver_at or self._clock.now()
            changes = delivery_changes(alert.deliveries, alert.deliver_at)
            for name in ("resolved_at", "resolution"):
                changes[name] = ALERT_HISTORY.encode_value(name, getattr(alert, name))
            self._store.update(ALERT_HISTORY, (Filter("id", "=", alert.id),), changes)
        return alert

    def _is_unchanged(self, rule: AlertRule, newest: Alert | None) -> bool:
        """Return whether the rule, and the state of its newest alert, are still as they were."""
        stored = self._newest_of(rule.rule_id)
        same = (stored and (stored.breach, stored.state)) == (
            newest and (newest.breach, newest.state)
        )
        return same and self.get(rule.rule_id) == rule

    def test(
        self, rule_id: str, *, send: bool = True, callables: Callables | None = None
    ) -> AlertTest:
        """Measure a rule, and send each of its sinks a test; nothing is stored.

        Raise NotFoundError without the rule. With `send=False` no sink is told.
        """
        self._store.check_outside("alerts.test()")
        callables = _checked_callables(callables)
        rule, now = self._existing(rule_id), self._clock.now()
        value = measure(self._store, rule, now)
        message = messages.tested(rule, value)
        measured = None if value is None else float(value)
        alert = Alert("test", rule_id, 0, rule.name, message, rule.threshold, measured, now)
        given = messages.notification(rule, alert, "test")
        sinks = [sink for sink in rule.sinks if send]
        errors = send_all([Job(sink, given) for sink in sinks], callables)
        told = {s.name: str(e) if e else None for s, e in zip(sinks, errors, strict=True)}
        return AlertTest(rule_id, measured, _fires(rule, value), message, told)

    def run_forever(
        self,
        every: float | timedelta | str = 60,
        *,
        callables: Callables | None = None,
        stop: Event | None = None,
        on_round: Callable[[AlertOutcome], object] | None = None,
    ) -> None:
        """Evaluate again and again, until the event `stop` is set.

        A round begins `every` so many seconds, or up to a tenth earlier; deliveries are tried again
        in between. `on_round` is called with the report of each round, or with the error that ended
        it, which is logged otherwise; the next round tries again.
        """
        period, stop = _checked_period(every), stop or Event()
        callables = _checked_callables(callables)
        while not stop.is_set():
            until = monotonic() + period * uniform(0.9, 1)
            outcome = self._attempt(lambda: self.evaluate(callables=callables))
            if on_round is not None:
                on_round(outcome)
            elif isinstance(outcome, PersistenceError):
                _log_failure("An evaluation of the alert rules failed", outcome)
            while (left := until - monotonic()) > 0 and not stop.wait(min(left, _POLL)):
                self._attempt(lambda: self._deliver(callables))

    def _attempt(self, work: Callable[[], AlertReport]) -> AlertOutcome:
        try:
            return work()
        except (ClosedError, InvalidValueError):
            raise
        except PersistenceError as error:
            return error

    def _deliver(self, callables: Callables) -> AlertReport:
        """Deliver what is due, without measuring."""
        report = AlertReport(self._clock.now())
        if undelivered(self._store):
            Delivering(self._store, self._clock, self.list(), callables).deliver(report)
        return report


_DATED = ("id", "created_at", "updated_at")
_POLL = 1.0
"""Seconds between two looks for deliveries that are to be tried again."""


def _fires(rule: AlertRule, value: Value) -> bool:
    if rule.condition == "silence":
        return value == 0
    return value is not None and value > rule.threshold


def _is_over(rule: AlertRule, value: Value) -> bool:
    """Return whether an alert is over: without a value it is."""
    if rule.condition == "silence":
        return value != 0
    return value is None or value <= messages.limit_of_end(rule)


def _cools_down(rule: AlertRule, newest: Alert | None, now: datetime) -> bool:
    """Return whether a rule fired so recently that it may not fire again.

    A time that lies farther ahead than that was stored before the clock was set back.
    """
    if newest is None:
        return False
    return abs(now - newest.triggered_at) < timedelta(seconds=rule.cooldown_seconds)


def _checked_rule_id(rule_id: Any) -> str:
    if not isinstance(rule_id, str):
        raise InvalidValueError(f"rule_id is a text, not {rule_id!r}.", field="rule_id")
    return rule_id


def _checked_now(now: Any) -> datetime:
    if not isinstance(now, datetime):
        raise InvalidValueError(f"now is a datetime, not {now!r}.", field="now")
    return now


def _checked_callables(callables: Any) -> Callables:
    given = {} if callables is None else callables
    if not isinstance(given, Mapping) or not all(map(callable, given.values())):
        raise InvalidValueError(
            "callables is a dict of names and functions of one argument.", field="callables"
        )
    return given


def _checked_period(every: Any) -> float:
    if isinstance(every, int | float) and not isinstance(every, bool):
        if 1 <= every <= 86_400:
            return float(every)
    elif (length := checked_length("every", every)) >= timedelta(seconds=1):
        return length.total_seconds()
    raise InvalidValueError(f"every is a second or more, not {every!r}.", field="every")


def _log_failure(what: str, error: PersistenceError) -> None:
    import logging  # Imported here: the import takes longer than that of this package.

    logging.getLogger("curio_persistence.alerts").warning("%s: %s", what, error)
