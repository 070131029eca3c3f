"""The page of a run: its head, its steps, the step that is looked at, and its files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InMemoryPersistence,
    Persistence,
    SQLitePersistence,
    archive_runs,
)
from curio_persistence.clock import Clock
from curio_persistence.console.http.paths import Paths
from tests.support.console import NOW, client_of, served_console
from tests.support.hostile_text import HOSTILE, record_hostile
from tests.support.long_run import BEGIN, LONG, record_long_run

RUN = Paths().run(LONG)


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def stored(request: pytest.FixtureRequest) -> Iterator[Persistence]:
    clock = Clock(lambda: NOW)
    is_memory = request.param == "memory"
    with (
        InMemoryPersistence(clock=clock)
        if is_memory
        else SQLitePersistence(":memory:", clock=clock) as persistence
    ):
        record_long_run(persistence, 700)
        yield persistence


@pytest.fixture(scope="module")
def client(stored: Persistence) -> TestClient:
    return client_of(stored)


def refs_on(page: str) -> list[str]:
    return re.findall(r'<li class="step [^"]*" id="([^"]+)"', page)


def links_on(page: str) -> list[str]:
    found = re.findall(r'(?:href|hx-get)="([^"#]+)"', page)
    return [unescape(link) for link in found if link.startswith("/")]


def test_a_page_has_500_steps_and_leads_to_the_others(client: TestClient) -> None:
    refs, url = [], RUN
    while url:
        page = client.get(url).text
        refs += refs_on(page)
        url = next((link for link in re.findall(r'id="later"[^>]*href="([^"]+)"', page)), "")
        url = unescape(url)
    assert len(refs) == len(set(refs))
    assert len(refs) == 700 + 2 + 6
    assert 'id="earlier"' in page


def test_the_head_tells_what_the_run_was(client: TestClient) -> None:
    page = client.get(RUN).text
    for told in (
        "Migrate the billing service",
        "ContextWindowExceeded: 210,344 tokens",
        "11m 40s",
        "3.75 M",
        "$4.51",
        "session-1",
        "prod",
        "First failure",
        "iteration 1<",
    ):
        assert told in page
    segments = re.findall(r"(All|Model|Tools|Failed) <span[^>]*>([\d,]+)<", page)
    assert segments == [("All", "778"), ("Model", "350"), ("Tools", "356"), ("Failed", "7")]


def test_the_segments_and_the_filter_choose_steps(client: TestClient) -> None:
    failed = client.get(f"{RUN}?show=failed").text
    assert len(refs_on(failed)) == 7
    assert "TimeoutError: no answer" in failed
    [first, *_] = re.findall(r'data-open href="([^"]+)"', failed)
    assert "show=failed" in first
    assert client.get(unescape(first)).text.count('aria-current="true" data-b') == 1
    assert {ref.partition(":")[0] for ref in refs_on(client.get(f"{RUN}?show=model").text)} == {
        "usage"
    }
    assert len(refs_on(client.get(f"{RUN}?show=tools&q=m598.py").text)) == 1
    assert "No step passes the filter" in client.get(f"{RUN}?q=nothing+like+it").text


def test_steps_of_child_runs_stand_below_them(client: TestClient) -> None:
    page = client.get(RUN).text
    rows = re.findall(r'<li class="step (\w+)[^"]*?( deep d\d)?" id="([^"]+)"', page)
    at = next(number for number, row in enumerate(rows) if row[0] == "child")
    assert [row[1] for row in rows[at : at + 4]] == ["", *[" deep d1"] * 3]


def test_a_link_to_a_step_opens_the_page_around_it(client: TestClient, stored: Persistence) -> None:
    call = list(stored.usage.iterate(run_id=LONG, order="oldest"))[150]
    page = client.get(f"{RUN}?step=usage:{call.id}").text
    refs = refs_on(page)
    assert refs.index(f"usage:{call.id}") in range(190, 310)
    assert page.count('aria-current="true" data-b') == 1
    assert "What does `billing/m1.py` do?" in unescape(page)
    assert "<strong>moves</strong>" in page


def test_a_long_error_of_a_run_can_be_read_and_saved_whole(persistence: Persistence) -> None:
    error, tags = "\n".join(f"frame {number}" for number in range(400)), list(map(str, range(40)))
    run = AgentRun("coder", "crash", status="error", error_message=error, tags=tags)
    persistence.create_agent_run(run)
    client = client_of(persistence)
    page = client.get(Paths().run("crash")).text
    assert "frame 399" in page.partition('id="step"')[2]
    assert page.count("?tags=") == 40
    assert client.get(f"{Paths().run('crash')}/steps/run/part?name=error").text == error


def test_a_long_error_of_a_step_can_be_saved(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("coder", "long-error"))
    data = {"tool_name": "grep", "error": "x" * 4001 + "end"}
    event = AgentRunEvent("coder", "long-error", event_type="tool_call", data=data)
    persistence.log_agent_run_event(event)
    [stored] = persistence.query_events(run_id="long-error")
    page = client_of(persistence).get(Paths().run("long-error", f"event:{stored.id}")).text
    assert "Download all of it" in page
    assert "1 step<" in client_of(persistence).get(Paths().run("long-error")).text


def test_a_step_alone_is_a_fragment(client: TestClient, stored: Persistence) -> None:
    call = next(iter(stored.usage.iterate(run_id=LONG, order="oldest")))
    url = f"{RUN}/steps/usage:{call.id}"
    fragment = client.get(url).text
    assert "<html" not in fragment
    assert "8,520 cached" in fragment
    assert 'class="role" dir="auto">system</p>' in fragment
    raw = client.get(f"{url}?raw=prompt").text
    assert '<pre dir="auto">[{&quot;role&quot;' in raw
    part = client.get(f"{url}/part?name=response")
    assert part.text == "It **moves** money:\n\n- in\n- out"
    assert part.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in part.headers["content-security-policy"]
    assert client.get(f"{url}/record").json()["response_content"] == part.text


def test_a_step_of_a_child_run_is_asked_of_that_run(client: TestClient) -> None:
    page = client.get(RUN).text
    for url in re.findall(r'data-pane="([^"]+)"', page):
        assert client.get(unescape(url)).status_code == 200


def test_all_links_of_the_page_lead_somewhere(client: TestClient, stored: Persistence) -> None:
    call = next(iter(stored.usage.iterate(run_id=LONG, order="oldest")))
    page = client.get(f"{RUN}?step=usage:{call.id}").text
    ours = [link for link in links_on(page) if link.startswith(RUN)]
    assert len(ours) > 400
    for link in {*ours[:6], *ours[-6:]}:
        assert client.get(link).status_code == 200, link


def test_a_time_on_the_map_leads_to_the_step_there(client: TestClient) -> None:
    answer = client.get(f"{RUN}?at=600000", follow_redirects=False)
    assert answer.status_code == 303
    page = client.get(answer.headers["location"]).text
    assert re.search(r'aria-current="true" data-b="(59|60)\d{4}"', page)


def test_the_links_to_copy_are_whole(client: TestClient) -> None:
    page = unescape(client.get(RUN).text)
    assert f'data-copy="http://127.0.0.1{RUN}"' in page
    assert f"'http://127.0.0.1/api/v1{RUN}'" in page


def test_a_run_is_saved_as_a_file(client: TestClient) -> None:
    saved = client.get(f"{RUN}/file/json")
    assert saved.headers["content-disposition"] == "attachment; filename*=UTF-8''long-run.json"
    assert len(saved.json()["usage"]) == 350
    assert client.get(f"{RUN}/file/md").text.startswith("# Run long-run\n")
    assert client.get(f"{RUN}/file/html").text.startswith("<!DOCTYPE html>")
    assert client.get(f"{RUN}/file/exe").status_code == 404


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("show=all+of+it", "show is one of all, model, tools, failed"),
        ("colour=red", "is no parameter here"),
        ("at=soon", "at is a number of milliseconds"),
        ("at=" + "9" * 30, "at is a number of milliseconds"),
        ("cursor=x", "cursor"),
        ("step=x", "event:7"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client: TestClient, query: str, told: str) -> None:
    answer = client.get(f"{RUN}?{query}")
    assert answer.status_code == 400
    assert told in unescape(answer.text)


@pytest.mark.parametrize(
    "ref", ["event:0", "event:99999999", "usage:9999999999999999999999", "event:x", "x", "event:"]
)
def test_a_step_that_is_not_there_is_told(client: TestClient, ref: str) -> None:
    assert client.get(f"{RUN}/steps/{ref}").status_code in (400, 404)
    assert client.get(f"{RUN}/steps/{ref}/record").status_code in (400, 404)


def test_a_deleted_step_leaves_the_run_readable(client: TestClient) -> None:
    answer = client.get(f"{RUN}?step=event:99999999")
    assert answer.status_code == 404
    assert "It was deleted or never recorded" in answer.text
    assert len(refs_on(answer.text)) > 400


def test_a_run_that_is_not_there_is_told(client: TestClient) -> None:
    answer = client.get("/runs/nobody")
    assert answer.status_code == 404
    assert "It was deleted or never recorded." in answer.text
    assert client.get("/runs/nobody/steps/run").status_code == 404


@pytest.mark.slow
def test_an_archived_run_is_told_apart_from_one_that_never_was(tmp_path: Path) -> None:
    moment = [BEGIN]
    with SQLitePersistence(":memory:", clock=Clock(lambda: moment[0])) as persistence:
        persistence.create_agent_run(AgentRun("a", "gone", status="completed", finished_at=BEGIN))
        moment[0] += timedelta(days=100)
        archive_runs(persistence, tmp_path / "old", older_than="1d", check_clock=False)
        answer = client_of(persistence).get("/runs/gone")
    assert answer.status_code == 404
    assert "This run was archived" in answer.text
    assert "curio-persistence restore ARCHIVE gone" in answer.text
    assert str(tmp_path) not in answer.text


def test_readers_cannot_delete(client: TestClient) -> None:
    assert "To delete this run" not in client.get(RUN).text
    assert client.post(f"{RUN}/delete", data={"confirm": LONG}).status_code == 403


# --- states ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        yield persistence


@pytest.fixture(scope="module")
def states(persistence: Persistence) -> TestClient:
    return client_of(persistence, allow_writes=True)


def page_of(states: TestClient, run_id: str) -> str:
    answer = states.get(Paths().run(run_id))
    assert answer.status_code == 200
    page = unescape(answer.text)
    assert "NaN" not in page
    assert "1970" not in page
    assert "None" not in page
    return page


def test_deleting_asks_for_the_whole_id(persistence: Persistence, states: TestClient) -> None:
    persistence.create_agent_run(AgentRun("a", "old"))
    assert "To delete this run" in states.get("/runs/old").text
    same_site = {"Sec-Fetch-Site": "same-origin"}
    wrong = states.post("/runs/old/delete", data={"confirm": "ol"}, headers=same_site)
    assert wrong.status_code == 400
    assert persistence.get_agent_run("old") is not None
    answer = states.post(
        "/runs/old/delete", data={"confirm": "old"}, headers=same_site, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs")
    assert persistence.get_agent_run("old") is None


def test_an_id_that_cannot_be_typed_is_confirmed_as_it_is_shown(
    persistence: Persistence, states: TestClient
) -> None:
    run_id = "two\nlines\u202e"
    persistence.create_agent_run(AgentRun("a", run_id))
    url, data = f"{Paths().run(run_id)}/delete", {"confirm": "two lines\\u202e"}
    answer = states.post(url, data=data, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200
    assert persistence.get_agent_run(run_id) is None


def test_a_run_known_by_an_event_alone(persistence: Persistence, states: TestClient) -> None:
    persistence.log_agent_run_event(AgentRunEvent("a", "stub", event_type="note", data="x"))
    page = page_of(states, "stub")
    assert "No objective was recorded" in page
    assert "note" in page


def test_a_run_without_anything(persistence: Persistence, states: TestClient) -> None:
    persistence.create_agent_run(AgentRun("a", "bare", status="completed"))
    page = page_of(states, "bare")
    assert "No steps were recorded" in page
    assert "The begin and the end of this run were not recorded" in page


def test_a_run_that_ends_before_it_begins(persistence: Persistence, states: TestClient) -> None:
    run = AgentRun("a", "odd", started_at=BEGIN, finished_at=BEGIN - timedelta(hours=1))
    persistence.create_agent_run(run)
    assert "ends before it begins" in page_of(states, "odd")


def test_a_run_that_was_left_behind(persistence: Persistence, states: TestClient) -> None:
    at = NOW - timedelta(hours=3)
    with InMemoryPersistence(clock=Clock(lambda: at)) as earlier:
        earlier.create_agent_run(AgentRun("a", "left", status="running", started_at=at))
        left = earlier.get_agent_run("left")
    assert left is not None
    persistence.create_agent_run(left)
    assert "Left behind" in page_of(states, "left")


def test_a_running_run_says_so_and_is_fetched_anew(
    persistence: Persistence, states: TestClient
) -> None:
    persistence.create_agent_run(AgentRun("a", "now", status="running", started_at=NOW))
    page = page_of(states, "now")
    assert 'id="run" data-live' in page
    assert "Nothing has happened yet" in page


def test_an_unknown_cost_is_no_zero(persistence: Persistence, states: TestClient) -> None:
    persistence.create_agent_run(AgentRun("a", "free", started_at=BEGIN))
    persistence.log_llm_usage(AgentLLMUsage("a", "free", "p", "m", created_at=BEGIN))
    usage = next(iter(persistence.usage.iterate(run_id="free")))
    page = re.sub("<[^>]+>", "", states.get(f"/runs/free?step=usage:{usage.id}").text)
    assert "unknown so far" in page
    assert "$0.00" not in page


def test_scores_approvals_and_snapshots_stand_beside_the_steps(
    persistence: Persistence, states: TestClient
) -> None:
    persistence.create_agent_run(AgentRun("a", "run", started_at=BEGIN))
    persistence.scores.set("run", "helpful", 0.5, comment="Good.")
    persistence.approvals.request("run", "delete", {"path": "/"})
    persistence.snapshots.save("run", "first", {"at": 1})
    page = page_of(states, "run")
    for told in ("helpful", "Good.", "delete", "pending", "first"):
        assert told in page
    assert "hash chain" not in page


def test_a_hash_chain_is_verified_on_request() -> None:
    with InMemoryPersistence(chain=True) as persistence:
        persistence.create_agent_run(AgentRun("a", "run"))
        persistence.append_event("run", "a", "note")
        client = client_of(persistence)
        assert "Verify it" in client.get("/runs/run").text
        assert "Whole: 1 links" in client.get("/runs/run?verify=1").text


def test_ids_of_any_kind_arrive(persistence: Persistence) -> None:
    """By a real server: a client within the process decodes paths once more than one."""
    ids = ["a/b", "..", ".", "%2F", "%", "é", "🚀", "a b?c#d", "<i>"]
    for run_id in ids:
        persistence.create_agent_run(AgentRun("a", run_id, objective=f"found {ids.index(run_id)}"))
    with served_console(persistence) as url:
        for number, run_id in enumerate(ids):
            with urlopen(url + Paths().run(run_id)) as answer:
                assert f"found {number}" in answer.read().decode()


def test_json_of_a_record_is_json_whatever_it_holds(
    persistence: Persistence, states: TestClient
) -> None:
    event = AgentRunEvent("a", "r", event_type="x", data={"k": "\ud800"})
    persistence.log_agent_run_event(event)
    saved = states.get(f"/runs/r/steps/event:{event.id}/record")
    assert json.loads(saved.text)["event_type"] == "x"


def test_long_and_deep_texts_are_cut_and_can_be_downloaded(
    persistence: Persistence, states: TestClient
) -> None:
    texts = {
        "long": "word " * 600_000,
        "wide": json.dumps([[number] for number in range(5_000)]),
        "deep": "[" * 10_000 + "]" * 10_000,
    }
    for run_id, text in texts.items():
        event = AgentRunEvent("a", run_id, event_type="tool_call", data={"result": text})
        persistence.log_agent_run_event(event)
        url = f"/runs/{run_id}/steps/event:{event.id}"
        page = states.get(url).text
        assert len(page) < 250_000
        part = states.get(f"{url}/part?name=result").text
        assert part == text or json.loads(part) == json.loads(text)
        assert states.get(f"/runs/{run_id}?step=event:{event.id}").status_code == 200
        if run_id == "long":
            assert "The first 4,000 characters of 3,000,000 (3 MB) are shown." in page
            assert "Download all of it" in page
        if run_id == "wide":
            assert "Only the first 2,000 values are shown." in page


@pytest.mark.slow
def test_no_hostile_text_becomes_markup(persistence: Persistence, states: TestClient) -> None:
    record_hostile(persistence)
    allowed = {"src", "href", "hx-get", "hx-target", "hx-select", "hx-sync", "hx-morph-skip"}
    allowed |= {"hx-status:4xx", "hx-status:5xx"}
    for number in range(len(HOSTILE)):
        url = f"/runs/hostile-{number}"
        page = states.get(url).text
        refs = re.findall(r'data-pane="([^"]+)"', page)
        refs += [f"{url}/steps/{ref}" for ref in refs_on(page) if not ref.startswith("run")]
        assert len(refs) > 5
        main = page[page.index("<main") : page.index("</main>")]
        for markup in (main, *(states.get(unescape(ref)).text for ref in refs)):
            for tag in re.findall(r"<(\w[^\s>]*)", markup):
                assert tag not in {"script", "img", "iframe", "style", "object", "base", "meta"}
            for tag in re.findall(r"<\w[^>]*>", markup):
                names = set(re.findall(r"""\s([\w:-]+)=(?="[^"]*"(?:\s|>|/>))""", tag))
                assert not {name for name in names if name.startswith(("on", "style"))}
                assert {name for name in names if name.startswith("hx-")} <= allowed
            for link in re.findall(r'(?:href|src|action)="([^"]*)"', markup):
                assert link.startswith(("/", "http://", "https://", "HTTPS://"))
