"""The table of operations, from which routes, the OpenAPI document and the reference are made."""

from __future__ import annotations

from typing import get_args

from curio_persistence.capabilities.agents import AgentFilters
from curio_persistence.capabilities.alerts.filters import AlertFilters
from curio_persistence.capabilities.analytics import AnalyticsFilters
from curio_persistence.capabilities.analytics.records import PeriodTotals
from curio_persistence.capabilities.audit import AuditFilters
from curio_persistence.capabilities.events import EventFilters
from curio_persistence.capabilities.live.choice import LiveFilters
from curio_persistence.capabilities.metrics import MetricFilters, MetricPoint
from curio_persistence.capabilities.runs import RunFilters
from curio_persistence.capabilities.search import SearchFilters, SearchOrder
from curio_persistence.capabilities.search.hits import SearchHit
from curio_persistence.capabilities.sessions import Session, SessionFilters
from curio_persistence.capabilities.stats import StatsFilters
from curio_persistence.capabilities.totals import UsageTotals
from curio_persistence.capabilities.usage import UsageFilters
from curio_persistence.console.api import calls
from curio_persistence.console.api.bodies import ALERT_RULE, EVENTS, NEW_KEY, RUN
from curio_persistence.console.api.operation import Answer, Operation
from curio_persistence.console.api.parameters import (
    CURSOR,
    MOMENT,
    ORDER,
    PAGES,
    TEXT,
    TRUTH,
    WORDS,
    Parameter,
    limit,
    of_filters,
)
from curio_persistence.models import Agent, AgentLLMUsage, AgentRun, AgentRunEvent, AuditEntry
from curio_persistence.store.base import HealthCheck
from curio_persistence.tables.alerts import Alert, AlertRule
from curio_persistence.tables.keys import ApiKey
from curio_persistence.views.brief import BriefStep
from curio_persistence.views.traces.listing import TraceFilters
from curio_persistence.views.traces.trace import TraceSummary

_RUNS = of_filters(RunFilters)
_EVENTS = of_filters(EventFilters)
_USAGE = of_filters(UsageFilters)
_WINDOW = (
    Parameter("since", MOMENT, "From this time on."),
    Parameter("until", MOMENT, "Before this time."),
)
_PERIODS = ("hour", "day", "week", "month")
_SPENT_BY = ("agent", "model", "provider", "status", "session", "user", "tag", *_PERIODS)
_ZONE = Parameter("timezone", TEXT, "The IANA name of the time zone of periods.", default="UTC")
_PERCENTILES = Parameter("percentiles", TRUTH, "Add percentiles of latencies.", default=False)
_BRIEF = Parameter("brief", TRUTH, "Leave out what may be long.", default=False)
_STEPS = (
    Parameter("only", WORDS, "Only `model`, `tool`, `run`, `span`, `event`, or event types."),
    Parameter("min_level", TEXT, "Only steps that are at least so severe."),
    Parameter("failed", TRUTH, "Only steps that failed.", default=False),
    Parameter("text", TEXT, "Only steps with this text in their name or words."),
    Parameter("around", TEXT, "The page with this step, such as `event:7`."),
    limit(500),
    CURSOR,
)
_CONFLICTS = Parameter(
    "on_conflict",
    TEXT,
    "What an `event_id` does that is stored with other content: nothing, or it is a conflict.",
    default="keep",
    choices=("keep", "error"),
)

OPERATIONS = (
    # --- runs ---------------------------------------------------------------------------------
    Operation(
        "GET",
        "/runs",
        "query_agent_runs",
        Answer("page", AgentRun),
        "List runs.",
        (*_RUNS, _BRIEF, *PAGES),
    ),
    Operation(
        "POST",
        "/runs",
        calls.create_run,
        Answer("created", AgentRun),
        "Create a run.",
        role="write",
        body=RUN,
    ),
    Operation("GET", "/runs/{run_id}", "get_agent_run", Answer("record", AgentRun), "Get a run."),
    Operation(
        "PUT",
        "/runs/{run_id}",
        calls.replace_run,
        Answer("record", AgentRun),
        "Replace a run.",
        role="write",
        body=RUN,
    ),
    Operation(
        "DELETE",
        "/runs/{run_id}",
        "delete_agent_run",
        Answer("nothing"),
        "Delete a run with all that belongs to it.",
        role="admin",
    ),
    Operation(
        "GET",
        "/runs/{run_id}/steps",
        "runs.steps",
        Answer("page", BriefStep),
        "List the steps of a run by time: model calls, tools, events and child runs.",
        _STEPS,
    ),
    Operation(
        "GET",
        "/runs/{run_id}/export",
        calls.export_run,
        Answer("lines"),
        "Get all records of a run as JSON lines, which can be imported.",
    ),
    # --- events and model calls -----------------------------------------------------------------
    Operation(
        "GET",
        "/events",
        "query_events",
        Answer("page", AgentRunEvent),
        "List events.",
        (*_EVENTS, *PAGES),
    ),
    Operation(
        "POST",
        "/events",
        calls.ingest,
        Answer("value", "Ingested"),
        "Append events, all or none. One whose `event_id` is stored already is skipped.",
        (_CONFLICTS,),
        role="write",
        body=EVENTS,
    ),
    Operation("GET", "/events/{id}", calls.event, Answer("record", AgentRunEvent), "Get an event."),
    Operation(
        "GET",
        "/usage",
        "query_llm_usage",
        Answer("page", AgentLLMUsage),
        "List model calls.",
        (*_USAGE, *PAGES),
    ),
    Operation(
        "GET", "/usage/{id}", calls.model_call, Answer("record", AgentLLMUsage), "Get a model call."
    ),
    # --- sessions, traces, agents ---------------------------------------------------------------
    Operation(
        "GET",
        "/sessions",
        "sessions.query",
        Answer("page", Session),
        "List sessions with what they count.",
        (*of_filters(SessionFilters), *PAGES),
    ),
    Operation(
        "GET", "/sessions/{session_id}", "sessions.get", Answer("record", Session), "Get a session."
    ),
    Operation(
        "GET",
        "/traces",
        "traces.query",
        Answer("page", TraceSummary),
        "List traces with what they add up to.",
        (*of_filters(TraceFilters), ORDER, limit(50), CURSOR),
    ),
    Operation(
        "GET",
        "/traces/{trace_id}",
        "traces.get",
        Answer("record", "Trace"),
        "Get a trace with its spans, by its own id or that of one of its runs.",
    ),
    Operation(
        "GET",
        "/agents",
        "agents.query",
        Answer("page", Agent),
        "List agents, those that were seen last first.",
        (*of_filters(AgentFilters), *PAGES),
    ),
    # --- found and added up ---------------------------------------------------------------------
    Operation(
        "GET",
        "/search",
        "search_text",
        Answer("page", SearchHit),
        "Search the words of runs, events and model calls.",
        (
            Parameter("query", TEXT, 'Words, `"a phrase"`, `-word` and `begin*`.', required=True),
            *of_filters(SearchFilters),
            Parameter(
                "order", TEXT, "What comes first.", default="newest", choices=get_args(SearchOrder)
            ),
            limit(50),
            CURSOR,
        ),
        fixed={"max_wait": calls.INDEXING_SECONDS},
    ),
    Operation(
        "GET",
        "/stats",
        "stats.summary",
        Answer("value", "Stats"),
        "Get totals, latencies, models and tools.",
        (*of_filters(StatsFilters),),
    ),
    Operation(
        "GET",
        "/spend",
        "usage.totals",
        Answer("items", UsageTotals),
        "Add up model calls, tokens and costs by group.",
        (
            Parameter(
                "group_by", WORDS, "Groups, of which one may be a period.", choices=_SPENT_BY
            ),
            _ZONE,
            _PERCENTILES,
            *_USAGE,
        ),
    ),
    Operation(
        "GET",
        "/analytics",
        calls.analytics,
        Answer("items", PeriodTotals),
        "Count what happened in each period.",
        (
            *_WINDOW,
            Parameter(
                "bucket",
                TEXT,
                "The length of periods, or `all` for the whole window.",
                default="day",
                choices=(*_PERIODS, "all"),
            ),
            _ZONE,
            Parameter("group_by", WORDS, "Groups.", choices=("agent", "session", "user", "tag")),
            Parameter("fill", TRUTH, "Add periods without records.", default=False),
            _PERCENTILES,
            *of_filters(AnalyticsFilters),
        ),
    ),
    Operation(
        "GET",
        "/metrics",
        calls.metric_names,
        Answer("items", "MetricName"),
        "List the metrics that agents measured.",
        of_filters(MetricFilters),
    ),
    Operation(
        "GET",
        "/metrics/{name}",
        "query_metrics",
        Answer("items", MetricPoint),
        "Aggregate the values of a metric.",
        (
            Parameter(
                "aggregation",
                TEXT,
                "`avg`, `sum`, `min`, `max`, `count`, or `p0` to `p100`.",
                default="avg",
            ),
            Parameter("bucket", TEXT, "The length of periods: `15m`, `1h`, `1d`, `1w` …"),
            Parameter("group_by", TEXT, "A group, such as `agent_id` or `tags.region`."),
            *of_filters(MetricFilters),
        ),
    ),
    Operation(
        "GET",
        "/diff",
        "runs.compare",
        Answer("value", "Comparison"),
        "Compare two runs step by step.",
        (
            Parameter("first", TEXT, "The id of a run.", required=True),
            Parameter("second", TEXT, "The id of the run to compare it with.", required=True),
        ),
    ),
    Operation("GET", "/health", "diagnose", Answer("items", HealthCheck), "Check the database."),
    Operation(
        "GET",
        "/stream",
        "stream",
        Answer("stream"),
        "Follow what is stored, as server-sent events.",
        (
            *of_filters(LiveFilters),
            Parameter("after", TEXT, "Resume behind the item with this id."),
            Parameter("until", TEXT, "End at the item with this id."),
        ),
    ),
    # --- looked after ---------------------------------------------------------------------------
    Operation(
        "POST",
        "/abandon",
        calls.abandon,
        Answer("items", AgentRun),
        "Close runs that were left running, and list them.",
        (
            Parameter(
                "older_than", TEXT, "Runs that were silent for so long, such as `1h`.", default="1h"
            ),
        ),
        role="write",
    ),
    Operation("GET", "/alerts", "alerts.list", Answer("items", AlertRule), "List alert rules."),
    Operation(
        "POST",
        "/alerts",
        calls.create_rule,
        Answer("created", AlertRule),
        "Create an alert rule.",
        role="admin",
        body=ALERT_RULE,
    ),
    Operation(
        "GET",
        "/alerts/history",
        "alerts.history",
        Answer("page", Alert),
        "List what alert rules found.",
        (*of_filters(AlertFilters), *PAGES),
    ),
    Operation(
        "GET",
        "/alerts/rules/{rule_id}",
        "alerts.get",
        Answer("record", AlertRule),
        "Get an alert rule.",
    ),
    Operation(
        "PUT",
        "/alerts/rules/{rule_id}",
        calls.update_rule,
        Answer("record", AlertRule),
        "Change settings of an alert rule.",
        role="admin",
        body=ALERT_RULE,
    ),
    Operation(
        "DELETE",
        "/alerts/rules/{rule_id}",
        "alerts.delete",
        Answer("nothing"),
        "Delete an alert rule; its history stays.",
        role="admin",
    ),
    Operation(
        "GET",
        "/keys",
        "keys.list",
        Answer("items", ApiKey),
        "List API keys, without their secrets.",
        role="admin",
    ),
    Operation(
        "POST",
        "/keys",
        calls.create_key,
        Answer("created", "NewApiKey"),
        "Create an API key. Its secret is in this answer only.",
        role="admin",
        body=NEW_KEY,
    ),
    Operation(
        "GET",
        "/keys/{key_id}",
        "keys.get",
        Answer("record", ApiKey),
        "Get an API key, without its secret.",
        role="admin",
    ),
    Operation(
        "DELETE",
        "/keys/{key_id}",
        "keys.revoke",
        Answer("nothing"),
        "Revoke an API key for good.",
        role="admin",
    ),
    Operation(
        "GET",
        "/audit",
        "audit.query",
        Answer("page", AuditEntry),
        "List the audit log.",
        (*of_filters(AuditFilters), *PAGES),
        role="admin",
    ),
)
"""Operations by path; of two that fit a request, the first one is called."""
