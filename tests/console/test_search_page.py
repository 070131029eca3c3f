"""The search: what is found, how the words are understood, and what to do when nothing is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest
from starlette.testclient import TestClient

from curio_persistence import AgentRun, InMemoryPersistence, Persistence
from tests.support.console import client_of


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as opened:
        yield opened


@pytest.fixture
def client(persistence: Persistence) -> TestClient:
    return client_of(persistence)


def text_of(page: str) -> str:
    """Return the words of a page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", "", page)).split())


def say(persistence: Persistence, *messages: str, run_id: str = "run") -> None:
    for message in messages:
        persistence.append_event(run_id, "agent", "log", message=message)


def test_hits_are_marked_and_lead_to_their_step(
    client: TestClient, persistence: Persistence
) -> None:
    persistence.create_agent_run(AgentRun("agent", "a/b", objective="Look for it"))
    say(persistence, "the <b>needle</b> is here", run_id="a/b")
    page = client.get("/search?q=needle").text
    assert "the &lt;b&gt;<mark>needle</mark>&lt;/b&gt; is here" in page
    assert 'href="/runs/a%252Fb?step=event%3A1"' in page
    assert "1 hit in 1 run. Each record has the word needle." in text_of(page)
    assert "Look for it" in page


def test_hits_beyond_three_of_a_run_are_folded(
    client: TestClient, persistence: Persistence
) -> None:
    say(persistence, *("needle" for _ in range(10)))
    page = client.get("/search?q=needle").text
    assert "<summary>7 more</summary>" in page
    assert page.count("<mark>needle</mark>") == 10


def test_pages_follow_each_other(client: TestClient, persistence: Persistence) -> None:
    say(persistence, *("needle" for _ in range(70)))
    first = client.get("/search?q=needle&agent_id=agent").text
    older = re.search(r'href="([^"]+)" data-key="n"', first)
    assert older
    second = client.get(unescape(older[1])).text
    steps = re.findall(r"step=event%3A(\d+)", first + second)
    assert sorted(map(int, steps)) == [*range(1, 71)]
    assert 'href="/search?agent_id=agent&amp;q=needle"' in second


def test_without_words_the_language_is_explained(client: TestClient) -> None:
    page = client.get("/search").text
    assert "What can be found" in page
    assert 'href="/search?q=retr%2A"' in page


def test_nothing_found_offers_to_drop_each_filter(
    client: TestClient, persistence: Persistence
) -> None:
    say(persistence, "an overflow")
    page = client.get("/search?q=overflow&agent_id=other&level=error&order=rank").text
    assert "Nothing with these words passes the filters" in page
    assert 'href="/search?level=error&amp;q=overflow&amp;order=rank"' in page
    assert 'href="/search?q=overflow"' in page


def test_nothing_found_offers_words_that_begin_so(
    client: TestClient, persistence: Persistence
) -> None:
    say(persistence, "an overflow")
    page = client.get("/search?q=an+overfl").text
    assert 'href="/search?q=an+overfl%2A"' in page


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ('"rate limit', "A quotation mark is not closed"),
        ("a OR b", "OR is searched as a word."),
        ("!!!", "The query has no word to look for."),
        ("rate -test retr*", "has the word rate, does not have test and has a word that begins"),
    ],
)
def test_how_words_are_understood_is_said(client: TestClient, query: str, said: str) -> None:
    assert said in text_of(client.get("/search", params={"q": query}).text)


def test_records_that_are_not_indexed_yet_are_counted(
    client: TestClient, persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(persistence, "needle", "needle")
    monkeypatch.setattr(persistence.search._indexing, "index_pending", lambda **_: (0, False))
    assert "3 records are not indexed yet" in text_of(client.get("/search?q=needle").text)


def test_a_search_that_is_switched_off_is_told() -> None:
    with InMemoryPersistence(search=False) as persistence:
        page = client_of(persistence).get("/search?q=needle").text
    assert "The search is switched off" in page


@pytest.mark.parametrize("query", ["since=soon", "order=best", "cursor=x", "colour=red"])
def test_a_wrong_parameter_is_told(client: TestClient, query: str) -> None:
    assert client.get(f"/search?q=needle&{query}").status_code == 400


@pytest.mark.parametrize("query", ["\x00", "\u202e", "😀", "<script>", "x" * 60_000, '"' * 99, "%"])
def test_any_words_are_searched(client: TestClient, query: str) -> None:
    answer = client.get("/search", params={"q": query})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
