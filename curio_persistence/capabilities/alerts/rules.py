"""Make a rule of what a caller gave, or raise the error that says what to give."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypedDict

from curio_persistence.capabilities.alerts.addresses import check_literal
from curio_persistence.capabilities.metrics import percentile_in
from curio_persistence.capabilities.windows import checked_length
from curio_persistence.clock import utc_now
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.filters import refuse_unknown
from curio_persistence.tables import ALERT_RULES
from curio_persistence.tables.alert_sinks import AlertSink
from curio_persistence.tables.alerts import AlertRule, rule_row

CONDITIONS = (
    "error_rate",
    "cost",
    "latency",
    "event_count",
    "silence",
    "token_count",
    "metric",
)
OF_LATENCY = ("avg", "p50", "p95", "p99")
_SHORTEST = timedelta(seconds=1)


class AlertOptions(TypedDict, total=False):
    """The options of a rule, besides its id, condition and threshold."""

    name: str | None
    window: timedelta | str
    aggregation: str | None
    metric: str | None
    resolve_below: float | None
    cooldown: timedelta | str
    enabled: bool
    agent_id: str | None
    session_id: str | None
    user_id: str | None
    tags: str | Collection[str] | None
    model: str | None
    sinks: Sequence[AlertSink]
    metadata: Any


class AlertSettings(AlertOptions, total=False):
    """All that a rule is made of, besides its id."""

    condition: str
    threshold: float | None


DEFAULTS = AlertOptions(window="15m", cooldown="0s", enabled=True, sinks=())


def make_rule(rule_id: Any, settings: AlertSettings) -> AlertRule:
    """Return the rule of these settings, all checked and in the form in which they are read."""
    refuse_unknown(settings, AlertSettings)
    condition = settings.get("condition")
    if condition not in CONDITIONS:
        raise _refusal("condition", f"is one of {', '.join(CONDITIONS)}, not {condition!r}")
    rule = AlertRule(
        rule_id=rule_id,
        name=settings.get("name") or rule_id,
        condition=condition,
        threshold=_checked_threshold(condition, settings.get("threshold")),
        window_seconds=_checked_seconds("window", settings.get("window"), least=_SHORTEST),
        aggregation=_checked_aggregation(condition, settings.get("aggregation")),
        metric=_checked_metric(condition, settings.get("metric")),
        resolve_below=settings.get("resolve_below"),
        cooldown_seconds=_checked_seconds("cooldown", settings.get("cooldown")),
        enabled=settings.get("enabled", True),
        agent_id=settings.get("agent_id"),
        session_id=settings.get("session_id"),
        user_id=settings.get("user_id"),
        tags=_several(settings.get("tags")),
        model=settings.get("model"),
        sinks=settings.get("sinks", ()),  # type: ignore[arg-type]  # encoding makes them a tuple
        metadata=settings.get("metadata"),
    )
    _check_resolve_below(rule)
    if condition == "metric" and rule.model is not None:
        raise _refusal("model", "is not known of metrics: leave it out")
    return _as_stored(rule)


def changed_rule(rule: AlertRule, changes: AlertSettings) -> AlertRule:
    """Return a rule with some settings changed, checked as a new one is."""
    settings = AlertSettings(
        name=rule.name,
        condition=rule.condition,
        threshold=None if rule.condition == "silence" else rule.threshold,
        window=timedelta(seconds=rule.window_seconds),
        aggregation=rule.aggregation,
        metric=rule.metric,
        resolve_below=rule.resolve_below,
        cooldown=timedelta(seconds=rule.cooldown_seconds),
        enabled=rule.enabled,
        agent_id=rule.agent_id,
        session_id=rule.session_id,
        user_id=rule.user_id,
        tags=rule.tags,
        model=rule.model,
        sinks=rule.sinks,
        metadata=rule.metadata,
    )
    made = make_rule(rule.rule_id, {**settings, **changes})
    return replace(made, id=rule.id, created_at=rule.created_at)


def _refusal(name: str, reason: str) -> InvalidValueError:
    return InvalidValueError(f"{name} {reason}.", field=name)


def _checked_threshold(condition: str, threshold: Any) -> float:
    """Return the value above which a rule fires; a silence has none, and fires at 0."""
    if condition == "silence":
        if threshold is not None:
            raise _refusal("threshold", "is not for a silence, which fires when nothing came")
        return 0.0
    if threshold is None:
        raise _refusal("threshold", f"is required: the {condition} above which the rule fires")
    number = _checked_real("threshold", threshold)
    if number < 0 and condition != "metric":
        raise _refusal("threshold", f"may not be negative, as a {condition} never is")
    if number >= 1 and condition == "error_rate":
        raise _refusal("threshold", f"is a share below 1, as 0.1 for 10 %, not {number:g}")
    return number


def _checked_real(name: str, value: Any) -> float:
    stored = ALERT_RULES.encode_value(name, value)
    assert isinstance(stored, float)
    return stored


def _check_resolve_below(rule: AlertRule) -> None:
    if rule.resolve_below is None:
        return
    if rule.condition == "silence":
        raise _refusal("resolve_below", "is not for a silence, which is over when something came")
    rule.resolve_below = _checked_real("resolve_below", rule.resolve_below)
    if rule.resolve_below > rule.threshold:
        raise _refusal("resolve_below", f"is at most the threshold, {rule.threshold:g}")
    if rule.resolve_below < 0 and rule.condition != "metric":
        raise _refusal("resolve_below", "may not be negative: the alert would never be over")


def _checked_seconds(name: str, length: Any, least: timedelta = timedelta(0)) -> int:
    checked = checked_length(name, length)
    if checked < least or checked % _SHORTEST:
        some = "of a second or more, " if least else ""
        raise _refusal(name, f"is a time {some}in whole seconds, such as '15m', not {length!r}")
    return checked // _SHORTEST


def _checked_aggregation(condition: str, aggregation: Any) -> str | None:
    if condition == "latency":
        if aggregation not in (None, *OF_LATENCY):
            known = ", ".join(OF_LATENCY)
            raise _refusal("aggregation", f"of a latency is one of {known}, not {aggregation!r}")
        return aggregation or "avg"
    if condition == "metric":
        percentile_in(aggregation or "avg")
        return aggregation or "avg"
    if aggregation is not None:
        raise _refusal("aggregation", f"is for a latency or a metric, not for {condition}")
    return None


def _checked_metric(condition: str, metric: Any) -> Any:
    if (metric is None) is (condition == "metric"):
        raise _refusal("metric", "is the name of a metric, for the condition 'metric'")
    return metric


def _several(tags: Any) -> Any:
    return [tags] if isinstance(tags, str) and tags else tags


def _as_stored(rule: AlertRule) -> AlertRule:
    """Return a rule as it is read again; refuse what cannot be stored."""
    now = utc_now()  # Any time: the store's caller sets them.
    stored = ALERT_RULES.decode_row(rule_row(rule, now, now))
    for sink in stored.sinks:
        if sink.url is not None and not sink.allow_private:
            check_literal(sink.url)
    return replace(stored, created_at=None, updated_at=None)
