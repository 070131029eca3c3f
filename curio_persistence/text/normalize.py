"""Fold and split text beyond ASCII; imported for the first such text, because that is slow."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_LONGEST_KNOWN = 64
"""Pieces of up to so many characters come again, and are remembered."""

# Only characters that stay in a folded text.
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
"""Joiners: the character after one is drawn below the character before it."""

# Characters that folding removes: accents (the breve see below), the points of Hebrew and Arabic,
# invisible hyphens and joiners, marks of direction, variants, colours of skin.
_DROPPED = re.compile(
    "[\u00ad\u0300-\u0305\u0307-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a"
    "\u061c\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff"
    "\U000e0100-\U000e01ef]+"
)

# Letters whose accent Unicode does not take apart; those that have a breve (with й and ў it is
# not an accent); those that keyboards confuse, such as apostrophes and similar marks.
_LETTERS = {
    "æ": "ae", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "œ": "oe", "þ": "th",
    "ŧ": "t", "ă": "a", "ĕ": "e", "ğ": "g", "ĭ": "i", "ŏ": "o", "ŭ": "u", "ᾰ": "α", "ῐ": "ι",
    "ῠ": "υ", "ӑ": "а", "ӗ": "е", "ӂ": "ж", "\u0306": "", "ة": "ه", "ى": "ي", "ی": "ي", "ک": "ك",
    "ٱ": "ا", "ʼ": " ", "ʻ": " ",
}  # fmt: skip

_SIGN = f"{_PICTURE}{_FLAG_LETTER}{_TAG}"
_APART = f"{_UNSPACED}{_SIGN}"
_is_sign = re.compile(f"[{_SIGN}]").match
_begins_unspaced = re.compile(f"[{_UNSPACED}]").match
_stands_apart = re.compile(f"[{_APART}]").search
_RUNS = re.compile(rf"[^ {_APART}]+|[{_UNSPACED}]+|[{_FLAG_LETTER}]{{1,2}}|[{_PICTURE}][{_TAG}]*")


def split_words(chunk: str, longest: int) -> list[str]:
    """Return the words of a chunk of text, each cut to `longest` characters."""
    return (_split_known if len(chunk) <= _LONGEST_KNOWN else _split)(chunk, longest)


def _split(chunk: str, longest: int) -> list[str]:
    folded = _fold(chunk)
    if not _stands_apart(folded):
        return [word[:longest] for word in folded.split()]
    return [word for run in _RUNS.findall(folded) for word in _split_run(run, longest)]


_split_known = lru_cache(maxsize=10_000)(_split)


def _split_run(run: str, longest: int) -> list[str]:
    if is_unspaced(run):
        return [run[at : at + 2] for at in range(len(run))]
    return [run[:longest]]


def is_unspaced(word: str) -> bool:
    """Return whether a folded word is of a script without spaces: one character, or a pair."""
    return word >= _FIRST_UNSPACED and _begins_unspaced(word) is not None


def split_with_offsets(chunk: str, longest: int) -> Iterator[tuple[str, int, int]]:
    """Return the same words with their offsets, from those of each folded character."""
    places = list(_folded_clusters(chunk))
    folded = "".join(character for character, _, _ in places)
    for run in _RUNS.finditer(folded):
        for first, word in enumerate(_split_run(run[0], longest), run.start()):
            yield word, places[first][1], places[first + len(word) - 1][2]


def _folded_clusters(chunk: str) -> Iterator[tuple[str, int, int]]:
    """Yield each folded character, and the start and end of the original it was made from."""
    start = 0
    for end in range(1, len(chunk) + 1):
        if end == len(chunk) or not _continues(chunk[start], chunk[end - 1], chunk[end]):
            for character in _folded_cluster(chunk[start:end]):
                yield character, start, end
            start = end


def _continues(first: str, before: str, character: str) -> bool:
    """Return whether a character belongs to those before it, in folding or in drawing."""
    if before == _JOINER and _is_sign(first) and _is_sign(character):
        return True
    return _extends(character) or (before in _STACKERS and is_unspaced(character))


@lru_cache(maxsize=10_000)
def _extends(character: str) -> bool:
    """Return whether a character is a combining mark, invisible, or a later part of a syllable."""
    folded = _DROPPED.sub("", unicodedata.normalize("NFKD", character))[:1]
    return not folded or unicodedata.category(folded)[0] == "M" or "\u1160" <= folded < "\u1200"


class _Folding(dict[int, str]):
    """The folded form of each character, for `str.translate`: computed once, then cached."""

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
    """Return a text of folded words and spaces, the same for all its normal forms."""
    bare = _DROPPED.sub("", unicodedata.normalize("NFKD", text)).casefold()
    return unicodedata.normalize("NFC", bare).translate(_FOLDING)


_folded_cluster = lru_cache(maxsize=10_000)(_fold)
