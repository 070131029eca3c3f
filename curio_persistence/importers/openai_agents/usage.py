"""The tokens of turns, which only the advanced sessions keep: sums, without the model's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place
from curio_persistence.importers.sessions.turns import OpenTurn, Tokens

_USAGE, _STRUCTURE = "turn_usage", "message_structure"
_TURN_OF = """
SELECT branch_id, user_turn_number FROM message_structure
WHERE session_id = ? AND message_id = ? AND message_type = 'user'
"""
_OF_TURN = """
SELECT id FROM turn_usage WHERE session_id = ? AND branch_id = ? AND user_turn_number = ?
"""


class TurnUsage:
    """Finds the sums of a session's turns."""

    def __init__(
        self, database: Database, session: str, file: SessionFile, context: SessionContext
    ) -> None:
        self._database, self._session = database, session
        self._file, self._context = file, context
        self._is_kept = database.tables.keys() >= {_USAGE, _STRUCTURE}
        self._turns: list[tuple[Any, ...]] = []

    def begins(self, message: int) -> None:
        """Note that a turn begins with a message, which several branches may share."""
        if self._is_kept:
            self._turns = self._database.rows(_TURN_OF, self._session, message)

    def of(self, turn: OpenTurn) -> Iterator[ImportedRecord]:
        """Yield the sums of the turn that began last."""
        for branch, number in self._turns:
            for (key,) in self._database.rows(_OF_TURN, self._session, branch, number):
                row = self._database.row(_USAGE, "id", key)
                if row is not None:
                    place = Place(self._context, self._file.name, what=f"usage {key}")
                    yield from self._call(turn, f"usage-{branch}-{number}", row, place)

    def _call(
        self, turn: OpenTurn, key: str, row: Mapping[str, Any], place: Place
    ) -> Iterator[ImportedRecord]:
        given = place.json(row["input_tokens_details"])
        answered = place.json(row["output_tokens_details"])
        tokens = Tokens(
            place.count(row, "input_tokens"),
            place.count(row, "output_tokens"),
            place.count(given, "cached_tokens"),
            place.count(given, "cache_write_tokens"),
            place.count(answered, "reasoning_tokens"),
        )
        at = place.utc(row["created_at"]) or turn.last_at
        metrics = {"requests": row["requests"]}
        return turn.call(key, at, tokens, place, provider="openai", usage_metrics=metrics)
