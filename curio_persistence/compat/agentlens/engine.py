"""The evaluation of the rules of alerts, again and again, and the notification of channels."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from threading import Event, Lock, Thread, current_thread
from typing import Any

from curio_persistence.compat.agentlens.analytics import Sums, add_up
from curio_persistence.compat.agentlens.filters import one_or_several, window
from curio_persistence.compat.agentlens.hashing import new_id
from curio_persistence.compat.agentlens.records import NO_METRICS, object_of
from curio_persistence.compat.agentlens.rules import Alerts, agent_in, tags_in
from curio_persistence.compat.agentlens.states import storable_tags
from curio_persistence.compat.agentlens.times import moment_of, text_of
from curio_persistence.compat.agentlens.values import AlertHistory, AlertRule
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.filters import Bucket, Filter, Select, Where
from curio_persistence.tables import EVENTS, SESSIONS

_INTERVAL = "ALERT_CHECK_INTERVAL_MS"
_DEFAULT_INTERVAL = 60_000
_TIMEOUT = 10.0
"""Seconds that a channel has to answer."""
_WEEK = Bucket("timestamp", 604_800)
_NAME = "agentlens-alerts"


class Evaluates(Alerts):
    """The part of an event store that measures rules."""

    def _fired(self, rule: AlertRule) -> AlertHistory | None:
        """Store that a rule fires now, and return the entry; None if it does not."""
        now = self._clock.now()
        value = _VALUES[rule.condition](self._sums(rule, now))
        if not (value == 0 if rule.condition == _SILENCE else value > rule.threshold):
            return None
        entry = AlertHistory(
            id=new_id(),
            rule_id=rule.id,
            triggered_at=text_of(now),
            current_value=value,
            threshold=rule.threshold,
            message=_message(rule, value),
        )
        with self._writing():  # Of several engines, one stores it.
            if self._cools_down(rule, now):
                return None
            self.insert_alert_history(entry)
        return entry

    def _sums(self, rule: AlertRule, now: datetime) -> Sums:
        """Return the sums of the events that a rule is about, both ends of its window included."""
        scope = object_of(rule.scope)
        since = now - timedelta(minutes=rule.window_minutes)
        where: Where = (
            *NO_METRICS,
            *one_or_several(EVENTS, "agent_id", agent_in(scope)),
            *window("timestamp", since, now),
        )
        if tags := tags_in(scope):
            with_tags = (Filter("tags", "has any", storable_tags(tags)),)
            of_sessions = Select(SESSIONS, "session_id", with_tags)
            where = (*where, Filter("run_id", "in", of_sessions))
        return add_up(self._store, where, _WEEK)[1]

    def _cools_down(self, rule: AlertRule, now: datetime) -> bool:
        last = self.list_alert_history(rule.id, limit=1).entries
        if not last:
            return False
        since = now - moment_of(last[0].triggered_at, "triggered_at")
        return since < timedelta(minutes=rule.window_minutes)


_SILENCE = "no_events_for"
_VALUES: Mapping[str, Callable[[Sums], float]] = {
    "error_rate_exceeds": lambda sums: sums.errors / sums.events if sums.events else 0.0,
    "cost_exceeds": lambda sums: float(sums.cost),
    "latency_exceeds": Sums.latency,
    "event_count_exceeds": lambda sums: sums.events,
    _SILENCE: lambda sums: sums.events,
}


def _message(rule: AlertRule, value: float) -> str:
    limit, last = rule.threshold, f"in the last {_shown(rule.window_minutes)}m"
    match rule.condition:
        case "error_rate_exceeds":
            return f"Error rate {100 * value:.1f}% exceeds threshold {100 * limit:.1f}% {last}"
        case "cost_exceeds":
            return f"Cost ${_shown(value)} exceeds threshold ${_shown(limit)} {last}"
        case "latency_exceeds":
            return f"Average latency {_shown(value)}ms exceeds threshold {_shown(limit)}ms {last}"
        case "event_count_exceeds":
            return f"Event count {_shown(value)} exceeds threshold {_shown(limit)} {last}"
    return f"No events received {last}"


def _shown(number: float) -> str:
    return f"{number:.0f}" if float(number).is_integer() else f"{number:.4f}"


class AlertEngine:
    """Evaluates the rules of an event store; any number of engines may do so.

    `on_triggered` is called with a rule that fired, and its entry in the history. The channels of
    the rule that are HTTP URLs get it as JSON, unless they lead to a private address. Failures are
    logged, and stop nothing else.
    """

    def __init__(
        self,
        store: Evaluates,
        check_interval_ms: float | None = None,
        on_triggered: Callable[[AlertRule, AlertHistory], object] | None = None,
    ) -> None:
        self._store = store
        self.check_interval_ms = _checked_interval(check_interval_ms)
        self._on_triggered = on_triggered
        self._lock = Lock()
        self._thread: Thread | None = None
        self._stopping = Event()

    def evaluate(self) -> list[AlertHistory]:
        """Evaluate all enabled rules, notify their channels, and return what fired."""
        fired = []
        for rule in filter(lambda rule: rule.enabled, self._store.list_alert_rules()):
            try:
                entry = self._store._fired(rule)
            except Exception:
                _log().exception("The alert rule %r was not evaluated", rule.id)
                continue
            if entry is not None:
                fired.append(entry)
                self._tell(rule, entry)
        return fired

    def start(self) -> None:
        """Evaluate the rules in a thread, after each interval, until `stop()`."""
        with self._lock:
            if self._thread is None:
                self._stopping = Event()
                args = (self._stopping,)
                self._thread = Thread(target=self._run, args=args, name=_NAME, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Return when the thread of `start()` has ended, after the evaluation that it is in."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopping.set()
        if thread is not None and thread is not current_thread():
            thread.join()

    def _run(self, stopping: Event) -> None:
        while not stopping.wait(self.check_interval_ms / 1000):
            try:
                self.evaluate()
            except Exception:
                _log().exception("The alert rules were not evaluated")

    def _tell(self, rule: AlertRule, entry: AlertHistory) -> None:
        if self._on_triggered is not None:
            try:
                self._on_triggered(rule, entry)
            except Exception:
                _log().exception("on_triggered failed for the alert rule %r", rule.id)
        for channel in rule.notify_channels:
            if channel.startswith(("http://", "https://")):
                _post(rule, entry, channel)


def _post(rule: AlertRule, entry: AlertHistory, url: str) -> None:
    from curio_persistence.capabilities.alerts.webhooks import post  # On use: it needs an extra.

    body = {
        "alertRuleId": rule.id,
        "alertName": rule.name,
        "condition": rule.condition,
        "currentValue": entry.current_value,
        "threshold": entry.threshold,
        "message": entry.message,
        "triggeredAt": entry.triggered_at,
        "windowMinutes": rule.window_minutes,
        "scope": rule.scope,
    }
    try:
        post(url, body, key=None, allow_private=False, timeout=_TIMEOUT)
    except Exception as error:
        # Without the URL, which may have a secret in it.
        _log().warning("A channel of the alert rule %r was not told: %s", rule.id, error)


def _checked_interval(given: Any) -> float:
    """Return milliseconds: those that are given, or of the environment, or a minute."""
    if given is None:
        text = os.environ.get(_INTERVAL, "")
        given = int(text) if text.isdecimal() and int(text) else _DEFAULT_INTERVAL
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
        raise InvalidValueError(
            f"check_interval_ms is a number of milliseconds above 0, not {given!r:.80}.",
            field="check_interval_ms",
        )
    return given


def _log() -> logging.Logger:
    return logging.getLogger("curio_persistence.alerts")
