"""`search` finds records by their words; `index` and `compact` maintain its index."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest

from curio_persistence import AgentLLMUsage, AgentRun, connect
from tests.cli.history import BEGIN
from tests.cli.program import Program


@pytest.fixture
def worded(url: str) -> str:
    """A database with a run, a call and events of two agents, each a second after the other."""
    moments = (BEGIN + timedelta(seconds=second) for second in range(10))
    with connect(url) as persistence:
        persistence.create_agent_run(
            AgentRun(
                "planner", "run-1", objective="Book a room: overflow", created_at=next(moments)
            )
        )
        persistence.create_agent_run(AgentRun("scout", "run-2", created_at=BEGIN))
        persistence.append_event(
            "run-1", "planner", "log", level="error", message="Rate limit exceeded, try again",
            timestamp=next(moments),
        )  # fmt: skip
        persistence.append_event(
            "run-2", "scout", "tool_call", payload={"tool_name": "search", "error": "overflow"},
            timestamp=next(moments), session_id="s-1",
        )  # fmt: skip
        persistence.log_llm_usage(
            AgentLLMUsage(
                "scout", "run-2", "acme", "large", prompt="What is the rate of the limit?",
                response_content="An overflow", created_at=next(moments), status="error",
            )
        )  # fmt: skip
    return url


def found(program: Program, url: str, *arguments: str) -> list[str]:
    """Return the kinds of the hits, in order."""
    return [hit["kind"] for hit in program("search", "--url", url, *arguments).json()]


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        (["overflow"], ["usage", "event", "run"]),
        (["OVERFLOW", "room"], ["run"]),
        (["rate limit"], ["usage", "event"]),
        (['"rate limit"'], ["event"]),
        (["lim* -exceeded"], ["usage"]),
        (["--", "lim*", "-exceeded"], ["usage"]),
        (["--", "-overflow"], ["event", "run"]),
        (["-overflow rate"], ["event"]),
        (["--level", "error", "--", "-overflow", "rate"], ["event"]),
        (["nowhere"], []),
        ([""], []),
        (['"', "C++", "🚀"], []),
        (["overflow", "--agent", "planner"], ["run"]),
        (["overflow", "--run-id", "run-2"], ["usage", "event"]),
        (["overflow", "--session", "s-1"], ["event"]),
        (["rate", "--type", "log"], ["event"]),
        (["overflow", "--type", "log", "--type", "tool_call"], ["event"]),
        (["overflow", "--model", "large"], ["usage"]),
        (["overflow", "--since", "2026-11-20T10:30:02Z"], ["usage", "event"]),
        (["overflow", "--until", "2026-11-20T10:30:02Z"], ["run"]),
        (["overflow", "--limit", "1"], ["usage"]),
        (["overflow", "--limit", "all"], ["usage", "event", "run"]),
        (["overflow", "--limit", "0"], []),
    ],
    ids=str,
)
def test_words_and_filters_select_the_hits(
    program: Program, worded: str, arguments: list[str], kinds: list[str]
) -> None:
    assert found(program, worded, *arguments) == kinds


def test_a_program_gets_json(program: Program, worded: str) -> None:
    with connect(worded) as persistence:
        newest = persistence.search_text("overflow").to_dicts()
        best = persistence.search_text("overflow", order="rank").to_dicts()
    assert program("search", "overflow", "--url", worded).json() == newest
    assert program("search", "overflow", "--url", worded, "--rank").json() == best
    assert len(program("search", "overflow", "--url", worded, "--jsonl").lines) == 3


def test_a_person_sees_where_each_hit_is_and_what_it_says(program: Program, worded: str) -> None:
    assert program.on_terminal("search", "overflow", "--url", worded).lines == [
        "2026-11-20 10:30:03.000  run-2  usage:1  scout  large  response_content",
        "    An overflow",
        "2026-11-20 10:30:02.000  run-2  event:2  scout  tool_call",
        "    tool_name: search, error: overflow",
        "2026-11-20 10:30:00.000  run-1  run  planner  pending  objective",
        "    Book a room: overflow",
    ]
    shown = program.in_colour("search", "lim*", "rate", "--type", "log", "--url", worded).out
    assert "\x1b[31mlog\x1b[0m  \x1b[31merror\x1b[0m" in shown
    assert "\x1b[1mRate\x1b[0m \x1b[1mlimit\x1b[0m exceeded" in shown


def test_a_snippet_continues_on_lines_of_its_own(program: Program, worded: str) -> None:
    with connect(worded) as persistence:
        persistence.append_event("run-3", "a", "log", message=f"begin {'and more ' * 12}東京の天気")
    lines = program.on_terminal("search", "天気", "--url", worded, columns=60).lines
    assert len(lines) == 4
    assert max(map(len, lines)) <= 60
    assert all(line.startswith("    ") for line in lines[1:])
    assert lines[-1].endswith("東京の天気")


def test_the_reference_of_a_hit_can_be_passed_to_show(program: Program, worded: str) -> None:
    place = program.on_terminal("search", "exceeded", "--url", worded).lines[0].split()[3]
    shown = program.on_terminal("show", "run-1", "--around", place, "--url", worded)
    assert any(line.startswith("> ") and "Rate limit" in line for line in shown.lines)


def test_a_page_leads_to_the_next(program: Program, worded: str) -> None:
    command = ("search", "overflow", "--limit", "2", "--url", worded)
    *_, more = program.on_terminal(*command).lines
    cursor = more.partition("--cursor ")[2].split()[0]
    assert [hit["kind"] for hit in program(*command, "--cursor", cursor).json()] == ["run"]
    assert program("search", "other", "--url", worded, "--cursor", cursor).code == 2


def test_an_empty_result_is_not_a_failure(program: Program, worded: str) -> None:
    shown = program.on_terminal("search", "nowhere", "--url", worded)
    assert shown.code == 0
    assert shown.out.endswith(" has no records with these words.\n")
    shown = program.on_terminal("search", "nowhere", "--agent", "planner", "--url", worded)
    assert shown.out.endswith(" has no such records with these words.\n")
    assert program("search", "nowhere", "--url", worded) == (0, "[]\n", "")


def test_searching_creates_no_database(program: Program) -> None:
    assert program("search", "anything").code == 3
    assert program("index").code == 3
    assert program("compact", "--yes").code == 3
    assert not program.files()


def test_unsearched_records_are_reported(program: Program, worded: str) -> None:
    at_once = program("search", "overflow", "--max-wait", "0", "--url", worded)
    assert at_once.json() == []
    assert at_once.said.startswith("5 records were not searched. To index them: curio")
    assert program("search", "overflow", "--url", worded).said == ""
    assert program("search", "overflow", "--max-wait", "-1", "--url", worded).code == 2


def test_a_read_only_user_searches_what_is_indexed(
    program: Program, postgres18: str, postgres_url: str, schema_name: str
) -> None:
    with connect(postgres_url) as persistence:
        persistence.append_event("run-1", "a", "log", message="the first overflow")
        persistence.search.index_pending()
        persistence.append_event("run-1", "a", "log", message="the second overflow")
    reading = f"{postgres_url}&options=-c%20role%3D{schema_name}"
    with closing(psycopg2.connect(postgres18)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(
            f"CREATE ROLE {schema_name}; GRANT USAGE ON SCHEMA {schema_name} TO {schema_name};"
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema_name} TO {schema_name}"
        )
        try:
            ended = program("search", "overflow", "--url", reading)
        finally:
            cursor.execute(f"DROP OWNED BY {schema_name}; DROP ROLE {schema_name}")
    assert [hit["snippet"] for hit in ended.json()] == ["the first overflow"]
    assert ended.said.startswith("1 records were not searched")


def test_index_indexes_pending_records(program: Program, worded: str) -> None:
    code, out, said = program("index", "--url", worded)
    assert (code, out) == (0, "")
    assert said.endswith(": 5 records indexed.\n")
    assert program("index", "--url", worded).said.endswith(": nothing waits to be indexed.\n")
    assert program("index", "--rebuild", "--url", worded).said.endswith(": 5 records indexed.\n")
    with connect(worded, read_only=True) as persistence:
        assert persistence.search.pending() == 0


def test_search_is_switched_off_and_on(program: Program, worded: str) -> None:
    assert program("index", "--disable", "--url", worded).said.endswith(": search is off.\n")
    for command in (["search", "overflow"], ["index"], ["index", "--rebuild"]):
        refused = program(*command, "--url", worded)
        assert refused.code == 1
        assert "--enable" in refused.said
    assert program("index", "--enable", "--url", worded).said.endswith(": 5 records indexed.\n")
    assert len(found(program, worded, "overflow")) == 3
    assert program("index", "--enable", "--disable", "--url", worded).code == 2


def test_doctor_reports_on_the_index(program: Program, worded: str) -> None:
    def check() -> dict[str, str]:
        checks = program("doctor", "--url", worded).json()
        return next(each for each in checks if each["name"] == "search")

    assert (check()["level"], "5 records" in check()["message"]) == ("ok", True)
    program("index", "--disable", "--url", worded)
    assert check()["message"] == "switched off"


def test_deleted_text_is_gone_after_compact(program: Program) -> None:
    with connect(f"sqlite:///{program.folder / 'agent_sdk.db'}") as persistence:
        for run in ("kept", "secret"):
            persistence.append_event(run, "a", "log", message=f"overflow xyzzy{run}")
        assert len(persistence.search_text("overflow")) == 2
        persistence.delete_agent_run("secret")
    code, out, said = program("compact", "--yes")
    assert (code, out) == (0, "")
    assert said.endswith("The database agent_sdk.db was compacted.\n")
    files = [path.read_bytes() for path in program.folder.iterdir()]
    assert any(b"xyzzykept" in content for content in files)
    assert not any(b"xyzzysecret" in content for content in files)
    assert len(program("search", "overflow").json()) == 1


def test_compact_of_any_database(program: Program, worded: str) -> None:
    assert program("compact", "--yes", "--url", worded).code == 0
    assert len(found(program, worded, "overflow")) == 3


def test_compact_needs_confirmation(program: Program, agents_db: str) -> None:
    before = (program.folder / agents_db).read_bytes()
    unasked = program("compact")
    assert (unasked.code, unasked.out) == (2, "")
    assert "pass --yes or --dry-run" in unasked.said
    assert program("compact", "--dry-run").said.count("MB") == 3
    declined = program.on_terminal("compact", typed="n\n")
    assert (declined.code, "compacted" in declined.out) == (0, False)
    assert (program.folder / agents_db).read_bytes() == before
    agreed = program.on_terminal("compact", typed="y\n")
    assert agreed.out.endswith(f"The database {agents_db} was compacted.\n")


def test_a_word_without_hits_gets_a_prefix_as_suggestion(program: Program, worded: str) -> None:
    ended = program("search", "--url", worded, "overfl")
    assert ended.json() == []
    assert "No record has the word overfl. Words that begin so: search 'overfl*'" in ended.said
