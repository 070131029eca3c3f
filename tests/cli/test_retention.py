"""`expire` deletes what no policy keeps, and `retention` changes policies and holds."""

from __future__ import annotations

import pytest

from tests.cli.program import Program


def test_old_runs_expire_and_the_report_tells_how_many(program: Program, recorded: str) -> None:
    command = ("expire", "--url", recorded, "--older-than", "0s", "--pace", "1")
    planned = program(*command, "--dry-run")
    assert planned.json()["runs_to_delete"] == 4
    assert "4 runs to delete that finished before" in planned.said
    assert len(program("runs", "--url", recorded).json()) == 5
    done = program(*command, "--yes")
    assert done.json()["runs_deleted"] == 4
    assert done.json()["events_deleted"] == planned.json()["events_to_delete"]
    assert [run["status"] for run in program("runs", "--url", recorded).json()] == ["running"]
    assert program(*command, "--yes").json()["runs_to_delete"] == 0


def test_without_a_policy_it_says_how_to_get_one(program: Program, agents_db: str) -> None:
    code, out, said = program("expire", "--yes")
    assert (code, out) == (2, "")
    assert "retention set default --keep 90d" in said


def test_the_environment_is_a_policy_unless_one_is_stored(program: Program, agents_db: str) -> None:
    command = ("expire", "--dry-run")
    found = program(*command, CURIO_RETENTION_DAYS="1")
    assert found.json()["runs_to_delete"] == 4
    assert "Policy CURIO_RETENTION_DAYS: keep all runs until 1 days after their end." in found.said
    assert program(*command, RETENTION_DAYS="36500").json()["runs_to_delete"] == 0
    assert "RETENTION_DAYS" in program("retention", RETENTION_DAYS="7").said
    assert program(*command, CURIO_RETENTION_DAYS="0").code == 2
    for odd in ("soon", "1e-9", "-1", "1.5", "99999999"):
        wrong = program(*command, CURIO_RETENTION_DAYS=odd)
        assert (wrong.code, "a whole number of days" in wrong.said) == (2, True)
    assert program("retention", "set", "default", "--keep", "9999w").code == 0
    assert program(*command, CURIO_RETENTION_DAYS="1").json()["runs_to_delete"] == 0


def test_a_person_is_asked(program: Program, agents_db: str) -> None:
    command = ("expire", "--older-than", "0s", "--pace", "1")
    assert program(*command).code == 2
    assert "deleted" not in program.on_terminal(*command, typed="n\n").out
    assert "4 runs deleted that finished" in program.on_terminal(*command, typed="y\n").out


def test_a_round_of_the_lifecycle_expires_runs(program: Program, agents_db: str) -> None:
    command = ("lifecycle", "--once", "--pace", "1")
    assert program(*command).code == 2
    done = program(*command, CURIO_RETENTION_DAYS="1")
    assert done.json()["runs_deleted"] == 4
    assert "4 runs deleted that finished before" in done.said
    checks = {check["name"]: check for check in program("doctor").json()}
    assert "4 runs expired on" in checks["retention"]["message"]


def test_a_round_that_would_delete_everything_needs_a_yes(program: Program, recorded: str) -> None:
    of = ("--url", recorded)
    assert program("abandon", "--older-than", "0s", *of).code == 0
    command = ("lifecycle", "--once", "--pace", "1", *of)
    policy = ("retention", "set", "none", "--max-runs", "0", *of)
    assert program(*policy).code == 0
    refused = program(*command)
    assert (refused.code, refused.out) == (2, "")
    assert "Nothing was deleted: the policies let all 5 runs of" in refused.said
    assert "--yes" in refused.said
    checks = {check["name"]: check for check in program("doctor", *of).json()}
    assert checks["retention"]["level"] == "warning"
    assert "let all 5 runs" in checks["retention"]["message"]
    expire = program("expire", "--dry-run", *of)
    assert "These are all runs of the database." in expire.said
    done = program(*command, "--yes")
    assert done.json()["runs_deleted"] == 5
    assert program("runs", *of).json() == []


def test_a_round_archives_first(program: Program, agents_db: str) -> None:
    command = ("lifecycle", "--once", "--pace", "1")
    variables = {"CURIO_ARCHIVE_DESTINATION": "old", "CURIO_RETENTION_DAYS": "30"}
    done = program(*command, **variables)
    assert (done.json()["runs_deleted"], done.json()["archived"]) == (4, 4)
    assert "4 runs moved that finished before" in done.said
    assert (program.folder / "old").is_dir()
    assert program("restore", "old", "run-42").json()["runs"] == 1
    off = program(*command, CURIO_ARCHIVE_ENABLED="0", CURIO_RETENTION_DAYS="1")
    assert (off.json()["runs_deleted"], off.json()["archived"]) == (1, 0)
    assert program(*command, AGDD_STORAGE_ARCHIVE_DESTINATION="old").json()["archived"] == 0
    assert program(*command, "--archive", "old").code == 0
    wrong = program(*command, "--archive", "old", CURIO_RETENTION_DAYS="3")
    assert (wrong.code, "before they are moved to old" in wrong.said) == (2, True)


def test_a_round_whose_archive_is_away_deletes_nothing(program: Program, agents_db: str) -> None:
    command = ("lifecycle", "--once", "--pace", "1")
    failed = program(*command, CURIO_ARCHIVE_DESTINATION="agent_sdk.db", CURIO_RETENTION_DAYS="30")
    assert (failed.code, failed.out) == (4, "")
    assert len(program("runs").json()) == 5
    checks = {check["name"]: check for check in program("doctor").json()}
    assert "failed: " in checks["retention"]["message"]


def test_vacuum_deletes_by_days_and_megabytes(program: Program, recorded: str) -> None:
    of = ("--url", recorded)
    planned = program("vacuum", "--hot-days", "0", "--dry-run", *of)
    keys = {"dry_run", "runs_to_delete", "events_to_delete", "cutoff"}
    assert keys <= planned.json().keys()
    assert planned.json()["runs_to_delete"] == 4
    assert program("vacuum", "--hot-days", "36500", "--dry-run", *of).json()["runs_to_delete"] == 0
    small = ("vacuum", "--hot-days", "36500", "--max-disk-mb", "0", *of)
    assert program(*small, "--dry-run").json()["runs_to_delete"] == 4
    unasked = program("vacuum", *small[1:])
    assert (unasked.code, "--yes" in unasked.said) == (2, True)
    assert program("vacuum", "--dry-run", *of, CURIO_HOT_DAYS="36500").json()["runs_to_delete"] == 0
    done = program(*small, "--pace", "1", "--yes")
    assert {"runs_deleted", "events_deleted"} <= done.json().keys()
    assert done.json()["runs_deleted"] == 4


def test_policies_and_holds_are_listed(program: Program, agents_db: str) -> None:
    assert program("retention").json() == {"policies": [], "holds": []}
    policy = ("retention", "set", "few", "--max-runs", "3", "--agent", "a", "--agent", "b")
    assert "keep runs of agent a or b while they are among the newest 3." in program(*policy).said
    assert program("retention", "set", "all", "--keep", "36h", "--tag", "x").code == 0
    disk = ("retention", "set", "disk", "--max-bytes", "1.5GB", "--status", "error")
    assert "while the database is no larger than 1,500.0 MB." in program(*disk).said
    hold = ("retention", "hold", "case", "--run", "run-42", "--reason", "counsel")
    assert program(*hold).code == 0
    assert program("retention", "hold", "case", "--run", "run-4711").code == 3
    assert program("retention", "hold", "audit", "--tag", "audited").code == 0
    assert program("retention").json() == {
        "policies": [
            {"name": "few", "max_runs": 3, "agent_id": ["a", "b"]},
            {"name": "all", "keep_seconds": 129600.0, "tags": ["x"]},
            {"name": "disk", "max_bytes": 1500000000, "status": ["error"]},
        ],
        "holds": [
            {"name": "case", "run_ids": ["run-42"], "tags": [], "reason": "counsel"},
            {"name": "audit", "run_ids": [], "tags": ["audited"], "reason": ""},
        ],
    }
    assert program.on_terminal("retention").lines == [
        "policy few: keep runs of agent a or b while they are among the newest 3",
        "policy all: keep runs of tag x until 36 hours after their end",
        "policy disk: keep runs of status error while the database is no larger than 1,500.0 MB",
        "hold case: run run-42 (counsel)",
        "hold audit: runs tagged audited",
    ]
    assert program("retention", "remove", "few").code == 0
    assert program("retention", "remove", "few").code == 3
    assert program("retention", "release", "case").code == 0
    assert program("retention", "release", "case").code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("retention", "set"),
        ("retention", "hold", "case"),
        ("retention", "set", "default"),
        ("retention", "set", "default", "--keep", "1d", "--reason", "why"),
        ("retention", "list", "default"),
        ("retention", "remove", "default", "--tag", "t"),
        ("retention", "keep"),
        ("retention", "set", "p", "--status", "running"),
        ("retention", "set", "p", "--max-bytes", "much"),
        ("vacuum", "--hot-days", "-1"),
        ("vacuum", "--max-disk-mb", "1GB"),
        ("expire", "--older-than", "0s", "--pace", "0"),
        ("expire", "--older-than", "soon"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused(
    program: Program, agents_db: str, arguments: tuple[str, ...]
) -> None:
    assert program(*arguments).code == 2
