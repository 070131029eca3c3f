"""The environment says how long runs are kept, and where they are moved."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from curio_persistence import ConfigurationError, LifecycleConfig, RetentionPolicy

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_settings_runs_are_kept_where_they_are() -> None:
    assert LifecycleConfig.from_env({}) == LifecycleConfig(None, 7, None, None)
    assert LifecycleConfig.explain({}) == [
        ("retention_days", None, "default", ""),
        ("max_disk_mb", None, "default", ""),
        ("hot_days", 7, "default", ""),
        ("archive_enabled", False, "default", ""),
        ("archive_destination", None, "default", ""),
    ]


@pytest.mark.parametrize("prefix", ["CURIO_", "AGDD_STORAGE_", "MAGSAG_STORAGE_"])
def test_each_systems_names_are_understood(prefix: str) -> None:
    environ = {
        f"{prefix}RETENTION_DAYS": "90",
        f"{prefix}MAX_DISK_MB": "500",
        f"{prefix}HOT_DAYS": "30",
        f"{prefix}ARCHIVE_ENABLED": "true",
        f"{prefix}ARCHIVE_DESTINATION": "s3://bucket/prefix",
    }
    policy = RetentionPolicy(f"{prefix}RETENTION_DAYS", keep=90 * DAY, max_bytes=500_000_000)
    assert LifecycleConfig.from_env(environ) == LifecycleConfig(
        policy, 30, 500, "s3://bucket/prefix"
    )
    told = {name: (value, source) for name, value, source, _ in LifecycleConfig.explain(environ)}
    assert told == {
        "retention_days": (90, f"environment: {prefix}RETENTION_DAYS"),
        "max_disk_mb": (500, f"environment: {prefix}MAX_DISK_MB"),
        "hot_days": (30, f"environment: {prefix}HOT_DAYS"),
        "archive_enabled": (True, f"environment: {prefix}ARCHIVE_ENABLED"),
        "archive_destination": (
            "s3://bucket/prefix",
            f"environment: {prefix}ARCHIVE_DESTINATION",
        ),
    }


def test_our_names_come_first_and_what_they_overrule_is_told(folder: Path) -> None:
    (folder / ".env").write_text("CURIO_HOT_DAYS=3\nCURIO_ARCHIVE_DESTINATION=old\n")
    environ = {"RETENTION_DAYS": "365", "AGDD_STORAGE_HOT_DAYS": "9", "CURIO_RETENTION_DAYS": "90"}
    config = LifecycleConfig.from_env(environ)
    assert config == LifecycleConfig(
        RetentionPolicy("CURIO_RETENTION_DAYS", keep=90 * DAY), 3, None, str(folder / "old")
    )
    unused = [each for each in LifecycleConfig.explain(environ) if each.unused]
    env = folder / ".env"
    assert unused == [
        (
            "retention_days",
            "365",
            "environment: RETENTION_DAYS",
            "environment: CURIO_RETENTION_DAYS comes first",
        ),
        (
            "hot_days",
            "9",
            "environment: AGDD_STORAGE_HOT_DAYS",
            f"{env}: CURIO_HOT_DAYS comes first",
        ),
    ]
    assert LifecycleConfig.from_env({"CURIO_HOT_DAYS": ""}).hot_days == 7
    assert LifecycleConfig.from_env({}, dotenv=False) == LifecycleConfig()


def test_an_archive_can_be_switched_off() -> None:
    named = {"CURIO_ARCHIVE_DESTINATION": "s3://bucket"}
    assert LifecycleConfig.from_env(named).archive_destination == "s3://bucket"
    off = {**named, "CURIO_ARCHIVE_ENABLED": "no"}
    assert LifecycleConfig.from_env(off).archive_destination is None
    given = {"--archive": {"CURIO_ARCHIVE_DESTINATION": "here", "CURIO_ARCHIVE_ENABLED": "1"}}
    assert LifecycleConfig.from_env(off, given=given).archive_destination == "here"


def test_zero_days_keep_runs_for_ever() -> None:
    assert LifecycleConfig.from_env({"CURIO_RETENTION_DAYS": "0"}).policy is None
    kept = LifecycleConfig.from_env({"CURIO_RETENTION_DAYS": "0", "CURIO_MAX_DISK_MB": "1"}).policy
    assert kept == RetentionPolicy("CURIO_MAX_DISK_MB", max_bytes="1MB")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"CURIO_RETENTION_DAYS": "soon"}, "a whole number of days"),
        ({"CURIO_RETENTION_DAYS": "-1"}, "a whole number of days"),
        ({"CURIO_RETENTION_DAYS": "1.5"}, "a whole number of days"),
        ({"CURIO_RETENTION_DAYS": "9999999"}, "a whole number of days"),
        ({"RETENTION_DAYS": "NaN"}, "RETENTION_DAYS is a whole number"),
        ({"CURIO_HOT_DAYS": "0"}, "1 at least"),
        ({"AGDD_STORAGE_HOT_DAYS": "week"}, "AGDD_STORAGE_HOT_DAYS is a whole number"),
        ({"CURIO_MAX_DISK_MB": "0"}, "megabytes"),
        ({"CURIO_MAX_DISK_MB": "5GB"}, "megabytes"),
        ({"CURIO_ARCHIVE_ENABLED": "maybe"}, "1 or 0"),
        ({"CURIO_ARCHIVE_ENABLED": "1"}, "set CURIO_ARCHIVE_DESTINATION"),
        (
            {"CURIO_ARCHIVE_DESTINATION": "s3://b", "RETENTION_DAYS": "3"},
            "RETENTION_DAYS=3 would delete runs before they are moved to s3://b",
        ),
    ],
    ids=str,
)
def test_nonsense_is_refused(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        LifecycleConfig.from_env(environ)
    with pytest.raises(ConfigurationError, match=said):
        LifecycleConfig.explain(environ)
