"""The texts of records that have a meaning: prompts, outputs, errors and messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from curio_persistence.capabilities.failures import error_in, shortened
from curio_persistence.capabilities.search.documents import parsed, readable
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE

TextKind = Literal["prompt", "output", "error", "message"]
"""The role of a text: a question, an answer, the cause of a failure, or a log message."""

FIELDS: Mapping[Table[Any], Mapping[TextKind, str]] = {
    RUNS: {
        "prompt": "objective",
        "output": "final_synthesis_output",
        "error": "error_message",
    },
    USAGE: {"prompt": "prompt", "output": "response_content", "error": "error_message"},
    EVENTS: {"message": "message", "error": "data"},
}
"""The fields of the texts of each kind; an event has an error if its tool call failed."""
PARTS: Mapping[Table[Any], Table[Any]] = {
    RUNS: RUNS.part("id", "run_id", *FIELDS[RUNS].values()),
    USAGE: USAGE.part("id", "run_id", *FIELDS[USAGE].values()),
    EVENTS: EVENTS.part("id", "run_id", "tool_error", *FIELDS[EVENTS].values()),
}
"""The tables with the columns that these texts are made of."""

LONGEST = 8_000
"""Characters of a text that are embedded: its beginning."""


class Text(NamedTuple):
    """One text of a record."""

    row_id: int
    run_id: str | None
    kind: TextKind
    text: str

    @property
    def hash(self) -> int:
        """A number of 64 bits made of the text."""
        import hashlib  # On use: slow to import.

        digest = hashlib.blake2b(bytes(self.text, "utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little", signed=True)


def texts_of(table: Table[Any], records: Iterable[Any]) -> Iterator[Text]:
    """Yield the texts of records of a table, or of its part; empty ones are left out."""
    for record in records:
        for kind in FIELDS[table]:
            if kind == "error" and table is EVENTS and not record.tool_error:
                continue
            if text := text_of(table, record, kind):
                yield Text(record.id, record.run_id, kind, text)


def text_of(table: Table[Any], record: Any, kind: TextKind) -> str:
    """Return the text of a kind as it is embedded; `""` if the record has none."""
    stored: str | None = getattr(record, FIELDS[table][kind])
    if not stored:
        return ""
    if kind == "error":
        text = error_in(stored) if table is EVENTS else shortened(stored)
    else:
        text = _asked(stored) if kind == "prompt" else readable(stored)
    return text[:LONGEST].strip()


def _asked(prompt: str) -> str:
    """Return what a prompt asks: the last message of a user, where it is a list of messages."""
    messages = parsed(prompt)
    if isinstance(messages, dict):
        messages = messages.get("messages")
    if isinstance(messages, list):
        for message in reversed(messages):
            if isinstance(message, dict) and message.get("role") == "user":
                return _content(message.get("content"))
    return readable(prompt)


def _content(content: Any) -> str:
    """Return the texts of a message, which is text, or a list of parts of which some have text."""
    if isinstance(content, list):
        found = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(text for text in found if isinstance(text, str))
    return content if isinstance(content, str) else ""
