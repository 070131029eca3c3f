"""Everything works in programs that set a wait callback in psycopg2, as gevent guides advise."""

from __future__ import annotations

from curio_persistence import AgentRun, AgentRunEvent
from tests.backends.conftest import Open
from tests.support.children import Child

_PROGRAM = """
from io import BytesIO
import psycopg2.extensions, psycopg2.extras
from curio_persistence.export.records import export_records

psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)
persistence = PostgresPersistence(dsn=sys.argv[1], schema=sys.argv[2])

def events(run_id, count):
    return [
        AgentRunEvent("agent", run_id, event_type="t", data={"n": n, "text": "a\\tb\\n% \\\\"})
        for n in range(count)
    ]

with persistence.record_run(agent_id="agent", run_id="recorded", on_error="raise") as run:
    run.llm_call(model="m", prompt="x", cost_usd=0.000000000001)
    run.log("noted", {"x": "zebra"})

persistence.create_agent_runs([AgentRun("agent", f"batch-{n}") for n in range(10)])
persistence.log_agent_run_events(events("batch-0", 2500))
persistence.log_llm_usages(
    [AgentLLMUsage("agent", "batch-0", model="m", cost_usd=3e-12) for _ in range(3)]
)
with persistence.transaction():
    persistence.log_agent_run_events(events("batch-1", 10))
try:
    persistence.create_agent_runs([AgentRun("agent", "new"), AgentRun("agent", "batch-1")])
except ConflictError:
    assert persistence.get_agent_run("new") is None
else:
    raise AssertionError("a batch with a duplicate was stored")

assert len(persistence.search_text("zebra", max_wait=60)) == 1

buffered = persistence.buffered()  # Its thread indexes too, while a search would not wait.
for event in events("buffered", 10):
    buffered.log_agent_run_event(event)
buffered.flush()
assert buffered.dropped == {}

table = persistence.iter_agent_run_events().to_arrow()
assert table.num_rows == persistence.count_events() == 2523, table.num_rows
for format in ("jsonl", "csv"):
    export_records(persistence, BytesIO(), format=format, tables=["events"])
persistence.close()
print("done", flush=True)
"""


def test_everything_works_with_a_wait_callback(
    dsn: str, schema_name: str, open_postgres: Open
) -> None:
    with Child(_PROGRAM, dsn, schema_name) as child:
        assert child.read() == "done"
    persistence = open_postgres()
    assert persistence.get_agent_run_stats("agent")["total_runs"] == 12
    stored = persistence.get_agent_run_events("batch-0")
    assert [event.get_data_dict()["n"] for event in stored] == list(range(2500))
    assert stored[0].get_data_dict()["text"] == "a\tb\n% \\"
    assert [str(call.cost_usd) for call in persistence.get_llm_usage(run_id="batch-0")] == [
        "3E-12"
    ] * 3
    copied = AgentRunEvent("agent", "batch-0", event_type="t", data=stored[0].data)
    persistence.create_agent_run(AgentRun("agent", "next"))
    persistence.log_agent_run_events([copied])  # With COPY, after the ids that INSERT used.
    assert copied.data == stored[0].data
