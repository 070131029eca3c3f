"""A replica of ten million events: a source of a tenth of it, and shifted copies in ClickHouse."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.support import fill
from benchmarks.support.rows import EVENT_COLUMNS
from curio_persistence.backends.clickhouse.client import ClickHouseClient
from curio_persistence.store.codecs import encode_time
from curio_persistence.tables import EVENTS, RUNS, USAGE


def _names(text: str) -> list[str]:
    return text.split()


COPIES = 10
OF_A_RUN = 50
RARE = 5_000
DAYS = 100
END = datetime(2026, 11, 1, tzinfo=UTC)
_WORDS = _names("tool plan search fetch parse model token agent memory result query index")
_TYPES = ("tool_call", "log", "step", "planning_started")
_TOOLS = ("search", "browser", "python", "sql")
_NO_TOOL = (None, None, None)
_MODELS = ("claude-sonnet-4-5", "gpt-5", "gemini-2.5-pro")
_SHARED = ("agent_id", "session_id")
"""The columns of ids that copies share: there are as many agents in ten times the rows."""


def run_id(number: int) -> str:
    """Return the id of a run, which is random."""
    return f"{random.Random(number).getrandbits(128):032x}"


def fill_source(path: Path, events: int) -> None:
    """Make a SQLite file with so many events, a tenth of as many model calls, and their runs."""
    fill.sqlite_file(path, [_runs(events), _events(events), _calls(events)])


def _runs(events: int) -> fill.Content:
    names = [
        "agent_id",
        "run_id",
        "agent_name",
        "objective",
        "started_at",
        "finished_at",
        "status",
        "created_at",
        "updated_at",
        "session_id",
    ]

    def rows() -> Iterator[Sequence[tuple[Any, ...]]]:
        count = events // OF_A_RUN
        yield [_run(number, count) for number in range(count)]

    return RUNS.name, names, rows()


def _run(number: int, count: int) -> tuple[Any, ...]:
    begin = _begin(number, count)
    ended = encode_time(begin + timedelta(seconds=OF_A_RUN))
    status = "error" if number % 17 == 0 else "completed"
    session = f"session-{number // 5}" if number % 2 else None
    agent = f"agent-{number % 20}"
    started = encode_time(begin)
    return agent, run_id(number), agent, "Find it", started, ended, status, started, ended, session


def _begin(number: int, count: int) -> datetime:
    return END - timedelta(days=DAYS) + timedelta(days=DAYS) * number / count


def _events(events: int) -> fill.Content:
    names = [*EVENT_COLUMNS, "event_id", "session_id", "level", "severity"]
    return EVENTS.name, names, _chunks(events // OF_A_RUN, _events_of)


def _chunks(
    runs: int, rows_of: Callable[[int, int, random.Random], list[tuple[Any, ...]]]
) -> Iterator[Sequence[tuple[Any, ...]]]:
    chosen = random.Random(1)
    for first in range(0, runs, 200):
        numbers = range(first, min(first + 200, runs))
        yield [row for number in numbers for row in rows_of(number, runs, chosen)]


def _events_of(number: int, runs: int, chosen: random.Random) -> list[tuple[Any, ...]]:
    begin, run, agent = _begin(number, runs), run_id(number), f"agent-{number % 20}"
    session = f"session-{number // 5}" if number % 2 else None
    rows = []
    for at in range(OF_A_RUN):
        time = encode_time(begin + timedelta(seconds=at))
        is_tool, is_bad = at % 4 == 0, chosen.random() < 0.005
        tool = (
            (_TOOLS[at % 16 // 4], chosen.randrange(10**6), int(is_bad)) if is_tool else (None,) * 3
        )
        event_id = f"{chosen.getrandbits(128):032x}" if number % 2 else None
        level = ("error", 40) if is_bad else ("info", None)
        payload = _payload(at, chosen)
        rows.append(
            (
                agent,
                run,
                agent,
                time,
                _TYPES[at % 4],
                payload,
                time,
                *tool,
                event_id,
                session,
                *level,
            )
        )
    return rows


def _payload(number: int, chosen: random.Random) -> str:
    words = " ".join(chosen.choices(_WORDS, k=28))
    rare = f"rare{chosen.randrange(RARE)}"
    unique = f"{chosen.getrandbits(128):032x}"
    return json.dumps({"n": number, "text": words, "rare": rare, "unique": unique})


def _calls(events: int) -> fill.Content:
    names = [
        "agent_id",
        "run_id",
        "provider",
        "model",
        "prompt",
        "prompt_length",
        "response_content",
        "response_length",
        "input_tokens",
        "output_tokens",
        "status",
        "latency_ms",
        "created_at",
        "cost_usd",
    ]
    return USAGE.name, names, _chunks(events // OF_A_RUN, _calls_of)


def _calls_of(number: int, runs: int, chosen: random.Random) -> list[tuple[Any, ...]]:
    begin, run, agent = _begin(number, runs), run_id(number), f"agent-{number % 20}"
    rows = []
    for at in range(OF_A_RUN // 10):
        time = encode_time(begin + timedelta(seconds=10 * at))
        prompt, answer = (" ".join(chosen.choices(_WORDS, k=20)) for _ in range(2))
        tokens = chosen.randrange(100, 9_000), chosen.randrange(10, 900)
        status = "error" if chosen.random() < 0.01 else "success"
        model = _MODELS[number % 3]
        rows.append(
            (
                agent,
                run,
                "made-up",
                model,
                prompt,
                len(prompt),
                answer,
                len(answer),
                *tokens,
                status,
                chosen.randrange(200, 9_000),
                time,
                chosen.randrange(10**9, 10**11),
            )
        )
    return rows


def copy_rows(client: ClickHouseClient, copies: int = COPIES) -> None:
    """Add shifted copies of all runs, events and calls: other ids, a moment later."""
    for table in (RUNS, EVENTS, USAGE):
        found = client.rows(
            "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = %s "
            "AND default_kind = ''",
            (table.name,),
        )
        names = [name for (name,) in found]
        [(last,)] = client.rows(f"SELECT max(id) FROM {table.name}")
        for copy in range(1, copies):
            chosen = ", ".join(_shifted(table, name, copy, last) for name in names)
            client.command(
                f"INSERT INTO {table.name} ({', '.join(names)}) "
                f"SELECT {chosen} FROM {table.name} WHERE id <= {last}"
            )


def _shifted(table: Any, name: str, copy: int, last: int) -> str:
    if name == "id":
        return f"id + {copy * last}"
    if name in ("run_id", "event_id"):
        return f"concat({name}, '-{copy}')"
    if name in table.stored_names and table.kind_of(name) == "time":
        return f"{name} + toIntervalSecond({7 * copy})"
    return name
