"""Sessions that grow, are copied, or are broken: each call comes in once, and the rest is told."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import InvalidValueError, Persistence, import_sessions
from curio_persistence.importers.sessions.turns import NO_ANSWER
from curio_persistence.interop.otel.agent_events import agent_event
from curio_persistence.interop.otel.agent_turns import store_events
from curio_persistence.interop.otel.spans import OtelLog
from tests.conformance.conftest import Open
from tests.support.session_samples import EXPECTED, FOLDER, copied, leave_still, reading

PROJECT = "claude-code/projects/-home-ada-werkstatt"
MAIN = "9c71b057-3117-50f4-8d8d-446cdd545824.jsonl"
RESUMED = "a26e18cd-5eef-5ddd-96cc-5a218f6e94fe.jsonl"
ROLLOUT = "codex/sessions/2025/10/07"
ROLLOUT_FILE = "rollout-2025-10-07T09-12-31-019a27ca-e930-70f6-9954-7637e9031b94.jsonl"


def entry(kind: str, uuid: str, content: Any, parent: str | None = None, **others: Any) -> Any:
    message: dict[str, Any] = {"role": kind, "content": content}
    if kind == "assistant":
        message |= {"id": f"msg_{uuid}", "model": "claude-opus-4-5", "stop_reason": "end_turn"}
        message["usage"] = {"input_tokens": 10, "output_tokens": 5}
    message |= others.pop("message", {})
    return {
        "type": kind,
        "uuid": uuid,
        "parentUuid": parent,
        "sessionId": "s1",
        "cwd": "/home/ada/werft",
        "timestamp": "2026-02-11T08:00:00.000Z",
        "message": message,
        **others,
    }


def write(path: Path, entries: Iterable[Any], *, still: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (each if isinstance(each, bytes) else json.dumps(each).encode() for each in entries)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    if still:
        leave_still(path)
    return path


PROMPT = entry("user", "u1", "Hello.")
ANSWER = entry("assistant", "a1", [{"type": "text", "text": "Hi."}], "u1")


@pytest.mark.parametrize(
    ("source", "folder", "file", "steps"),
    [
        ("claude-code", PROJECT, MAIN, 9),
        ("claude-code", PROJECT, RESUMED, 7),
        ("codex", ROLLOUT, ROLLOUT_FILE, 9),
    ],
)
def test_a_grown_file_reads_as_if_it_had_been_imported_once(
    persistence: Persistence, tmp_path: Path, source: str, folder: str, file: str, steps: int
) -> None:
    copied(FOLDER / folder, tmp_path / "all")
    path = tmp_path / "all" / file
    whole = path.read_bytes().splitlines(keepends=True)
    for step in range(1, steps):
        path.write_bytes(b"".join(whole[: len(whole) * step // steps]))
        import_sessions(tmp_path / "all", persistence, source=source)
    path.write_bytes(b"".join(whole))
    leave_still(tmp_path / "all", hours=3)
    import_sessions(tmp_path / "all", persistence, source=source)
    found = reading(persistence, source)
    expected = {run["key"]: run for run in EXPECTED[source]["runs"]}
    for run in found["runs"]:
        of_it = expected[run["key"].removeprefix(f"{source}/")]
        for name in ("status", "calls", "input", "output", "tools"):
            assert run[name] == of_it[name], (run["key"], name)


def test_the_last_answer_waits_until_its_file_has_been_still_for_an_hour(
    persistence: Persistence, tmp_path: Path
) -> None:
    growing = entry("assistant", "a1", [{"type": "text", "text": "Hi."}], "u1")
    growing["message"]["stop_reason"] = None
    path = write(tmp_path / "s1.jsonl", [PROMPT, growing], still=False)
    assert import_sessions(tmp_path, persistence).usage == 0
    finished = entry("assistant", "a2", [{"type": "text", "text": "All."}], "a1")
    finished["message"] |= {"id": "msg_a1", "usage": {"input_tokens": 10, "output_tokens": 9}}
    write(path, [PROMPT, growing, finished], still=False)
    assert import_sessions(tmp_path, persistence).usage == 1
    [call] = persistence.get_llm_usage()
    assert (call.output_tokens, call.response_content) == (9, "Hi.\nAll.")


def test_an_unfinished_turn_settles_when_its_file_is_still(
    persistence: Persistence, tmp_path: Path
) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    path = write(tmp_path / "s1.jsonl", [PROMPT | {"timestamp": now}, ANSWER], still=False)
    write(path, [PROMPT | {"timestamp": now}], still=False)
    import_sessions(tmp_path, persistence)
    [run] = persistence.get_agent_runs()
    assert (run.status, run.finished_at) == ("running", None)
    leave_still(path)
    import_sessions(tmp_path, persistence)
    [run] = persistence.get_agent_runs()
    assert run.status == "error"
    assert run.error_message == NO_ANSWER


def test_a_resumed_session_repeats_nothing_even_if_the_first_one_is_not_read_again(
    persistence: Persistence, tmp_path: Path
) -> None:
    write(tmp_path / "s1.jsonl", [PROMPT, ANSWER])
    import_sessions(tmp_path, persistence)
    resumed = [each | {"sessionId": "s2"} for each in (PROMPT, ANSWER)]
    more = [
        entry("user", "u2", "More.", "a1", sessionId="s2"),
        entry("assistant", "a2", [{"type": "text", "text": "Yes."}], "u2", sessionId="s2"),
    ]
    write(tmp_path / "s2.jsonl", [*resumed, *more])
    report = import_sessions(tmp_path, persistence)
    assert (report.runs, report.usage) == (1, 1)
    assert report.sources[0].unchanged == 1
    runs = {run.run_id for run in persistence.get_agent_runs()}
    assert runs == {"claude-code/s1/u1", "claude-code/s2/u2"}


def test_a_turn_that_was_taken_back_is_cancelled(persistence: Persistence, tmp_path: Path) -> None:
    again = entry("user", "u3", "No, this.", "a1")
    second = [entry("user", "u2", "That.", "a1"), entry("assistant", "a2", "Ok.", "u2")]
    write(tmp_path / "s1.jsonl", [PROMPT, ANSWER, *second, again, entry("assistant", "a3", "Ok.")])
    import_sessions(tmp_path, persistence)
    statuses = {run.objective: run.status for run in persistence.get_agent_runs()}
    assert statuses == {"Hello.": "completed", "That.": "cancelled", "No, this.": "completed"}


def of_agent(agent: str, *entries: Any) -> list[Any]:
    return [each | {"isSidechain": True, "agentId": agent} for each in entries]


def test_an_agent_without_a_file_of_its_own_is_read_from_what_was_told_of_its_progress(
    persistence: Persistence, tmp_path: Path
) -> None:
    use = {"type": "tool_use", "id": "t1", "name": "Task", "input": {"prompt": "Count."}}
    asked, told = entry("user", "u2", "Count."), entry("assistant", "a2", "Three.", "u2")
    progress = [
        {
            "type": "progress",
            "uuid": f"p{number}",
            "sessionId": "s1",
            "parentToolUseID": "t1",
            "data": {"type": "agent_progress", "agentId": "x7", "message": each},
        }
        for number, each in enumerate((asked, told))
    ]
    result = entry("user", "r1", [{"type": "tool_result", "tool_use_id": "t1", "content": "3"}])
    write(tmp_path / "s1.jsonl", [PROMPT, entry("assistant", "a1", [use]), *progress, result])
    assert import_sessions(tmp_path, persistence).usage == 2
    agent = persistence.get_agent_run("claude-code/s1/agent-x7")
    assert agent is not None
    assert (agent.objective, agent.final_output, agent.status) == ("Count.", "Three.", "completed")
    assert agent.parent_run_id == "claude-code/s1/u1"


def test_files_of_agents_beside_their_session_belong_to_it(
    persistence: Persistence, tmp_path: Path
) -> None:
    later = {"timestamp": "2026-02-11T08:00:05.000Z"}
    write(tmp_path / "s1.jsonl", [PROMPT, ANSWER, ANSWER | {"uuid": "a9"} | later])
    asked, told = entry("user", "u2", "Count."), entry("assistant", "a2", "Three.", "u2")
    write(tmp_path / "agent-x7.jsonl", of_agent("x7", asked | later, told | later))
    report = import_sessions(tmp_path, persistence)
    assert (report.sources[0].sessions, report.runs, report.usage) == (1, 2, 2)
    agent = persistence.get_agent_run("claude-code/s1/agent-x7")
    assert agent is not None
    assert (agent.parent_run_id, agent.session_id) == ("claude-code/s1/u1", "s1")


def test_commands_are_turns_only_if_a_model_answers(
    persistence: Persistence, tmp_path: Path
) -> None:
    name = "<command-name>/{}</command-name><command-args>all</command-args>"
    quiet, asking = (
        entry("user", "u1", name.format("model")),
        entry("user", "u2", name.format("fix")),
    )
    expanded = entry("user", "u3", "Fix all that is broken.", "u2", isMeta=True)
    said = entry("user", "u4", "<local-command-stdout>opus</local-command-stdout>")
    answer = entry("assistant", "a1", "Done.", "u3")
    write(tmp_path / "s1.jsonl", [quiet, said, asking, expanded, answer])
    import_sessions(tmp_path, persistence)
    [run] = persistence.get_agent_runs()
    assert (run.run_id, run.objective) == ("claude-code/s1/u2", "/fix all")


def test_entries_without_ids_are_known_by_their_file_and_line(
    persistence: Persistence, tmp_path: Path
) -> None:
    entries = [{**PROMPT}, entry("assistant", "a1", "Hi.", message={"id": None})]
    for each in entries:
        del each["uuid"]
    write(
        tmp_path / "projects/here/s1.jsonl",
        [{"uuid": "x", "sessionId": "s1", "type": "tag"}, *entries],
    )
    import_sessions(tmp_path, persistence)
    assert import_sessions(tmp_path / "projects/here", persistence).usage == 0
    assert [run.run_id for run in persistence.get_agent_runs()] == ["claude-code/s1/s1:2"]


def test_broken_lines_are_told_and_the_rest_is_there(
    persistence: Persistence, tmp_path: Path
) -> None:
    usage = {"input_tokens": -5, "output_tokens": 10**15, "cache_read_input_tokens": 7}
    absurd = entry("assistant", "a2", "Ok.", "a1", message={"usage": usage})
    strange = entry("assistant", "a3", "Ok.", "a2", timestamp="9999-01-01T00:00:00Z")
    no_zone = entry("assistant", "a4", "Ok.", "a3", timestamp="2026-02-11T08:00:09")
    huge = b'{"type": "user", "message": "' + b"x" * (17 << 20) + b'"}'
    lines = [PROMPT, ANSWER, b'{"type": "user", "x": "\xff"}', huge, absurd, strange, no_zone]
    write(tmp_path / "s1.jsonl", [*lines, b"[1]", {"type": 7}, b'{"cut": 1'])
    report = import_sessions(tmp_path, persistence)
    assert [str(problem)[:60] for problem in report.problems] == [
        "s1.jsonl:3: is not UTF-8 text",
        "s1.jsonl:4: is longer than 16 MiB",
        "s1.jsonl:6: has a time that cannot be: '9999-01-01T00:00:00Z'"[:60],
        "s1.jsonl:7: has times without a zone, which are read as UTC",
        "s1.jsonl:8: is a JSON list, not an object",
        "s1.jsonl:9: has no type",
        "s1.jsonl:10: is not JSON: Expecting ',' delimiter at characte"[:60],
        "s1.jsonl:5: has a number of tokens that cannot be: -5",
        "s1.jsonl:5: has a number of tokens that cannot be: 100000000"[:60],
    ]
    assert report.usage == 4
    assert [call.input_tokens for call in persistence.get_llm_usage()].count(None) == 1


def test_no_link_is_followed_out_of_the_folder(persistence: Persistence, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere/s2.jsonl", [PROMPT, ANSWER])
    write(tmp_path / "projects/s1.jsonl", [PROMPT, ANSWER])
    (tmp_path / "projects/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "projects/s2.jsonl").symlink_to(tmp_path / "elsewhere/s2.jsonl")
    report = import_sessions(tmp_path / "projects", persistence)
    assert report.sources[0].sessions == 1
    assert sorted(problem.file for problem in report.problems) == ["folder", "s2.jsonl"]


def test_only_numbers_and_names_are_kept_if_asked(persistence: Persistence, tmp_path: Path) -> None:
    copied(FOLDER / PROJECT, tmp_path / "all")
    import_sessions(tmp_path / "all", persistence, content="metrics-only")
    kept = [run.to_dict() for run in persistence.iter_agent_runs()]
    kept += [call.to_dict() for call in persistence.iter_llm_usage()]
    kept += [
        event.to_dict()
        for run in persistence.iter_agent_runs()
        for event in persistence.get_agent_run_events(run.run_id)
    ]
    text = json.dumps(kept, ensure_ascii=False)
    for word in ("Bohrer", "Regal ", "529 Over", "rm -rf", "Räum", "aufräumen", "171 !="):
        assert word not in text, word
    assert reading(persistence, "claude-code")["totals"]["input"] == 632_802 - 36_227


def test_secrets_are_redacted(open_again: Open, tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    write(tmp_path / "s1.jsonl", [entry("user", "u1", f"Use {token}."), ANSWER])
    persistence = open_again(redactor="all")
    import_sessions(tmp_path, persistence)
    leave_still(tmp_path, hours=3)
    assert import_sessions(tmp_path, persistence).runs == 0
    [run] = persistence.get_agent_runs()
    assert run.objective.startswith("Use [redacted")
    assert token not in run.objective


def test_old_turns_and_projects_are_left_out(persistence: Persistence, tmp_path: Path) -> None:
    later = "2026-03-01T00:00:00Z"
    more = [entry("user", "u2", "More.", "a1"), entry("assistant", "a2", "Yes.", "u2")]
    write(tmp_path / "s1.jsonl", [PROMPT, ANSWER, *(it | {"timestamp": later} for it in more)])
    other = [each | {"sessionId": "s2", "cwd": "/home/ada/geheim"} for each in (PROMPT, ANSWER)]
    write(tmp_path / "s2.jsonl", [it | {"uuid": it["uuid"] + "x"} for it in other])
    chosen = {"since": "2026-02-20", "exclude": ["geheim"]}
    report = import_sessions(tmp_path, persistence, **chosen)  # type: ignore[arg-type]
    assert [run.objective for run in persistence.get_agent_runs()] == ["More."]
    assert report.skipped == {"before --since": 1, "excluded project": 1}
    assert import_sessions(tmp_path, persistence).runs == 2, "what was left out can come later"
    assert import_sessions(tmp_path, persistence, **chosen).sources[0].unchanged == 2  # type: ignore[arg-type]


def test_a_changed_file_of_the_same_size_and_time_is_told_by_its_hash(
    persistence: Persistence, tmp_path: Path
) -> None:
    path = write(tmp_path / "s1.jsonl", [PROMPT, ANSWER])
    import_sessions(tmp_path, persistence)
    before = path.stat()
    changed = json.loads(json.dumps(ANSWER).replace("Hi.", "Ho."))
    write(path, [PROMPT, changed])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert import_sessions(tmp_path, persistence).sources[0].unchanged == 1
    assert import_sessions(tmp_path, persistence, verify=True).runs == 1
    assert [run.final_output for run in persistence.get_agent_runs()] == ["Ho."]


def test_without_zstandard_compressed_files_are_told_and_the_rest_is_there(
    persistence: Persistence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(FOLDER / "codex", tmp_path / "codex")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "zstandard", None)
        report = import_sessions(path, persistence)
    [packed] = [problem for problem in report.problems if problem.line is None]
    assert "install zstandard (pip install 'curio-persistence[sessions]')" in packed.what
    assert report.runs == 7
    assert import_sessions(path, persistence).runs == 1, "it comes when zstandard is there"


def test_calls_that_telemetry_has_told_are_not_counted_again(
    persistence: Persistence, tmp_path: Path
) -> None:
    call = {"id": "toolu_1", "type": "tool_use", "name": "Read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}
    asked = entry("assistant", "a1", [call], "u1", requestId="req_1")
    write(tmp_path / "s1.jsonl", [PROMPT, asked, entry("user", "u2", [result], "a1")])
    logs = (
        {"event.name": "claude_code.api_request", "request_id": "req_1", "input_tokens": 10},
        {"event.name": "claude_code.tool_result", "tool_use_id": "toolu_1", "tool_name": "Read"},
    )
    turn = {"session.id": "s1", "prompt.id": "p1"}
    told = [agent_event(OtelLog(10**18, attributes=log | turn)) for log in logs]
    store_events(persistence, [event for event in told if event is not None])
    assert import_sessions(tmp_path, persistence).usage == 0
    assert len(persistence.get_llm_usage()) == 1
    types = [event.event_type for event in persistence.iter_agent_run_events()]
    assert types.count("tool_call") == 1


def test_what_came_has_a_line_in_the_audit_log(persistence: Persistence, tmp_path: Path) -> None:
    write(tmp_path / "s1.jsonl", [PROMPT, ANSWER])
    import_sessions(tmp_path, persistence, dry_run=True)
    assert persistence.audit.count() == 0
    import_sessions(tmp_path, persistence)
    import_sessions(tmp_path, persistence)
    [line] = persistence.audit.query()
    assert (line.action, line.resource) == ("import", str(tmp_path))
    about = line.get_metadata_dict()
    assert about == {"kind": "sessions of claude-code", "runs": 1, "events": 1, "usage": 1}


def test_what_is_of_no_known_source_is_refused(persistence: Persistence, tmp_path: Path) -> None:
    path = write(tmp_path / "other.jsonl", [{"hello": "world"}])
    with pytest.raises(InvalidValueError, match="has no sessions of a known source"):
        import_sessions(path, persistence)
    with pytest.raises(InvalidValueError, match="'fax' is no source of sessions"):
        import_sessions(path, persistence, source="fax")
    with pytest.raises(InvalidValueError, match="content is 'all' or 'metrics-only'"):
        import_sessions(path, persistence, content="none")  # type: ignore[arg-type]
