"""The one door that every written record passes, and what is kept of its words there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import RLock
from typing import Any, Literal, Protocol, get_args

from curio_persistence.errors import ConfigurationError
from curio_persistence.store.codecs import ID_LENGTH, decode_text, encode_label, encode_text
from curio_persistence.store.table import Row, Table

Redactor = Callable[[str, str], str]
"""Gets the name of a field (`AgentRunEvent.data`) and its text, and returns the text to keep."""

CaptureContent = Literal["full", "metrics-only"]


class Completes(Protocol):
    """Sets values of an encoded row that its record lacks."""

    def fill(self, row: Row) -> None: ...


class Redaction:
    """The rule by which words in records are kept, replaced or left out.

    `redactor` is a callable that any thread may call, or names of patterns (`keys`, `emails`,
    `cards`, `api-keys`, `all`): a collection, or one text with commas. With
    `capture_content="metrics-only"` no words are kept at all, only numbers, names, statuses and
    times.
    """

    def __init__(
        self,
        redactor: Redactor | str | Collection[str] | None = None,
        capture_content: CaptureContent = "full",
    ) -> None:
        if capture_content not in get_args(CaptureContent):
            raise ConfigurationError(
                f'capture_content is "full" or "metrics-only", not {capture_content!r} '
                "(CURIO_CAPTURE_CONTENT)."
            )
        self.capture_content = capture_content
        self.completed_by: dict[str, Completes] = {}
        """By table, what completes each new row before its words are cleaned."""
        self._redactor = redactor_of(redactor)
        self._failures = 0
        self._lock = RLock()  # A finalizer may write while its thread holds it.

    @property
    def failures(self) -> int:
        """The number of records stored without words because the redactor failed."""
        return self._failures

    @property
    def keeps_all(self) -> bool:
        """True if all words are stored unchanged."""
        return self._redactor is None and self.capture_content == "full"

    def encoder(self, table: Table[Any], *, is_new: bool = True) -> Callable[[Any], Row]:
        """Return the encoder of a table's records: `table.encode` itself if all words are kept.

        Rows that are not new, because another database had them, are completed by nothing.
        """
        completes = self.completed_by.get(table.name) if is_new else None
        encode = table.encode if completes is None else _completed(table.encode, completes.fill)
        if self.keeps_all:
            return encode
        return lambda record: self.clean(table, encode(record))

    def clean(self, table: Table[Any], row: Row) -> Row:
        """The row, with those words left in it that are to be kept."""
        if self.capture_content == "metrics-only":
            table.strip(row)
        if self._redactor is not None:
            failed = self._redact(self._redactor, table, row)
            if failed is not None:
                table.strip(row)
                self._count(failed)
        return row

    def _redact(self, redactor: Redactor, table: Table[Any], row: Row) -> str | None:
        """Redact a row's words; says what failed. Where it did, none are left in that column."""
        failed = None
        for name in table.extracted:
            if len(str(row.get(name, ""))) >= ID_LENGTH:
                del row[name]  # It was cut, and may end in half a secret.
        for name in (*table.extracted, *table.content):
            if stored := row.get(name):
                field = f"{table.model.__name__}.{name}"
                encode = encode_label if name in table.extracted else encode_text
                try:
                    redacted = encode(redactor(field, decode_text(str(stored)) or ""))
                except Exception as error:
                    # Not what it says: that may be the text itself.
                    failed = f"{field}, {type(error).__name__}"
                    table.put(row, name, None)
                else:
                    table.put(row, name, redacted)
        return failed

    def _count(self, failed: str) -> None:
        with self._lock:
            self._failures += 1
            if self._failures > 1:
                return
        import logging

        logging.getLogger(__name__).error(
            "The redactor failed (%s): of such records no words are kept (logged once; "
            "persistence.redaction.failures counts)",
            failed,
        )


def _completed(encode: Callable[[Any], Row], fill: Callable[[Row], None]) -> Callable[[Any], Row]:
    def encode_completed(record: Any) -> Row:
        row = encode(record)
        fill(row)
        return row

    return encode_completed


def redactor_of(redactor: Redactor | str | Collection[str] | None) -> Redactor | None:
    """The redactor that is meant; its patterns are imported only where they are named."""
    if redactor is None or (callable(redactor) and not isinstance(redactor, str)):
        return redactor
    if isinstance(redactor, str):
        redactor = [name.strip() for name in redactor.split(",")]
    if not isinstance(redactor, Collection):
        raise ConfigurationError(
            "redactor is a callable (field, text) -> text, or names of patterns, "
            f"not {type(redactor).__name__}."
        )
    from curio_persistence.redaction.patterns import SecretPatterns

    return SecretPatterns(*redactor)
