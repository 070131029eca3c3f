"""One run of the demonstration, told step by step as a recorder would record it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from curio_persistence.console.demo.words import BY_NAME, MODELS, Model, Texts, Tool
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, AgentRunStatus, Level
from curio_persistence.trace_ids import span_id_of, trace_id_of

_MILLION = Decimal(1_000_000)
_CONTEXT = 40_000
"""Tokens of a context."""


class Batch:
    """Records that wait to be stored together, and the texts that they are made of."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.runs: list[AgentRun] = []
        self.events: list[AgentRunEvent] = []
        self.calls: list[AgentLLMUsage] = []


class Story:
    """A run that is being made up: each method adds what an agent does next, and takes its time."""

    def __init__(
        self,
        batch: Batch,
        chance: Random,
        agent_id: str,
        objective: str,
        at: datetime,
        *,
        within: Story | None = None,
        **fields: Any,
    ) -> None:
        self._batch, self.chance, self.at = batch, chance, at
        self.texts = batch.texts
        above: AgentRun | None = None if within is None else within.run
        self.run: AgentRun = AgentRun(
            agent_id,
            _run_id(chance, at),
            BY_NAME[agent_id].name,
            objective,
            started_at=at,
            created_at=at,
            status=AgentRunStatus.RUNNING.value,
            parent_run_id=None if above is None else above.run_id,
            **(fields if above is None else _inherited(above)),
        )
        batch.runs.append(self.run)
        self.trace_id: str = trace_id_of(self.run.run_id) if within is None else within.trace_id
        self._span_id = span_id_of(self.run.run_id)
        self._messages: list[dict[str, Any]] = [{"role": "user", "content": objective}]
        self._context = chance.randint(2_000, 14_000)
        self._event(
            "run_started",
            {"objective": objective},
            parent=None if within is None else within._span_id,
        )

    def iteration(self) -> None:
        """Begin the next round."""
        self.run.total_iterations += 1
        self._event("iteration_started", {"iteration": self.run.total_iterations})

    def think(self, model_name: str, answer: str | None = None, *, failing: float = 0.015) -> bool:
        """Call a model; return False if the call failed."""
        model, fails = MODELS[model_name], self.chance.random() < failing
        said, prompt = answer or self._sentences(1, 3), self._prompt()
        tokens_out = 0 if fails else round(self.chance.lognormvariate(5.4, 0.7))
        took = self._wait((300 + tokens_out / model.tokens_per_second * 1000) * self._spread())
        cached = round(self._context * self.chance.choice((0, 0, 0.6, 0.8)))
        self._batch.calls.append(
            AgentLLMUsage(
                self.run.agent_id,
                self.run.run_id,
                model.provider,
                model.name,
                prompt,
                len(prompt),
                {"temperature": 0.2},
                input_tokens=self._context,
                output_tokens=tokens_out,
                response_content=None if fails else said,
                response_length=None if fails else len(said),
                status="error" if fails else "success",
                error_message="OverloadedError: 529 try again later" if fails else None,
                latency_ms=took,
                created_at=self.at,
                span_id=self._new_span_id(),
                cache_read_tokens=cached,
                cost_usd=_cost(model, self._context, cached, tokens_out),
                trace_id=self.trace_id,
                parent_span_id=self._span_id,
                price_version="demonstration",
            )
        )
        if not fails:
            self._messages.append({"role": "assistant", "content": said})
            self._context += tokens_out
        return not fails

    def use(self, tool: Tool, *, failing: float | None = None) -> bool:
        """Call a tool; return False if the call failed."""
        fails = self.chance.random() < (tool.failing if failing is None else failing)
        span_id, args = self._new_span_id(), self._args(tool)
        self._event("tool_call_started", {"tool_name": tool.name, "args": args}, span_id=span_id)
        took = self._wait(tool.milliseconds * self._spread() * (3 if fails else 1))
        result = None if fails else self._result(tool)
        self._event(
            "tool_call",
            {
                "tool_name": tool.name,
                "args": args,
                "result": result,
                "latency_ms": took,
                "error": tool.error if fails else None,
            },
            level=Level.WARNING if fails else Level.INFO,
            span_id=span_id,
        )
        self._fill_context()
        if not fails:
            self._messages.append({"role": "tool", "name": tool.name, "content": result})
        return not fails

    def measure(self, name: str, value: float, unit: str | None = None) -> None:
        """Record a value of a metric."""
        tags = {"agent": self.run.agent_id}
        self._event("metric", {"name": name, "value": value, "unit": unit, "tags": tags})

    def note(self, message: str, level: Level = Level.INFO) -> None:
        """Record a line of a log."""
        self._event("log", {"logger": self.run.agent_id}, level=level, message=message)

    def delegate(self, agent_id: str, objective: str) -> Story:
        """Begin a run of another agent within this one."""
        return Story(self._batch, self.chance, agent_id, objective, self.at, within=self)

    def wait_for(self, child: Story) -> None:
        """Go on when a child run has ended."""
        self.at = max(self.at, child.at) + timedelta(milliseconds=2)

    def end(
        self, status: AgentRunStatus, output: str | None = None, error: str | None = None
    ) -> None:
        """End the run."""
        self.run.status, self.run.error_message = status.value, error
        self.run.final_synthesis_output = output
        failed = status is not AgentRunStatus.COMPLETED
        self._event(
            "run_error" if failed else "run_completed",
            {"status": status.value, "error": error},
            level=Level.ERROR if failed else Level.INFO,
        )
        self.run.finished_at = self.run.updated_at = self.at

    # --- how it is told -------------------------------------------------------------------------

    def _event(
        self,
        event_type: str,
        data: dict[str, Any],
        *,
        level: Level = Level.INFO,
        message: str | None = None,
        span_id: str | None = None,
        parent: str | None = None,
    ) -> None:
        self._wait(1)
        self._batch.events.append(
            AgentRunEvent(
                self.run.agent_id,
                self.run.run_id,
                self.run.agent_name,
                self.at,
                event_type,
                data,
                created_at=self.at,
                session_id=self.run.session_id,
                level=level.value,
                message=message,
                trace_id=self.trace_id,
                span_id=span_id or self._span_id,
                parent_span_id=self._span_id if span_id else parent,
            )
        )

    def _wait(self, milliseconds: float) -> int:
        """Let time pass; return it in whole milliseconds."""
        self.at += timedelta(milliseconds=milliseconds, microseconds=self.chance.randrange(1_000))
        return round(milliseconds)

    def _spread(self) -> float:
        return self.chance.lognormvariate(0, 0.45)

    def _fill_context(self) -> None:
        """Let the result of a tool fill the context, which is condensed when it is full."""
        self._context += self.chance.randint(60, 900)
        if self._context > _CONTEXT:
            self._context //= 6

    def _new_span_id(self) -> str:
        return f"{self.chance.getrandbits(64):016x}"

    def _sentences(self, least: int, most: int) -> str:
        return " ".join(
            self.chance.choices(self.texts.sentences, k=self.chance.randint(least, most))
        )

    def _prompt(self) -> str:
        system = {"role": "system", "content": f"You are {self.run.agent_name}. Be brief."}
        return json.dumps([system, *self._messages[-4:]], ensure_ascii=False)

    def _args(self, tool: Tool) -> dict[str, Any]:
        if "." in tool.name:
            return {"ticket": 48_000 + self.chance.randrange(400)}
        return {
            "query": self.chance.choice(self.texts.sentences)[:24],
            "n": self.chance.randrange(40),
        }

    def _result(self, tool: Tool) -> Any:
        if tool.name == "ocr":
            return {"confidence": round(self.chance.uniform(0.8, 1), 2), "pages": 2}
        return self._sentences(1, 2)


def _inherited(above: AgentRun) -> dict[str, Any]:
    return {"session_id": above.session_id, "user_id": above.user_id, "tags": above.tags}


def _cost(model: Model, tokens_in: int, cached: int, tokens_out: int) -> Decimal | None:
    """Return the cost in dollars; cached tokens cost a tenth. None if the model has no price."""
    if model.dollars_in is None or model.dollars_out is None:
        return None
    paid = tokens_in - cached + Decimal(cached) / 10
    cost = paid * Decimal(str(model.dollars_in)) + tokens_out * Decimal(str(model.dollars_out))
    return (cost / _MILLION).quantize(Decimal("1e-8"))


def _run_id(chance: Random, at: datetime) -> str:
    """Return a UUID of version 7, as recorders make them."""
    number = round(at.timestamp() * 1_000) << 80 | chance.getrandbits(74)
    return str(UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | 7 << 76 | 2 << 62))
