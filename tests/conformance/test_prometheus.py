"""The metrics for Prometheus are the numbers of the database, in a bounded number of series."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    BufferedPersistence,
    ConfigurationError,
    Persistence,
    RetentionPolicy,
)
from curio_persistence.interop.prometheus import CurioCollector
from curio_persistence.interop.prometheus.families import FAMILIES
from tests.support.hands import Hands
from tests.support.served import served


class Scraped:
    """Scrapes a persistence, each time anew."""

    def __init__(self, persistence: Persistence, **options: Any) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(CurioCollector(persistence, **{"max_age": 0, **options}))

    def __call__(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Return the values by the names of metrics, then by those of their labels."""
        return values_in(generate_latest(self._registry).decode())


def values_in(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = found.setdefault(sample.name, {})
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in series
            series[labels] = sample.value
    return found


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let samples be taken as often as they are asked for."""
    monkeypatch.setattr("curio_persistence.interop.prometheus._SHARE", 0)


@pytest.fixture
def scrape(persistence: Persistence) -> Scraped:
    return Scraped(persistence)


def record(persistence: Persistence, agent: str, *, fails: bool = False) -> None:
    with suppress(ZeroDivisionError), persistence.record_run(agent_id=agent) as run:
        run.llm_call(model="acme-1", input_tokens=10, output_tokens=3, latency_ms=250, cost_usd=0.5)
        with run.tool("divide", {}) as call:
            call.result = 1 / (not fails)


def test_runs_calls_and_tools_are_counted(persistence: Persistence, scrape: Scraped) -> None:
    record(persistence, "good")
    record(persistence, "good")
    record(persistence, "bad", fails=True)
    persistence.create_agent_run(AgentRun("bad", "left", status="running"))
    persistence.log_llm_usage(AgentLLMUsage(None, None, model="acme-2", status="error"))
    found = scrape()
    assert found["curio_up"] == {(): 1}
    assert found["curio_runs_ended_total"] == {("good", "completed"): 2, ("bad", "error"): 1}
    assert found["curio_runs_unfinished"] == {("bad", "running"): 1}
    assert found["curio_llm_calls_total"] == {
        ("good", "acme-1", "ok"): 2,
        ("bad", "acme-1", "ok"): 1,
        ("", "acme-2", "error"): 1,
    }
    assert found["curio_llm_tokens_total"][("good", "acme-1", "input")] == 20
    assert found["curio_llm_tokens_total"][("bad", "acme-1", "output")] == 3
    assert found["curio_llm_cost_usd_total"] == {("good", "acme-1"): 1, ("bad", "acme-1"): 0.5}
    assert found["curio_llm_unpriced_calls_total"] == {
        ("good", "acme-1"): 0,
        ("bad", "acme-1"): 0,
        ("", "acme-2"): 1,
    }
    assert found["curio_llm_call_duration_seconds_sum"][("good", "acme-1")] == 0.5
    assert found["curio_llm_call_duration_seconds"][("good", "acme-1", "0.95")] == 0.25
    assert found["curio_tool_calls_total"] == {
        ("good", "ok", "divide"): 2,
        ("bad", "error", "divide"): 1,
    }
    assert found["curio_tool_call_duration_seconds_count"] == {("divide",): 3}
    assert found["curio_run_recent_duration_seconds"].keys() == {
        (agent, percent) for agent in ("good", "bad") for percent in ("50", "95", "99")
    }
    assert found["curio_records_stored_total"][("run",)] == 4
    assert found["curio_records_stored_total"][("span",)] == 0


def test_numbers_of_the_engine_are_there_where_it_has_them(
    persistence: Persistence, scrape: Scraped
) -> None:
    record(persistence, "agent")
    found = scrape()
    known = persistence._store.engine_numbers()
    assert ("curio_database_size_bytes" in found) == ("database_bytes" in known)
    assert all(value >= 0 for name in known for value in found.get(f"curio_{name}", {}).values())
    if persistence._store.dialect == "postgres":
        assert found["curio_pool_max_connections"] == {(): 10}
        assert found["curio_wal_written_bytes_total"][()] > 0


def test_alerts_and_the_search_index_have_a_state(
    persistence: Persistence, scrape: Scraped
) -> None:
    record(persistence, "agent")
    persistence.alerts.create("costs", "cost", 0.1)
    persistence.alerts.create("calls", "token_count", 1_000)
    persistence.alerts.evaluate()
    assert scrape()["curio_alert_state"] == {
        ("costs", "firing"): 1,
        ("costs", "failing"): 0,
        ("calls", "firing"): 0,
        ("calls", "failing"): 0,
    }
    before = scrape()["curio_search_unindexed_records"][()]
    persistence.search.index_pending()
    assert before > scrape()["curio_search_unindexed_records"][()] == 0


def test_only_the_busiest_agents_have_series_of_their_own(persistence: Persistence) -> None:
    scrape = Scraped(persistence, top=2)
    for number, agent in enumerate("abcd", start=1):
        for _ in range(number):
            persistence.create_agent_run(AgentRun(agent, f"{agent}{_}", status="completed"))
    ended = "curio_runs_ended_total"
    assert scrape()[ended] == {
        ("c", "completed"): 3,
        ("d", "completed"): 4,
        ("other", "completed"): 3,
    }
    for number in range(9):
        persistence.create_agent_run(AgentRun("a", f"more {number}", status="completed"))
    assert scrape()[ended][("other", "completed")] == 12, "an agent does not leave `other`"


def test_a_deletion_lowers_no_counter(persistence: Persistence, scrape: Scraped) -> None:
    """Prometheus would take it for a restart, and count everything once more."""
    for number in range(3):
        persistence.create_agent_run(AgentRun("a", str(number), status="completed"))
    series = ("a", "completed")
    assert scrape()["curio_runs_ended_total"][series] == 3
    persistence.delete_agent_run("0")
    persistence.delete_agent_run("1")
    assert scrape()["curio_runs_ended_total"][series] == 3
    persistence.create_agent_run(AgentRun("a", "more", status="completed"))
    assert scrape()["curio_runs_ended_total"][series] == 4


def test_records_after_a_deletion_of_all_are_counted(
    persistence: Persistence, scrape: Scraped
) -> None:
    record(persistence, "a")
    [run] = persistence.get_agent_runs()
    before = scrape()
    persistence.delete_agent_run(run.run_id)
    assert scrape()["curio_runs_ended_total"] == before["curio_runs_ended_total"]
    record(persistence, "a")
    after = scrape()
    for name in ("curio_runs_ended_total", "curio_tool_calls_total", "curio_llm_calls_total"):
        assert {labels: 2 * count for labels, count in before[name].items()} == after[name]


def test_stored_records_are_counted_by_ids_that_are_not_used_again(
    persistence: Persistence, scrape: Scraped
) -> None:
    ids = []
    for name in ("1", "2", "3"):
        run = AgentRun("a", name)
        persistence.create_agent_run(run)
        assert scrape()["curio_records_stored_total"][("run",)] == run.id
        persistence.delete_agent_run(name)
        assert scrape()["curio_records_stored_total"][("run",)] == run.id
        ids.append(run.id)
    assert ids == sorted({*ids})


def test_expired_records_stay_counted(
    persistence: Persistence, scrape: Scraped, clock: Hands
) -> None:
    record(persistence, "agent")
    before = scrape()
    clock.put(persistence.clock.now() + timedelta(days=9))
    persistence.lifecycle.set_policy(RetentionPolicy(keep="1d"))
    persistence.lifecycle.expire()
    assert persistence.get_agent_runs() == []
    again = Scraped(persistence)()
    kept = "runs_ended llm_calls llm_tokens llm_cost_usd llm_unpriced_calls tool_calls"
    for name in kept.split():
        assert again[f"curio_{name}_total"] == before[f"curio_{name}_total"]


def test_awkward_names_are_labels(persistence: Persistence, scrape: Scraped) -> None:
    persistence.create_agent_run(AgentRun('a "quoted"\nname\\', "1", status="completed"))
    for name in ("\ud800\0", "x" * 500, "é"):
        persistence.append_event(
            "1", "a", "tool_call", payload={"tool_name": name, "latency_ms": 1}
        )
    found = scrape()
    assert ('a "quoted"\nname\\', "completed") in found["curio_runs_ended_total"]
    tools = {tool for *_, tool in found["curio_tool_calls_total"]}
    assert "é" in tools
    assert max(map(len, tools)) == 100


def test_a_sample_is_shared_for_some_seconds(persistence: Persistence) -> None:
    scrape = Scraped(persistence, max_age=60)
    assert "curio_runs_ended_total" not in scrape()
    record(persistence, "agent")
    assert "curio_runs_ended_total" not in scrape()


def test_a_scrape_does_not_wait_for_a_database_that_hangs(
    persistence: Persistence, scrape: Scraped, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(persistence, "agent")
    impatient = Scraped(persistence, timeout=0.3)
    before = impatient()
    go_on = threading.Event()
    monkeypatch.setattr(persistence.stats, "groups", lambda: go_on.wait(30))
    begin = time.monotonic()
    again = impatient()
    assert again["curio_runs_ended_total"] == before["curio_runs_ended_total"]
    assert again["curio_up"] == {(): 1}
    monkeypatch.setattr("curio_persistence.interop.prometheus._STUCK", 0)
    time.sleep(2 * before["curio_collection_duration_seconds"][()])
    assert impatient()["curio_up"] == {(): 0}
    assert Scraped(persistence, timeout=0.3)()["curio_up"] == {(): 0}
    assert time.monotonic() - begin < 5
    go_on.set()


def test_a_closed_database_is_down(
    persistence: Persistence, scrape: Scraped, caplog: pytest.LogCaptureFixture
) -> None:
    persistence.close()
    found = scrape()
    assert found["curio_up"] == {(): 0}
    assert "curio_runs_ended_total" not in found
    assert found["curio_stream_listeners"] == {(): 0}


def test_the_queue_of_a_buffered_persistence_is_measured(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    with persistence.buffered(max_seconds=60) as buffered, buffered.stream():
        scrape = Scraped(buffered)
        found = scrape()
        assert found["curio_buffered_records"] == {(): 0}
        assert found["curio_stream_listeners"] == {(): 1}
        assert found["curio_dropped_records_total"] == {("overflow",): 0}
        monkeypatch.setattr(BufferedPersistence, "dropped", {"overflow": 3, "BusyError": 1})
        assert scrape()["curio_dropped_records_total"] == {("overflow",): 3, ("BusyError",): 1}


@pytest.mark.slow
def test_the_server_is_scraped(persistence: Persistence) -> None:
    record(persistence, "agent")
    with served(persistence) as server:
        plain = server.get("/metrics")
        assert plain.status == 200
        assert plain.headers["Content-Type"].startswith("text/plain; version=")
        assert values_in(plain.body.decode())["curio_runs_ended_total"] == {
            ("agent", "completed"): 1
        }
        assert b"process_cpu_seconds_total" in plain.body or sys.platform != "linux"
        newer = server.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert newer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert newer.body.endswith(b"# EOF\n")
    with served(persistence, keys=("key",)) as server:
        assert server.get("/metrics").status == 401
        assert server.get("/metrics", Authorization="Bearer key").status == 200


@pytest.mark.before_io
def test_every_metric_is_documented(persistence: Persistence) -> None:
    page = Path(__file__).parents[2].joinpath("docs/prometheus.md").read_text(encoding="utf-8")
    for family in FAMILIES:
        assert f"`{family.name}{'_total' * (family.kind == 'counter')}`" in page


@pytest.mark.before_io
def test_it_takes_an_open_persistence(persistence: Persistence) -> None:
    with pytest.raises(ConfigurationError):
        CurioCollector("sqlite://")  # type: ignore[arg-type]
    for wrong in ({"top": 0}, {"max_age": -1}, {"timeout": "1s"}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            CurioCollector(persistence, **wrong)  # type: ignore[arg-type]
