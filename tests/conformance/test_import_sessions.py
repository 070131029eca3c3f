"""Sessions of other tools come in exactly as their samples' readings tell, and only once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import Persistence, import_sessions
from tests.support.session_samples import EXPECTED, SAMPLES, Sample, leave_still, reading, words

_NUMBERS = (
    *("calls", "input", "output", "cache_read", "cache_write", "reasoning"),
    *("failed", "unknown_input"),
)


@pytest.fixture(params=SAMPLES, ids=lambda sample: sample.name)
def sample(request: pytest.FixtureRequest) -> Sample:
    found: Sample = request.param
    return found


def test_a_sample_reads_as_expected(
    sample: Sample, persistence: Persistence, tmp_path: Path
) -> None:
    expected = EXPECTED[sample.name]
    paths = sample.copied_to(tmp_path)
    report = import_sessions(paths, persistence, source=sample.source)
    found = reading(persistence, sample.source)
    assert found["sessions"] == sorted(expected["sessions"])
    assert found["counts"] == expected["counts"]
    assert found["tools"] == expected["tools"]
    _check_totals(found["totals"], expected["totals"])
    assert {model or "?" for model in found["by_model"]} == expected["by_model"].keys()
    for model, totals in found["by_model"].items():
        _check_totals(totals, expected["by_model"][model or "?"])
    _check_runs(sample.source, found["runs"], expected["runs"])
    problems = [f"{p.file}:{p.line}" if p.line else p.file for p in report.problems]
    told = [each.removesuffix(" no JSON").removesuffix(":") for each in expected["problems"]]
    assert len(problems) == len(told)
    # Their names begin at the place that was given.
    assert all(map(str.endswith, sorted(told), sorted(problems)))
    counted = {why: n for why, n in expected["skipped"].items() if not why.startswith("(")}
    assert counted.items() <= report.skipped.items()


def test_importing_a_sample_again_changes_nothing(
    sample: Sample, persistence: Persistence, tmp_path: Path
) -> None:
    paths = sample.copied_to(tmp_path)
    import_sessions(paths, persistence, source=sample.source)
    before = _everything(persistence)
    unchanged = import_sessions(paths, persistence, source=sample.source)
    assert (unchanged.runs, unchanged.events, unchanged.usage) == (0, 0, 0)
    assert unchanged.sources[0].calls == 0, "unchanged files are not read"
    leave_still(tmp_path, hours=3)  # Another time: read again. Of sessions in databases, verified.
    again = import_sessions(paths, persistence, source=sample.source, verify=True)
    assert (again.runs, again.events, again.usage) == (0, 0, 0)
    assert again.sources[0].calls == EXPECTED[sample.name]["totals"]["calls"]
    assert _everything(persistence) == before


def _everything(persistence: Persistence) -> list[dict[str, Any]]:
    runs = [run.to_dict() for run in persistence.iter_agent_runs()]
    usage = [each.to_dict() for each in persistence.iter_llm_usage()]
    ids = [run["run_id"] for run in runs]
    events = [e.to_dict() for run_id in ids for e in persistence.get_agent_run_events(run_id)]
    return [*runs, *usage, *events]


def _check_totals(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {name: found[name] for name in _NUMBERS} == {name: expected[name] for name in _NUMBERS}
    told = expected["cost_told"]
    assert found["cost_told"] == (None if told is None else Decimal(told))
    listed = expected["list_price"]
    assert found["list_price"] == (None if listed is None else Decimal(listed))
    if told is None:
        assert found["unpriced"] == expected["unpriced"]


def _check_runs(source: str, found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    by_key = {run["key"]: run for run in found}
    assert by_key.keys() == {f"{source}/{run['key']}" for run in expected}
    for run in expected:
        one = by_key[f"{source}/{run['key']}"]
        for name in ("session", "status", "calls", "input", "output", "tools"):
            assert one[name] == run.get(name), (run["key"], name)
        parent = run.get("parent")
        assert one["parent"] == (parent and f"{source}/{parent}")
        for name in ("objective", "final", "error"):
            if name in run:
                assert words(one[name] or "").startswith(words(run[name])), (run["key"], name)


def test_a_run_that_was_deleted_does_not_come_back_with_its_file(
    persistence: Persistence, tmp_path: Path
) -> None:
    sample = next(each for each in SAMPLES if each.name == "claude-code")
    paths = sample.copied_to(tmp_path)
    import_sessions(paths, persistence, source=sample.source)
    gone = next(run.run_id for run in persistence.iter_agent_runs() if run.parent_run_id is None)
    persistence.delete_agent_run(gone)
    before = _everything(persistence)
    leave_still(tmp_path, hours=3)  # Another time, as of a file that has grown.
    again = import_sessions(paths, persistence, source=sample.source, verify=True)
    assert again.skipped["runs deleted before"] == 1
    assert (again.runs, again.events, again.usage) == (0, 0, 0)
    assert _everything(persistence) == before


def test_turns_that_began_before_since_are_left_out_of_every_sample(
    sample: Sample, tmp_path: Path
) -> None:
    paths = sample.copied_to(tmp_path)
    report = import_sessions(paths, None, source=sample.source, since="2099-01-01")
    assert (report.runs, report.events, report.usage) == (0, 0, 0)
    assert report.skipped["before --since"]


def test_a_tool_began_in_its_run_and_its_event_has_the_time_of_its_end(
    persistence: Persistence, tmp_path: Path
) -> None:
    sample = next(each for each in SAMPLES if each.name == "claude-code")
    import_sessions(sample.copied_to(tmp_path), persistence, source=sample.source)
    tools = list(persistence.iter_agent_run_events(event_type="tool_call"))
    for event in tools:
        run = persistence.get_agent_run(event.run_id)
        took = timedelta(milliseconds=event.get_data_dict()["latency_ms"])
        assert run is not None
        assert run.started_at is not None
        assert event.timestamp is not None
        assert event.timestamp - took >= run.started_at
    edit = next(each for each in tools if each.get_data_dict()["tool_name"] == "Edit")
    assert str(edit.timestamp) == "2026-02-11 08:01:04.900000+00:00"
