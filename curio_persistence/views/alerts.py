"""Alert rules in words, with their states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from curio_persistence.tables.alerts import Alert, AlertRule

if TYPE_CHECKING:
    from curio_persistence.capabilities.alerts import Alerts

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def unresolved(alerts: Alerts) -> list[Alert]:
    """Return the alerts that are not over; those of rules that cannot be measured come first."""
    return [
        alert
        for state in ("failing", "firing")
        for alert in alerts.history(state=state, limit=None)
    ]


def states_of(rules: Iterable[AlertRule], alerts: Iterable[Alert]) -> Mapping[str, str]:
    """Return by rule_id `firing`, `failing`, `ok` or `disabled`; `alerts` are the unresolved ones.

    An alert goes on while its rule cannot be measured: of both states, firing counts.
    """
    found = {alert.rule_id: str(alert.state) for alert in alerts}
    return {
        rule.rule_id: found.get(rule.rule_id, "ok") if rule.enabled else "disabled"
        for rule in rules
    }


def fires_in_words(rule: AlertRule) -> str:
    """Return when a rule fires: `p95 latency > 2000 in 15m`."""
    measured = " ".join(filter(None, (rule.aggregation, rule.metric or rule.condition)))
    above = "" if rule.condition == "silence" else f" > {rule.threshold:g}"
    return f"{measured}{above} in {length_in_words(rule.window_seconds)}"


def scope_in_words(rule: AlertRule) -> str:
    """Return the records that a rule is about: `agent guide, tag prod or beta`; "" for all."""
    scope = {"agent": rule.agent_id, "session": rule.session_id, "user": rule.user_id}
    scope |= {"tag": " or ".join(rule.tags or ()), "model": rule.model}
    return ", ".join(f"{name} {value}" for name, value in scope.items() if value)


def length_in_words(seconds: int) -> str:
    """Return a length of time in the largest unit in which it is whole: `15m`, `36h`."""
    size, unit = next(each for each in _UNITS if seconds % each[0] == 0)
    return f"{seconds // size}{unit}"
