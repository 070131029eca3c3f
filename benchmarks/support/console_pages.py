"""The pages of the console and the readings behind them, measured in processor time."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import process_time, thread_time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.support.console_history import LONG_RUN
from curio_persistence import ConsoleOptions, Persistence, create_app

_HOST = "127.0.0.1"


class Page(NamedTuple):
    """A page, and what it was meant to cost: milliseconds, and bytes when it is compressed."""

    name: str
    path: str
    ms: float | None = None
    octets: int | None = None


def pages_of(persistence: Persistence) -> list[Page]:
    """Return all pages, with the addresses of records that are stored."""
    runs = persistence.query_agent_runs(limit=200, brief=True)
    run = next(each for each in runs if each.session_id and each.run_id != LONG_RUN)
    other = next(each for each in runs if each.run_id not in (LONG_RUN, run.run_id))
    far = persistence.query_agent_runs(limit=2_000, brief=True).next_cursor or ""
    middle = persistence.runs.steps(LONG_RUN, limit=5_000)
    step = middle.steps[-1].ref
    session, compared = f"/sessions/{run.session_id}", f"a={run.run_id}&b={other.run_id}"
    trace = persistence.traces.query(limit=1)[0].trace_id
    return [
        Page("Runs", "/runs", 15, 12_000),
        Page("Runs, page 41", f"/runs?cursor={far}", 15, 12_000),
        Page("Runs, failed ones of an agent", "/runs?status=error&agent_id=coder", 15, 12_000),
        Page("Run", f"/runs/{run.run_id}", 50, 35_000),
        Page("Run of 10,000 steps", f"/runs/{LONG_RUN}", 50, 35_000),
        Page("… at a step in its middle", f"/runs/{LONG_RUN}?step={step}", 50, 35_000),
        Page("… its failed steps", f"/runs/{LONG_RUN}?show=failed", 50, 35_000),
        Page("Step pane", f"/runs/{LONG_RUN}/steps/{step}", 5),
        Page("Sessions", "/sessions", 15),
        Page("Session, conversation", session, 15),
        Page("Session, timeline", f"{session}?view=timeline", 15),
        Page("Session, replay", f"{session}?view=replay", 15),
        Page("Traces", "/traces"),
        Page("Trace", f"/traces/{trace}"),
        Page("Compare", f"/compare?{compared}", 15),
        Page("Events", "/events", 15),
        Page("Search", "/search?q=ledger", 25),
        Page("Overview", "/", 25),
        Page("Costs, 30 days by model", "/costs", 25),
        Page("Activity", "/activity"),
        Page("Metrics", "/custom-metrics"),
        Page("Agents", "/agents"),
        Page("Alerts", "/alerts"),
        Page("Health", "/health"),
    ]


def page_lines(persistence: Persistence, rounds: int) -> Iterator[Sequence[str]]:
    """Yield the heading and a line for each page."""
    yield "page", "median", "p95", "budget", "bytes, gz", "budget", ""
    pages = pages_of(persistence)
    app = create_app(persistence, ConsoleOptions())
    first, taken = asyncio.run(_taken(app, pages, rounds))
    for page in pages:
        status, body = first[page]
        if status != 200:
            yield page.name, f"status {status}", "", "", "", "", "!"
            continue
        median, late = statistics.median(taken[page]), quantile(taken[page], 0.95)
        octets = len(gzip.compress(body, 6))
        over = (page.ms or median) < median or (page.octets or octets) < octets
        budget = "" if page.ms is None else f"{page.ms} ms"
        most = "" if page.octets is None else f"{page.octets:,}"
        yield (
            *(page.name, f"{median:.1f} ms", f"{late:.1f} ms", budget),
            *(f"{octets:,}", most, "!" if over else ""),
        )


async def _taken(
    app: Callable[..., Any], pages: Sequence[Page], rounds: int
) -> tuple[dict[Page, tuple[int, bytes]], dict[Page, list[float]]]:
    """Return the first answer of each page, and its milliseconds in all rounds.

    One task asks for all, as a server does: the threads that answer, and their connections, stay.
    """
    first = {page: await _answer(app, page.path) for page in pages}
    taken: dict[Page, list[float]] = {page: [] for page in pages}
    for _ in range(rounds):
        for page in pages:
            begin = process_time()
            await _answer(app, page.path)
            taken[page].append((process_time() - begin) * 1e3)
    return first, taken


async def _answer(app: Callable[..., Any], url: str) -> tuple[int, bytes]:
    """Return the status and the body of a page, as a server would get it."""
    parts = urlsplit(url)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(b"host", _HOST.encode()), (b"accept", b"text/html")],
        "client": (_HOST, 4711),
        "server": (_HOST, 80),
    }
    status, parts_of_body = 500, bytearray()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        parts_of_body.extend(message.get("body", b""))

    await app(scope, receive, send)
    return status, bytes(parts_of_body)


def quantile(values: Sequence[float], q: float) -> float:
    return sorted(values)[min(int(len(values) * q), len(values) - 1)]


# --- readings -------------------------------------------------------------------------------------

_CALLS_OF_RUNS = """
    SELECT run_id, count(*), sum(input_tokens), sum(output_tokens), sum(cost_usd), count(cost_usd)
    FROM agent_llm_usage WHERE run_id IN (SELECT value FROM json_each(?)) GROUP BY run_id, status
"""
_TOOLS_OF_RUNS = """
    SELECT run_id, count(tool_error), sum(tool_error) FROM agent_run_events
    WHERE run_id IN (SELECT value FROM json_each(?)) GROUP BY run_id
"""
_BRIEF = """
    SELECT id, run_id, agent_id, objective, status, error_message, created_at, started_at,
    finished_at, session_id, tags FROM agent_runs ORDER BY created_at DESC, id DESC LIMIT 51
"""
_EVENTS = """
    SELECT timestamp, id, event_type, level, span_id, message, data FROM agent_run_events
    WHERE run_id = ? AND timestamp > ? ORDER BY timestamp, id LIMIT 600
"""
_CALLS = """
    SELECT created_at, id, model, status, error_message, latency_ms, input_tokens, output_tokens,
    cost_usd, response_content FROM agent_llm_usage
    WHERE run_id = ? AND created_at > ? ORDER BY created_at, id LIMIT 250
"""
_SPEND = """
    SELECT substr(created_at, 1, 10), model, status, count(*), count(cost_usd), sum(cost_usd),
    sum(input_tokens), sum(output_tokens) FROM agent_llm_usage WHERE created_at >= ?
    GROUP BY 1, 2, 3
"""
_TIMES = "SELECT created_at FROM agent_llm_usage WHERE run_id = ?"
_ENDS = "SELECT timestamp FROM agent_run_events WHERE run_id = ? AND tool_error IS NOT NULL"


def reading_lines(path: Path, persistence: Persistence, rounds: int) -> Iterator[Sequence[str]]:
    """Yield the heading and a line for each reading, beside the bare driver."""
    yield "reading", "bare driver", "ours", "times"
    with closing(sqlite3.connect(path)) as raw:
        for name, theirs, ours in _readings(raw, persistence):
            sides: tuple[list[float], list[float]] = [], []
            for _ in range(rounds):
                for side, read in zip(sides, (theirs, ours), strict=True):
                    begin = thread_time()
                    read()
                    side.append((thread_time() - begin) * 1e3)
            bare, taken = map(statistics.median, sides)
            yield name, f"{bare:.2f} ms", f"{taken:.2f} ms", f"{taken / bare:.1f}"


def _readings(
    raw: sqlite3.Connection, ours: Persistence
) -> Iterator[tuple[str, Callable[[], object], Callable[[], object]]]:
    ids = [run.run_id for run in ours.query_agent_runs(limit=51) if run.run_id != LONG_RUN][:50]
    some = json.dumps(ids)
    middle = ours.runs.steps(LONG_RUN, limit=5_000)
    at = middle.steps[-1].at.isoformat(timespec="microseconds")
    [newest] = raw.execute("SELECT max(created_at) FROM agent_llm_usage").fetchone()
    [since] = raw.execute(
        "SELECT strftime('%Y-%m-%d', ?, '-30 days') || 'T00:00:00.000000+00:00'", (newest[:19],)
    ).fetchone()

    def rows(*statements: tuple[str, tuple[Any, ...]]) -> Callable[[], object]:
        return lambda: [raw.execute(sql, values).fetchall() for sql, values in statements]

    yield (
        "figures of 50 runs",
        rows((_CALLS_OF_RUNS, (some,)), (_TOOLS_OF_RUNS, (some,))),
        lambda: ours.runs.totals_of(ids),
    )
    yield (
        "50 runs in brief",
        rows((_BRIEF, ())),
        lambda: [*ours.query_agent_runs(limit=50, brief=True)],
    )
    yield (
        "500 steps from the middle of 10,000",
        rows((_EVENTS, (LONG_RUN, at)), (_CALLS, (LONG_RUN, at))),
        lambda: ours.runs.steps(LONG_RUN, cursor=middle.next_cursor),
    )
    yield (
        "the outline of 10,000 steps",
        rows((_TIMES, (LONG_RUN,)), (_ENDS, (LONG_RUN,))),
        lambda: ours.runs.outline_buckets(LONG_RUN),
    )
    yield (
        "costs of 30 days by day and model",
        rows((_SPEND, (since,))),
        lambda: ours.usage.totals(
            group_by=("day", "model"), timezone="Europe/Berlin", since=since, until=newest
        ),
    )
    yield "values of a picker, kept", lambda: ids, lambda: ours.values("model")
