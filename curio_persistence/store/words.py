"""Text as the words people look for: split and folded once, above the dialect, alike everywhere.

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
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

MOST_WORDS = 10_000
"""So many words of a record are searched, in order."""
LONGEST_WORD = 64
"""So many characters of a word count; the rest is passed over."""
VERSION = f"1 {unicodedata.unidata_version}"
"""Another one where any text may be split otherwise."""

_BLOCK = 2_000
"""Longer texts are split in parts of about so many characters, as far as they are needed."""

# Nothing in here but what stays in a folded text.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u2e80-\u9fff\ua960-\ua97f"
    "\ua9e0-\ua9ff\uaa60-\uaadf\uac00-\ud7ff\uf900-\ufaff\U00016fe0-\U00018dff"
    "\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
)
_FIRST_UNSPACED = "\u0e00"
_FLAG_LETTER = "\U0001f1e6-\U0001f1ff"
_TAG = "\U000e0020-\U000e007f"
_PICTURE = (
    "\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u25aa\u25ab"
    "\u25b6\u25c0\u25fb-\u25fe\u2600-\u2767\u2776-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c"
    "\u2b50\u2b55\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff"
)
_JOINER = "\u200d"
_STACKERS = "\u1039\u17d2"
"""What follows these is drawn below what is before them."""

# What a folded text is without: accents (the breve see below), the points of Hebrew and Arabic,
# hyphens and joiners that nobody sees, marks of direction, variants, colours of skin.
_DROPPED = re.compile(
    "[\u00ad\u0300-\u0305\u0307-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a"
    "\u061c\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff"
    "\U000e0100-\U000e01ef]+"
)

# Letters whose accent Unicode does not take apart; those that have a breve (with й and ў it is no
# accent); those that keyboards confuse.
_LETTERS = {
    "æ": "ae", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "œ": "oe", "þ": "th",
    "ŧ": "t", "ă": "a", "ĕ": "e", "ğ": "g", "ĭ": "i", "ŏ": "o", "ŭ": "u", "ᾰ": "α", "ῐ": "ι",
    "ῠ": "υ", "ӑ": "а", "ӗ": "е", "ӂ": "ж", "\u0306": "", "ة": "ه", "ى": "ي", "ی": "ي", "ک": "ك",
}  # fmt: skip

_SIGN = f"{_PICTURE}{_FLAG_LETTER}{_TAG}"
_APART = f"{_UNSPACED}{_SIGN}"
_is_sign = re.compile(f"[{_SIGN}]").match
_begins_unspaced = re.compile(f"[{_UNSPACED}]").match
_stands_apart = re.compile(f"[{_APART}]").search
_RUNS = re.compile(rf"[^ {_APART}]+|[{_UNSPACED}]+|[{_FLAG_LETTER}]{{1,2}}|[{_PICTURE}][{_TAG}]*")

_LOWER_OR_SPACE = bytes(
    code if code > 127 else ord(chr(code).lower()) if chr(code).isalnum() else 32
    for code in range(256)
)
_CHUNKS = re.compile(
    # On a key of a telephone, # and * are no signs that separate.
    r"(?:[#*](?=\ufe0f?\u20e3))?[^\s\x00-\x2f:-@\[-`{-\x7f\ud800-\udfff]+"
)
_BLOCK_ENDS = re.compile(r"[\s\x00-\x2f:-@\[-`{-\x7f、。，]")


class Word(NamedTuple):
    """A folded word and its place in the original text."""

    text: str
    start: int
    end: int


def words_of(text: str) -> list[str]:
    """The first `MOST_WORDS` words of a text in order, repeated as they stand."""
    words: list[str] = []
    for block in _blocks(text):
        words += _words_of_block(block)
        if len(words) >= MOST_WORDS:
            return words[:MOST_WORDS]
    return words


def located_words(text: str, first: int = 0, last: int = MOST_WORDS) -> list[Word]:
    """The same words with their places; or only those from one number to before another."""
    located: list[Word] = []
    number = start = 0
    last = min(last, MOST_WORDS)
    for block in _blocks(text):
        if number >= last:
            break
        count = len(_words_of_block(block))
        if number + count > first:
            located += islice(_located(block, start), max(first - number, 0), last - number)
        number += count
        start += len(block)
    return located


def _blocks(text: str) -> Iterator[str]:
    """A text in parts, none of which ends within a word."""
    start = 0
    while len(text) - start > _BLOCK:
        found = _BLOCK_ENDS.search(text, start + _BLOCK)
        if found is None:
            break
        yield text[start : found.end()]
        start = found.end()
    yield text[start:]


def _words_of_block(text: str) -> list[str]:
    chunks = text.encode("utf-8", "replace").translate(_LOWER_OR_SPACE).decode().split()
    if text.isascii() and max(map(len, chunks), default=0) <= LONGEST_WORD:
        return chunks
    words: list[str] = []
    for chunk in chunks:
        if chunk.isascii():
            words.append(chunk[:LONGEST_WORD])
        elif len(chunk) <= LONGEST_WORD:
            words += _known_words(chunk)
        else:
            words += _words_of_chunk(chunk)
    return words


def _words_of_chunk(chunk: str) -> list[str]:
    """The words between two ASCII characters that separate."""
    folded = _fold(chunk)
    if not _stands_apart(folded):
        return [word[:LONGEST_WORD] for word in folded.split()]
    return [word for run in _RUNS.findall(folded) for word in _words_of_run(run)]


_known_words = lru_cache(maxsize=10_000)(_words_of_chunk)


def _words_of_run(run: str) -> list[str]:
    if is_unspaced(run):
        return [run[at : at + 2] for at in range(len(run))]
    return [run[:LONGEST_WORD]]


def is_unspaced(word: str) -> bool:
    """Whether a word is of a script without spaces: one character, or a pair."""
    return word >= _FIRST_UNSPACED and _begins_unspaced(word) is not None


def _located(text: str, offset: int) -> Iterator[Word]:
    for chunk in _CHUNKS.finditer(text):
        start = offset + chunk.start()
        if chunk[0].isascii():
            word = chunk[0].lower()[:LONGEST_WORD]
            yield Word(word, start, start + len(word))
        else:
            yield from _located_in_chunk(chunk[0], start)


def _located_in_chunk(chunk: str, start: int) -> Iterator[Word]:
    """The words of a chunk that begins at `start`: each folded character knows its place."""
    places = list(_folded_clusters(chunk, start))
    folded = "".join(character for character, _, _ in places)
    for run in _RUNS.finditer(folded):
        first = run.start()
        for number, word in enumerate(_words_of_run(run[0])):
            begin = first + number
            last = begin + len(word) - 1
            yield Word(word, places[begin][1], places[last][2])


def _folded_clusters(chunk: str, offset: int) -> Iterator[tuple[str, int, int]]:
    """Each character of a folded chunk, and the start and end of what it was made of."""
    start = 0
    for end in range(1, len(chunk) + 1):
        if end == len(chunk) or not _continues(chunk[start], chunk[end - 1], chunk[end]):
            for character in _folded_cluster(chunk[start:end]):
                yield character, offset + start, offset + end
            start = end


def _continues(first: str, before: str, character: str) -> bool:
    """Whether a character belongs to those before it, in folding or in drawing."""
    if before == _JOINER and _is_sign(first) and _is_sign(character):
        return True
    return _extends(character) or (before in _STACKERS and is_unspaced(character))


@lru_cache(maxsize=10_000)
def _extends(character: str) -> bool:
    """Whether it is a mark on what stands before it, unseen, or a later part of a syllable."""
    folded = _DROPPED.sub("", unicodedata.normalize("NFKD", character))[:1]
    return not folded or unicodedata.category(folded)[0] == "M" or "\u1160" <= folded < "\u1200"


class _Folding(dict[int, str]):
    """What becomes of a character, for `str.translate`: asked once, then known."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _folded_character(chr(code))
        return folded


def _folded_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if character.isalnum() or category[0] == "M" or _is_sign(character):
        return _LETTERS.get(character, character)
    return " "


_FOLDING = _Folding()


def _fold(text: str) -> str:
    """A text of folded words and spaces, the same for all its normal forms."""
    bare = _DROPPED.sub("", unicodedata.normalize("NFKD", text)).casefold()
    return unicodedata.normalize("NFC", bare).translate(_FOLDING)


_folded_cluster = lru_cache(maxsize=10_000)(_fold)
