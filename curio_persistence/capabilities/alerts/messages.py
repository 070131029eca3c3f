"""The words of alerts, each on one line, whatever names and ids contain."""

from __future__ import annotations

import re
from typing import Any

from curio_persistence.capabilities.alerts.measuring import Value
from curio_persistence.tables.alerts import Alert, AlertRule

# Control characters of terminals, characters that turn the direction of text, and surrogates.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_LONGEST = 80
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_SCOPE = ("agent_id", "session_id", "user_id", "tags", "model")


def fired(rule: AlertRule, value: Value) -> str:
    """Return what is told when a rule fires."""
    if rule.condition == "silence":
        return f"Nothing came {_last(rule)}{_of(rule)}"
    shown, limit = _shown(rule, value, rule.threshold)
    return f"{_measured(rule)} {shown} is above {limit} {_last(rule)}{_of(rule)}"


def resolved(rule: AlertRule, value: Value) -> str:
    """Return what is told when an alert is over."""
    if rule.condition == "silence":
        return f"Records come again{_of(rule)}"
    if value is None:
        return f"{_measured(rule)}: nothing was measured {_last(rule)}{_of(rule)}"
    shown, limit = _shown(rule, value, limit_of_end(rule))
    return f"{_measured(rule)} {shown} is at most {limit} {_last(rule)}{_of(rule)}"


def limit_of_end(rule: AlertRule) -> float:
    """Return the value at which an alert is over."""
    return rule.threshold if rule.resolve_below is None else rule.resolve_below


def tested(rule: AlertRule, value: Value) -> str:
    """Return what is told when a rule is tried out."""
    if rule.condition == "silence":
        return f"{_shown(rule, value)[0]} records came {_last(rule)}{_of(rule)}"
    shown, limit = _shown(rule, value, rule.threshold)
    said = f"{_measured(rule)} {shown} {_last(rule)}{_of(rule)}"
    return f"{said}; the rule fires above {limit}"


def notification(rule: AlertRule, alert: Alert, told: str) -> dict[str, Any]:
    """Return what sinks are given, as JSON has it."""
    scope = {name: getattr(rule, name) for name in _SCOPE}
    message = alert.resolution if told == "resolved" else alert.message
    return {
        "told": told,
        "alert_id": alert.alert_id,
        "rule_id": rule.rule_id,
        "name": rule.name,
        "message": message,
        "condition": rule.condition,
        "value": alert.value,
        "threshold": alert.threshold,
        "window_seconds": rule.window_seconds,
        "scope": {name: value for name, value in scope.items() if value is not None},
        "triggered_at": alert.triggered_at.isoformat(),
        "resolved_at": alert.resolved_at and alert.resolved_at.isoformat(),
    }


def headline(given: dict[str, Any]) -> str:
    """Return a notification as one line of text."""
    return f"{str(given['told']).capitalize()}: {one_line(given['name'])}. {given['message']}."


def for_slack(text: str) -> str:
    """Return text in which Slack finds no link and no mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def one_line(text: str) -> str:
    """Return a name, cut if it is long, with `\\ufffd` in place of what is not to be shown."""
    shown = _CONTROL.sub("\ufffd", text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _measured(rule: AlertRule) -> str:
    match rule.condition:
        case "error_rate":
            return "Error rate"
        case "cost":
            return "Cost"
        case "latency":
            return "Average latency" if rule.aggregation == "avg" else f"{rule.aggregation} latency"
        case "event_count":
            return "Event count" if rule.model is None else "Number of model calls"
        case "token_count":
            return "Token count"
    return f"{rule.aggregation} of {one_line(rule.metric or '')}"


def _shown(rule: AlertRule, *values: Value) -> list[str]:
    """Return values as they are read beside each other."""
    known = [value for value in values if value is not None]
    match rule.condition:
        case "error_rate":
            texts = [f"{_digits(100 * value, 1, 2)}%" for value in known]
        case "cost":
            texts = _amounts(known)
        case "latency":
            texts = [f"{_digits(value, 0, 3)} ms" for value in known]
        case _:
            texts = [_digits(value, 0, 6) for value in known]
    written = iter(texts)
    return ["unknown" if value is None else next(written) for value in values]


def _amounts(values: list[float]) -> list[str]:
    """Return sums in cents; with more decimals if they are smaller, or differ by less."""
    texts: list[str] = []
    for most in (2, 4, 6):
        texts = [f"${_digits(value, 2, most)}" for value in values]
        if len(set(texts)) == len(set(values)) and all(
            value == 0 or text != "$0.00" for value, text in zip(values, texts, strict=True)
        ):
            break
    return texts


def _digits(value: float, least: int, most: int) -> str:
    """Return a number with so many decimals at least, and at most."""
    whole, _, decimals = f"{value:,.{most}f}".partition(".")
    decimals = decimals.rstrip("0").ljust(least, "0")
    return f"{whole}.{decimals}" if decimals else whole


def _last(rule: AlertRule) -> str:
    seconds = rule.window_seconds
    size, unit = next(each for each in _UNITS if seconds % each[0] == 0)
    return f"in the last {seconds // size}{unit}"


def _of(rule: AlertRule) -> str:
    """Return the scope of a rule, in brackets."""
    named = {name.removesuffix("_id"): getattr(rule, name) for name in _SCOPE if name != "tags"}
    named["tag"] = " or ".join(one_line(tag) for tag in rule.tags or ())
    said = [f"{name} {one_line(value)}" for name, value in named.items() if value]
    return f" ({', '.join(said)})" if said else ""
