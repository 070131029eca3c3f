"""Models that turn texts into vectors: a callable of the user's, or the small one of wordllama."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from curio_persistence.concurrency import forking
from curio_persistence.errors import ConfigurationError, InvalidValueError, UnavailableError
from curio_persistence.store.codecs import to_unicode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

Embed = Callable[[list[str]], Any]
"""Returns a vector for each text, which is valid Unicode: rows of an array, or lists of numbers.

The attribute `name` is the name of its model; without one it is `module:function`.
"""
EmbedLike = Embed | str | None
"""A callable, where it is found as `module:callable`, or None for the model of wordllama."""

DEFAULT = "wordllama-l2-supercat-256"
_MOST_NUMBERS = 16_384
_LONGEST_NAME = 200
_AT_ONCE = 256
"""Texts that a callable is given at a time."""


def numpy() -> Any:
    """Return the module; raises ConfigurationError where it is not installed."""
    try:
        import numpy
    except ImportError as error:
        raise _missing("numpy", error) from error
    return numpy


def _missing(package: str, error: ImportError) -> ConfigurationError:
    return ConfigurationError(
        f"Similarity needs {package} ({error}): pip install 'curio-persistence[similar]'"
    )


class Model(forking.Forkable):
    """A model with its name. One thread at a time uses it; it is loaded when it is first used."""

    def __init__(self, embed: EmbedLike = None) -> None:
        if embed is not None and not callable(embed) and not isinstance(embed, str):
            raise ConfigurationError(
                "embed is a callable that turns a list of texts into vectors, or 'module:callable' "
                f"(CURIO_EMBED), not {type(embed).__name__}."
            )
        self._given = embed
        self._embed: Embed | None = embed if callable(embed) else None
        self._lock = Lock()
        forking.follow(self)

    def start_again(self) -> None:
        self._lock = Lock()

    @property
    def name(self) -> str:
        """The name under which its vectors are stored."""
        return DEFAULT if self._given is None else _name_of(self._loaded())

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return a row for each text: its vector, of length 1; zeros for a text without meaning.

        Raise UnavailableError if the model fails, and InvalidValueError if it returns anything but
        a vector of finite numbers for each text.
        """
        parts = [self._some(texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE)]
        if len({part.shape[1] for part in parts}) > 1:
            raise self._refusal("returned vectors of several dimensions")
        np = numpy()
        joined: Vectors = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
        return joined

    def _some(self, texts: Sequence[str]) -> Vectors:
        embed = self._loaded()
        try:
            with self._lock:
                returned = embed([to_unicode(text) for text in texts])
        except Exception as error:
            raise UnavailableError(
                f"The model {self.name} has failed: {type(error).__name__}: {error}. Nothing of "
                "these texts is stored; the next call tries again."
            ) from error
        return self._checked(returned, len(texts))

    def _checked(self, returned: Any, count: int) -> Vectors:
        np = numpy()
        try:
            vectors = np.asarray(returned, dtype=np.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise self._refusal(f"returned a value that is no array of numbers: {error}") from error
        if vectors.ndim != 2 or len(vectors) != count:
            shape = " × ".join(map(str, vectors.shape)) or "a single number"
            raise self._refusal(f"returned {shape} for {count} texts, not one vector for each")
        try:
            return unit(vectors)
        except ValueError as error:
            raise self._refusal(f"returned a vector that {error}") from error

    def _refusal(self, what: str) -> InvalidValueError:
        return InvalidValueError(f"The model {self.name} {what}.", field="embed")

    def _loaded(self) -> Embed:
        if self._embed is None:
            self._embed = _wordllama() if self._given is None else _found(str(self._given))
        return self._embed


def unit(vectors: Any) -> Vectors:
    """Return rows of numbers as vectors of length 1; raise ValueError for what cannot be one."""
    np = numpy()
    if not 0 < vectors.shape[1] <= _MOST_NUMBERS:
        raise ValueError(f"has {vectors.shape[1]} numbers, not 1 to {_MOST_NUMBERS:,}")
    if not np.isfinite(vectors).all():
        raise ValueError("has numbers that are not finite (NaN or infinity)")
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    scaled = vectors / np.where(largest > 0, largest, 1)  # The squares could overflow.
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    units: Vectors = (scaled / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return units


def _name_of(embed: Embed) -> str:
    name = getattr(embed, "name", None)
    if name is None:
        module, function = (getattr(embed, each, "") for each in ("__module__", "__qualname__"))
        is_found_there = module and all(map(str.isidentifier, function.split(".")))
        name = f"{module}:{function}" if is_found_there else None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise ConfigurationError(
            f"embed has no name by which its vectors are told apart from others: set its attribute "
            f"`name` to a text of at most {_LONGEST_NAME} characters."
        )
    return name


def _found(place: str) -> Embed:
    """Return the callable at `module:callable`."""
    module, _, name = place.partition(":")
    found: Any = None
    try:
        if module and name:
            found = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
    except Exception as error:  # Whatever a module of the user's raises when it is imported.
        raise ConfigurationError(f"There is no {place} for embeddings: {error}.") from error
    if not callable(found):
        raise ConfigurationError(
            f"embed is 'module:callable', such as my_models:embed (CURIO_EMBED), not {place!r}."
        )
    embed: Embed = found
    return embed


def _wordllama() -> Embed:
    """Return the model that is part of wordllama's package; nothing is downloaded."""
    numpy()
    try:
        import wordllama
    except ImportError as error:
        raise _missing("wordllama", error) from error
    # Its loader looks in `tokenizer/`, but the package has `tokenizers/`, as a cache has.
    folder = Path(wordllama.__file__).parent
    try:
        model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"wordllama has no model in its package ({error}): pip install --force-reinstall "
            "'curio-persistence[similar]', or give a model of your own as embed=."
        ) from error
    return lambda texts: model.embed(texts)


def vector_of(given: Any) -> Vectors:
    """Return a vector that a caller gave; raise InvalidValueError for what is none."""
    np = numpy()
    numbers = None
    with suppress(TypeError, ValueError, RuntimeError):
        numbers = np.asarray(given, dtype=np.float64)
    if numbers is None or numbers.ndim != 1:
        raise InvalidValueError(
            f"A vector is a list or an array of numbers, not {type(given).__name__}.", field="to"
        )
    return _direction(numbers)


def _direction(numbers: Any) -> Vectors:
    try:
        [vector] = unit(numbers[None])
    except ValueError as error:
        raise InvalidValueError(f"The vector {error}.", field="to") from error
    if not vector.any():
        raise InvalidValueError("The vector has only zeros: nothing is similar to it.", field="to")
    direction: Vectors = vector
    return direction
