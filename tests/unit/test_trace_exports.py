"""Exports of observability tools are found where they lie, and need no package but for Parquet."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from curio_persistence import ConfigurationError, import_sessions
from curio_persistence.importers.sessions.discovery import find_sessions
from tests.support.session_samples import FOLDER

SOURCES = ("langfuse", "langsmith", "phoenix", "mlflow", "atif")


def test_the_usual_places_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    phoenix = home / ".phoenix" / "phoenix.db"
    for path, sample in (
        (phoenix, "phoenix/phoenix.db"),
        (here / "mlflow.db", "mlflow/mlflow.db"),
        (here / "mlruns" / "traces.json", "mlflow/traces-2.json"),
        (tmp_path / "named.db", "mlflow/mlflow.db"),
        (tmp_path / "elsewhere" / "phoenix.db", "phoenix/phoenix.db"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((FOLDER / sample).read_bytes())
    monkeypatch.chdir(here)

    def found(**environment: str) -> list[tuple[str, Path]]:
        some = [
            place
            for source in SOURCES
            for place in find_sessions(source=source, environment=environment, home=home)
        ]
        return [(place.source, place.path) for place in some]

    usual = [("mlflow", here / "mlflow.db"), ("mlflow", here / "mlruns")]
    assert found() == [("phoenix", phoenix), *usual]
    assert found(
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'named.db'}",
        PHOENIX_WORKING_DIR=str(tmp_path / "elsewhere"),
    ) == [
        ("phoenix", tmp_path / "elsewhere" / "phoenix.db"),
        ("mlflow", tmp_path / "named.db"),
        *usual,
    ]


def test_parquet_without_pyarrow_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.csv", None)
    path = FOLDER / "phoenix" / "spans.parquet"
    with pytest.raises(ConfigurationError, match=r"pip install 'curio-persistence\[arrow\]'"):
        import_sessions([path], source="phoenix")
    # In a folder it is told, and the rest is read.
    report = import_sessions([FOLDER / "phoenix"], source="phoenix")
    assert [problem.file for problem in report.problems] == ["spans.parquet"]
    assert report.usage == 1
