"""llm, which logs the prompts of its command line: a model call is a turn of a thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any

import llm.migrations
from sqlite_utils import Database

from benchmarks.peers.sides.base import Kind, Side, Words
from benchmarks.support import fill

_THREAD = ("id", "name", "tip_message_hash", "datetime_utc")
_MESSAGE = ("hash", "parent_hash", "role")
_PART = ("message_hash", "position", "type", "text")
_TURN = ("id", "thread_id", "parent_message_hash", "tip_message_hash", "model", "input_tokens")
_TURN += ("output_tokens", "duration_ms", "datetime_utc")
_SEARCHED = ("turn_id", "prompt", "response")
_NO_EVENTS = "it stores model calls, not events"


class LLM(Side):
    title = "llm"
    packages = ("llm", "sqlite-utils")
    tables = "llm"
    table = "turns"
    calls = Words(
        newest="`llm logs -n 10 --json`; each call is a thread of its own, and the same prompt is "
        "kept once, as it does",
        search="`llm logs -q WORD -l -n 10 --json`",
    )
    lacks = Words(
        single=_NO_EVENTS,
        batch=_NO_EVENTS,
        page=_NO_EVENTS,
        statistics="it lists, and has no aggregates",
    )

    @classmethod
    def create(cls, path: Path) -> None:
        with closing(Database(path)) as db:
            llm.migrations.migrate(db)

    @classmethod
    def content(cls, path: Path, kind: Kind, size: int) -> Iterable[fill.Content]:
        return [
            ("messages", _MESSAGE, _once(_of_each_call(size, _messages))),
            ("parts", _PART, _once(_of_each_call(size, _parts))),
            ("threads", _THREAD, _of_each_call(size, _thread)),
            ("turns", _TURN, _of_each_call(size, _turn)),
            ("turn_search", _SEARCHED, _of_each_call(size, _searched)),
        ]

    def newest(self, limit: int) -> Sequence[str]:
        program = Path(sys.executable).with_name("llm")
        return [str(program), "logs", "-n", str(limit), "--json", "-d", str(self.path)]

    def search(self, word: str, limit: int) -> Sequence[str]:
        return [*self.newest(limit), "-q", word, "-l"]

    def close(self) -> None:
        """There is nothing to close: its program opens the file."""


_Call = dict[str, Any]
_Rows = list[tuple[Any, ...]]


def _of_each_call(size: int, make: Callable[[_Call], _Rows]) -> fill.Chunks:
    *_, (_, columns, chunks) = fill.usage(size)
    numbers = count()
    for chunk in chunks:
        calls = (dict(zip(columns, row, strict=True)) for row in chunk)
        yield [made for call in calls for made in make({**call, "id": f"{next(numbers):026x}"})]


def _once(chunks: fill.Chunks) -> fill.Chunks:
    """Yield the rows whose first value is new."""
    seen: set[Any] = set()
    for chunk in chunks:
        fresh = {row[0]: row for row in chunk if row[0] not in seen}
        seen.update(fresh)
        yield list(fresh.values())


def _hashes(call: _Call) -> tuple[str, str]:
    """Return the hashes of the prompt and of its response."""
    asked = _hash(call["prompt"])
    return asked, _hash(f"{asked} {_answer(call)}")


def _hash(text: str) -> str:
    return f"b2:{blake2b(text.encode(), digest_size=16).hexdigest()}"


def _answer(call: _Call) -> str:
    return call["response_content"] or ""


def _messages(call: _Call) -> _Rows:
    asked, answered = _hashes(call)
    return [(asked, None, "user"), (answered, asked, "assistant")]


def _parts(call: _Call) -> _Rows:
    asked, answered = _hashes(call)
    return [(asked, 0, "text", call["prompt"]), (answered, 0, "text", _answer(call))]


def _thread(call: _Call) -> _Rows:
    return [(call["id"], call["prompt"], _hashes(call)[1], call["created_at"])]


def _turn(call: _Call) -> _Rows:
    tokens = (call["input_tokens"], call["output_tokens"])
    model = f"{call['provider']}/{call['model']}"
    times = (call["latency_ms"], call["created_at"])
    return [(call["id"], call["id"], *_hashes(call), model, *tokens, *times)]


def _searched(call: _Call) -> _Rows:
    return [(call["id"], call["prompt"], _answer(call))]
