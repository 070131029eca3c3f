"""Map a model's fields to a table's columns.

A row travels as a dictionary of stored values (see `codecs`). `Table.encode` makes it from a
record, through `redaction`, which every written record passes. `Table.decode` reverses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, make_dataclass
from functools import cached_property
from itertools import chain
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from curio_persistence.errors import CorruptDatabaseError, InvalidValueError
from curio_persistence.store import codecs
from curio_persistence.store.codecs import Encoder
from curio_persistence.store.column import REQUIRED, Column, Kind, compile_encoder
from curio_persistence.store.filters import Filter, Op, Order, Where

StoredValue = str | int | float | None
Row = dict[str, StoredValue]
Columns = list[Sequence[Any]]
"""Rows, turned on their side: for each column its values."""


class Record(Protocol):
    """A dataclass that can be built from its fields in order."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


M = TypeVar("M", bound=Record)

_TENS = len("2026-11-20T10:30:0")
"""The beginning of a stored time that all times of the same ten seconds have."""


class Reference(NamedTuple):
    """A column whose value must exist in `column` of `table`."""

    column: str
    table: Table[Any]


class Maker(NamedTuple):
    """A row of another table that each row with a value in `column` makes, unless it is stored.

    `row_of` returns the row to make. One that is stored gets an earlier time as its `first`, and a
    later one as its `last` if that is of the next ten seconds or later, so that the row seldom
    changes. A row makes others when it is inserted, and when one of the columns `watched` changes.
    Databases do so by triggers.
    """

    table: Table[Any]
    column: str
    row_of: Callable[[Row], Row]
    first: str
    last: str
    watched: tuple[str, ...]

    def is_due(self, before: Row | None, after: Row) -> bool:
        """Return whether a change of a row, or its insertion, makes the other row."""
        if after.get(self.column) is None:
            return False
        return before is None or any(before.get(n) != after.get(n) for n in self.watched)

    def changes(self, stored: Row, made: Row) -> Row:
        """Return what changes in a stored row by one that would be made."""
        first, last = str(made[self.first]), str(made[self.last])
        changes: Row = {}
        if first < str(stored[self.first]):
            changes[self.first] = first
        if last[:_TENS] > str(stored[self.last])[:_TENS]:
            changes[self.last] = last
        return changes


class Table(Generic[M]):
    """A model's table.

    `columns` follow the model's fields, in order. `internal` columns exist in the table only and
    are computed by `derive` from the encoded row. `words` are the columns with words, and their
    values without these; `extracted` are the names that are extracted from words. `order` is
    the order of its rows; `ages_by` is the column of their age; `lookups` are the columns that rows
    are usually selected by; `required` are given by the caller, and `stored_times` are the
    other times that every stored row has; `ddl` is the file of `schema/<dialect>/` that makes it.
    With `has_markers`, markers may stand for long texts of rows that have a `content_scope`.
    `always` are the columns that every row binds, which an original Curio has too. `makes` are the
    rows of other tables that a row makes. `recomputed` are the columns that may be computed anew
    where the last of them is set or the first is not, so that they do not tell rows apart there.
    """

    of_model: ClassVar[dict[type, Table[Any]]] = {}
    """The tables by their models."""
    beginnings: Mapping[str, int] = MappingProxyType({})
    """The columns of which a beginning is enough, and how many characters of each; see `part`."""

    def __init__(
        self,
        name: str,
        model: type[M],
        columns: Sequence[Column],
        *,
        order: tuple[Order, ...],
        ages_by: str,
        lookups: tuple[str, ...],
        internal: Sequence[Column] = (),
        derive: Callable[[Row], None] | None = None,
        ddl: str,
        unique: tuple[tuple[str, ...], ...] = (),
        references: Reference | None = None,
        makes: tuple[Maker, ...] = (),
        translate: Callable[[Any], M] | None = None,
        recomputed: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.model = model
        self.order = order
        self.ages_by = ages_by
        self.lookups = lookups
        self.ddl = ddl
        self.unique = unique
        self.references = references
        self.makes = makes
        self.recomputed = recomputed
        self.names = tuple(column.name for column in columns)
        if self.names != tuple(field.name for field in fields(model)):
            raise TypeError(f"the columns of {name} are not the fields of {model.__name__}")
        self.kinds = {column.name: column.kind for column in columns}
        self.required = tuple(c.name for c in columns if c.default is REQUIRED)
        self.stored_times = tuple(c.name for c in columns if c.decode is codecs.decode_stored_times)
        self.content = {column.name: column.default for column in columns if column.without_content}
        self._derive = derive
        self._translate = translate
        self._decoders = [
            (index, column.decode) for index, column in enumerate(columns) if column.decode
        ]
        self._columns = {column.name: column for column in (*columns, *internal)}
        self.stored_names = frozenset(self._columns)
        self.has_markers = "content_scope" in self._columns
        self.extracted = self.encoded_by(codecs.encode_label)
        self._written = [column for column in columns if column.name != "id"]
        self.always = tuple(c.name for c in self._written if not c.optional)
        optional = [column for column in self._written if column.optional]
        self.optional = tuple(column.name for column in optional)
        self.filled = {c.name: c.default for c in optional if c.default is not None}
        self.of_model.setdefault(model, self)

    def __repr__(self) -> str:
        return f"<Table {self.name}>"

    @cached_property
    def _encode(self) -> Callable[[Any], Row]:
        """The compiled encoder, made on use: few programs write to all tables."""
        return compile_encoder(self._written)

    def part(self, *names: str, beginnings: Mapping[str, int] | None = None) -> Table[Any]:
        """Return this table with only some of its columns, for reading.

        They have `id`, and the columns of filters and orders. Of those in `beginnings` a store need
        only return the first so many characters.
        """
        model = make_dataclass(f"{self.model.__name__}Part", names)
        columns = [self._columns[name] for name in names]
        part: Table[Any] = Table(
            self.name,
            model,
            columns,
            order=(Order("id"),),
            ages_by=self.ages_by,
            lookups=self.lookups,
            ddl=self.ddl,
        )
        part.beginnings = beginnings or {}
        part.has_markers = self.has_markers
        return part

    def encoded_by(self, encode: Encoder) -> tuple[str, ...]:
        """Return the names of the columns with this encoder."""
        return tuple(name for name, column in self._columns.items() if column.encode is encode)

    def kind_of(self, name: str) -> Kind:
        """Return the kind of a column, internal or not."""
        return self._columns[name].kind

    def nullable(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns of a unique key that may be NULL: its index leaves those rows out."""
        return tuple(name for name in key if name not in self.required)

    def encode(self, record: Any) -> Row:
        """Return the row of a record, without its id; refuse values that no backend can store.

        Any object with the model's attributes will do, if the table can `translate` it.
        """
        if self._translate is not None and type(record) is not self.model:
            record = self._translate(record)
        try:
            row = self._encode(record)
        except (AttributeError, ValueError, TypeError):
            row = self._encode_each(record)
        if self._derive is not None:
            self._derive(row)
        return row

    def _encode_each(self, record: Any) -> Row:
        """Encode a record that lacks optional attributes; raise the error that names a field."""
        row: Row = {}
        for name, *_ in self._written:
            is_optional = name in self.optional
            try:
                value = getattr(record, name, None) if is_optional else getattr(record, name)
            except AttributeError as error:
                raise InvalidValueError(
                    f"An object of type {type(record).__name__} cannot be stored as "
                    f"{self.model.__name__}: {error}."
                ) from error
            stored = None if is_optional and value is None else self.encode_value(name, value)
            if stored is not None or not is_optional:
                row[name] = stored
        return row

    def adopt(self, stored: Iterable[StoredValue]) -> Row:
        """Return the row of values that another program stored, in the order of `always`.

        They are in stored form, but `encode` might refuse them: old rows are stored unchanged.
        """
        row = dict(zip(self.always, stored, strict=True))
        if self._derive is not None:
            self._derive(row)
        return row

    def default(self, name: str) -> StoredValue:
        """Return the default of a column of `always`; `""` if a value is required."""
        default: StoredValue = self._columns[name].default
        return "" if default is REQUIRED else default

    def strip(self, row: Row) -> None:
        """Remove the content from an encoded row. Values extracted from it stay."""
        for name in self.content:
            stored, without_content = row.get(name), self._columns[name].without_content
            if stored and without_content:
                self.put(row, name, without_content(str(stored)))

    def put(self, row: Row, name: str, stored: StoredValue) -> None:
        """Change a column of an encoded row; None unsets it."""
        if stored is None and name not in self.always:
            row.pop(name, None)
        else:
            row[name] = self._columns[name].default if stored is None else stored

    def align(self, rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[StoredValue, ...]]]:
        """Return the columns that any of the encoded rows binds, and each row's values for them."""
        plain = len(self.always)
        shapes = dict.fromkeys(tuple(row) for row in rows if len(row) != plain)
        columns = tuple(dict.fromkeys(chain(self.always, *sorted(shapes, key=len))))
        # Most rows bind exactly the first of these columns, and need no lookups.
        filled = [self.filled.get(name) for name in columns]
        rests = {s: filled[len(s) :] for s in shapes if s == columns[: len(s)]}
        rest = filled[plain:]

        def aligned(row: Row) -> tuple[StoredValue, ...]:
            following = rest if len(row) == plain else rests.get(tuple(row))
            if following is None:
                return tuple(map(row.get, columns, filled))
            return (*row.values(), *following)

        return columns, list(map(aligned, rows))

    def rows(self, columns: Columns) -> list[Row]:
        """Return the encoded rows, with their ids, that were read as the columns `names`."""
        stored = dict(zip(self.names, columns, strict=True))
        plain = (*self.always, "id")
        rows: list[Row] = [
            dict(zip(plain, values, strict=True))
            for values in zip(*map(stored.__getitem__, plain), strict=True)
        ]
        for name in self.optional:
            default = self.filled.get(name)
            for row, value in zip(rows, stored.get(name, ()), strict=False):
                if value != default and value is not None:
                    row[name] = value
        if self._derive is not None:
            for row in rows:
                self._derive(row)
        return rows

    def columns_of(self, rows: Sequence[Row]) -> Columns:
        """Return the columns `names` of encoded rows, the reverse of `rows`."""
        bound, values = self.align(rows)
        columns = dict(zip(bound, zip(*values, strict=True), strict=False))
        nothing = ([self.filled.get(name)] * len(rows) for name in self.names)
        return [columns.get(name, none) for name, none in zip(self.names, nothing, strict=True)]

    def decode(self, columns: Columns) -> list[M]:
        """Return records from the columns `names`. Column by column, most of the loops run in C.

        Raise CorruptDatabaseError, which names the row, for a value that no store writes.
        """
        with self.naming_damage(columns):
            return list(map(self.model, *self.decode_columns(columns)))

    @contextmanager
    def naming_damage(self, columns: Columns) -> Iterator[None]:
        """Raise CorruptDatabaseError, which names the row, for values that cannot be converted."""
        try:
            yield
        except (ValueError, TypeError, ArithmeticError) as error:
            raise self._damaged(columns, error) from error

    def _damaged(self, columns: Columns, error: Exception) -> CorruptDatabaseError:
        """Return the error for rows with one that cannot be decoded."""
        ids = columns[self.names.index("id")]
        for index, decode in self._decoders:
            for ident, value in zip(ids, columns[index], strict=True):
                try:
                    list(decode((value,)))
                except (ValueError, TypeError, ArithmeticError) as damage:
                    return CorruptDatabaseError(
                        f"{self.name}.{self.names[index]} is damaged in the row with id {ident}: "
                        f"{value!r:.80} ({damage}). Restore a backup; `doctor --deep` lists all "
                        "such rows."
                    )
        return CorruptDatabaseError(f"A row of {self.name} is damaged ({error}). Restore a backup.")

    def decode_row(self, row: Row) -> M:
        """Return the record that an encoded row will be read as, except for its id."""
        return self.decode([[row.get(name, self.filled.get(name))] for name in self.names])[0]

    def decode_columns(self, columns: Columns) -> list[Iterable[Any]]:
        """Return the columns `names` with values as they are in records; see `naming_damage`."""
        read: list[Iterable[Any]] = list(columns)
        for index, decode in self._decoders:
            read[index] = decode(columns[index])
        return read

    def where(self, **equal: Any) -> Where:
        """Return filters for equality with each value that is not None."""
        return tuple(
            self.filter(name, "=", value) for name, value in equal.items() if value is not None
        )

    def filter_any(self, name: str, value: Any) -> Filter:
        """Return a filter for one value, or for any of a collection of values."""
        if isinstance(value, str) or not isinstance(value, Iterable):
            return self.filter(name, "=", value)
        return Filter(name, "in", tuple(sorted({self._wanted(name, each) for each in value})))

    def filter(self, name: str, op: Op, value: Any = None) -> Filter:
        """Return one filter, its value checked and encoded like a written one."""
        if value is None:
            return Filter(name, op)
        return Filter(name, op, self._wanted(name, value))

    def _wanted(self, name: str, value: Any) -> StoredValue:
        """Return a value in stored form that a column can have."""
        stored = None if value is None else self.encode_value(name, value)
        if stored is None:
            raise self._refusal(name, "may not be empty")
        return stored

    def encode_value(self, name: str, value: Any) -> StoredValue:
        """Return one column's value in stored form."""
        column = self._columns[name]
        try:
            if value is None and column.default is REQUIRED:
                raise ValueError("is required")
            return column.default if value is None else column.encode(value)
        except (ValueError, TypeError) as error:
            raise self._refusal(name, error) from error

    def _refusal(self, name: str, reason: object) -> InvalidValueError:
        field = f"{self.model.__name__}.{name}"
        return InvalidValueError(f"{field} {reason}.", field=field)
