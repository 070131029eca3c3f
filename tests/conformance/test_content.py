"""Long texts of a session are stored once, and every way to read them returns what was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    CorruptDatabaseError,
    InMemoryPersistence,
    Persistence,
    SQLitePersistence,
    copy_records,
    export_records,
    import_records,
)
from curio_persistence.content.markers import marker
from curio_persistence.content.resolving import LongTexts
from curio_persistence.runlog.entries import ContextAssembled
from curio_persistence.store.filters import Filter
from curio_persistence.store.query import query_of
from curio_persistence.tables import CONTENT, EVENTS, USAGE
from tests.support.entries import made

pytestmark = pytest.mark.slow  # Not in the inner loop.

Open = Callable[..., Persistence]

LONG = "A long text, with “quotes”, a \\ and\nlines. " * 60
MARKER = "\ufdd0t" + "A" * 49
AWKWARD = [
    LONG,
    "\0\ud800\ufdd0\ufdd0t\ufdd00000" * 200,
    MARKER * 40,
    json.dumps({"text": LONG, "short": 1, "list": ["a", MARKER, LONG], "again": LONG}),
    json.dumps({"text": LONG, "list": list(range(1_000))}, ensure_ascii=False, indent=2),
    json.dumps([LONG, [LONG, {"deep": LONG}], "\0", "\ud800 \udc00 \ufdd0" * 300]),
    json.dumps([LONG, MARKER * 20], ensure_ascii=False, separators=(",", ":")),
    '{"odd": "' + r"\u00e9\/é" * 300 + '", "twice": 1, "twice": [' + "1, " * 600 + "2]}",
    f'{{"no": "json", "{LONG}',
    f'["no end", "{"x" * 2_000}"',
    f'["text behind"] {"x" * 2_000}',
    "[" * 3_000,
    "[" * 3_000 + "]" * 3_000,
    "[" + "9" * 6_000 + "]",
    f'["tabs\tand\nlines {"x" * 2_000}"]',
    " " * 2_000 + "[]",
    "{" + " " * 2_000 + "}",
    '"' + "x" * 2_000 + '"',
]
TURNS = 12
IS_LIST = (Filter("chain", "is not null"),)


@pytest.fixture
def sharing(open_again: Open) -> Persistence:
    return open_again(dedupe=True)


def blobs(persistence: Persistence) -> int:
    return persistence._store.count(CONTENT)


def stored_bytes(persistence: Persistence) -> int:
    """Return the bytes of the long texts as they are stored."""
    rows = persistence._store.select_columns(CONTENT, ("body",))
    return sum(len(bytes(body)) for (body,) in rows)


def as_stored(persistence: Persistence, table: Any, *names: str) -> list[tuple[Any, ...]]:
    """Return columns with their markers."""
    rows: list[tuple[Any, ...]] = persistence._store._as_stored(table, names, ())  # type: ignore[attr-defined]
    return rows


def turn(number: int) -> list[dict[str, str]]:
    """Return two messages, one of which is long."""
    text = f"Message {number}: " + " ".join(str(number * n * 7_919 % 10_007) for n in range(300))
    return [
        {"role": "user", "content": f"Question {number}?"},
        {"role": "assistant", "content": text},
    ]


def converse(persistence: Persistence, session_id: str | None = "s", turns: int = TURNS) -> None:
    """Record a conversation whose model calls have all that was said before."""
    messages = [{"role": "system", "content": "You are helpful. " * 600}]
    for number in range(turns):
        question, answer = turn(number)
        messages.append(question)
        run = AgentRun("agent", f"{session_id}-{number}", session_id=session_id)
        persistence.create_agent_run(run)
        persistence.log_llm_usage(
            AgentLLMUsage(
                "agent", run.run_id, prompt=json.dumps(messages), response_content=answer["content"]
            )
        )
        persistence.append_event(
            run.run_id, "agent", "context_assembled", payload={"n": number, "messages": messages}
        )
        messages.append(answer)


@pytest.mark.parametrize("text", AWKWARD, ids=range(len(AWKWARD)))
def test_texts_are_returned_exactly(sharing: Persistence, text: str) -> None:
    sharing.create_agent_run(AgentRun("agent", "run", session_id="s"))
    event = AgentRunEvent("agent", "run", data=text, message=text, metadata=text)
    sharing.log_agent_run_event(event)
    usage = AgentLLMUsage("agent", "run", prompt=text, response_content=text, input_params=text)
    sharing.log_llm_usage(usage)
    assert sharing.get_agent_run_events("run") == [event]
    assert sharing.get_llm_usage() == [usage]
    assert [*sharing.iter_agent_run_events()] == [event]
    assert [*sharing.iter_llm_usage(snapshot=False)] == [usage]
    with sharing.transaction():
        assert [*sharing.iter_llm_usage()] == [usage]


def test_equal_texts_of_a_session_are_stored_once(sharing: Persistence) -> None:
    for number in range(3):
        sharing.create_agent_run(AgentRun("agent", f"r{number}", session_id="s"))
        sharing.log_llm_usage(AgentLLMUsage("agent", f"r{number}", prompt=LONG))
        sharing.append_event(f"r{number}", "agent", "log", message=LONG, payload={"text": LONG})
    assert blobs(sharing) == 1
    sharing.create_agent_run(AgentRun("agent", "alone"))
    sharing.log_llm_usage(AgentLLMUsage("agent", "alone", prompt=LONG))
    sharing.append_event("alone", "agent", "log", message=LONG)
    assert blobs(sharing) == 2, "a run without a session shares texts with itself only"
    assert {event.message for event in sharing.query_events()} == {LONG}
    assert {usage.prompt for usage in sharing.get_llm_usage()} == {LONG}


def test_without_dedupe_nothing_is_stored_elsewhere(persistence: Persistence) -> None:
    converse(persistence, turns=3)
    assert blobs(persistence) == 0
    assert as_stored(persistence, USAGE, "content_scope") == [(None,)] * 3


def test_short_texts_are_stored_where_they_are(sharing: Persistence) -> None:
    sharing.create_agent_run(AgentRun("agent", "run"))
    sharing.append_event("run", "agent", "log", payload={"text": "x" * 900}, message="short")
    assert blobs(sharing) == 0
    assert as_stored(sharing, EVENTS, "content_scope") == [(None,)]


def test_a_growing_history_is_stored_once(sharing: Persistence, persistence: Persistence) -> None:
    """Each call has all messages before it; each message is stored when it is new."""
    converse(sharing)
    new = 17 * 600 + sum(len(m["content"]) for number in range(TURNS) for m in turn(number))
    assert stored_bytes(sharing) < new
    shapes = [prompt for (prompt,) in as_stored(sharing, USAGE, "prompt")]
    assert max(map(len, shapes)) < 100
    plain = InMemoryPersistence()
    converse(plain)
    asked = [usage.prompt for usage in plain.get_llm_usage(limit=None)]
    assert [usage.prompt for usage in sharing.get_llm_usage(limit=None)] == asked
    events = [event.data for event in plain.query_events(limit=None)]
    assert [event.data for event in sharing.query_events(limit=None)] == events
    assert sharing.get_llm_usage(limit=1)[0].prompt == asked[0]


@pytest.mark.parametrize("turns", [1, 40])
def test_a_transcript_that_grows_is_stored_once(sharing: Persistence, turns: int) -> None:
    """It is a prompt that is no JSON; `turns` are those that each call adds."""
    sharing.create_agent_run(AgentRun("agent", "run", session_id="s"))
    transcript, prompts = "You are helpful.\n" * 600, []
    for number in range(TURNS * turns):
        question, answer = turn(number)
        transcript += f"User: {question['content']}\nAssistant: {answer['content'][:800]}\n"
        if number % turns == 0:
            prompts.append(f"{transcript}Assistant:")
            sharing.log_llm_usage(AgentLLMUsage("agent", "run", prompt=prompts[-1]))
    assert stored_bytes(sharing) < len(transcript)
    assert blobs(sharing) <= 2 * TURNS
    for _ in range(3):
        sharing.append_event("run", "agent", "log", message=prompts[-1], session_id="s")
    assert blobs(sharing) <= 2 * TURNS
    assert [call.prompt for call in sharing.iter_llm_usage(order="oldest")] == prompts
    assert sharing.get_llm_usage(limit=1)[0].prompt == prompts[-1]


def test_histories_that_part_share_what_they_had_before(sharing: Persistence) -> None:
    messages = [message for number in range(4) for message in turn(number)]
    sharing.create_agent_run(AgentRun("agent", "run"))
    for number in (9, 8, 7):
        prompt = json.dumps(messages + turn(number))
        sharing.log_llm_usage(AgentLLMUsage("agent", "run", prompt=prompt))
    before = blobs(sharing)
    sharing.log_llm_usage(AgentLLMUsage("agent", "run", prompt=json.dumps(messages)))
    for shorter in range(1, len(messages)):
        prompt = json.dumps(messages[:shorter])
        sharing.log_llm_usage(AgentLLMUsage("agent", "run", prompt=prompt))
    prompts = [json.loads(usage.prompt) for usage in sharing.get_llm_usage(limit=None)]
    assert prompts[-1] == messages + turn(9)
    assert prompts[: len(messages)] == [messages[:n] for n in range(len(messages) - 1, 0, -1)] + [
        messages
    ]
    assert blobs(sharing) <= before + len(messages)


def test_a_batch_shares_within_itself(sharing: Persistence) -> None:
    sharing.create_agent_run(AgentRun("agent", "run", session_id="s"))
    messages: list[Any] = []
    usages = []
    for number in range(TURNS):
        messages += turn(number)
        usages.append(AgentLLMUsage("agent", "run", prompt=json.dumps(messages)))
    sharing.log_llm_usages(usages)
    sharing.log_agent_run_events(
        AgentRunEvent("agent", f"run-{n}", session_id="s", data=usage.prompt, event_id=f"e{n}")
        for n, usage in enumerate(usages)
    )
    assert stored_bytes(sharing) < len(json.dumps(messages))
    stored = [usage.prompt for usage in sharing.iter_llm_usage(order="oldest")]
    assert stored == [usage.prompt for usage in usages]
    assert {e.event_id: e.data for e in sharing.query_events()} == {
        f"e{n}": usage.prompt for n, usage in enumerate(usages)
    }


def test_whoever_reads_needs_no_setting(open_again: Open, lasting: None) -> None:
    writer, reader = open_again(dedupe=True), open_again()
    converse(writer)
    assert [*reader.iter_llm_usage()] == [*writer.iter_llm_usage()]
    reader.append_event("s-1", "agent", "log", message=LONG, session_id="s")
    writer.append_event("s-1", "agent", "log", message=LONG, session_id="s")
    assert [event.message for event in reader.query_events(limit=2)] == [LONG, LONG]


def test_payload_filters_find_members_beside_long_texts(sharing: Persistence) -> None:
    converse(sharing, turns=3)
    [event] = sharing.query_events(payload={"n": 1})
    assert event.get_data_dict()["messages"][-1] == turn(1)[0]
    assert sharing.count_events(payload={"n": 1}) == 1


@pytest.mark.parametrize("snapshot", [True, False])
def test_filters_look_into_long_texts(sharing: Persistence, snapshot: bool) -> None:
    """A long text is compared whole, and a part of it is found, also across its pieces."""
    converse(sharing, turns=3)
    sharing.append_event("s-0", "agent", "log", payload={"text": "short", "long": LONG})
    sharing.append_event("s-0", "agent", "log", payload={"text": "short", "long": LONG + "!"})
    assert sharing.count_events(payload={"long": LONG}) == 1
    assert sharing.count_events(payload={"long": LONG, "text": "other"}) == 0
    found = sharing.iter_agent_run_events(payload={"long": LONG + "!"}, snapshot=snapshot)
    assert [event.get_data_dict()["long"] for event in found] == [LONG + "!"]
    [page] = [sharing.query_events(payload={"long": LONG}, limit=5)]
    assert [event.get_data_dict()["text"] for event in page] == ["short"]

    def having(part: str) -> list[int]:
        where = (Filter("data", "has text", part),)
        count = sharing._store.count(EVENTS, where)
        assert sharing._store.select_columns(EVENTS, ("id",), where) == [
            (ident,) for ident in sharing._store.select(EVENTS, where)[EVENTS.names.index("id")]
        ]
        with sharing._store.snapshot() as read:
            assert sum(len(c[0]) for c in read(query_of(EVENTS, where), 2)) == count
        return [count]

    assert having("question 1?") == [2]
    assert having('helpful. "}, {"role": "user", "content": "question 0') == [3]
    assert having(MARKER[:2]) == having("l" + "A" * 20) == [0]


def test_search_finds_words_of_long_texts(sharing: Persistence) -> None:
    sharing.create_agent_run(AgentRun("agent", "run"))
    sharing.append_event("run", "agent", "log", payload={"text": LONG + "zebra"})
    sharing.log_llm_usage(AgentLLMUsage("agent", "run", prompt=json.dumps([LONG + "zebra"] * 3)))
    assert {hit.kind for hit in sharing.search_text("zebra")} == {"event", "usage"}


def test_frames_and_csv_have_the_texts(sharing: Persistence) -> None:
    converse(sharing, turns=3)
    prompts = [usage.prompt for usage in sharing.iter_llm_usage()]
    assert sharing.iter_llm_usage().to_pandas()["prompt"].tolist() == prompts
    assert sharing.query_llm_usage().to_arrow().column("prompt").to_pylist() == prompts


# --- deleting -----------------------------------------------------------------------------------


def test_what_only_a_deleted_run_said_is_deleted(sharing: Persistence) -> None:
    converse(sharing)
    everything = blobs(sharing)
    assert sharing.delete_agent_run(f"s-{TURNS - 1}")
    assert blobs(sharing) < everything
    plain = InMemoryPersistence()
    converse(plain, turns=TURNS - 1)
    assert [u.prompt for u in sharing.get_llm_usage(agent_id="agent") if u.run_id] == [
        usage.prompt for usage in plain.get_llm_usage()
    ]
    for number in range(TURNS - 1):
        sharing.delete_agent_run(f"s-{number}")
    assert blobs(sharing) == 0
    assert as_stored(sharing, USAGE, "content_scope") == [(None,)] * TURNS


def test_an_earlier_run_can_be_deleted(sharing: Persistence) -> None:
    """The later ones still have its messages."""
    converse(sharing)
    last = sharing.get_llm_usage(limit=1)
    for number in range(TURNS - 1):
        sharing.delete_agent_run(f"s-{number}")
    assert sharing.get_llm_usage(limit=1) == last
    assert blobs(sharing) > 0


def test_a_session_that_changes_loses_nothing(sharing: Persistence) -> None:
    run = AgentRun("agent", "run", session_id="before")
    sharing.create_agent_run(run)
    sharing.log_llm_usage(AgentLLMUsage("agent", "run", prompt=LONG))
    run.session_id = "behind"
    sharing.update_agent_run("run", run)
    sharing.log_llm_usage(AgentLLMUsage("agent", "run", prompt=LONG))
    assert [usage.prompt for usage in sharing.get_llm_usage()] == [LONG, LONG]
    assert sharing.delete_agent_run("run")
    assert blobs(sharing) == 0


def test_a_rolled_back_transaction_leaves_nothing(sharing: Persistence) -> None:
    converse(sharing, turns=2)
    before = blobs(sharing)

    def change_and_fail() -> None:
        with sharing.transaction():
            sharing.append_event("s-0", "agent", "log", message=LONG)
            sharing.delete_agent_run("s-1")
            raise KeyError

    with pytest.raises(KeyError):
        change_and_fail()
    assert blobs(sharing) == before
    assert sharing.get_llm_usage(run_id="s-1")[0].prompt.count("Question") == 2


def test_a_refused_record_leaves_nothing(sharing: Persistence) -> None:
    sharing.create_agent_run(AgentRun("agent", "run"))
    sharing.log_agent_run_event(AgentRunEvent("agent", "run", message="first", event_id="one"))
    sharing.log_agent_run_event(AgentRunEvent("agent", "run", message=LONG, event_id="one"))
    assert blobs(sharing) == 0
    assert [event.message for event in sharing.get_agent_run_events("run")] == ["first"]


# --- other databases ----------------------------------------------------------------------------


def test_a_copy_follows_its_own_setting(sharing: Persistence, tmp_path: Path) -> None:
    converse(sharing)
    prompts = [usage.prompt for usage in sharing.iter_llm_usage()]
    for dedupe in (False, True):
        with SQLitePersistence(tmp_path / f"{dedupe}.db", dedupe=dedupe) as there:
            copy_records(sharing, there)
            assert [usage.prompt for usage in there.iter_llm_usage()] == prompts
            assert (blobs(there) > 0) is dedupe
            assert copy_records(sharing, there).new_usage == 0


@pytest.mark.parametrize("name", ["all.jsonl", "csv", "parquet"])
def test_an_export_has_the_texts(sharing: Persistence, tmp_path: Path, name: str) -> None:
    converse(sharing, turns=4)
    export_records(sharing, tmp_path / name, format=name.removeprefix("all."))  # type: ignore[arg-type]
    with InMemoryPersistence(dedupe=True) as there:
        import_records(tmp_path / name, there)
        assert [u.prompt for u in there.iter_llm_usage()] == [
            u.prompt for u in sharing.iter_llm_usage()
        ]
        assert {e.data for e in there.iter_agent_run_events()} == {
            e.data for e in sharing.iter_agent_run_events()
        }


# --- damage -------------------------------------------------------------------------------------


def test_a_missing_text_is_located(sharing: Persistence) -> None:
    sharing.create_agent_run(AgentRun("agent", "run"))
    sharing.append_event("run", "agent", "log", message="fine")
    event = sharing.append_event("run", "agent", "log", message=LONG)
    sharing._store.delete(CONTENT, ())
    with pytest.raises(
        CorruptDatabaseError, match=f"message is damaged in the row with id {event.id}"
    ):
        sharing.get_agent_run_events("run")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"body": b"no zlib"}, "cannot be read"),
        ({"body": None}, "SHA-256"),
        ({"parent": 1}, "missing"),
    ],
)
def test_a_text_that_is_not_what_was_stored_is_located(
    sharing: Persistence, changes: dict[str, Any], said: str
) -> None:
    import zlib

    converse(sharing, turns=2)
    if changes.get("body", 0) is None:
        changes = {"body": zlib.compress(b"another")}
    [(last,)] = sharing._store.select_columns(CONTENT, ("id",), IS_LIST)[-1:]
    sharing._store.update(CONTENT, (Filter("id", "=", last),), changes)
    with pytest.raises(CorruptDatabaseError, match=f"prompt is damaged.*id {last}.*{said}"):
        sharing.get_llm_usage()


# --- beside other capabilities ------------------------------------------------------------------


def test_chains_hash_the_texts(open_again: Open) -> None:
    persistence = open_again(dedupe=True, chain=True)
    for number in range(3):
        persistence.append_event("run", "agent", "log", message=LONG, payload=[LONG, number])
    assert persistence.audit.verify("run").ok
    assert blobs(persistence) == 4


def test_secrets_are_redacted_before_texts_are_shared(open_again: Open) -> None:
    persistence = open_again(dedupe=True, redactor="all")
    persistence.append_event("run", "agent", "log", payload={"text": LONG + "alice@example.com"})
    [event] = persistence.get_agent_run_events("run")
    assert event.get_data_dict()["text"] == LONG + "[redacted:email]"
    [(address,)] = persistence._store.select_columns(CONTENT, ("address",))
    texts = LongTexts(lambda where: persistence._store.select(CONTENT, where), [address])
    assert "alice" not in texts.whole(marker("t", address))


def test_a_queue_stores_texts_once(sharing: Persistence) -> None:
    with sharing.buffered() as queue:
        converse(queue, turns=4)
        queue.flush()
        assert [usage.prompt.count("Question") for usage in queue.iter_llm_usage()] == [4, 3, 2, 1]


def test_a_run_log_always_stores_its_texts_once(persistence: Persistence) -> None:
    messages: list[Any] = [{"role": "system", "content": LONG}]
    for number in range(3):
        messages += turn(number)
        entry = made(ContextAssembled, run_id="run", messages=[*messages])
        persistence.runlog.append("s", [entry])
    persistence.append_event("run", "agent", "log", message=LONG, session_id="s")
    shared = as_stored(persistence, EVENTS, "event_type", "content_scope")
    assert [name for name, scope in shared if scope is None] == ["log"]
    assert blobs(persistence) == 3 + 4, "the lists, and the long strings in them"
    events = persistence.get_agent_run_events("run", "context_assembled")
    told = [json.loads(event.data or "") for event in events]
    assert [said["messages"] for said in told] == [messages[:n] for n in (3, 5, 7)]


@pytest.mark.slow
@pytest.mark.thorough
def test_a_text_of_64_mebibytes_is_returned(sharing: Persistence) -> None:
    text = json.dumps({"text": "\n" * 2**25})
    sharing.append_event("run", "agent", "log", payload=text)
    assert stored_bytes(sharing) < 2**20
    [event] = sharing.get_agent_run_events("run")
    assert event.data == text


def test_a_check_up_finds_damaged_texts(open_again: Open, lasting: None, tmp_path: Path) -> None:
    persistence = open_again(dedupe=True)
    converse(persistence, turns=3)
    checks = {check.name: check for check in persistence.diagnose(deep=True)}
    assert checks["texts"].level == "ok"
    assert persistence.verify().ok
    [(last,)] = persistence._store.select_columns(CONTENT, ("id",), IS_LIST)[-1:]
    persistence._store.delete(CONTENT, (Filter("id", "=", last),))
    checks = {check.name: check for check in persistence.diagnose(deep=True)}
    assert checks["texts"].level == "error"
    assert "agent_llm_usage.prompt is damaged in the row with id 3" in checks["texts"].message
    assert not persistence.verify().ok


def test_a_backup_has_the_texts(open_again: Open, lasting: None, tmp_path: Path) -> None:
    persistence = open_again(dedupe=True)
    if persistence._store.dialect != "sqlite":
        pytest.skip("needs pg_dump")
    converse(persistence, turns=3)
    report = persistence.backup(tmp_path / "backup.db")
    assert persistence.verify(tmp_path / "backup.db").compared == 3
    with SQLitePersistence(tmp_path / "backup.db", read_only=True) as backup:
        assert [*backup.iter_llm_usage()] == [*persistence.iter_llm_usage()]
    assert report
    event = persistence.get_agent_run_events("s-1")[0]
    changed = {"data": json.dumps({"n": 7})}
    persistence._store.update(EVENTS, (Filter("id", "=", event.id),), changed)
    [row] = persistence.verify(tmp_path / "backup.db").damaged
    assert (row.row_id, row.columns) == (event.id, ("data",))
