"""The table of model calls, and the derivation of their cost from the metrics."""

from __future__ import annotations

from curio_persistence.models import AgentLLMUsage, cost_in_metrics
from curio_persistence.store import codecs
from curio_persistence.store.column import Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Row, Table
from curio_persistence.tables.columns import (
    content_scope,
    count,
    event_identifier,
    integer,
    json_text,
    name,
    optional_identifier,
    status,
    stored_time,
    text,
)
from curio_persistence.tables.translation import translator


def _derive_cost(row: Row) -> None:
    """Take the cost from the metrics if the caller gave none; an invalid cost stays unknown."""
    metrics = row["usage_metrics"]
    if "cost_usd" in row or metrics is None:
        return
    cost = cost_in_metrics(metrics)
    if cost is None:
        return
    try:
        row["cost_usd"] = codecs.encode_money(cost)
    except ValueError:
        return


_NEWEST_FIRST = (Order("created_at", descending=True), Order("id", descending=True))

USAGE = Table(
    "agent_llm_usage",
    AgentLLMUsage,
    (
        optional_identifier("agent_id", optional=False),
        optional_identifier("run_id", optional=False),
        name("provider"),
        name("model"),
        text("prompt", default=""),
        integer("prompt_length", default=0),
        json_text("input_params"),
        count("input_tokens"),
        count("output_tokens"),
        text("response_content"),
        integer("response_length"),
        json_text("usage_metrics"),
        status("status"),
        text("error_message"),
        Column("latency_ms", codecs.encode_latency),
        integer("id"),
        stored_time("created_at"),
        optional_identifier("span_id", repeats=False),
        count("cache_read_tokens", optional=True),
        count("cache_write_tokens", optional=True),
        count("reasoning_tokens", optional=True),
        Column("cost_usd", codecs.encode_money, codecs.decode_moneys, optional=True),
        event_identifier(),
        optional_identifier("trace_id"),
        optional_identifier("parent_span_id"),
        optional_identifier("price_version"),
    ),
    internal=(content_scope(),),
    derive=_derive_cost,
    order=_NEWEST_FIRST,
    ages_by="created_at",
    lookups=("run_id", "event_id"),
    ddl="usage.sql",
    recomputed=("cost_usd", "price_version"),
    unique=(("event_id",),),
    translate=translator(AgentLLMUsage, rest="usage_metrics", names={"usage_metrics": "metadata"}),
)
