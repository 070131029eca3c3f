"""Alerts: rules about what agents record, the breaches of these rules, and notifications."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import uniform
from threading import Event
from time import monotonic
from typing import Unpack

from curio_persistence.capabilities.alerts import messages
from curio_persistence.capabilities.alerts.arguments import (
    checked_callables,
    checked_now,
    checked_period,
    checked_rule_id,
)
from curio_persistence.capabilities.alerts.breaches import Breaches, cools_down, fires, is_over
from curio_persistence.capabilities.alerts.delivering import LOCK, Delivering, undelivered
from curio_persistence.capabilities.alerts.filters import ALERT_FILTERS, AlertFilters
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
from curio_persistence.capabilities.windows import before, checked_length
from curio_persistence.clock import Clock
from curio_persistence.errors import (
    AccessDeniedError,
    ClosedError,
    ConflictError,
    InvalidValueError,
    NotFoundError,
    PersistenceError,
)
from curio_persistence.results.pages import Direction, Page, read_page
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Order
from curio_persistence.tables import ALERT_HISTORY, ALERT_RULES
from curio_persistence.tables.alert_sinks import AlertSink
from curio_persistence.tables.alerts import Alert, AlertRule, rule_row

__all__ = ["Alert", "AlertReport", "AlertRule", "AlertSink", "AlertTest", "Alerts"]

_AS_FIRED = (Order("id"),)
AlertOutcome = AlertReport | PersistenceError


class Alerts(Capability):
    """Rules, stored in the database; their evaluation, and the history of what they found."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store, clock)
        self._breaches = Breaches(store, clock)

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
        records it is about; `sinks` get its notifications, as `AlertSink.log()`.
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
                self._breaches.close(rule_id)
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
            self._breaches.close(rule_id)
            self._audit("delete", rule)
        return True

    def get(self, rule_id: str) -> AlertRule | None:
        """Return a rule, or None."""
        where = (ALERT_RULES.filter("rule_id", "=", checked_rule_id(rule_id)),)
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

        The filters are `rule_id`, `alert_id`, `state` (`"firing"`, `"resolved"`, or `"failing"` for
        rules that could not be measured), `since` and `until`.
        """
        where = ALERT_FILTERS.of(filters).where(self._clock)
        return read_page(self._store, ALERT_HISTORY, where, order=order, limit=limit, cursor=cursor)

    def count(self, **filters: Unpack[AlertFilters]) -> int:
        """Return the number of alerts that pass the filters of `history`."""
        return self._store.count(ALERT_HISTORY, ALERT_FILTERS.of(filters).where(self._clock))

    def append(self, alert: Alert) -> Alert:
        """Store an alert that another program raised, and return it; no sink is told.

        `breach` is counted here. Raise ConflictError if there is an alert with this `alert_id`.
        """
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            return self._breaches.append(replace(alert, breach=0, deliver_at=None))

    def expire(self, older_than: timedelta | str) -> int:
        """Delete the alerts that were over so long ago, and return how many.

        The newest alert of each rule stays, as do those with deliveries to make.
        """
        age = checked_length("older_than", older_than)
        with self._store.transaction():
            self._store.advisory_lock(LOCK)
            cutoff = before(self._clock.now(), age)
            deleted = self._breaches.expire(cutoff)
            if deleted:
                about = {"alerts": deleted, "before": encode_time(cutoff)}
                audit(self._store, self._clock, "expire", "", "alerts", None, **about)
        return deleted

    def check(self) -> HealthCheck:
        """Return how many rules there are, fire and fail, and whether deliveries are late."""
        rules = self.list()
        if not rules:
            return HealthCheck("alerts", "ok", "there are no rules")
        count = "1 rule" if len(rules) == 1 else f"{len(rules):,} rules"
        said = f"{count}, {self.count(state='firing'):,} firing"
        late = encode_time(self._clock.now() - _LATE)
        waiting = self._store.count(ALERT_HISTORY, (Filter("deliver_at", "<", late),))
        if waiting:
            said += f"; {waiting:,} alerts have waited for their delivery for long"
            return HealthCheck("alerts", "warning", said, _ADVICE)
        if failing := self.count(state="failing"):
            said += f"; {failing:,} could not be measured"
            return HealthCheck("alerts", "warning", said, _ADVICE_ON_FAILURES)
        return HealthCheck("alerts", "ok", said)

    # --- evaluation -----------------------------------------------------------------------------

    def evaluate(
        self, now: datetime | None = None, *, callables: Callables | None = None
    ) -> AlertReport:
        """Measure all enabled rules, store what began and what is over, and tell the sinks.

        Any number of programs may do so: each alert fires once, and each notification is sent by
        one of them. A rule or a sink that fails stops no other; a rule that cannot be measured
        stands in the history, once for as long as that lasts. A notification that was not delivered
        is tried again by later evaluations, five times in all. `callables` are the
        functions that sinks name; each is called with a dict, in a thread of its own. Not inside a
        transaction.
        """
        self._check_can_evaluate("alerts.evaluate()")
        callables = checked_callables(callables)
        given = None if now is None else checked_now(now)
        report = AlertReport(given or self._clock.now())
        rules, failing = self.list(), self._breaches.failing()
        for rule in rules:
            if rule.enabled and is_measured(rule):
                # Each as of its own moment: an evaluator may have been suspended since the first.
                self._evaluate(rule, given or self._clock.now(), report, rule.rule_id in failing)
        Delivering(self._store, self._clock, rules, callables).deliver(report)
        report.fired, report.resolved = self._again(report.fired), self._again(report.resolved)
        return report

    def _check_can_evaluate(self, call: str) -> None:
        """Raise unless alerts could be stored by a call."""
        self._store.check_outside(call)
        if self._store.read_only:
            raise AccessDeniedError(
                f"{self._store.location} was opened read-only: {call} stores what it finds. "
                "Use alerts.test(), which stores nothing."
            )

    def _again(self, alerts: builtins.list[Alert]) -> builtins.list[Alert]:
        """Return alerts with what became of their deliveries."""
        where = (Filter("id", "in", tuple(alert.id for alert in alerts)),)
        return ALERT_HISTORY.decode(self._store.select(ALERT_HISTORY, where, order=_AS_FIRED))

    def _evaluate(
        self, rule: AlertRule, now: datetime, report: AlertReport, was_failing: bool
    ) -> None:
        """Measure one rule, and store the begin or the end of an alert."""
        report.rules += 1
        try:
            # Read before the value: a change by another evaluator in between is noticed.
            newest = self._breaches.newest(rule.rule_id)
            value = self._measured(rule, now, was_failing)
            if newest is not None and newest.state == "firing":
                if is_over(rule, value):
                    report.resolved += self._breaches.end(rule, newest, value, now)
            elif fires(rule, value) and not cools_down(rule, newest, now):
                report.fired += self._breaches.begin(rule, newest, value, now)
        except (ClosedError, AccessDeniedError):
            raise
        except PersistenceError as error:
            report.failed[rule.rule_id] = str(error)
            _log_failure(f"Alert rule {messages.one_line(rule.rule_id)} was not evaluated", error)

    def _measured(self, rule: AlertRule, now: datetime, was_failing: bool) -> Value:
        """Return the value of a rule; store that it cannot be measured, or can again."""
        try:
            value = measure(self._store, rule, now)
        except (ClosedError, AccessDeniedError):
            raise
        except PersistenceError as error:
            if not was_failing:
                self._keep_failure(rule, error, now)
            raise
        if was_failing:
            self._breaches.end_failure(rule.rule_id, now)
        return value

    def _keep_failure(self, rule: AlertRule, error: PersistenceError, now: datetime) -> None:
        """Store that a rule cannot be measured, unless the database fails at that, too."""
        try:
            self._breaches.begin_failure(rule, error, now)
        except (ClosedError, AccessDeniedError):
            raise
        except PersistenceError as another:
            _log_failure("The history of alerts has no line of this", another)

    def test(
        self, rule_id: str, *, send: bool = True, callables: Callables | None = None
    ) -> AlertTest:
        """Measure a rule, and send each of its sinks a test; nothing is stored.

        Raise NotFoundError without the rule. With `send=False` no sink is told.
        """
        self._store.check_outside("alerts.test()")
        callables = checked_callables(callables)
        rule, now = self._existing(rule_id), self._clock.now()
        value = measure(self._store, rule, now)
        message = messages.tested(rule, value)
        alert = Alert("test", rule_id, 0, rule.name, message, rule.threshold, value, now)
        given = messages.notification(rule, alert, "test")
        sinks = [sink for sink in rule.sinks if send]
        errors = send_all([Job(sink, given) for sink in sinks], callables)
        told = {s.name: str(e) if e else None for s, e in zip(sinks, errors, strict=True)}
        return AlertTest(rule_id, value, fires(rule, value), message, told)

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
        self._check_can_evaluate("alerts.run_forever()")
        period, stop = checked_period(every), stop or Event()
        callables = checked_callables(callables)
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


_LATE = timedelta(minutes=10)
"""How long a delivery may be due; then no evaluator runs, or none has the function."""
_ADVICE = "To deliver them: curio-persistence alerts watch"
_ADVICE_ON_FAILURES = "To see why: curio-persistence alerts history --state failing"
_DATED = ("id", "created_at", "updated_at")
_POLL = 1.0
"""Seconds between two looks for deliveries that are to be tried again."""


def _log_failure(what: str, error: PersistenceError) -> None:
    import logging  # Imported here: the import takes longer than that of this package.

    logging.getLogger("curio_persistence.alerts").warning("%s: %s", what, error)
