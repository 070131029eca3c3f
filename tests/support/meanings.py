"""A model for tests: texts mean much the same if they share words of a small vocabulary."""

from __future__ import annotations

import threading

WORDS = ("rate", "limit", "slow", "timeout", "network", "flight", "hotel", "poem")
_SAME = {"throttled": "rate", "429": "rate", "quota": "limit", "plane": "flight", "verse": "poem"}


class Meanings:
    """Turns texts into vectors that count words; `seen` are the texts that it was given."""

    def __init__(self, name: str = "meanings", extra: int = 0) -> None:
        self.name = name
        self.seen: list[str] = []
        self._extra = extra
        self._lock = threading.Lock()

    def __call__(self, texts: list[str]) -> list[list[float]]:
        with self._lock:
            self.seen += texts
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> list[float]:
        words = [_SAME.get(word, word) for word in text.lower().split()]
        return [float(words.count(word)) for word in WORDS] + [0.0] * self._extra

    @staticmethod
    def sized(texts: list[str]) -> list[list[float]]:
        """Turn texts into vectors of their lengths."""
        return [[float(len(text)), 1.0] for text in texts]


def embed(texts: list[str]) -> list[list[float]]:
    """A function that CURIO_EMBED can name."""
    return Meanings()(texts)
