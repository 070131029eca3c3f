"""Long texts go with the last record that has them, on every way on which records go."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    Persistence,
    RetentionPolicy,
    archive_runs,
    open_archive,
    restore_runs,
)
from curio_persistence.capabilities.lifecycle.sizes import Sizes
from curio_persistence.content import store as content_store
from curio_persistence.tables import CONTENT, EVENTS, USAGE
from tests.support.hands import Hands

pytestmark = pytest.mark.slow  # Not in the inner loop.

Open = Callable[..., Persistence]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = (40, 30, 20, 10)
WORDS = "only said in {0} and in what follows it, " * 40


@pytest.fixture(autouse=True)
def stopped(clock: Hands) -> None:
    clock.put(NOON)


@pytest.fixture
def sharing(open_again: Open) -> Persistence:
    """Sessions `s` and `t`, of one run every ten days, which know what was said before."""
    persistence = open_again(dedupe=True)
    for session in ("s", "t"):
        record(persistence, session)
    return persistence


def record(persistence: Persistence, session: str) -> None:
    messages = [{"role": "system", "content": "Be brief. " * 200}]
    for days in DAYS:
        end, run_id = NOON - DAY * days, f"{session}-{days}"
        messages.append({"role": "user", "content": WORDS.format(run_id)})
        run = AgentRun("agent", run_id, session_id=session, status="completed", finished_at=end)
        run.created_at = run.started_at = end
        persistence.create_agent_run(run)
        persistence.log_agent_run_event(
            AgentRunEvent("agent", run_id, timestamp=end, created_at=end, data={"all": messages})
        )
        persistence.log_llm_usage(
            AgentLLMUsage("agent", run_id, prompt=json.dumps(messages), created_at=end)
        )


def blobs(persistence: Persistence) -> int:
    return persistence._store.count(CONTENT)


def prompts(persistence: Persistence) -> dict[str, list[str]]:
    """Return the texts of each run."""
    return {
        run.run_id: [
            *(str(event.data) for event in persistence.get_agent_run_events(run.run_id)),
            *(call.prompt for call in persistence.get_llm_usage(run_id=run.run_id)),
        ]
        for run in persistence.get_agent_runs(limit=None)
    }


def test_expired_runs_take_what_only_they_said(sharing: Persistence) -> None:
    before, stored = prompts(sharing), blobs(sharing)
    assert sharing.lifecycle.expire("25d", pace=1).runs == 4
    left = {name: texts for name, texts in before.items() if name.endswith(("-20", "-10"))}
    assert prompts(sharing) == left
    assert blobs(sharing) == stored, "later calls repeat all of it"
    assert sharing.lifecycle.expire("5d", pace=1).runs == 4
    assert blobs(sharing) == 0


def test_a_session_that_expires_leaves_nothing(sharing: Persistence) -> None:
    for days in DAYS:
        sharing.delete_agent_run(f"t-{days}")
    alone = blobs(sharing)
    texts = prompts(sharing)
    record(sharing, "u")
    assert blobs(sharing) == 2 * alone, "sessions share nothing"
    policies = [RetentionPolicy(keep="5d")]
    sharing.lifecycle.hold("kept", run_id="s-40")
    assert sharing.lifecycle.expire(policies=policies, pace=1).runs == 2 * len(DAYS) - 1
    assert prompts(sharing) == {"s-40": texts["s-40"]}
    assert 0 < blobs(sharing) < alone


def test_stripped_rows_refer_to_nothing(sharing: Persistence) -> None:
    before = blobs(sharing)
    policies = [RetentionPolicy(keep=None, keep_content="15d")]
    assert sharing.lifecycle.expire(policies=policies, pace=1).stripped == 6
    assert blobs(sharing) == before
    policies = [RetentionPolicy(keep=None, keep_content="5d")]
    assert sharing.lifecycle.expire(policies=policies, pace=1).stripped == 2
    assert blobs(sharing) == 0
    for table in (EVENTS, USAGE):
        assert {*sharing._store.select_columns(table, ("content_scope",))} == {(None,)}


def test_bytes_of_long_texts_count(sharing: Persistence) -> None:
    """They count for the runs that refer to them: a policy by bytes deletes no more runs."""
    store = sharing._store
    of_runs = Sizes(store).of_trees([[run.run_id] for run in sharing.get_agent_runs(limit=None)])
    [(count, octets)] = store.sizes(CONTENT).values()
    assert sum(of_runs) > octets + count * store.row_overhead
    assert min(of_runs) > octets / 20


@pytest.mark.slow
def test_archived_runs_come_back_with_their_texts(sharing: Persistence, place: Path) -> None:
    before, stored = prompts(sharing), blobs(sharing)
    sharing.events.append(AgentRunEvent("agent", "s-10", message="a late word"))
    assert archive_runs(sharing, place, older_than="15d", pace=1).runs == 6
    with_archive = open_archive(sharing, place)
    assert {n: sorted(t) for n, t in prompts(with_archive).items() if "10" not in n} == {
        n: sorted(t) for n, t in before.items() if "10" not in n
    }
    assert restore_runs(sharing, place, [*before]).runs == 6
    assert {n: t for n, t in prompts(sharing).items() if n != "s-10"} == {
        n: t for n, t in before.items() if n != "s-10"
    }
    assert blobs(sharing) == stored


def test_a_run_without_session_takes_all_of_its_texts(sharing: Persistence) -> None:
    before = blobs(sharing)
    text = "alone " * 400
    sharing.append_event("loose", "agent", "log", message=text)
    sharing.log_llm_usage(AgentLLMUsage("agent", "loose", prompt=text))
    assert blobs(sharing) == before + 1
    sharing.log_llm_usage(AgentLLMUsage("agent", None, prompt=text))
    assert blobs(sharing) == before + 1, "a call without a run shares nothing"
    assert [call.prompt for call in sharing.get_llm_usage(limit=2)] == [text, text]
    assert sharing.delete_agent_run("loose")
    assert blobs(sharing) == before
    assert [call.prompt for call in sharing.get_llm_usage(limit=2)] == ["", text]


def test_a_large_session_is_swept_when_a_deletion_ends(
    sharing: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in each of its transactions, which would take long."""
    monkeypatch.setattr(content_store, "_MANY", 3)
    texts = prompts(sharing)
    with sharing.transaction():
        sharing.delete_agent_run("s-10")
    without_last = blobs(sharing)
    assert sharing.delete_agent_run("s-20")
    assert blobs(sharing) < without_last
    assert sharing.lifecycle.expire("35d", pace=1).runs == 2
    left = {name: texts[name] for name in ("s-30", "t-30", "t-20", "t-10")}
    assert prompts(sharing) == left
    assert sharing.lifecycle.expire("5d", pace=1).runs == 4
    assert blobs(sharing) == 0
