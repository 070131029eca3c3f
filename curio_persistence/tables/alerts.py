"""The tables of alerts: their rules, and the history of what these found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal, TypedDict

from curio_persistence.store import codecs
from curio_persistence.store.column import REQUIRED, Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Row, Table
from curio_persistence.tables.alert_sinks import AlertSink, decode_sinks, encode_sinks
from curio_persistence.tables.columns import (
    identifier,
    integer,
    optional_identifier,
    stored_time,
    time,
)

Told = Literal["fired", "resolved"]


class AlertDelivery(TypedDict):
    """The delivery of one notification to one sink, as the history has it."""

    sink: str
    told: Told
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    at: str | None
    """The time of the last attempt, as ISO 8601 text."""
    error: str | None


@dataclass
class AlertRule:
    """A condition: the measured value, its window and records, and the threshold.

    It fires when the value is above `threshold`, and is over when the value is at most
    `resolve_below`, which is the threshold if it is None. Without a value, it does not fire.
    """

    rule_id: str
    name: str
    condition: str
    threshold: float
    window_seconds: int
    aggregation: str | None = None
    metric: str | None = None
    resolve_below: float | None = None
    cooldown_seconds: int = 0
    enabled: bool = True
    agent_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    tags: list[str] | None = None
    model: str | None = None
    sinks: tuple[AlertSink, ...] = ()
    metadata: str | None = None
    id: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them, without the secrets of sinks."""
        return {**_plain(self), "sinks": [sink.to_dict() for sink in self.sinks]}


@dataclass
class Alert:
    """A breach of a rule: its begin, its end, and the sinks that were notified.

    `breach` counts those of its rule. `value` is the one at which it fired; `message` says so, and
    `resolution` why it is over. `deliver_at` is when a notification is due; None once all were
    delivered, or have failed. With an `error`, which is the kind of it, the rule could not be
    measured, which no sink is told.
    """

    alert_id: str
    rule_id: str
    breach: int
    name: str
    message: str
    threshold: float
    value: float | None
    triggered_at: datetime
    resolved_at: datetime | None = None
    resolution: str | None = None
    deliveries: list[AlertDelivery] = field(default_factory=list)
    deliver_at: datetime | None = None
    metadata: str | None = None
    id: int | None = None
    error: str | None = None

    @property
    def state(self) -> Literal["firing", "failing", "resolved"]:
        """Return whether the alert is over, and if not, whether its rule can be measured."""
        if self.resolved_at is not None:
            return "resolved"
        return "firing" if self.error is None else "failing"

    def to_dict(self) -> dict[str, Any]:
        """Return the state and the fields, as JSON has them."""
        return {"state": self.state, **_plain(self)}


def _plain(record: AlertRule | Alert) -> dict[str, Any]:
    values = {each.name: getattr(record, each.name) for each in fields(record)}
    return {n: v.isoformat() if isinstance(v, datetime) else v for n, v in values.items()}


def _encode_flag(value: Any) -> int:
    if not isinstance(value, bool):
        raise TypeError(f"must be True or False, not {value!r}")
    return int(value)


def _text(name: str, default: Any = None) -> Column:
    return Column(name, codecs.encode_text, codecs.decode_texts, default)


def _json(name: str) -> Column:
    return Column(name, codecs.encode_json, codecs.decode_texts)


def _decode_deliveries(column: Sequence[str]) -> Iterable[list[AlertDelivery]]:
    return map(json.loads, column)


def _plain_identifier(name: str) -> Column:
    return optional_identifier(name, optional=False)


ALERT_RULES = Table(
    "agent_alert_rules",
    AlertRule,
    (
        identifier("rule_id"),
        identifier("name"),
        identifier("condition"),
        Column("threshold", codecs.encode_real, default=REQUIRED),
        Column("window_seconds", codecs.encode_count, default=REQUIRED),
        _plain_identifier("aggregation"),
        _plain_identifier("metric"),
        Column("resolve_below", codecs.encode_real),
        Column("cooldown_seconds", codecs.encode_count, default=0),
        Column("enabled", _encode_flag, lambda column: map(bool, column), default=1),
        *map(_plain_identifier, ("agent_id", "session_id", "user_id")),
        Column("tags", codecs.encode_tags, codecs.decode_tags),
        _plain_identifier("model"),
        Column("sinks", encode_sinks, decode_sinks, default="[]"),
        _json("metadata"),
        integer("id"),
        stored_time("created_at"),
        stored_time("updated_at"),
    ),
    order=(Order("created_at"), Order("id")),
    ages_by="created_at",
    lookups=("rule_id",),
    ddl="alert_rules.sql",
    unique=(("rule_id",),),
)
ALERT_HISTORY = Table(
    "agent_alert_history",
    Alert,
    (
        identifier("alert_id"),
        identifier("rule_id"),
        Column("breach", codecs.encode_count, default=REQUIRED),
        identifier("name"),
        _text("message", REQUIRED),
        Column("threshold", codecs.encode_real, default=REQUIRED),
        Column("value", codecs.encode_real),
        stored_time("triggered_at"),
        time("resolved_at"),
        _text("resolution"),
        Column("deliveries", codecs.encode_json, _decode_deliveries, default="[]"),
        time("deliver_at"),
        _json("metadata"),
        integer("id"),
        _plain_identifier("error"),
    ),
    order=(Order("triggered_at", descending=True), Order("id", descending=True)),
    ages_by="triggered_at",
    lookups=("rule_id",),
    ddl="alert_history.sql",
    unique=(("alert_id",), ("rule_id", "breach")),
)


def rule_row(rule: AlertRule, created_at: datetime, updated_at: datetime) -> Row:
    """Return the row that stores a rule."""
    return ALERT_RULES.encode(replace(rule, created_at=created_at, updated_at=updated_at))


def alert_row(alert: Alert) -> Row:
    """Return the row that stores an alert."""
    return ALERT_HISTORY.encode(alert)
