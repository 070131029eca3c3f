"""Two runs side by side."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from curio_persistence import AgentRun, Persistence
from curio_persistence.console.http.paths import Paths
from tests.support.console import client_of

HOSTILE = "<script>alert(1)</script>\u202e"


def record_invoice(persistence: Persistence, run_id: str, model: str, cost: float) -> None:
    with persistence.record_run(agent_id="reader", run_id=run_id, objective="Read it") as run:
        run.llm_call(model=model, prompt="total?", response="42", cost_usd=cost, input_tokens=4_790)
        with run.tool("ocr", {"page": 1}) as call:
            call.result = {"confidence": cost}
        with run.tool("post", {"page": 2}) as call:
            call.result = "ok"
        if model == "small":
            run.log("checked")
        run.finish("done")


@pytest.fixture
def two(persistence: Persistence) -> Persistence:
    record_invoice(persistence, "a", "large", 0.04)
    record_invoice(persistence, "b", "small", 0.01)
    return persistence


def test_numbers_stand_beside_each_other_with_their_difference(two: Persistence) -> None:
    page = client_of(two).get("/compare?a=a&b=b").text
    row = page[page.index(">Cost</th>") :]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", row)[:3] == [
        "$0.0400",
        "$0.0100",
        "−$0.0300 (−75 %)",
    ]
    tokens = page[page.index(">Tokens in</th>") :]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", tokens)[:3] == ["4,790", "4,790", ""]


def test_numbers_that_are_none_are_told_in_words(two: Persistence) -> None:
    end = datetime(2026, 11, 30, 12, tzinfo=UTC)
    run = AgentRun("a", "back", started_at=end + timedelta(hours=2), finished_at=end)
    two.create_agent_run(run)
    page = client_of(two).get("/compare?a=back&b=b").text
    took, cost = (page[page.index(f">{name}</th>") :] for name in ("Took", "Cost"))
    assert re.findall(r"<td[^>]*>([^<]*)</td>", took)[0] == "ends before it begins"
    assert re.findall(r"<td[^>]*>([^<]*)</td>", took)[2] == ""
    assert re.findall(r"<td[^>]*>([^<]*)</td>", cost)[0] == "–"


def test_steps_stand_in_pairs_and_equal_ones_are_folded(two: Persistence) -> None:
    page = client_of(two).get("/compare?a=a&b=b").text
    assert "1 equal" in page
    assert "2 changed" in page
    assert "1 only in the second" in page
    assert re.search(r"<del[^>]*>large</del></td><td><ins[^>]*>small</ins>", page)
    assert re.search(r"result\.confidence</th><td><del[^>]*>0.04</del>", page)
    assert "<summary>1 equal step</summary>" in page


def test_equal_runs_are_said_to_be_equal(two: Persistence) -> None:
    page = client_of(two).get("/compare?a=a&b=a").text
    assert "Nothing differs but ids" in page


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 200, "Pick two runs"),
        ("a=a", 200, "Pick a second one"),
        ("a=a&b=", 200, "Pick a second one"),
        ("pick=a&pick=b&pick=c", 200, "3 runs are picked"),
        ("a=a&b=gone", 404, "The run gone was deleted or never recorded"),
        ("a=gone&b=lost", 404, "Pick two runs that are stored"),
    ],
)
def test_a_choice_of_other_than_two_runs_is_explained(
    two: Persistence, query: str, status: int, said: str
) -> None:
    page = client_of(two).get(f"/compare?{query}")
    assert (page.status_code, said in page.text) == (status, True)


def test_the_picks_of_a_form_are_compared(two: Persistence) -> None:
    page = client_of(two).get("/compare?pick=a&pick=b")
    assert "Difference" in page.text


def test_hostile_texts_are_shown_as_text(persistence: Persistence) -> None:
    for run_id in ("r/..", HOSTILE):
        run = AgentRun(HOSTILE, run_id, objective=HOSTILE, final_synthesis_output=run_id)
        run.metadata = {HOSTILE: run_id}
        persistence.create_agent_run(run)
    page = client_of(persistence).get(Paths().page("compare", a="r/..", b=HOSTILE))
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text


def test_long_texts_are_shown_from_where_they_differ(persistence: Persistence) -> None:
    for run_id in "ab":
        with persistence.record_run(agent_id="x", run_id=run_id) as run:
            run.llm_call(model="m", prompt="same " * 1000 + run_id + " end", response="r")
    page = client_of(persistence).get("/compare?a=a&b=b").text
    assert "…ame same same same same a end</del>" in page
    assert len(page) < 20_000
