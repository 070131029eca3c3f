"""Sessions of which not all is there: a line that is being written, words that were left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curio_persistence import Persistence, find_sessions, import_sessions
from tests.conformance.test_codex_sessions import FIRST, TURN, line
from tests.conformance.test_codex_sessions import write as write_rollout
from tests.conformance.test_growing_sessions import ANSWER, PROMPT, entry, write
from tests.support.session_samples import FOLDER, copied, leave_still

CHAT = "gemini-cli/tmp/werkstatt/chats/session-2026-08-21T16-20-ea6d87b6.jsonl"
EVENTS = "copilot-cli/session-state/a4785d5b-bd44-5064-a589-97ec451abefb/events.jsonl"


def test_a_line_that_is_being_written_is_told_and_read_when_it_is_complete(
    persistence: Persistence, tmp_path: Path
) -> None:
    answer = json.dumps(ANSWER).encode()
    path = write(tmp_path / "s1.jsonl", [PROMPT], still=False)
    path.write_bytes(path.read_bytes() + answer[:40])
    report = import_sessions(tmp_path, persistence)
    assert report.ok
    assert list(map(str, report.incomplete)) == [
        "s1.jsonl:2: is not complete yet, and will be read when it is"
    ]
    write(path, [PROMPT, answer], still=False)
    report = import_sessions(tmp_path, persistence)
    assert (report.usage, report.incomplete, report.ok) == (1, (), True)


def test_a_line_that_was_never_completed_is_a_problem(
    persistence: Persistence, tmp_path: Path
) -> None:
    path = write(tmp_path / "s1.jsonl", [PROMPT, ANSWER], still=False)
    path.write_bytes(path.read_bytes() + b'{"type": "us')
    assert import_sessions(tmp_path, persistence).ok
    leave_still(path)
    report = import_sessions(tmp_path, persistence)
    assert [problem.line for problem in report.problems] == [3]


def test_a_damaged_line_in_the_middle_is_a_problem_at_once(
    persistence: Persistence, tmp_path: Path
) -> None:
    write(tmp_path / "s1.jsonl", [PROMPT, b'{"type": "us', ANSWER], still=False)
    report = import_sessions(tmp_path, persistence)
    assert [problem.line for problem in report.problems] == [2]
    assert report.incomplete == ()


@pytest.mark.parametrize("sample", [CHAT, EVENTS, "codex"])
def test_the_line_being_written_is_told_of_every_log(sample: str, tmp_path: Path) -> None:
    if sample == "codex":
        path = write_rollout(tmp_path, FIRST, [line("session_meta", id=FIRST), *TURN])
    else:
        path = copied(FOLDER / sample, tmp_path / sample)
    path.write_bytes(path.read_bytes().rstrip(b"\n")[:-5])
    report = import_sessions(path, None)
    assert report.ok
    assert len(report.incomplete) == 1


def test_what_was_stored_without_words_is_told_when_they_are_imported(
    persistence: Persistence, tmp_path: Path
) -> None:
    more = [entry("user", "u2", "More?", "a1"), entry("assistant", "a2", "Yes.", "u2")]
    path = write(tmp_path / "s1.jsonl", [PROMPT, ANSWER])
    first = import_sessions(tmp_path, persistence, content="metrics-only")
    assert first.without_words == 0
    write(path, [PROMPT, ANSWER, *more])
    report = import_sessions(tmp_path, persistence)
    assert report.without_words == 1, "the run that was stored before"
    said = {run.objective: run.final_output for run in persistence.iter_agent_runs()}
    assert said == {"Hello.": "Hi.", "More?": "Yes."}, "runs get their words"
    calls = {call.run_id: call.response_content for call in persistence.iter_llm_usage()}
    assert calls == {"claude-code/s1/u1": None, "claude-code/s1/u2": "Yes."}
    assert import_sessions(tmp_path, persistence).without_words == 0, "it is told once"


def test_places_that_were_found_are_not_looked_for_again(
    persistence: Persistence, tmp_path: Path
) -> None:
    write(tmp_path / "one/s1.jsonl", [PROMPT, ANSWER])
    write_rollout(tmp_path / "two", FIRST, [line("session_meta", id=FIRST), *TURN])
    one, two = find_sessions([tmp_path / "one", tmp_path / "two"])
    report = import_sessions([two, one], persistence)
    assert [source.places for source in report.sources] == [(one,), (two,)]
    assert report.runs == 2
