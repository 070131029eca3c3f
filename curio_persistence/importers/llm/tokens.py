"""The tokens of answers: llm stores them as the provider tells them, and providers differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curio_persistence.importers.sessions.places import Place, member
from curio_persistence.importers.sessions.turns import Tokens

_INPUT, _OUTPUT = ("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")
_CACHED = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("cachedContentTokenCount",),
)
_REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("thoughtsTokenCount",),
)


def tokens_of(place: Place, row: Mapping[str, Any]) -> Tokens:
    """Return the tokens of a row; those of older versions are only in the provider's answer."""
    details = place.json(row.get("token_details"))
    if row.get("input_tokens") is None and row.get("output_tokens") is None:
        usage = member(place.json(row.get("response_json")), "usage")
        input, output = (_first(place, usage, names) for names in (_INPUT, _OUTPUT))
        details = details or usage
    else:
        input, output = (place.count(row, name) for name in ("input_tokens", "output_tokens"))
    return _with_details(place, input, output, details)


def _first(place: Place, usage: Any, names: tuple[str, ...]) -> int | None:
    return next((n for name in names if (n := place.count(usage, name)) is not None), None)


def _with_details(place: Place, input: int | None, output: int | None, details: Any) -> Tokens:
    """Return tokens with the cache in the input: Anthropic counts it beside, others inside."""
    read = place.count(details, "cache_read_input_tokens")
    written = place.count(details, "cache_creation_input_tokens")
    if input is not None:
        input += (read or 0) + (written or 0)
    if read is None:
        read = _part(place, details, _CACHED, input)
    return Tokens(input, output, read, written, _part(place, details, _REASONING, output))


def _part(
    place: Place, details: Any, paths: tuple[tuple[str, ...], ...], whole: int | None
) -> int | None:
    for *outer, name in paths:
        part = place.count(member(details, *outer), name)
        if part is not None:
            return part if whole is None or part <= whole else None
    return None
