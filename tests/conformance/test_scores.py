"""Scores: judgements of a run or of one of its spans, the latest of each author."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curio_persistence import (
    AgentRun,
    InMemoryPersistence,
    InvalidValueError,
    NotFoundError,
    Persistence,
    Score,
    copy_records,
    export_records,
    import_records,
)
from tests.support.hands import Hands


@pytest.fixture
def judged(persistence: Persistence) -> Persistence:
    """Two runs that can be scored."""
    for number in (1, 2):
        run = AgentRun("planner", f"r{number}", session_id="s1", user_id=f"u{number}")
        persistence.create_agent_run(run)
    return persistence


def test_a_score_round_trips(judged: Persistence, clock: Hands) -> None:
    score = judged.scores.set(
        "r1", "helpful", 0.8, comment="Found it \0 at once.", source="model", author="judge-1"
    )
    assert judged.scores.list("r1") == [score]
    assert (score.name, score.value, score.label, score.span_id) == ("helpful", 0.8, None, None)
    assert score.comment == "Found it \0 at once."
    assert (score.source, score.author) == ("model", "judge-1")
    assert score.created_at == score.updated_at
    assert score.id is not None
    assert Score.from_dict(score.to_dict()) == score


def test_a_label_may_stand_in_place_of_a_value(judged: Persistence) -> None:
    judged.scores.set("r1", "tone", label="friendly")
    judged.scores.set("r1", "correct", True)
    judged.scores.set("r2", "correct", np.bool_(True))  # type: ignore[arg-type]
    correct, tone = judged.scores.list("r1")
    assert (tone.value, tone.label) == (None, "friendly")
    assert (correct.value, correct.label) == (1.0, None)
    assert [score.value for score in judged.scores.list("r2")] == [1.0]


def test_the_latest_of_a_target_name_source_and_author_counts(
    judged: Persistence, clock: Hands
) -> None:
    first = judged.scores.set("r1", "helpful", 0.2, comment="no", author="ann")
    clock.move(minutes=1)
    second = judged.scores.set("r1", "helpful", 0.9, author="ann")
    assert judged.scores.list("r1") == [second]
    assert (second.id, second.created_at, second.comment) == (first.id, first.created_at, None)
    assert second.updated_at is not None
    assert first.updated_at is not None
    assert second.updated_at - first.updated_at >= timedelta(minutes=1)
    for more in ({"author": "bob"}, {"source": "code"}, {"span_id": "b7ad6b7169203331"}):
        judged.scores.set("r1", "helpful", 0.5, **more)
    judged.scores.set("r1", "polite", 0.5, author="ann")
    assert judged.scores.count(run_id="r1") == 5


def test_scores_are_found_by_run_name_source_author_span_session_and_user(
    judged: Persistence,
) -> None:
    judged.scores.set("r1", "helpful", 1, author="ann", span_id="b7ad6b7169203331")
    judged.scores.set("r2", "helpful", 0, source="code")
    judged.scores.set("r2", "cost", 0.3, source="code")
    for filters, count in (
        ({}, 3),
        ({"run_id": "r2"}, 2),
        ({"name": "helpful"}, 2),
        ({"name": ["helpful", "cost"]}, 3),
        ({"source": "code", "name": "cost"}, 1),
        ({"author": "ann"}, 1),
        ({"span_id": "b7ad6b7169203331"}, 1),
        ({"session_id": "s1"}, 3),
        ({"agent_id": "nobody"}, 0),
        ({"user_id": "u1"}, 1),
        ({"since": "1h"}, 3),
        ({"until": "1h"}, 0),
    ):
        wanted: dict[str, Any] = {**filters}
        assert judged.scores.count(**wanted) == count
        assert len(judged.scores.query(**wanted)) == len(list(judged.scores.iterate(**wanted)))
    page = judged.scores.query(limit=2)
    rest = judged.scores.query(limit=2, cursor=page.next_cursor)
    assert [score.name for score in (*page, *rest)] == ["cost", "helpful", "helpful"]
    assert list(judged.scores.iterate()) == [*page, *rest]
    assert list(judged.scores.iterate(order="oldest")) == [*page, *rest][::-1]
    assert judged.scores.query().to_pandas()["value"].tolist() == [0.3, 0.0, 1.0]


def test_a_score_for_an_unknown_run_is_refused(judged: Persistence) -> None:
    with pytest.raises(NotFoundError, match="No run 'r3' exists"):
        judged.scores.set("r3", "helpful", 1)
    assert judged.scores.count() == 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "value"),
        ({"value": float("nan")}, "value"),
        ({"value": "good"}, "value"),
        ({"value": 1, "source": "oracle"}, "source"),
        ({"value": 1, "name": ""}, "name"),
        ({"value": 1, "run_id": None}, "run_id"),
    ],
)
def test_an_invalid_score_is_refused(
    judged: Persistence, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        judged.scores.set(**{"run_id": "r1", "name": "helpful", **given})
    assert refusal.value.field == f"Score.{field}" or refusal.value.field == field


def test_a_score_can_be_deleted(judged: Persistence) -> None:
    judged.scores.set("r1", "helpful", 1, author="ann")
    assert judged.scores.delete("r1", "helpful") is False
    assert judged.scores.delete("r1", "helpful", author="ann") is True
    assert judged.scores.list("r1") == []


def test_scores_are_deleted_with_their_run(judged: Persistence) -> None:
    judged.scores.set("r1", "helpful", 1)
    judged.scores.set("r2", "helpful", 1)
    judged.delete_agent_run("r1")
    assert [score.run_id for score in judged.scores.query()] == ["r2"]


def test_a_copy_brings_new_scores(judged: Persistence, clock: Hands) -> None:
    judged.scores.set("r1", "helpful", 0.1)
    with InMemoryPersistence() as copy:
        assert copy_records(judged, copy).new_scores == 1
        clock.move(seconds=1)
        judged.scores.set("r1", "helpful", 0.9)
        report = copy_records(judged, copy)
        assert (report.ok, report.new_scores) == (True, 1)
        assert [score.value for score in copy.scores.list("r1")] == [0.9]
        assert copy_records(judged, copy).new_scores == 0


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "arrow"])
def test_an_export_brings_scores(judged: Persistence, format: str, tmp_path: Path) -> None:
    judged.scores.set("r1", "helpful", 0.1 + 0.2, comment="a\r\nb", author="ann")
    judged.scores.set("r2", "tone", label="friendly", span_id="b7ad6b7169203331")
    path = tmp_path / f"export.{format}"
    assert export_records(judged, path).scores == 2
    with InMemoryPersistence() as copy:
        report = import_records(path, copy)
        assert (report.ok, report.scores) == (True, 2)
        assert import_records(path, copy).scores == 0
        for run_id in ("r1", "r2"):
            assert copy.runs.hash(run_id) == judged.runs.hash(run_id)


def test_a_redactor_sees_the_comment(judged: Persistence) -> None:
    with InMemoryPersistence(redactor="emails") as careful:
        careful.create_agent_run(AgentRun("planner", "r1"))
        careful.scores.set("r1", "helpful", 1, comment="says ann@example.com")
        assert "ann@example.com" not in str(careful.scores.list("r1"))
