"""A recorded history to look at, the console as a client, and the console for a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from threading import Thread
from typing import Any
from urllib.parse import unquote

import uvicorn
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConsoleOptions,
    Persistence,
    create_app,
)
from curio_persistence.console.security.headers import POLICY

NOW = datetime(2026, 11, 29, 9, 12, tzinfo=UTC)
OBJECTIVES = (
    "Ticket 48213: cannot log in after SSO change",
    "Check the checkout flow on staging",
    "Migrate the billing service from REST to gRPC, module by module, keeping every test green",
    "東京の天気を要約し、旅行の服装を提案する",
    "Ticket 48241: <script>alert(1)</script> in my dashboard title",
    "اكتب ملخصا للتقرير السنوي",
)
AGENTS = ("support-triage", "browser", "coder", "researcher")
STATUSES = ("completed", "completed", "error", "completed", "running", "timeout", "cancelled")

TEAM_URL = "https://curio.example.com"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
SECURE_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""What every answer has."""


def words_of(page: str) -> str:
    """Return the words of a page, with single spaces."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def record(persistence: Persistence, runs: int = 60) -> None:
    """Record runs of four agents, the newest a few minutes before `NOW`.

    `run-0` is the oldest. Each has two model calls and two tool calls, of which some fail; every
    third is in one of five sessions.
    """
    for number in range(runs):
        _record_run(persistence, number, NOW - timedelta(minutes=33 * (runs - number)))


def _record_run(persistence: Persistence, number: int, begin: datetime) -> None:
    status = STATUSES[number % len(STATUSES)]
    run_id, agent = f"run-{number}", AGENTS[number % len(AGENTS)]
    took = timedelta(seconds=1.7 ** (number % 17))
    session = f"session-{number % 5}" if number % 3 == 0 else None
    persistence.create_agent_run(
        AgentRun(
            agent,
            run_id,
            objective=OBJECTIVES[number % len(OBJECTIVES)],
            started_at=begin,
            finished_at=None if status == "running" else begin + took,
            status=status,
            error_message="TimeoutError: run_sql did not answer" if status == "error" else None,
            created_at=begin,
            session_id=session,
            tags=["prod", "customer:nordwind"] if number % 2 else None,
        )
    )
    for call in range(2):
        at = begin + timedelta(seconds=call)
        _record_calls(persistence, agent, run_id, at, failed=(number + call) % 7 == 0)


def _record_calls(
    persistence: Persistence, agent: str, run_id: str, at: datetime, *, failed: bool
) -> None:
    persistence.log_llm_usage(
        AgentLLMUsage(
            agent,
            run_id,
            "anthropic",
            "claude-sonnet-4.5",
            input_tokens=10_200,
            output_tokens=439,
            latency_ms=350,
            created_at=at,
            cost_usd=None if failed else Decimal("0.0129"),
        )
    )
    payload = {"tool_name": "run_sql", "args": {"q": "select 1"}, "latency_ms": 120}
    if failed:
        payload["error"] = "TimeoutError: no answer within 30 s"
    persistence.log_agent_run_event(
        AgentRunEvent(agent, run_id, "", at + timedelta(milliseconds=400), "tool_call", payload)
    )


def client_of(persistence: Persistence, **options: Any) -> TestClient:
    """Return a client of the console; `options` are those of `ConsoleOptions`."""
    app = AsServed(create_app(persistence, ConsoleOptions(**options)))
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


class AsServed:
    """An application whose paths are decoded once, as servers do; Starlette's client does twice."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "raw_path" in scope:
            scope = {**scope, "path": unquote(scope["raw_path"].decode())}
        await self._app(scope, receive, send)


def team_client(persistence: Persistence, *, peer: str = "10.0.0.9", **options: Any) -> TestClient:
    """Return a client of a team's console, which follows no redirects."""
    settings = ConsoleOptions(team=True, public_url=TEAM_URL, **options)
    app = AsServed(create_app(persistence, settings))
    return TestClient(
        app,
        base_url=TEAM_URL,
        raise_server_exceptions=False,
        follow_redirects=False,
        client=(peer, 4711),
    )


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def log_in(client: TestClient, secret: str, **fields: str) -> Any:
    return client.post("/login", data={"key": secret, **fields}, headers=SAME_ORIGIN)


@contextmanager
def served_console(persistence: Persistence, port: int = 0, **options: Any) -> Iterator[str]:
    """Serve the console on a free port of this machine while the block runs; yield its URL."""
    app = create_app(persistence, ConsoleOptions(**options))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True  # Streams never end by themselves.
        thread.join(10)
