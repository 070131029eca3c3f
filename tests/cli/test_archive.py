"""`archive` moves runs away, `restore` brings them back, and `erase` leaves nothing of them."""

from __future__ import annotations

import pytest

from tests.cli.program import Program


def test_runs_go_and_come_back(program: Program, recorded: str) -> None:
    of = ("--url", recorded)
    shown = program("show", "run-42", *of).json()
    done = program("archive", "old", "--older-than", "0s", "--pace", "1", "--yes", *of)
    assert done.json()["runs_deleted"] == 4
    assert "They are in old." in done.said
    assert program("show", "run-42", *of).code == 3
    restored = program("restore", "old", "run-42", *of)
    assert restored.json()["runs"] == 1
    assert "1 runs restored, with" in restored.said
    again = program("show", "run-42", *of).json()
    assert again.keys() == shown.keys()
    assert [len(str(each)) > 0 for each in again.values()] == [True] * len(shown)
    assert len(str(again)) == pytest.approx(len(str(shown)), rel=0.02)
    assert program("restore", "old", "run-4711", *of).code == 3
    assert program("restore", "old", "--since", "2000-01-01", *of).json()["runs"] == 3


def test_the_environment_says_where_and_when(program: Program, agents_db: str) -> None:
    variables = {"CURIO_ARCHIVE_DESTINATION": "old", "CURIO_HOT_DAYS": "36500"}
    assert program("archive", "--yes", **variables).json()["runs_to_delete"] == 0
    del variables["CURIO_HOT_DAYS"]
    planned = program("archive", "--dry-run", **variables)
    assert "4 runs to move that finished before" in planned.said
    assert (planned.json()["runs_to_delete"], planned.json()["archived"]) == (4, 4)
    assert not (program.folder / "old").exists()
    done = program("archive", "--yes", "--pace", "1", **variables)
    assert "4 runs moved that finished before" in done.said
    assert "They are in old." in done.said
    nowhere = program("archive", "--yes", CURIO_ARCHIVE_ENABLED="0", **variables)
    assert (nowhere.code, "CURIO_ARCHIVE_DESTINATION" in nowhere.said) == (2, True)


def test_erased_runs_are_gone(program: Program, agents_db: str) -> None:
    program("archive", "old", "--older-than", "0s", "--pace", "1", "--yes")
    assert program("erase", "old", "run-42", "--dry-run").code == 0
    assert program("erase", "old", "run-42").code == 2
    assert program("erase", "old", "run-42", "run-44", "--yes").json() == {"erased": 2}
    assert program("restore", "old", "run-42").code == 3
    assert program("erase", "old", "run-42", "--yes").code == 3
    assert program("restore", "old", "run-40").json()["runs"] == 1


def test_copied_runs_stay(program: Program, agents_db: str) -> None:
    planned = program("archive", "copies", "--since", "36500", "--dry-run")
    assert planned.json()["runs_to_copy"] == 4
    done = program("archive", "copies", "--since", "36500")
    assert done.json()["runs_copied"] == 4
    assert "4 runs copied to copies" in done.said
    again = program("archive", "copies", "--older-than", "0s", "--keep", "--format", "parquet")
    assert again.json()["runs_copied"] == 0
    lines = program("archive", "copies", "--since", "36500d", "--format", "ndjson")
    assert lines.json()["runs_copied"] == 4
    assert len(program("runs").json()) == 5
    assert program("archive", "copies", "--since", "soon").code == 2


def test_the_doctor_looks_at_an_archive(program: Program, agents_db: str) -> None:
    program("archive", "old", "--older-than", "0s", "--pace", "1", "--yes")
    for arguments in (("--archive", "old"), ("--archive", "old", "--deep")):
        [check] = [
            each for each in program("doctor", *arguments).json() if each["name"] == "archive"
        ]
        assert check["level"] == "ok"
    [path, *_] = (program.folder / "old").rglob("*.parquet")
    path.unlink()
    damaged = program("doctor", "--archive", "old")
    assert damaged.code == 5
    assert path.name in damaged.out
    assert program("doctor").code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("archive",), 2),
        (("archive", "old", "--yes"), 2),
        (("archive", "", "--older-than", "0s", "--yes"), 2),
        (("archive", "nowhere://x", "--older-than", "0s", "--yes"), 2),
        (("archive", "agent_sdk.db", "--older-than", "0s", "--yes"), 4),
        (("restore", "old"), 2),
        (("restore", "old", "run-42"), 3),
    ],
    ids=str,
)
def test_wrong_usage_is_refused_and_nothing_is_deleted(
    program: Program, agents_db: str, arguments: tuple[str, ...], code: int
) -> None:
    ended = program(*arguments)
    assert ended.code == code, ended
    assert "Traceback" not in ended.said
    assert len(program("runs").json()) == 5


def test_reading_commands_find_what_is_in_the_archive(program: Program, recorded: str) -> None:
    of = ("--url", recorded)
    asked: dict[str, tuple[str, ...]] = {
        "runs": ("runs", "--limit", "all"),
        "run": ("runs", "--run", "run-42"),
        "events": ("events", "--limit", "all"),
        "calls": ("calls", "--limit", "3"),
        "show": ("show", "run-42"),
        "search": ("search", "the"),
        "stats": ("stats",),
        "failures": ("failures",),
        "diff": ("diff", "run-42", "run-44"),
    }
    program("runs", "--run", "run-42", *of)
    before = {name: program(*command, *of).json() for name, command in asked.items()}
    program("archive", "old", "--older-than", "0s", "--pace", "1", "--yes", *of)
    here = {run["run_id"] for run in program("runs", *of).json()}
    assert len(here) == 1
    for name, command in asked.items():
        found = program(*command, *of, "--archive", "old").json()
        if name in ("runs", "events", "calls", "search"):
            for each in found:
                assert each.pop("archived") is (each["run_id"] not in here)
        assert found == before[name], name
    shown = program.on_terminal("runs", *of, "--archive", "old").out
    assert shown.split()[:2] == ["RUN", "FROM"]
    assert shown.count(" archive ") == 4
    assert "archived in" in program.on_terminal("show", "run-42", *of, "--archive", "old").out


def test_an_archive_that_is_not_there_is_named(program: Program, agents_db: str) -> None:
    ended = program("runs", "--archive", "nothing")
    assert ended.code == 3
    assert "has no archive of this database" in ended.said
    assert program("runs", "--archive", "ftp://x/y").code == 2
    assert program("delete", "run-42", "--archive", "old", "--yes").code == 2


@pytest.mark.thorough
def test_sql_sees_a_database_and_its_archive_as_one(program: Program, recorded: str) -> None:
    of = ("--url", recorded)
    ask = (
        "sql",
        "SELECT run_id, status, llm_calls, cost_usd, started_at FROM runs ORDER BY started_at",
        *of,
    )
    before = program.on_terminal(*ask).out
    assert max(map(len, before.splitlines())) <= 80
    program("archive", "old", "--older-than", "0s", "--pace", "1", "--yes", *of)
    assert program.on_terminal(*ask).out.count("run-4") == 1
    assert program.on_terminal(*ask, "--archive", "old").out == before
    refused = program("sql", "COPY runs TO 'copy.csv'", *of, "--archive", "old")
    assert refused.code == 2
    assert "with the archive" in refused.said
    assert "Expected is one statement, which only reads." in refused.said


@pytest.fixture
def moved(program: Program, recorded: str) -> tuple[str, str]:
    """Options of a database whose finished runs were moved to the archive `old`."""
    program("archive", "old", "--older-than", "0s", "--pace", "1", "--yes", "--url", recorded)
    return "--url", recorded


def test_exports_and_copies_have_archived_runs(program: Program, moved: tuple[str, str]) -> None:
    exported = program("export", "--table", "runs", "--output", "-", *moved, "--archive", "old")
    assert exported.out.count('"run_id"') == 5
    alone = program("export", "--table", "runs", "--output", "-", *moved)
    assert alone.out.count('"run_id"') == 1
    copied = program("copy", "whole.db", *moved, "--archive", "old").json()
    assert (copied["new_runs"], copied["differing"]) == (5, [])
    assert len(program("runs", "--db-path", "whole.db").json()) == 5


def test_another_database_s_archive_is_named_by_its_folder(
    program: Program, moved: tuple[str, str]
) -> None:
    [folder] = (program.folder / "old").iterdir()
    program("migrate", "--db-path", "other.db")
    assert program("runs", "--db-path", "other.db", "--archive", "old").code == 3
    found = program("runs", "--db-path", "other.db", "--archive", f"old/{folder.name}")
    assert len(found.json()) == 4


def test_commands_without_archives_say_so(program: Program, moved: tuple[str, str]) -> None:
    for command in (["tail"], ["delete", "run-42", "--yes"], ["verify"]):
        for option in (["--archive", "old"], ["--archive=old"]):
            refused = program(*command, *moved, *option)
            assert refused.code == 2
            assert f"{command[0]} uses the database alone: it has no --archive" in refused.said
            assert "did you mean" not in refused.said


def test_an_archived_run_is_said_to_be_archived(program: Program, moved: tuple[str, str]) -> None:
    [folder] = (program.folder / "old").iterdir()
    for command in (("show", "run-42"), ("runs", "--run", "run-42")):
        ended = program(*command, *moved)
        assert ended.code == 3
        assert f"has no run 'run-42': it was archived in {folder}." in ended.said
        assert "Read it with --archive, or bring it back with `restore`" in ended.said
        assert program(*command, *moved, "--archive", str(folder)).code == 0
    assert "it was archived" not in program("show", "run-4711", *moved).said


def test_messages_about_archives_fit_a_terminal(program: Program, moved: tuple[str, str]) -> None:
    for command in ("export", "copy", "runs"):
        shown = program.on_terminal(command, "--help", columns=80).out
        assert "--archive DESTINATION" in shown
        assert max(map(len, shown.splitlines())) <= 80
