"""Hits are grouped by their runs, and marked where they match."""

from __future__ import annotations

from curio_persistence import AgentLLMUsage, AgentRun, InMemoryPersistence
from curio_persistence.console.parts.hits import grouped


def test_hits_stand_with_their_run_in_the_order_of_the_search() -> None:
    with InMemoryPersistence() as persistence:
        persistence.create_agent_run(AgentRun("agent", "first", objective="the needle"))
        for run_id in ("second", "first", "second", "second", "second", "second"):
            persistence.append_event(run_id, "agent", "log", message="a needle")
        persistence.log_llm_usage(AgentLLMUsage("agent", None, "p", "m", prompt="needle"))
        groups = grouped(persistence.search_text("needle"), persistence)
    assert [(group.run_id, len(group.hits)) for group in groups] == [
        (None, 1),
        ("second", 5),
        ("first", 2),
    ]
    assert groups[2].run is not None
    assert groups[2].run.objective == "the needle"
    assert [hit.step for hit in groups[2].hits] == ["event:2", None]
    assert (len(groups[1].shown), len(groups[1].rest)) == (3, 2)


def test_a_single_hit_is_not_folded_away() -> None:
    with InMemoryPersistence() as persistence:
        for _ in range(4):
            persistence.append_event("run", "agent", "log", message="a needle")
        [group] = grouped(persistence.search_text("needle"), persistence)
    assert (len(group.shown), len(group.rest)) == (4, 0)


def test_the_pieces_of_a_snippet_say_what_matches() -> None:
    with InMemoryPersistence() as persistence:
        persistence.append_event("run", "agent", "log", message="a <b>needle</b> in hay")
        [group] = grouped(persistence.search_text("needle"), persistence)
    [hit] = group.hits
    assert "".join(text for text, _ in hit.parts) == "a <b>needle</b> in hay"
    assert [text for text, is_match in hit.parts if is_match] == ["needle"]
