"""Rows like those of agents, the same ones for every measured side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate, cycle, islice, product
from random import Random
from typing import Any, Literal

from curio_persistence import AgentRunEvent, EventType

AGENTS = tuple(f"agent-{n:03d}" for n in range(100))
MODELS = (
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-5"),
    ("openai", "gpt-5-mini"),
    ("google", "gemini-2.5-pro"),
    ("mistral", "mistral-large"),
)
TOOLS = ("search", "calculator", "browser", "python", "read_file", "sql")
EVENTS_OF_A_RUN = 1_000

EVENT_COLUMNS = (
    "agent_id",
    "run_id",
    "agent_name",
    "timestamp",
    "event_type",
    "data",
    "created_at",
    "tool_name",
    "tool_latency_us",
    "tool_error",
)
RUN_COLUMNS = (
    "agent_id",
    "run_id",
    "agent_name",
    "objective",
    "started_at",
    "total_iterations",
    "status",
    "created_at",
    "updated_at",
)
USAGE_COLUMNS = (
    "agent_id",
    "run_id",
    "provider",
    "model",
    "prompt",
    "prompt_length",
    "input_params",
    "input_tokens",
    "output_tokens",
    "response_content",
    "response_length",
    "usage_metrics",
    "status",
    "error_message",
    "latency_ms",
    "created_at",
    "cost_usd",
)

METRIC = "answer_seconds"
METRIC_COLUMNS = (*EVENT_COLUMNS[:7], "metric_name", "metric_value")

BEGIN = datetime(2025, 11, 20, 10, 30, tzinfo=UTC)
"""Stored rows are older than those written during a measurement, as in practice."""

_BETWEEN_EVENTS = timedelta(milliseconds=25)
_BETWEEN_CALLS = timedelta(seconds=30)
"""A million model calls take most of a year."""
_STEPS = (
    EventType.ITERATION_STARTED,
    EventType.PLANNING_STARTED,
    EventType.PLANNING_COMPLETED,
    EventType.ACTION_EXECUTION_STARTED,
    EventType.CRITIQUE_STARTED,
    EventType.CRITIQUE_RESULT,
    EventType.SYNTHESIS_RESULT,
    EventType.CUSTOM,
    EventType.ITERATION_COMPLETED,
)
TYPES = tuple(step.value for step in _STEPS)
_TOOL_CALLS = 0.05
_STATUSES = ("completed",) * 17 + ("error", "error", "running")
_PROSE = (
    "the agent looked up three sources compared their dates and kept the newest of them because "
    "its numbers agree with the table that the user gave in the first message of this session"
)
_WORDS = _PROSE.split()
_ACCENTED = ("café", "naïve", "–", "“quoted”", "Zürich", "✓")
_SYLLABLES = ("ba", "cor", "di", "fen", "gu", "hal", "ki", "lor", "mu", "net")
_PAYLOADS = 2_000
_CHUNK = 10_000


def sentence(random: Random, words: int) -> str:
    """Return some prose; one text in ten has non-ASCII letters."""
    chosen = random.choices(_WORDS, k=words)
    if random.random() < 0.1:
        chosen[random.randrange(words)] = random.choice(_ACCENTED)
    return " ".join(chosen)


def agent_of(run: int) -> str:
    """Return the agent of a run: the agents take turns."""
    return AGENTS[run % len(AGENTS)]


def session_of(run: int) -> str | None:
    """Return the session of a run: every second run is one of five in a session."""
    return None if run % 2 else f"session-{run // 10}"


def parent_of(run: int) -> str | None:
    """Return the parent of a run: the fifth is the parent of four."""
    return run_id(run - run % 5) if run % 5 else None


def level_of(event: int) -> tuple[str, int | None]:
    """Return an event's level and severity: of a hundred, three are warnings and one an error."""
    if event % 100 == 0:
        return "error", 40
    return ("warning", 30) if event % 100 in (25, 50, 75) else ("info", None)


def run_id(run: int) -> str:
    """Return a run's id in UUID form; ids of neighbours are far apart, like random ones."""
    return f"{run * 2654435761 % 2**32:08x}-0000-4000-8000-{run:012x}"


Names = Literal["growing", "random"]


class EventStream:
    """Endless events of some concurrent runs, as an agent passes them.

    `now` returns the time of each. With `named` each has an `event_id`: either one that is greater
    than the previous one, as in UUIDv7 and ULID, or a random one, as in UUIDv4.
    """

    def __init__(
        self, runs: range, *, now: Callable[[], datetime], seed: int = 1, named: Names | None = None
    ) -> None:
        self._random = Random(seed)
        self._runs = [(agent_of(run), run_id(run)) for run in runs]
        self._now = now
        self._named = named
        self._next = self._events()

    def take(self, count: int) -> list[AgentRunEvent]:
        return list(islice(self._next, count))

    def _events(self) -> Iterator[AgentRunEvent]:
        payloads, tool_payloads = _payloads()
        for agent, run in cycle(self._runs):
            if self._random.random() < _TOOL_CALLS:
                kind, data = "tool_call", self._random.choice(tool_payloads)
            else:
                kind, data = self._random.choice(TYPES), self._random.choice(payloads)
            event = AgentRunEvent(agent, run, "Research agent", self._now(), kind, data)
            if self._named:
                event.event_id = self._name(event)
            yield event

    def _name(self, event: AgentRunEvent) -> str:
        if self._named == "random":
            return f"{self._random.getrandbits(128):032x}"
        microseconds = round(event.timestamp.timestamp() * 1_000_000)  # type: ignore[union-attr]
        return f"{microseconds:016x}{self._random.getrandbits(64):016x}"


@cache
def _payloads() -> tuple[list[str], list[str]]:
    """Return payloads of events, and of tool calls."""
    random = Random(4)
    return (
        [_payload(random) for _ in range(_PAYLOADS)],
        [_tool_payload(random) for _ in range(_PAYLOADS)],
    )


def _payload(random: Random) -> str:
    return json.dumps(
        {
            "iteration": random.randrange(20),
            "thought": sentence(random, 22),
            "confidence": round(random.random(), 4),
            "sources": [f"https://example.org/{random.randrange(10**6)}" for _ in range(2)],
            "final": random.random() < 0.1,
            "parent": None,
        },
        ensure_ascii=False,
    )


def _tool_payload(random: Random) -> str:
    return json.dumps(
        {
            "tool_name": random.choice(TOOLS),
            "args": {"query": sentence(random, 8), "limit": random.randrange(50)},
            "result": sentence(random, 20),
            "latency_ms": round(random.lognormvariate(5, 1), 3),
            "error": "TimeoutError: no answer" if random.random() < 0.05 else None,
        },
        ensure_ascii=False,
    )


def lifted(event: AgentRunEvent) -> tuple[str | None, int | None, int | None]:
    """Return a tool call's name, microseconds and failure, stored beside the payload."""
    if event.event_type != "tool_call":
        return None, None, None
    data = json.loads(event.data)
    return data["tool_name"], round(data["latency_ms"] * 1000), 1 if data["error"] else 0


def event_rows(runs: int, *, each: int, first: int = 0) -> Iterator[list[tuple[Any, ...]]]:
    """Yield chunks of rows of EVENT_COLUMNS: `each` events of every run, ten runs at a time.

    They are in order of time; those of the runs from `first` on follow those before it.
    """
    for begin in range(first, first + runs, 10):
        some = range(begin, min(begin + 10, first + runs))
        clock = _clock(begin, BEGIN + begin * each * _BETWEEN_EVENTS)
        events = EventStream(some, now=clock, seed=begin).take(len(some) * each)
        yield [
            (e.agent_id, e.run_id, e.agent_name, at, e.event_type, e.data, at, *lifted(e))
            for e in events
            if (at := _iso(e.timestamp))
        ]


@cache
def vocabulary() -> list[str]:
    """Return a hundred thousand words, the most frequent first, which are short as in language."""
    random, words = Random(6), []
    for length in range(2, 6):
        alike = ["".join(syllables) for syllables in product(_SYLLABLES, repeat=length)]
        random.shuffle(alike)
        words += alike
    return words


@cache
def _frequencies() -> list[float]:
    """Return cumulative frequencies by Zipf's law: the tenth word a tenth as often as the first."""
    return list(accumulate(1 / rank for rank in range(1, len(vocabulary()) + 1)))


def some_words(random: Random, count: int) -> tuple[str, ...]:
    """Return different words, a frequent one more likely than a rare one."""
    words: set[str] = set()
    while len(words) < count:
        words |= {*random.choices(vocabulary(), cum_weights=_frequencies())}
    return tuple(sorted(words))


def worded_rows(runs: int, *, each: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield rows like `event_rows`, with unique payloads and words as frequent as in prose."""
    random = Random(7)
    data = EVENT_COLUMNS.index("data")
    for chunk in event_rows(runs, each=each):
        yield [(*row[:data], _worded_payload(random), *row[data + 1 :]) for row in chunk]


def _worded_payload(random: Random) -> str:
    return json.dumps(
        {
            "thought": " ".join(random.choices(vocabulary(), cum_weights=_frequencies(), k=24)),
            "sources": [f"https://example.org/{random.randrange(10**6)}" for _ in range(2)],
            "request": f"{random.getrandbits(64):016x}",
            "confidence": round(random.random(), 4),
        }
    )


def run_rows(runs: int, *, first: int = 0) -> list[tuple[Any, ...]]:
    """Yield rows of RUN_COLUMNS, the agents in turn."""
    random = Random(2 + first)
    rows = []
    for n in range(first, first + runs):
        at = _iso(BEGIN + timedelta(seconds=n))
        rows.append(
            (
                agent_of(n),
                run_id(n),
                "Research agent",
                sentence(random, 12),
                at,
                random.randrange(1, 20),
                random.choice(_STATUSES),
                at,
                at,
            )
        )
    return rows


class Year:
    """Runs at equal distances in a year, each with events and model calls some seconds apart.

    Of three runs, two belong to a session of four runs; each is of one of 300 users.
    """

    EVENTS, CALLS = 20, 4
    RUN_COLUMNS = (*RUN_COLUMNS, "finished_at", "session_id", "user_id")

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._between = timedelta(days=365) / runs

    def _begin(self, run: int) -> datetime:
        return BEGIN + run * self._between

    def runs(self) -> Iterator[list[tuple[Any, ...]]]:
        for number, row in enumerate(run_rows(self._runs)):
            at = _iso(self._begin(number))
            session = f"session-{number // 4}" if number % 3 else None
            moments = dict.fromkeys(("started_at", "created_at", "updated_at"), at)
            values = {**dict(zip(RUN_COLUMNS, row, strict=True)), **moments}
            yield [(*values.values(), at, session, f"user-{number * 7 % 300}")]

    def events(self) -> Iterator[list[tuple[Any, ...]]]:
        for rows in event_rows(self._runs, each=self.EVENTS):
            order = sorted(rows, key=lambda row: row[1][-12:])  # The number of the run.
            yield [self._moved(number, row, (3, 6)) for number, row in enumerate(order)]

    def calls(self) -> Iterator[list[tuple[Any, ...]]]:
        number = 0
        for rows in usage_rows(self._runs * self.CALLS, self._runs):
            yield [self._call(number + at, row) for at, row in enumerate(rows)]
            number += len(rows)

    def _moved(self, number: int, row: tuple[Any, ...], times: tuple[int, ...]) -> tuple[Any, ...]:
        run = int(row[1][-12:], 16)
        at = _iso(self._begin(run) + timedelta(seconds=5 * (number % self.EVENTS)))
        return tuple(at if column in times else value for column, value in enumerate(row))

    def _call(self, number: int, row: tuple[Any, ...]) -> tuple[Any, ...]:
        run = number // self.CALLS
        at = _iso(self._begin(run) + timedelta(seconds=20 * (number % self.CALLS)))
        of_run = {"agent_id": agent_of(run), "run_id": run_id(run), "created_at": at}
        return tuple((dict(zip(USAGE_COLUMNS, row, strict=True)) | of_run).values())


def usage_rows(count: int, runs: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield chunks of rows of USAGE_COLUMNS in order of time, with costs in picodollars.

    Agents take turns at random, latencies are log-normal, one call in fifty failed.
    """
    random = Random(3)
    prompts = [sentence(random, 20) for _ in range(_PAYLOADS)]
    answers = [sentence(random, 25) for _ in range(_PAYLOADS)]
    params = [json.dumps({"temperature": t / 10, "max_tokens": 4096}) for t in range(10)]
    for first in range(0, count, _CHUNK):
        size = min(_CHUNK, count - first)
        chunk = zip(
            range(first, first + size),
            random.choices(range(runs), k=size),
            random.choices(MODELS, k=size),
            random.choices(prompts, k=size),
            random.choices(answers, k=size),
            random.choices(params, k=size),
            strict=True,
        )
        yield [_usage_row(random, *values) for values in chunk]


def _usage_row(
    random: Random,
    n: int,
    run: int,
    model: tuple[str, str],
    prompt: str,
    answer: str,
    params: str,
) -> tuple[Any, ...]:
    at = _iso(BEGIN + n * _BETWEEN_CALLS)
    failed = random.random() < 0.02
    asked = random.randrange(50, 8_000)
    answered = None if failed else random.randrange(20, 2_000)
    return (
        agent_of(run),
        run_id(run),
        *model,
        prompt,
        len(prompt),
        params,
        asked,
        answered,
        None if failed else answer,
        None if failed else len(answer),
        None,
        "error" if failed else "success",
        "RateLimitError: try again in 20 s" if failed else None,
        int(random.lognormvariate(7, 0.6)),
        at,
        asked * 3_000_000 + (answered or 0) * 15_000_000,
    )


def metric_rows(count: int, runs: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield chunks of rows of METRIC_COLUMNS: log-normal values of one metric over thirty days, in
    order of time, each of a random run."""
    random = Random(5)
    between = timedelta(days=30) / count
    for first in range(0, count, _CHUNK):
        yield [
            _metric_row(random.randrange(runs), BEGIN + n * between, random.lognormvariate(1, 1))
            for n in range(first, min(first + _CHUNK, count))
        ]


def _metric_row(run: int, moment: datetime, value: float) -> tuple[Any, ...]:
    at = _iso(moment)
    data = json.dumps({"name": METRIC, "value": value, "unit": "s", "tags": None})
    return (agent_of(run), run_id(run), "Research agent", at, "metric", data, at, METRIC, value)


def _clock(seed: int, begin: datetime) -> Callable[[], datetime]:
    """Return a clock that advances by up to _BETWEEN_EVENTS at each call."""
    random, now, most = Random(seed), begin, _BETWEEN_EVENTS // timedelta(microseconds=1)

    def tick() -> datetime:
        nonlocal now
        now += timedelta(microseconds=random.randrange(100, most))
        return now

    return tick


def _iso(moment: datetime | None) -> str:
    return moment.isoformat(timespec="microseconds") if moment else ""
