"""An agent that records itself: it answers questions about a folder of text files.

    agent = Researcher("docs", persistence=SQLitePersistence("agent.db"))
    agent.ask("How often is 'transaction' mentioned?")

It plans, acts and criticises itself until it knows enough. Instead of a language model it has
three rules, so that it needs no network and no key; the tools, tokens and times are real.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from curio_persistence import BasePersistence, EventType, RunRecorder

Notes = list[dict[str, Any]]

# US dollars for a million input and output tokens.
PRICES = {
    "rules-small": (Decimal("0.15"), Decimal("0.60")),
    "rules-large": (Decimal("2.50"), Decimal("10.00")),
}


class Researcher:
    """Records everything it does in `persistence`: a file, a server, or memory in a unit test."""

    def __init__(
        self,
        folder: str | Path,
        *,
        persistence: BasePersistence,
        agent_id: str = "researcher",
    ) -> None:
        self._folder = Path(folder)
        self._persistence = persistence
        self._agent_id = agent_id
        self._tools: dict[str, Callable[..., Any]] = {
            "search": self._search,
            "measure": measure,
            "assistant": self._ask_assistant,
        }

    def ask(self, question: str) -> str:
        """Return the answer. An exception of a tool ends the run as an error and propagates."""
        with self._persistence.record_run(agent_id=self._agent_id, objective=question) as run:
            notes: Notes = []
            missing = "everything so far"
            while missing:
                run.iteration()
                action = self._think(run, "rules-small", plan, question, notes)
                run.log(EventType.PLANNING_COMPLETED, action)
                notes.append({**action, "result": self._act(run, action)})
                missing = self._think(run, "rules-small", criticise, question, notes)
                run.log(EventType.CRITIQUE_RESULT, {"verdict": missing or "enough"})
            answer: str = self._think(run, "rules-large", conclude, question, notes)
            run.finish(answer)
            return answer

    def _act(self, run: RunRecorder, action: dict[str, Any]) -> Any:
        with run.tool(action["tool"], action["args"]) as call:
            call.result = self._tools[action["tool"]](**action["args"])
        return call.result

    def _think(
        self, run: RunRecorder, model: str, rule: Callable[..., Any], question: str, notes: Notes
    ) -> Any:
        """Stand in for a call of a model, which would be recorded in the same way."""
        prompt = json.dumps({"task": rule.__doc__, "question": question, "notes": notes})
        begin = time.perf_counter()
        answer = rule(question, notes)
        latency_ms = (time.perf_counter() - begin) * 1000
        response = json.dumps(answer)
        tokens = (count_tokens(prompt), count_tokens(response))
        run.llm_call(
            provider="rules",
            model=model,
            prompt=prompt,
            response=response,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            latency_ms=latency_ms,
            cost_usd=cost(model, *tokens),
        )
        return answer

    def _search(self, word: str) -> dict[str, int]:
        """Return, for each file with the word, the number of lines that contain it."""
        if not self._folder.is_dir():
            raise FileNotFoundError(f"there is no folder {self._folder}")
        pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
        found = {}
        for path in sorted(self._folder.rglob("*")):
            if path.suffix in {".md", ".py", ".sql", ".txt"}:
                lines = path.read_text(encoding="utf-8").splitlines()
                if count := sum(1 for line in lines if pattern.search(line)):
                    found[path.relative_to(self._folder).as_posix()] = count
        return found

    def _ask_assistant(self, question: str) -> str:
        """Delegate a part to another agent; its run automatically becomes a child of this one."""
        assistant = Researcher(self._folder, persistence=self._persistence, agent_id="assistant")
        return assistant.ask(question)


def measure(numbers: list[int]) -> dict[str, float]:
    """Return the count, total, median and maximum of the numbers."""
    return {
        "count": len(numbers),
        "total": sum(numbers),
        "median": statistics.median(numbers or [0]),
        "largest": max(numbers, default=0),
    }


# --- the rules that stand in for a model ----------------------------------------------------------


def plan(question: str, notes: Notes) -> dict[str, Any]:
    """Choose the next action."""
    words = _quoted(question)
    if len(words) == 1:
        if not notes:
            return {"tool": "search", "args": {"word": words[0]}}
        return {"tool": "measure", "args": {"numbers": list(notes[0]["result"].values())}}
    if len(notes) < len(words):
        part = f"How often is '{words[len(notes)]}' mentioned?"
        return {"tool": "assistant", "args": {"question": part}}
    return {"tool": "measure", "args": {"numbers": [_first_number(n["result"]) for n in notes]}}


def criticise(question: str, notes: Notes) -> str:
    """Say what is still missing; empty, if the question can be answered."""
    return "" if notes[-1]["tool"] == "measure" else "the numbers are not added up yet"


def conclude(question: str, notes: Notes) -> str:
    """Answer the question from the notes."""
    words, numbers = _quoted(question), notes[-1]["result"]
    if len(words) == 1:
        return f"'{words[0]}' is on {numbers['total']} lines in {numbers['count']} files."
    most = max(notes[:-1], key=lambda note: _first_number(note["result"]))
    winner = words[notes.index(most)]
    return f"'{winner}', with {numbers['largest']} of {numbers['total']} lines."


def count_tokens(text: str) -> int:
    """Count words and punctuation marks, which is close to the tokens of models."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def cost(model: str, input_tokens: int, output_tokens: int) -> Decimal:
    """Return the cost in US dollars, exact."""
    in_price, out_price = PRICES[model]
    return (input_tokens * in_price + output_tokens * out_price) / 1_000_000


def _quoted(question: str) -> list[str]:
    return re.findall(r"'(\w+)'", question)


def _first_number(text: str) -> int:
    return int(re.findall(r"\d+", text)[0])
