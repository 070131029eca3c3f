"""The history that a console is measured on: a million events of 90 days, and one very long run."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import TypeVar

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence

DAYS = 90
LONG_RUN = "run-of-10000-steps"
LONG_STEPS = 10_000
_EVENTS_OF_A_RUN = 123
_AGENTS = ("coder", "researcher", "support", "browser", "invoices", "planner", "scheduler", "qa")
_TOOLS = ("read_file", "grep", "run_tests", "search", "fetch", "apply_patch", "run_sql", "reply")
_MODELS = {
    "claude-sonnet-4.5": ("anthropic", 3.0, 15.0),
    "claude-haiku-4.5": ("anthropic", 1.0, 5.0),
    "gpt-5": ("openai", 1.25, 10.0),
    "gpt-5-mini": ("openai", 0.25, 2.0),
    "gemini-2.5-flash": ("google", 0.3, 2.5),
}
_TAGS = ("prod", "nightly", "eval", "customer:acme", "customer:nordwind", "東京")
_OBJECTIVES = (
    "Migrate the billing service, module by module, keeping every test green",
    "東京の天気を要約し、旅行の服装を提案する",
    "Прочитать счёт 2026-1190 и сверить его с заказом",
    "Summarise this week's changes in the guidance",
    "احجز غرفة لثمانية أشخاص يوم الجمعة",
    "Ticket 48213: cannot log in after the change of SSO",
)
_SENTENCE = (
    "the refund was issued on November twelve and appears twice in the ledger while the tests of "
    "the cursor pass and no invoice number was found on page two so the scan is read again"
)
_BATCH = 5_000

T = TypeVar("T")


@dataclass
class History:
    """Records that are made by chance, the same each time."""

    events: int
    end: datetime
    seed: int = 20

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._texts = [self._text(length) for length in (40, 120, 400, 1_200) for _ in range(50)]

    def store(self, persistence: Persistence) -> None:
        """Store all records; the long run comes last."""
        runs = max(self.events // _EVENTS_OF_A_RUN, 20)
        for numbers in _batched(range(runs), 100):
            made = [self._run(number, runs) for number in numbers]
            self._store(persistence, made)
        self._store(persistence, [self._long_run()])

    def _store(self, persistence: Persistence, made: list[_Made]) -> None:
        persistence.create_agent_runs(each.run for each in made)
        for events in _batched((event for each in made for event in each.events), _BATCH):
            persistence.log_agent_run_events(events)
        for calls in _batched((call for each in made for call in each.calls), _BATCH):
            persistence.log_llm_usages(calls)

    def _run(self, number: int, runs: int) -> _Made:
        chance = self._chance
        begin = self.end - timedelta(days=DAYS) * (1 - number / runs)
        status = chance.choices(("completed", "error", "timeout", "cancelled"), (88, 8, 2, 2))[0]
        is_running = number >= runs - 5
        run = AgentRun(
            chance.choice(_AGENTS),
            f"run-{number:06}",
            objective=chance.choice(_OBJECTIVES),
            started_at=begin,
            created_at=begin,
            status="running" if is_running else status,
            error_message="TimeoutError: no answer within 30 s" if status == "error" else None,
            final_synthesis_output=None if is_running else self._some_text(),
            execution_history=[self._some_text() for _ in range(3)],
            tags=chance.sample(_TAGS, chance.randrange(3)),
            session_id=f"session-{number // 9}" if number % 3 == 0 else None,
            parent_run_id=f"run-{number - 1:06}" if number % 20 == 7 else None,
            user_id=f"user-{number % 40}",
        )
        made = _Made(run, [], [])
        at = self._steps(made, begin, chance.randrange(10, 100))
        run.finished_at = None if is_running else at
        return made

    def _long_run(self) -> _Made:
        begin = self.end - timedelta(hours=2)
        run = AgentRun("coder", LONG_RUN, objective=_OBJECTIVES[0], started_at=begin)
        run.created_at = begin
        made = _Made(run, [], [])
        run.finished_at = self._steps(made, begin, LONG_STEPS // 2)
        run.status = "completed"
        return made

    def _steps(self, made: _Made, at: datetime, rounds: int) -> datetime:
        """Add rounds of a model call and a tool call; return when the last of them ended."""
        step = timedelta(hours=1.5) / max(rounds, 200)
        for number in range(rounds):
            at += step * self._chance.random()
            if number % 2 == 0 or made.run.run_id == LONG_RUN:
                made.calls.append(self._call(made.run, at))
            at = self._tool(made, at, number)
        return at

    def _tool(self, made: _Made, at: datetime, number: int) -> datetime:
        took, span_id = self._chance.random() * 0.3, f"{self._chance.getrandbits(64):016x}"
        failed = self._chance.random() < 0.02
        given = {
            "tool_name": self._chance.choice(_TOOLS),
            "args": {"path": f"billing/m{number}.py", "q": "why?"},
        }
        ended = {
            **given,
            "result": None if failed else self._some_text(),
            "latency_ms": round(took * 1e3, 3),
            "error": "TimeoutError: no answer within 30 s" if failed else None,
        }
        end = at + timedelta(seconds=took)
        for moment, kind, data in (
            (at, "tool_call_started", given),
            (end, "tool_call", ended),
        ):
            made.events.append(
                AgentRunEvent(
                    made.run.agent_id,
                    made.run.run_id,
                    timestamp=moment,
                    created_at=moment,
                    event_type=kind,
                    data=data,
                    span_id=span_id,
                    session_id=made.run.session_id,
                    level="warning" if failed and kind == "tool_call" else "info",
                )
            )
        if number % 4 == 0:
            made.events.append(
                AgentRunEvent(
                    made.run.agent_id,
                    made.run.run_id,
                    timestamp=end,
                    created_at=end,
                    event_type="iteration_started",
                    data={"iteration": number // 4},
                    session_id=made.run.session_id,
                )
            )
        return end

    def _call(self, run: AgentRun, at: datetime) -> AgentLLMUsage:
        model = self._chance.choice(tuple(_MODELS))
        provider, price_in, price_out = _MODELS[model]
        tokens_in, tokens_out = self._chance.randrange(500, 12_000), self._chance.randrange(20, 900)
        cost = Decimal(str(price_in)) * tokens_in + Decimal(str(price_out)) * tokens_out
        failed = self._chance.random() < 0.01
        return AgentLLMUsage(
            run.agent_id,
            run.run_id,
            provider,
            model,
            prompt=self._some_text() + self._some_text(),
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            response_content=None if failed else self._some_text(),
            status="error" if failed else "success",
            latency_ms=self._chance.randrange(200, 8_000),
            created_at=at,
            cache_read_tokens=tokens_in // 2,
            cost_usd=None if self._chance.random() < 0.02 else cost / 1_000_000,
        )

    def _text(self, length: int) -> str:
        words: list[str] = []
        words_known = _SENTENCE.split()
        while sum(map(len, words)) < length:
            words.append(self._chance.choice(words_known))
        return " ".join(words)

    def _some_text(self) -> str:
        return self._chance.choice(self._texts)


@dataclass
class _Made:
    """A run with its events and model calls."""

    run: AgentRun
    events: list[AgentRunEvent]
    calls: list[AgentLLMUsage]


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _batched(records: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(records)
    while some := list(islice(left, size)):
        yield some
