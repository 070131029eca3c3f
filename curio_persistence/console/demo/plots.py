"""The courses of the demonstration's runs, which succeed, retry, delegate, fail or go on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

from curio_persistence.console.demo.story import Batch, Story
from curio_persistence.console.demo.words import (
    BY_NAME,
    ERRORS,
    HELPERS,
    ROLES,
    TAGS,
    USERS,
    Role,
    Texts,
    Tool,
)
from curio_persistence.models import AgentRunStatus, Level

_FAILING = 0.055
"""The share of runs that fail."""
_CANCELLED, _TIMED_OUT = 0.012, 0.008


def play(batch: Batch, chance: Random, at: datetime, *, trouble: float = 1.0) -> None:
    """Add what one user asks of one agent: a run, or a session of several."""
    role = chance.choices(ROLES, [each.share for each in ROLES])[0]
    fields: dict[str, Any] = {
        "tags": sorted({chance.choice(TAGS) for _ in range(chance.randint(0, 2))}) or None,
        "user_id": chance.choice(USERS),
    }
    is_talk = role.agent_id == "support-triage"
    if is_talk:
        fields["session_id"] = f"support-{48_000 + chance.randrange(10**6)}"
    for task in _tasks(batch.texts, role, chance, chance.randint(1, 4) if is_talk else 1):
        run = Story(batch, chance, role.agent_id, task, at, **fields)
        work(run, role, trouble=trouble)
        at = run.at + timedelta(seconds=chance.uniform(20, 240))


def work(run: Story, role: Role, *, trouble: float = 1.0, depth: int = 0) -> None:
    """Let an agent do its rounds, and end its run."""
    chance = run.chance
    fate = chance.random() / trouble
    rounds = chance.randint(*role.rounds)
    model = chance.choice(role.models)
    for _ in range(rounds):
        run.iteration()
        if not run.think(model):
            run.note("The model is overloaded: asking another one", Level.WARNING)
            run.think(chance.choice(role.models), failing=0)
        _use_tools(run, role)
        if depth < 2 and role.agent_id in HELPERS and chance.random() < 0.12:
            _delegate(run, chance.choice(HELPERS[role.agent_id]), depth)
        if fate < _CANCELLED:
            run.end(AgentRunStatus.CANCELLED, error="Cancelled by the user")
            return
    if fate < _CANCELLED + _TIMED_OUT:
        run.end(AgentRunStatus.TIMEOUT, error="TimeoutError: the run had 10 minutes")
    elif fate < _CANCELLED + _TIMED_OUT + _FAILING:
        run.use(role.tools[-1], failing=1)
        run.end(AgentRunStatus.ERROR, error=chance.choice(ERRORS))
    else:
        answer = chance.choice(run.texts.answers).replace("{n}", str(chance.randint(1_000, 1_999)))
        run.think(model, answer, failing=0)
        run.measure("answer_quality", round(chance.betavariate(8, 2), 3))
        run.end(AgentRunStatus.COMPLETED, answer)


def leave_running(batch: Batch, chance: Random, at: datetime) -> None:
    """Add a run that has not ended: its agent is still at work, or was killed."""
    role = chance.choice(ROLES)
    run = Story(
        batch, chance, role.agent_id, next(_tasks(batch.texts, role, chance, 1)), at, tags=["prod"]
    )
    for _ in range(chance.randint(1, 3)):
        run.iteration()
        run.think(chance.choice(role.models), failing=0)
        _use_tools(run, role)


def migrate_billing(batch: Batch, chance: Random, at: datetime) -> None:
    """Add one long run that fails at its end: 500 model calls, with child runs of a browser."""
    task = (
        "Migrate the billing service from REST to gRPC, module by module, keeping every test green"
    )
    role = BY_NAME["coder"]
    run = Story(
        batch, chance, "coder", task, at,
        session_id="billing-migration", tags=["customer:acme", "prod"], user_id="ben",
    )  # fmt: skip
    for number in range(250):
        if number % 5 == 0:
            run.iteration()
        for _ in range(2):
            model = chance.choice(("claude-sonnet-4.5", "claude-haiku-4.5", "gpt-5"))
            run.think("qwen3-32b" if number % 50 == 49 else model, failing=0)
            run.use(chance.choice(role.tools), failing=0.02)
        if number in (6, 40, 80):
            _delegate(run, "browser", 1)
    run.use(role.tools[-1], failing=1)
    run.end(AgentRunStatus.ERROR, error=ERRORS[1])


def read_an_archive(batch: Batch, chance: Random, at: datetime, steps: int = 10_000) -> None:
    """Add one run of many thousand steps that is completed."""
    task = "Read ten years of board minutes, and list every decision about pensions"
    run = Story(batch, chance, "researcher", task, at, tags=["nightly"], user_id="elif")
    quick = Tool("read_file", 40, 0.002, "FileNotFoundError: minutes-1998-04.pdf")
    for number in range(steps // 4):
        if number % 10 == 0:
            run.iteration()
        run.think("gemini-2.5-flash", failing=0.001)
        for _ in range(3):
            run.use(quick)
    run.end(AgentRunStatus.COMPLETED, "48 decisions, of which 3 were revoked later.")


def _use_tools(run: Story, role: Role) -> None:
    for _ in range(run.chance.randint(1, 3)):
        tool = run.chance.choice(role.tools)
        if not run.use(tool):
            run.note(f"{tool.name} failed, trying again", Level.WARNING)
            run.use(tool, failing=0.1)


def _delegate(run: Story, agent_id: str, depth: int) -> None:
    role = BY_NAME[agent_id]
    child = run.delegate(agent_id, next(_tasks(run.texts, role, run.chance, 1)))
    work(child, role, depth=depth + 1)
    run.wait_for(child)


def _tasks(texts: Texts, role: Role, chance: Random, count: int) -> Iterator[str]:
    tasks = texts.tasks[role.agent_id]
    first = chance.randrange(len(tasks))
    for number in range(count):
        task = tasks[(first + number) % len(tasks)]
        yield task.replace("{n}", str(chance.randint(1_000, 1_999)))
