"""Any text is returned exactly as it was stored."""

from __future__ import annotations

from random import Random

import pytest

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence

FREE_TEXT = {
    AgentRun: (
        "objective",
        "additional_context",
        "final_synthesis_output",
        "execution_history",
        "error_message",
        "metadata",
    ),
    AgentRunEvent: ("data",),
    AgentLLMUsage: ("prompt", "response_content", "error_message", "input_params", "usage_metrics"),
}

TEXTS = {
    "empty": "",
    "one NUL": "\0",
    "NUL inside": "a\0b",
    "a lone high surrogate": "\ud800",
    "a lone low surrogate": "\udfff",
    "surrogates in the wrong order": "a\udc00\ud800b",
    "surrogates that look like a pair": "\ud83d\ude00",
    "the escape character": "\ufdd0",
    "what looks like an escape": "\ufdd00041",
    "what looks like half an escape": "\ufdd000",
    "an escape of an escape": "\ufdd0fdd00000",
    "other noncharacters": "\ufdd1\ufffe\uffff\U0010ffff",
    "emoji": "👩‍🚀🏳️‍🌈",
    "decomposed": "e\u0301",
    "composed": "\u00e9",
    "right to left": "\u202eabc\u202c",
    "byte order mark": "\ufeffa",
    "line ends": "a\r\nb\rc\nd\u2028e\x85",
    "control characters": "".join(map(chr, range(0x20))) + "\x7f\x80\x9f",
    "white space": "  \t a \t  ",
    "quotes": """it's "quoted" `so`""",
    "backslashes": "\\x41 \\u0000 \\ \\\\",
    "placeholders": "100% %s %(name)s %% ? :name $1 {schema}",
    "SQL": "'; DROP TABLE agent_runs; --",
    "a megabyte of ASCII": "a" * 2**20,
    "a megabyte of emoji": "🙂" * 2**18,
    "a megabyte with NUL here and there": ("a" * 1023 + "\0") * 2**10,
}


def assert_kept(persistence: Persistence, text: str) -> None:
    run, event = AgentRun("agent", "run"), AgentRunEvent("agent", "run")
    usage = AgentLLMUsage("agent", "run")
    for record in (run, event, usage):
        for field in FREE_TEXT[type(record)]:
            setattr(record, field, text)
    persistence.create_agent_run(run)
    persistence.log_agent_run_event(event)
    persistence.log_llm_usage(usage)
    # Not `==` of the records: pytest would compare differences line by line.
    stored = [
        (run, persistence.get_agent_run("run")),
        (event, persistence.get_agent_run_events("run")[0]),
        (usage, persistence.get_llm_usage()[0]),
    ]
    for written, read in stored:
        for field in FREE_TEXT[type(written)]:
            same = getattr(read, field) == text
            assert same, f"{field} of {type(written).__name__}"


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_any_text_round_trips(persistence: Persistence, text: str) -> None:
    assert_kept(persistence, text)


@pytest.mark.thorough
@pytest.mark.slow
def test_64_mebibytes_round_trip(persistence: Persistence) -> None:
    text = ("\0é" + "a" * 2**16) * 2**10
    event = AgentRunEvent("agent", "run", data=text)
    persistence.log_agent_run_event(event)
    [read] = persistence.get_agent_run_events("run")
    same = read.data == text
    assert same


NAMES = [
    "it's",
    'a "quoted" name',
    "100%s",
    "back\\slash",
    " spaces ",
    "a\tb\nc",
    "日本語",
    "\ufdd00041",
    "🙂" * 255,
    "x" * 255,
    "'; DROP TABLE agent_runs; --",
    "null",
    "None",
    "0",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
def test_records_are_found_by_odd_ids_and_names(persistence: Persistence, name: str) -> None:
    run = AgentRun(name, name, name, session_id=name, parent_run_id=name)
    event = AgentRunEvent(name, name, name, event_type=name)
    usage = AgentLLMUsage(name, name, name, name, span_id=name)
    persistence.create_agent_run(run)
    persistence.log_agent_run_event(event)
    persistence.log_llm_usage(usage)
    persistence.log_agent_run_event(
        AgentRunEvent(name, name, event_type="tool_call", data={"tool_name": name})
    )
    assert persistence.get_agent_run(name) == run
    assert persistence.get_agent_runs(name) == [run]
    assert persistence.get_agent_run_events(name, name) == [event]
    assert persistence.get_llm_usage(name, name) == [usage]
    stats = persistence.get_agent_run_stats(name)
    assert stats["by_model"][name]["calls"] == 1
    assert stats["tool_metrics"][name]["call_count"] == 1


def test_the_longest_names_fit_together(persistence: Persistence) -> None:
    """An index contains several of them, and must accept all of them."""
    random = Random(1)

    def longest(length: int = 255) -> str:
        return "".join(chr(random.randrange(0x10000, 0x110000)) for _ in range(length))

    agent, run_id, status, tool = longest(), longest(), longest(50), longest()
    run = AgentRun(agent, run_id, status=status, parent_run_id=longest())
    usage = AgentLLMUsage(agent, run_id, model=longest(), status=status)
    event = AgentRunEvent(agent, run_id, event_type="tool_call", data={"tool_name": tool})
    persistence.create_agent_run(run)
    persistence.log_llm_usage(usage)
    persistence.log_agent_run_event(event)
    assert persistence.get_agent_runs(agent) == [run]
    assert persistence.get_llm_usage(agent, run_id) == [usage]
    assert list(persistence.get_agent_run_stats(agent)["tool_metrics"]) == [tool]


def test_names_that_look_alike_are_not_the_same(persistence: Persistence) -> None:
    alike = ["a", "A", "a ", "\u00e9", "e\u0301", "é\u200b", "ß", "ss", "ﬁ", "fi"]
    for name in alike:
        persistence.create_agent_run(AgentRun(name, name))
    for name in alike:
        assert [run.run_id for run in persistence.get_agent_runs(name)] == [name]
        assert persistence.get_agent_run_stats(name)["total_runs"] == 1


def test_a_filter_is_not_a_pattern(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    for pattern in "%", "_gent", "agen*", "agen?", "AGENT":
        assert persistence.get_agent_runs(pattern) == []
