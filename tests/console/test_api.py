"""The HTTP API: each operation, its answers, and its refusals."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from curio_persistence import AgentRunEvent, InMemoryPersistence, Persistence, errors
from curio_persistence.console.api.operations import OPERATIONS
from curio_persistence.console.http.paths import encoded_id
from curio_persistence.models import AgentRun
from tests.support.console import client_of

SECRET = "postgresql://ann:hunter2@db/agents SELECT * FROM secrets"
HOSTILE = ("a/b", "..", ".", "100%", "a%2Fb", "é😀", "\u202etxt", " ", "?x=1#y", "x" * 255, "<b>")


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as opened:  # Other backends: tests/conformance/test_http_api.py.
        yield opened


class Api:
    """A client of the API that names operations by their path below /api/v1."""

    def __init__(self, persistence: Persistence, **options: Any) -> None:
        self._client = client_of(persistence, **{"allow_writes": True} | options)

    def __enter__(self) -> Api:
        """Keep one event loop for all requests, which is quicker."""
        self._client.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._client.__exit__(*error)

    def __call__(self, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {"Authorization": "Bearer any", **given.pop("headers", {})}
        answer: httpx.Response = self._client.request(
            method, f"/api/v1{path}", headers=headers, **given
        )
        return answer

    def get(self, path: str, **params: Any) -> Any:
        answer = self("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, method: str, path: str, status: int, **given: Any) -> dict[str, Any]:
        answer = self(method, path, **given)
        assert (answer.status_code, answer.headers["content-type"]) == (
            status,
            "application/problem+json",
        ), answer.text
        told: dict[str, Any] = answer.json()
        assert told["status"] == status
        return told


@pytest.fixture
def api(persistence: Persistence) -> Iterator[Api]:
    with Api(persistence) as client:
        yield client


@pytest.fixture
def recorded(persistence: Persistence) -> Persistence:
    for number in range(3):
        with persistence.record_run(
            agent_id="guide", run_id=f"run-{number}", session_id="chat", tags=["demo"]
        ) as run:
            with run.tool("look_up", {"place": "Lyon"}) as call:
                call.result = "France"
            run.llm_call(
                model="acme-1",
                prompt="Where is Lyon?",
                response="In France.",
                input_tokens=7,
                output_tokens=3,
                cost_usd=0.25,
            )
            run.metric("distance", 3.5)
            run.finish("In France.")
    return persistence


def test_each_page_is_reached_by_the_cursor_of_the_one_before(
    api: Api, recorded: Persistence
) -> None:
    first = api.get("/runs", limit=2)
    second = api.get("/runs", limit=2, cursor=first["next_cursor"])
    found = [run["run_id"] for run in first["items"] + second["items"]]
    assert (found, second["next_cursor"]) == (["run-2", "run-1", "run-0"], None)


def test_records_are_those_of_the_facade(api: Api, recorded: Persistence) -> None:
    [*runs] = recorded.query_agent_runs()
    assert api.get("/runs")["items"] == [run.to_dict() for run in runs]
    assert api.get("/runs/run-1") == runs[1].to_dict()
    [usage, *_] = recorded.query_llm_usage()
    assert api.get(f"/usage/{usage.id}") == usage.to_dict()
    assert usage.to_dict()["cost_usd"] == "0.250000", "a decimal text"
    [event, *_] = recorded.query_events()
    assert api.get(f"/events/{event.id}") == event.to_dict()


def test_filters_are_those_of_the_facade(api: Api, recorded: Persistence) -> None:
    assert len(api.get("/runs", status="completed,error", tags="demo")["items"]) == 3
    assert api.get("/runs", agent_id="nobody")["items"] == []
    tools = api.get("/events", payload=json.dumps({"tool_name": "look_up"}), run_id="run-1")
    assert [event["event_type"] for event in tools["items"]] == ["tool_call", "tool_call_started"]
    assert len(api.get("/usage", model="acme-1", since="1h")["items"]) == 3
    assert api.get("/usage", until="1h")["items"] == []


def test_every_reading_answers(api: Api, recorded: Persistence) -> None:
    asked = {"/search": {"query": "lyon"}, "/diff": {"first": "run-1", "second": "run-2"}}
    ids = {"run_id": "run-1", "session_id": "chat", "trace_id": "run-1", "name": "distance"}
    for each in OPERATIONS:
        if (
            each.method == "GET"
            and each.answer.kind != "stream"
            and not each.path.endswith(("rule_id}", "key_id}"))
        ):
            path = each.path.replace("{id}", "1").format(**ids)
            answer = api("GET", path, params=asked.get(each.path, {}))
            assert answer.status_code == 200, (path, answer.text)
            assert "no-store" in answer.headers["cache-control"]


def test_what_is_added_up_is_what_was_recorded(api: Api, recorded: Persistence) -> None:
    assert api.get("/stats", agent_id="guide")["total_cost_usd"] == "0.750000"
    [spent] = api.get("/spend", group_by="model")["items"]
    assert (spent["model"], spent["calls"], spent["cost_usd"]) == ("acme-1", 3, "0.750000")
    [told] = api.get("/analytics", bucket="all", group_by="agent")["items"]
    assert (told["agent_id"], told["runs"], told["tool_calls"]) == ("guide", 3, 3)
    assert api.get("/metrics")["items"] == [{"name": "distance", "values": 3}]
    [point] = api.get("/metrics/distance", aggregation="max")["items"]
    assert (point["value"], point["count"]) == (3.5, 3)


def test_steps_of_a_run_have_their_places(api: Api, recorded: Persistence) -> None:
    page = api.get("/runs/run-1/steps", only="tool,model")
    assert [step["kind"] for step in page["items"]] == ["tool", "model"]
    assert page["items"][0]["ref"].startswith("event:")


def test_a_search_says_what_it_has_not_searched(api: Api, recorded: Persistence) -> None:
    page = api.get("/search", query="lyon")
    assert {hit["run_id"] for hit in page["items"]} == {"run-0", "run-1", "run-2"}
    assert page["pending"] == 0


def test_a_run_is_exported_as_lines_that_can_be_imported(
    api: Api, recorded: Persistence, tmp_path: Path
) -> None:
    from curio_persistence import import_records

    answer = api("GET", "/runs/run-1/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="run.jsonl"'
    assert "sandbox" in answer.headers["content-security-policy"]
    file = tmp_path / "run.jsonl"
    file.write_bytes(answer.content)
    with InMemoryPersistence() as other:
        assert import_records(file, other).runs == 1
        [run] = other.get_agent_runs()
        assert (run.run_id, run.status) == ("run-1", "completed")


def test_ids_may_hold_anything(api: Api, persistence: Persistence) -> None:
    for ident in HOSTILE:
        run = {"run_id": ident, "agent_id": "a", "status": "running"}
        created = api("POST", "/runs", json=run)
        assert created.status_code == 201
        path = created.headers["location"].removeprefix("/api/v1")
        assert path == f"/runs/{encoded_id(ident)}"
        assert api.get(path)["run_id"] == ident
        assert api("DELETE", path).status_code == 204
        assert persistence.get_agent_run(ident) is None


def test_events_that_come_twice_are_stored_once(api: Api, persistence: Persistence) -> None:
    sent = [
        {"agent_id": "a", "run_id": "r", "event_type": "log", "data": {"n": n}, "event_id": f"e{n}"}
        for n in range(3)
    ]
    assert api("POST", "/events", json=sent).json() == {"received": 3, "stored": 3}
    assert api("POST", "/events", json=sent).json() == {"received": 3, "stored": 0}
    changed = [{**sent[0], "data": {"n": 9}}]
    api.refused("POST", "/events", 409, json=changed, params={"on_conflict": "error"})
    assert persistence.count_events() == 3


def test_what_was_read_can_be_sent_again(api: Api, recorded: Persistence) -> None:
    events = api.get("/events", limit=3)["items"]
    with InMemoryPersistence() as other:
        answer = Api(other)("POST", "/events", json=events)
        assert answer.json() == {"received": 3, "stored": 3}
        [stored, *_] = other.query_events()
        assert stored.data == events[0]["data"]


def test_a_batch_with_a_wrong_event_stores_nothing(api: Api, persistence: Persistence) -> None:
    right: dict[str, Any] = {"agent_id": "a", "run_id": "r", "event_type": "log"}
    for wrong, field in (
        ({**right, "run_id": 5}, "run_id"),
        ({**right, "colour": "red"}, None),
        ({**right, "timestamp": "yesterday"}, "timestamp"),
        ({"agent_id": "a"}, None),
        ("text", "body"),
    ):
        told = api.refused("POST", "/events", 400, json=[right, wrong])
        assert told.get("field") == field, told
    assert persistence.count_events() == 0


def test_a_body_that_is_no_json_or_too_large_is_refused(api: Api) -> None:
    kind = {"Content-Type": "application/json"}
    assert api.refused("POST", "/events", 400, content=b"[", headers=kind)["field"] == "body"
    assert api.refused("POST", "/events", 400, content=b"[NaN]", headers=kind)["field"] == "body"
    api.refused("POST", "/events", 400, content=b"[" * 100_000, headers=kind)
    api.refused("POST", "/events", 400, content=b"{}", headers=kind)
    api.refused("POST", "/events", 415, content=b"[]", headers={"Content-Type": "text/plain"})
    api.refused("POST", "/events", 413, content=b" " * (10 * 2**20 + 1), headers=kind)
    api.refused("POST", "/runs", 413, content=b" " * (2**20 + 1), headers=kind)


def test_a_run_is_created_once_and_replaced(api: Api, persistence: Persistence) -> None:
    run = {"run_id": "r", "agent_id": "a", "status": "running", "objective": "Go"}
    assert api("POST", "/runs", json=run).json()["objective"] == "Go"
    api.refused("POST", "/runs", 409, json=run)
    done = api("PUT", "/runs/r", json={**run, "status": "completed"})
    assert (done.status_code, done.json()["status"]) == (200, "completed")
    assert api.refused("PUT", "/runs/other", 400, json=run)["field"] == "run_id"
    api.refused("PUT", "/runs/other", 404, json={**run, "run_id": "other"})


def test_runs_that_were_left_running_are_closed(api: Api, persistence: Persistence) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    times = dict.fromkeys(("created_at", "updated_at", "started_at"), long_ago)
    persistence.create_agent_run(AgentRun("a", "r", status="running", **times))
    assert api("POST", "/abandon", params={"older_than": "1d"}).json()["items"] == []
    [closed] = api("POST", "/abandon").json()["items"]
    assert (closed["run_id"], closed["status"]) == ("r", "error")
    assert api.refused("POST", "/abandon?older_than=soon", 400)["field"] == "older_than"


def test_what_is_not_there_is_a_404(api: Api) -> None:
    for path in (
        "/runs/x",
        "/runs/x/steps",
        "/runs/x/export",
        "/events/9",
        "/events/x",
        "/usage/9",
    ):
        api.refused("GET", path, 404)
    for path in ("/sessions/x", "/traces/x", "/alerts/rules/x", "/nothing", "/runs/x/y"):
        api.refused("GET", path, 404)
    api.refused("GET", "/diff", 404, params={"first": "x", "second": "y"})
    api.refused("DELETE", "/runs/x", 404)


def test_wrong_parameters_are_named(api: Api) -> None:
    for path, params, field in (
        ("/runs", {"agent": "x"}, "agent"),
        ("/runs", {"since": "yesterday"}, "since"),
        ("/runs", {"cursor": "damaged"}, "cursor"),
        ("/events", {"min_level": "loud"}, "min_level"),
        ("/events", {"payload": "tool=search"}, "payload"),
        ("/spend", {"group_by": "colour"}, "group_by"),
        ("/analytics", {"timezone": "Mars/Base"}, "timezone"),
        ("/metrics/x", {"aggregation": "p101"}, "aggregation"),
        ("/search", {}, "query"),
        ("/diff", {"first": "a"}, "second"),
        ("/runs", {"agent_id": "a\0b"}, "agent_id"),
    ):
        assert api.refused("GET", path, 400, params=params).get("field") == field, path


def test_methods_and_headers_are_those_of_http(api: Api, recorded: Persistence) -> None:
    got, head = api("GET", "/runs"), api("HEAD", "/runs")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert api("OPTIONS", "/runs").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    refused = api("PATCH", "/runs")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


def test_the_head_of_a_stream_ends(api: Api) -> None:
    head = api("HEAD", "/stream")
    assert head.status_code == 200
    assert head.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidValueError("a wrong value", field="AgentRun.status"), 400),
        (errors.AccessDeniedError(SECRET), 403),
        (errors.NotFoundError(SECRET), 404),
        (errors.ConflictError(SECRET), 409),
        (errors.UnsupportedError(SECRET), 501),
        (errors.UnavailableError(SECRET), 503),
        (errors.BusyError(SECRET), 503),
        (errors.PoolTimeoutError(SECRET), 503),
        (errors.QueryTimeoutError(SECRET), 503),
        (errors.ClosedError(SECRET), 503),
        (errors.MissingDatabaseError(SECRET), 503),
        (errors.SchemaMismatchError(SECRET, found="1", wanted="2"), 503),
        (errors.StorageFullError(SECRET), 507),
        (errors.CorruptDatabaseError(SECRET), 500),
        (ZeroDivisionError(SECRET), 500),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_status_and_tells_no_secret(
    api: Api,
    persistence: Persistence,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(persistence, "query_agent_runs", fail)
    answer = api("GET", "/runs")
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert SECRET not in answer.text
    assert answer.json().get("field") == ("status" if status == 400 else None)


def test_an_answer_that_a_program_has_already_is_not_sent_again(
    api: Api, recorded: Persistence
) -> None:
    tag = api("GET", "/runs").headers["etag"]
    again = api("GET", "/runs", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    recorded.create_agent_run(AgentRun("guide", "run-9"))
    assert api("GET", "/runs", headers={"If-None-Match": tag}).status_code == 200


def test_answers_are_packed_for_clients_that_unpack(api: Api, recorded: Persistence) -> None:
    packed = api("GET", "/events", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(gzip.compress(packed.content)))["items"]


def test_text_comes_as_it_was_stored(api: Api, persistence: Persistence) -> None:
    for text in ("\ud800", "é😀", "\u202e", "</script>", "\x01"):
        persistence.log_agent_run_event(AgentRunEvent("a", "r", event_type="log", message=text))
        [event] = api.get("/events", limit=1)["items"]
        assert event["message"] == text


def test_a_reader_changes_nothing(recorded: Persistence) -> None:
    reader = Api(recorded, allow_writes=False)
    for operation in OPERATIONS:
        if operation.role != "read":
            path = operation.path.format(run_id="run-1", rule_id="x", key_id="x")
            reader.refused(operation.method, path, 403, json={})
    assert recorded.count_agent_runs() == 3


def test_alert_rules_are_made_changed_and_deleted(api: Api) -> None:
    rule = {"rule_id": "cost", "condition": "cost", "threshold": 1, "window": "1h"}
    made = api("POST", "/alerts", json={**rule, "sinks": [{"kind": "log"}]})
    assert (made.status_code, made.headers["location"]) == (201, "/api/v1/alerts/rules/cost")
    changed = api("PUT", "/alerts/rules/cost", json={"threshold": 2})
    assert changed.json()["threshold"] == 2
    api.refused("POST", "/alerts", 409, json=rule)
    assert [each["rule_id"] for each in api.get("/alerts")["items"]] == ["cost"]
    assert api("DELETE", "/alerts/rules/cost").status_code == 204
    assert api.get("/alerts/history")["items"] == []
    assert [line["action"] for line in api.get("/audit")["items"]][:2] == ["delete", "update"]


def test_an_alert_rule_of_a_request_runs_no_program_and_reads_no_variable(api: Api) -> None:
    rule = {"rule_id": "cost", "condition": "cost", "threshold": 1}
    for sink in (
        {"kind": "command", "argv": ["touch", "/tmp/x"]},
        {"kind": "webhook", "url_env": "SECRET"},
        {"kind": "webhook", "url": "https://example.com", "allow_private": True},
        "log",
    ):
        api.refused("POST", "/alerts", 400, json={**rule, "sinks": [sink]})
    api.refused("POST", "/alerts", 400, json={**rule, "colour": "red"})
    api.refused("POST", "/alerts", 400, json={"rule_id": "x"})
    assert api.get("/alerts")["items"] == []


def test_a_key_is_made_shown_once_and_revoked(api: Api, persistence: Persistence) -> None:
    made = api("POST", "/keys", json={"name": "ci", "role": "write", "expires": "90d"})
    assert made.status_code == 201
    told = made.json()
    key_id = told["key"]["key_id"]
    assert made.headers["location"] == f"/api/v1/keys/{key_id}"
    assert api.get(f"/keys/{key_id}") == told["key"]
    assert persistence.keys.verify(told["secret"]) is not None
    [listed] = api.get("/keys")["items"]
    assert (listed["name"], listed["role"], "secret_hash" in listed) == ("ci", "write", False)
    assert api("DELETE", f"/keys/{key_id}").status_code == 204
    assert persistence.keys.verify(told["secret"]) is None
    api.refused("DELETE", "/keys/nothing", 404)
    assert api.refused("POST", "/keys", 400, json={"name": "x", "role": "owner"})["field"] == "role"
    assert api.refused("POST", "/keys", 400, json={"role": "read"})["field"] == "name"
    assert api.refused("POST", "/keys", 400, json={"name": "x", "a": 1})["field"] == "a"


def test_a_database_that_is_closed_is_told_to_come_back(api: Api, persistence: Persistence) -> None:
    persistence.close()
    answer = api("GET", "/runs")
    assert (answer.status_code, answer.json()["status"]) == (503, 503)
    assert int(answer.headers["retry-after"]) > 0
