"""Split and fold text into words, once, in the same way for every database.

A word is a run of letters, digits and the marks that belong to them; all else separates. It is
folded: case, width, accents, vowel points and invisible characters make no difference. In scripts
that put no spaces between words (Chinese, Japanese, Korean with its particles, Thai, Lao, Khmer,
Burmese) each pair of neighbouring characters is a word, and so is the last character of a run: a
single character then is the beginning of a word. Each emoji is one, without its skin colour; of
those joined to one picture each part is.

A word holds ASCII letters and digits and characters beyond ASCII, nothing else. So every index that
splits at other ASCII characters keeps it whole.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

MOST_WORDS = 10_000
"""The number of words of a text that are searched, in order."""
LONGEST_WORD = 64
"""The number of characters of a word that count; the rest is ignored."""
VERSION = f"3 {unicodedata.unidata_version}"
"""The version of the tokenizer: it changes whenever some text may be split differently."""

_LONGEST_CHUNK = 10 * MOST_WORDS
"""The number of characters of a chunk without a space that count: enough for `MOST_WORDS`."""
_BLOCK = 2_000
"""Longer texts are split in parts of about this many characters, as far as they are needed."""

_LOWER_OR_SPACE = bytes(
    code if code > 127 else ord(chr(code).lower()) if chr(code).isalnum() else 32
    for code in range(256)
)
_CHUNKS = re.compile(
    # As keycap emoji, # and * do not separate.
    r"(?:[#*](?=\ufe0f?\u20e3))?[^\s\x00-\x2f:-@\[-`{-\x7f]+"
)
_BLOCK_ENDS = re.compile(r"[\s\x00-\x2f:-@\[-`{-\x7f、。，]")


_CAMEL_CASE = re.compile(r"(?<=[a-z][a-z0-9])(?=[A-Z])|(?<=[A-Z][A-Z])(?=[A-Z][a-z][a-z])")
# A quick first test: splitting takes four times as long.
_MAYBE_CAMEL_CASE = re.compile("[A-Z](?<=[A-Za-z0-9].)")


class Word(NamedTuple):
    """A folded word and its position in the original text."""

    text: str
    start: int
    end: int


def tokenize(text: str) -> list[str]:
    """Return the first `MOST_WORDS` words of a text in order, with repetitions."""
    words: list[str] = []
    for block in _blocks(text):
        words += _tokens_of_block(block)
        if len(words) >= MOST_WORDS:
            return words[:MOST_WORDS]
    return words


def split_camel_case(text: str) -> str | None:
    """Return the text with a space between the parts of CamelCase words; None without any.

    Records are indexed by both, so that `timeout` finds `TimeoutError` and `HTTPTimeout`.
    """
    if not _MAYBE_CAMEL_CASE.search(text):
        return None
    split = _CAMEL_CASE.sub(" ", text, MOST_WORDS)  # What comes behind so many is not searched.
    return split if len(split) > len(text) else None


def tokenize_with_offsets(text: str, first: int = 0, last: int = MOST_WORDS) -> list[Word]:
    """Return the same words with their offsets; or only a range of them."""
    located: list[Word] = []
    number = start = 0
    last = min(last, MOST_WORDS)
    for block in _blocks(text):
        if number >= last:
            break
        count = len(_tokens_of_block(block))
        if number + count > first:
            located += islice(_located(block, start), max(first - number, 0), last - number)
        number += count
        start += len(block)
    return located


def _blocks(text: str) -> Iterator[str]:
    """Yield a text in parts, none of which ends within a word."""
    start = 0
    while len(text) - start > _BLOCK:
        found = _BLOCK_ENDS.search(text, start + _BLOCK)
        if found is None:
            break
        yield text[start : found.end()]
        start = found.end()
    yield text[start:]


def _tokens_of_block(text: str) -> list[str]:
    chunks = text.encode("utf-8", "replace").translate(_LOWER_OR_SPACE).decode().split()
    if text.isascii() and max(map(len, chunks), default=0) <= LONGEST_WORD:
        return chunks
    from curio_persistence.text.normalize import split_words

    words: list[str] = []
    for chunk in chunks:
        if chunk.isascii():
            words.append(chunk[:LONGEST_WORD])
        else:
            words += split_words(chunk[:_LONGEST_CHUNK], LONGEST_WORD)
    return words


def is_last_of_run(word: str) -> bool:
    """Return whether a word is one character of a script without spaces between words."""
    if len(word) > 1 or word.isascii():
        return False
    from curio_persistence.text.normalize import is_unspaced

    return is_unspaced(word)


def _located(text: str, offset: int) -> Iterator[Word]:
    for chunk in _CHUNKS.finditer(text):
        start = offset + chunk.start()
        if chunk[0].isascii():
            word = chunk[0][:LONGEST_WORD].lower()
            yield Word(word, start, start + len(word))
        else:
            yield from _located_in_chunk(chunk[0], start)


def _located_in_chunk(chunk: str, offset: int) -> Iterator[Word]:
    from curio_persistence.text.normalize import split_with_offsets

    for word, start, end in split_with_offsets(chunk[:_LONGEST_CHUNK], LONGEST_WORD):
        yield Word(word, offset + start, offset + end)
