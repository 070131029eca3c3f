"""A question for each way to read, and for each filter, as functions of a persistence.

Answers are made of records and plain values, so that those of two databases can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from curio_persistence import Persistence

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY: Mapping[str, Any] = {"since": NOW - timedelta(days=3), "until": NOW - timedelta(days=1)}
WEEK: Mapping[str, Any] = {"since": NOW - timedelta(days=7), "until": NOW}
Ask = Callable[[Persistence], Any]


class Known:
    """What a source has, to ask for."""

    def __init__(self, source: Persistence) -> None:
        run = source.get_agent_runs(limit=1)[0]
        self.run = run.run_id
        runs = source.query_agent_runs(limit=None)
        self.other = next(r.run_id for r in runs if r.agent_id == run.agent_id and r != run)
        self.child = next(r for r in runs if r.parent_run_id)
        self.tagged = next((r for r in runs if r.tags), run)
        self.agent = run.agent_id
        self.session = next(r.session_id for r in runs if r.session_id)
        self.user = next(r.user_id for r in runs if r.user_id)
        self.tool = source.stats.tools()[0]
        self.metric = next(iter(source.metrics.names()))
        self.model = source.query_llm_usage(limit=1)[0].model
        self.event = source.query_events(limit=1)[0].id


def questions(known: Known) -> dict[str, Ask]:
    """Return questions by name."""
    asked: dict[str, Ask] = {}
    for part in (_runs, _events, _calls, _numbers, _words, _others):
        asked |= part(known)
    return asked


def _each(name: str, ask: Callable[..., Any], filters: list[dict[str, Any]]) -> dict[str, Ask]:
    """Return a question for each of some filters."""

    def with_these(given: dict[str, Any]) -> Ask:
        return lambda persistence: ask(persistence, **given)

    return {f"{name} {str(each)[:60]}": with_these(each) for each in filters}


def _runs(known: Known) -> dict[str, Ask]:
    tags = known.tagged.tags
    filters: list[dict[str, Any]] = [
        {},
        {"agent_id": known.agent},
        {"session_id": known.session},
        {"user_id": known.user},
        {"parent_run_id": known.child.parent_run_id},
        {"run_id": [known.run, known.other]},
        {"status": "error"},
        {"status": ["error", "completed"]},
        {"tags": [*(tags or ["x"])][:1]},
        {"any_tags": ["x", *(tags or [])]},
        {"metadata": {"nowhere": 1}},
        {**DAY},
    ]
    run, other = known.run, known.other
    return {
        **_each("query_agent_runs", lambda p, **f: [*p.query_agent_runs(limit=50, **f)], filters),
        **_each("iter_agent_runs", lambda p, **f: [*p.iter_agent_runs(**f)], filters[:3]),
        **_each("count_agent_runs", lambda p, **f: p.count_agent_runs(**f), filters),
        "runs oldest": lambda p: [*p.query_agent_runs(order="oldest", limit=30)],
        "runs brief": lambda p: [*p.query_agent_runs(brief=True, limit=30)],
        "runs by pages": lambda p: _by_pages(p.query_agent_runs),
        "runs frame": lambda p: p.query_agent_runs(limit=40).to_pandas().to_dict("records"),
        "get_agent_run": lambda p: (p.get_agent_run(run), p.get_agent_run("nothing")),
        "get_agent_runs": lambda p: p.get_agent_runs(known.agent, limit=5, offset=2),
        "runs.find_ids": lambda p: p.runs.find_ids(run[:8]),
        "runs.get_many": lambda p: p.runs.get_many([run, other, "nothing"]),
        "runs.totals": lambda p: [*p.runs.totals(agent_id=known.agent)],
        "runs.totals_of": lambda p: p.runs.totals_of([run, other]),
        "runs.counts": lambda p: [*p.runs.counts(bucket="hour", **DAY)],
        "runs.counts by agent": lambda p: [
            *p.runs.counts(by="agent", timezone="Europe/Berlin", **WEEK)
        ],
        "runs.history": lambda p: p.runs.history(run).to_dict(),
        "runs.steps": lambda p: [*p.runs.steps(run)],
        "runs.steps only errors": lambda p: [*p.runs.steps(run, min_level="warning")],
        "runs.outline": lambda p: p.runs.outline(known.child.parent_run_id),
        "runs.outline_buckets": lambda p: p.runs.outline_buckets(run, 20),
        "runs.compare": lambda p: p.runs.compare(run, other).to_dict(),
        "runs.hash": lambda p: p.runs.hash(run),
        "runs.hashes": lambda p: [*p.runs.hashes()],
        "runs.stale": lambda p: p.runs.stale(older_than=timedelta(0)),
    }


def _by_pages(query: Callable[..., Any]) -> list[Any]:
    found, cursor = [], None
    while True:
        page = query(limit=7, cursor=cursor)
        found += [*page]
        cursor = page.next_cursor
        if cursor is None or len(found) > 60:
            return found


def _events(known: Known) -> dict[str, Ask]:
    filters: list[dict[str, Any]] = [
        {},
        {"agent_id": known.agent},
        {"run_id": known.run},
        {"run_id": [known.run, known.other]},
        {"session_id": known.session},
        {"user_id": known.user},
        {"event_type": "tool_call"},
        {"event_type": ["tool_call", "note"]},
        {"level": "error"},
        {"min_level": "warning"},
        {"payload": {"a": 100}},
        {"payload": {"a": "it's \\ 100% \n TimeoutError"}, "agent_id": known.agent},
        {"payload": {"tool": known.tool.tool}},
        {**DAY},
    ]
    return {
        **_each("query_events", lambda p, **f: [*p.query_events(limit=60, **f)], filters),
        **_each("iter_events", lambda p, **f: [*p.iter_agent_run_events(**f)], filters[:3]),
        **_each("count_events", lambda p, **f: p.count_events(**f), filters),
        "events oldest": lambda p: [*p.query_events(order="oldest", limit=60)],
        "events by pages": lambda p: _by_pages(p.query_events),
        "events oldest by pages of a run": lambda p: [
            *p.iter_agent_run_events(run_id=known.run, order="oldest", snapshot=False)
        ],
        "events arrow": lambda p: p.iter_agent_run_events(run_id=known.run).to_arrow().to_pylist(),
        "events of a run": lambda p: p.get_agent_run_events(known.run),
        "events of a run and type": lambda p: p.get_agent_run_events(known.run, "note"),
        "an event": lambda p: (p.events.get(known.event), p.events.get(10**9)),
    }


def _calls(known: Known) -> dict[str, Ask]:
    filters: list[dict[str, Any]] = [
        {},
        {"agent_id": known.agent},
        {"run_id": known.run},
        {"session_id": known.session},
        {"user_id": known.user},
        {"model": known.model},
        {"status": "error"},
        {**DAY},
    ]
    return {
        **_each("query_llm_usage", lambda p, **f: [*p.query_llm_usage(limit=40, **f)], filters),
        **_each("iter_llm_usage", lambda p, **f: [*p.iter_llm_usage(**f)], filters[:2]),
        **_each("count_llm_usage", lambda p, **f: p.count_llm_usage(**f), filters),
        "calls of an agent": lambda p: p.get_llm_usage(known.agent, limit=5),
        "calls of a run": lambda p: p.get_llm_usage(run_id=known.run),
        "a call": lambda p: p.usage.get(1),
        "usage.totals": lambda p: [*p.usage.totals()],
        "usage.totals by model and agent": lambda p: [*p.usage.totals(group_by=("model", "agent"))],
        "usage.totals by tag, in a zone": lambda p: [*p.usage.totals(group_by=("tag",), **DAY)],
    }


def _numbers(known: Known) -> dict[str, Ask]:
    return {
        "stats": lambda p: p.get_agent_run_stats(),
        "stats of an agent": lambda p: p.get_agent_run_stats(known.agent),
        **_each(
            "stats.summary",
            lambda p, **f: p.stats.summary(**f),
            [{"session_id": known.session}, {**DAY}],
        ),
        "stats.tools": lambda p: [*p.stats.tools()],
        "stats.tools of a day": lambda p: [*p.stats.tools(**DAY)],
        "stats.groups": lambda p: [sorted(each) for each in p.stats.groups()],
        "stats.failures": lambda p: [*p.stats.failures()],
        **_each(
            "analytics",
            lambda p, **how: [*p.analytics(**WEEK, **how)],
            [{"group_by": group} for group in ("agent", "session", "user", "tag")],
        ),
        **_each(
            "analytics",
            lambda p, **how: [*p.analytics(timezone="America/New_York", fill=True, **DAY, **how)],
            [{"bucket": bucket} for bucket in ("hour", "day", "week", "month")],
        ),
        "analytics with percentiles": lambda p: [*p.analytics(percentiles=True, **WEEK)],
        "metrics.names": lambda p: p.metrics.names(),
        **_each(
            "query_metrics",
            lambda p, **how: [*p.query_metrics(known.metric, **how)],
            [{"aggregation": each} for each in ("avg", "sum", "min", "max", "count", "p50", "p99")],
        ),
        "metric by hour and run": lambda p: [
            *p.query_metrics(known.metric, "sum", bucket="1h", group_by="run_id")
        ],
        **_each(
            "values",
            lambda p, **of: p.values(**of),
            [{"name": n} for n in ("agent_id", "model", "provider", "event_type", "tool", "tags")],
        ),
    }


def _words(known: Known) -> dict[str, Ask]:
    texts = (
        "timeout",
        "timeouterror",
        "zurich",
        "naive http*",
        '"quoted"',
        "the -error",
        "100",
        "nowhere",
        "a*",
        "search result",
    )

    def found(persistence: Persistence, text: str, **how: Any) -> list[Any]:
        return [(h.kind, h.record, h.snippet) for h in persistence.search_text(text, **how)]

    return {
        **_each("search_text", found, [{"text": text} for text in texts]),
        "words of an agent": lambda p: found(p, "the", agent_id=known.agent, **DAY),
        "words of a session": lambda p: found(p, "the", session_id=known.session),
        "words of a type": lambda p: found(p, "timeout", event_type="note"),
        "words that fit best": lambda p: found(p, "search", order="rank", limit=5),
        "words by pages": lambda p: [
            hit.record for hit in _by_pages(lambda **page: p.search_text("the", **page))
        ],
        "search.beginnings": lambda p: p.search.beginnings("timeou searc"),
    }


def _others(known: Known) -> dict[str, Ask]:
    def summaries(persistence: Persistence, **filters: Any) -> list[Any]:
        return [*persistence.traces.query(limit=40, **filters)]

    return {
        "scores": lambda p: ([*p.scores.query()], p.scores.count(name="helpful")),
        "scores of a run": lambda p: (p.scores.list(known.run), [*p.scores.iterate()]),
        "approvals": lambda p: ([*p.approvals.query()], p.approvals.count(status="approved")),
        "approvals of a run": lambda p: (p.approvals.list(known.run), [*p.approvals.iterate()]),
        "snapshots": lambda p: (p.snapshots.latest(known.run), [*p.snapshots.iterate()]),
        "a snapshot": lambda p: (p.snapshots.get(known.run, "step-1"), p.snapshots.list(known.run)),
        "agents": lambda p: ([*p.agents.query()], p.agents.count(), p.agents.get(known.agent)),
        "agents one by one": lambda p: [*p.agents.iterate()],
        "sessions": lambda p: [*p.sessions.query(limit=30)],
        "sessions of a user": lambda p: [*p.sessions.query(user_id=known.user)],
        "sessions one by one": lambda p: ([*p.sessions.iterate()], p.sessions.count()),
        "a session": lambda p: p.sessions.get(known.session),
        "a timeline": lambda p: [*p.sessions.timeline(known.session)],
        "a conversation": lambda p: [*p.sessions.conversation(known.session)],
        "a moment": lambda p: p.sessions.moment(known.session),
        "traces": summaries,
        "traces of an agent": lambda p: summaries(p, agent_id=known.agent),
        "traces one by one": lambda p: ([*p.traces.iterate()], p.traces.count()),
        "traces by id": lambda p: [
            trace and trace.to_dict() for trace in map(p.traces.get, (known.run, "a" * 32))
        ],
        "spans": lambda p: ([*p.traces.spans()], [*p.traces.sources()]),
        "traces.find_ids": lambda p: p.traces.find_ids("aaaa"),
        "prices.unpriced": lambda p: [*p.prices.unpriced()],
        "run logs": lambda p: (
            p.runlog.entries(known.session),
            p.runlog.max_sequence(known.session),
        ),
    }
