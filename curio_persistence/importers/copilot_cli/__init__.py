"""Sessions of GitHub Copilot CLI: `~/.copilot/session-state/`, and its OpenTelemetry files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.copilot_cli.events import SessionReader
from curio_persistence.importers.copilot_cli.spans import SpanReader
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import beginning, some_below, walk
from curio_persistence.importers.sessions.records import Found, SessionSource

_STATE, _EVENTS = "session-state", "events.jsonl"
_HEAD = 8_192
_OF_SPANS = b'"github-copilot"', b'"copilot-cli"', b'"github.copilot.'
_OF_EVENTS = b'"session.start"', b'"copilotVersion"', b'"copilot-agent"'


def _places(environment: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield the folder with a folder for each session.

    The files of OpenTelemetry tell the same once more: they are read where they are named.
    """
    chosen = environment.get("COPILOT_HOME")
    yield (Path(chosen) if chosen else home / ".copilot") / _STATE


def _recognize(path: Path) -> bool:
    """Return whether a path is a session, such a file, or a folder with some."""
    if path.is_file():
        return _is_session(path) or _is_spans(path)
    return any(map(_is_spans, islice(path.glob("*.jsonl"), 20))) or some_below(path, _is_wanted)


def _is_session(path: Path) -> bool:
    return path.suffix == ".jsonl" and any(word in beginning(path, _HEAD) for word in _OF_EVENTS)


def _is_spans(path: Path) -> bool:
    head = beginning(path, _HEAD) if path.suffix == ".jsonl" else b""
    return b'"spanId"' in head and any(word in head for word in _OF_SPANS)


def _find(root: Path, report: ReportBuilder) -> Iterator[Path]:
    """Yield the sessions of a folder; only if it has none, the files of OpenTelemetry."""
    if root.is_file():
        yield root
        return
    found = False
    for path in walk(root, root, report, _is_wanted):
        found = True
        yield path
    if not found:
        yield from walk(root, root, report, _is_spans)


def _is_wanted(path: Path) -> bool:
    is_older = path.suffix == ".jsonl" and path.parent.name == _STATE
    return (path.name == _EVENTS or is_older) and _is_session(path)


def _read(context: SessionContext) -> Found:
    """Yield the turns of all sessions, and the agents that they started."""
    for file in context.files():
        if not context.is_read((file,)):
            kind = SpanReader if _is_spans(file.path) else SessionReader
            reader = kind(file, context)
            yield from reader.records()
            context.has_read((file,), settled=not reader.is_live)


SOURCE = SessionSource("copilot-cli", _places, _recognize, _find, _read)
