"""`show` shows the spans of a run as a tree."""

from __future__ import annotations

import re

from curio_persistence import connect, tool
from tests.cli.program import Program


def test_an_agent_of_decorated_functions_is_shown_as_a_tree(program: Program, url: str) -> None:
    with connect(url) as persistence:

        @tool
        def search(q: str) -> str:
            return summarise(q)

        @persistence.recorded("summariser")
        def summarise(text: str) -> str:
            return text[:2]

        @persistence.recorded("planner", run_id="run")
        def plan(question: str) -> str:
            return search(q=question)

        plan("why?")
    shown = program.on_terminal("show", "run", "--url", url, columns=100)
    lines = [line[10:] for line in shown.lines]
    found = [re.sub(r"^ *[\d.]+ m?s  ", "", line).strip() for line in lines[7:]]
    assert re.sub("[0-9a-f-]{36}", "ID", "\n".join(found)).splitlines()[:4] == [
        'tool search  {"q": "why?"}  → wh',
        "│ run summariser  ID  why?",
        "│ └ completed  wh",
        "completed",
    ]


def test_records_made_in_a_span_are_shown_below_it(program: Program, url: str) -> None:
    with (
        connect(url) as persistence,
        persistence.record_run(agent_id="agent", run_id="run") as run,
        run.span("retrieve", kind="retriever", input="why?") as span,
    ):
        run.log("noted")
        with run.llm(model="m") as call:
            call.response = "because"
        span.output = ["found"]
    shown = program.on_terminal("show", "run", "--url", url, columns=100)
    story = "\n".join(shown.lines)
    assert re.search(r"span retrieve +retriever +why\? +→ \[\"found\"\]", story)
    assert re.search(r"│ noted\n", story)
    assert re.search(r"│ model m +→ because", story)
