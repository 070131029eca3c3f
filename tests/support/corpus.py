"""Short texts in many scripts: for each, queries that find it and similar ones that do not.

They are in corpus.txt, one text a line: `text ⇒ query ¦ query`, and after `⇏` the queries that
must miss it. `⟨301⟩` is the character of that number.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).with_suffix(".txt")


class Sample(NamedTuple):
    """A text, the queries that must find it, and those that must not."""

    text: str
    found_by: tuple[str, ...]
    missed_by: tuple[str, ...]


def samples() -> dict[str, list[Sample]]:
    """Return all samples, by language or kind."""
    found: dict[str, list[Sample]] = {}
    for line in _FILE.read_text(encoding="utf-8").split("\n"):
        if line.startswith("# "):
            found[line[2:]] = []
        elif line:
            found[list(found)[-1]].append(_sample(line))
    return found


def _sample(line: str) -> Sample:
    text, _, queries = line.partition(" ⇒ ")
    found_by, _, missed_by = queries.partition("⇏")
    assert found_by, line
    return Sample(_decoded(text.strip()), _queries(found_by), _queries(missed_by))


def _queries(text: str) -> tuple[str, ...]:
    return tuple(_decoded(query.strip()) for query in text.split("¦") if query.strip())


def _decoded(text: str) -> str:
    return re.sub("⟨([0-9a-f]+)⟩", lambda code: chr(int(code[1], 16)), text)
