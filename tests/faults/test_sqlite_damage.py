"""A damaged file raises CorruptDatabaseError, which names the row if it is known."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    CorruptDatabaseError,
    Page,
    SQLitePersistence,
)
from curio_persistence.cli import main

DAMAGED = 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "agents.db"
    with SQLitePersistence(path) as persistence:
        for number in range(3):
            persistence.create_agent_run(AgentRun("agent", f"run {number}", objective="a word"))
            persistence.log_agent_run_event(AgentRunEvent("agent", f"run {number}", data="a text"))
    return path


def damage_time(path: Path) -> None:
    with SQLitePersistence(path) as persistence:
        run = persistence.get_agent_run("run 1")
        assert run is not None
        time = run.created_at.isoformat().encode()
    path.write_bytes(path.read_bytes().replace(time, time.replace(b".", b"_")))


def damage_text(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE agent_runs SET objective = CAST(x'61ff62' AS TEXT) WHERE id = 2")


def damage_name(path: Path) -> None:
    """Change the name of a column in the stored CREATE TABLE statement."""
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b"objective   ", b"objec\xffive   ").replace(
            b"objective TEXT", b"objec\xffive TEXT"
        )
    )


@pytest.mark.parametrize("damage", [damage_time, damage_text])
def test_a_row_that_cannot_be_decoded_raises_one_typed_error(
    path: Path, damage: Callable[[Path], None]
) -> None:
    damage(path)
    with SQLitePersistence(path) as persistence:
        with pytest.raises(CorruptDatabaseError):
            persistence.get_agent_runs(limit=None)
        with pytest.raises(CorruptDatabaseError):
            list(persistence.iter_agent_runs())
        assert persistence.get_agent_run("run 0") is not None, "other rows can be read"


def test_a_damaged_value_is_named_with_its_row(path: Path) -> None:
    damage_time(path)
    with (
        SQLitePersistence(path) as persistence,
        pytest.raises(CorruptDatabaseError, match=r"agent_runs\.\w+_at .* row with id 2"),
    ):
        persistence.get_agent_runs()


@pytest.mark.parametrize("damage", [damage_time, damage_text, damage_name])
@pytest.mark.parametrize("command", [["query"], ["stats"], ["show", "run 1"]])
def test_a_command_ends_with_a_sentence_and_the_code_for_damage(
    path: Path,
    damage: Callable[[Path], None],
    command: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(path)
    code = main([*command, "--db-path", str(path)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert code == DAMAGED or (command == ["stats"] and code == 0), said


@pytest.mark.parametrize("damage", [damage_time, damage_text])
def test_a_deep_check_names_rows_that_cannot_be_read(
    path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    damage(path)
    with SQLitePersistence(path) as persistence:
        found = {check.name: check for check in persistence.diagnose(deep=True)}
        said = found.get("texts", found["integrity"])
        assert said.level == "error"
        assert "agent_runs" in said.message
    assert main(["doctor", "--deep", "--db-path", str(path)]) == DAMAGED
    assert "Traceback" not in capsys.readouterr().err


def test_a_deep_check_reports_a_value_that_differs_from_its_index(path: Path) -> None:
    content = path.read_bytes()
    at = content.index(b"run 1")
    path.write_bytes(content[:at] + b"run 9" + content[at + 5 :])
    with SQLitePersistence(path) as persistence:
        found = {check.name: check for check in persistence.diagnose(deep=True)}
    assert found["integrity"].level == "error"
    assert "index" in found["integrity"].message


READINGS: dict[str, Callable[[Page[AgentRun]], object]] = {
    "dicts": lambda page: page.to_dicts(),
    "a frame": lambda page: page.to_pandas(),
    "a table": lambda page: page.to_arrow(),
    "html": lambda page: page._repr_html_(),
    "records": list,
}


@pytest.mark.parametrize("read", READINGS.values(), ids=READINGS)
def test_columns_with_a_damaged_value_name_its_row(
    path: Path, read: Callable[[Page[AgentRun]], object]
) -> None:
    damage_time(path)
    with SQLitePersistence(path) as persistence:
        page = persistence.query_agent_runs()
        with pytest.raises(CorruptDatabaseError, match=r"agent_runs\.\w+_at .* row with id 2"):
            read(page)
        runs = persistence.iter_agent_runs()
        for convert in (runs.to_dicts, runs.to_pandas, runs.to_arrow):
            with pytest.raises(CorruptDatabaseError, match="agent_runs"):
                convert()


def test_a_replaced_file_is_detected_and_written_again(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SQLitePersistence(path) as persistence:
        persistence.log_llm_usage(AgentLLMUsage("agent", None))
        with SQLitePersistence(path.with_name("other.db")):
            pass
        path.with_name("other.db").replace(path)
        for _ in range(70):
            persistence.log_llm_usage(AgentLLMUsage("agent", None))
    assert "was deleted or replaced" in caplog.text
    with SQLitePersistence(path) as again:
        assert again.get_llm_usage()
