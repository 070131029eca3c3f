"""The compared packages. Each side is a class in a module that runs in its own environment."""

from __future__ import annotations

from importlib import import_module

from benchmarks.peers.sides.base import Side

SIDES = {
    "raw": "bare_driver.BareDriver",
    "ours": "ours.Ours",
    "sqlalchemy-core": "sqlalchemy.SQLAlchemyCore",
    "sqlalchemy-core-no-ids": "sqlalchemy.SQLAlchemyCoreWithoutIds",
    "sqlalchemy-orm": "sqlalchemy.SQLAlchemyORM",
    "eventsourcing": "eventsourcing.EventSourcing",
    "eventsourcing-recorder": "eventsourcing.EventSourcingRecorder",
    "agno": "agno.AgnoSpans",
    "agno-sessions": "agno.AgnoSessions",
    "mlflow": "mlflow.MLflow",
    "llm": "llm.LLM",
}


def load(name: str) -> type[Side]:
    """Return the class of a side; imports its package."""
    module, side = SIDES[name].split(".")
    found: type[Side] = getattr(import_module(f"{__name__}.{module}"), side)
    return found
