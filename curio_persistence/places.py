"""Directories and object stores, by `obstore`, which is imported on use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from curio_persistence.clock import utc_now
from curio_persistence.concurrency import forking
from curio_persistence.errors import (
    AccessDeniedError,
    ConfigurationError,
    InvalidValueError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
    UnsupportedError,
)

_PART = 5 << 20
"""The bytes of a part, of which S3 takes no fewer."""
_MOST_PARTS = 9_000
"""S3 takes 10,000."""
_SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_FULL = ("No space left on device", "Disk quota exceeded", "QuotaExceeded")
_NO_BUCKET = "NoSuchBucket"
_SENTENCE = re.compile(r"<Message>([^<]+)</Message>")
"""The message in the XML of a server's answer."""
_PATIENCE = timedelta(seconds=60)
"""For how long a request is repeated that a server answers with an error, or not at all."""
_DENIED = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "403 Forbidden",
    "Permission denied",
)
_threads_of = 0
"""In which process, by `forking.generation`, obstore has started its threads; 0 in none."""


class Found(NamedTuple):
    """An object: its name, its size in bytes, and when it was stored."""

    path: str
    size: int
    modified: datetime


class Place:
    """A directory, or a prefix of an object store, by its path or URL.

    A directory is made when the first object is stored. In the child of a fork directories are
    read as before; what needs the threads of obstore, which its parent has, is refused there.
    """

    def __init__(self, destination: str | os.PathLike[str]) -> None:
        known = isinstance(destination, str | os.PathLike)
        given = str(os.fspath(destination)) if known else ""
        self._directory: Path | None = None
        if "://" not in given and _is_path(given):
            self._directory = Path(given).expanduser().absolute()
        elif not _is_address(given):
            raise InvalidValueError(
                "destination is a directory, or a URL of an object store without a password, such "
                f"as s3://bucket/prefix ({', '.join(_SCHEMES)}), not {type(destination).__name__}.",
                field="destination",
            )
        self.name = given.rstrip("/") if self._directory is None else str(self._directory)
        self._obstore, self._errors = _modules()

    @property
    def _store(self) -> Any:
        """Return what obstore opened; its calls would never return in the child of a fork."""
        global _threads_of
        _threads_of = _threads_of or forking.generation
        if _threads_of != forking.generation:
            raise UnsupportedError(
                f"{self.name} cannot be used here: this process was forked from one that has used "
                "a directory or an object store. Start it another way (spawn), or fork before that."
            )
        return self._opened

    @cached_property
    def _opened(self) -> Any:
        if self._directory is not None:
            return self._obstore.LocalStore(self._directory, mkdir=True)
        options: dict[str, Any] = {"retry_config": {"retry_timeout": _PATIENCE}}
        endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
        if self.name.startswith("s3://") and endpoint:
            options["endpoint"] = endpoint
            options["virtual_hosted_style_request"] = False
            options["client_options"] = {"allow_http": endpoint.startswith("http://")}
        return self._obstore.from_url(self.name, **options)

    @property
    def _is_missing(self) -> bool:
        return self._directory is not None and not self._directory.exists()

    def put_new(self, path: str, content: bytes) -> bool:
        """Store an object; return False, and change nothing, if one of this name is there."""
        with self._translated():
            try:
                self._store.put(path, content, mode="create")
            except self._errors.AlreadyExistsError:
                return False
        return True

    def put_file(self, path: str, file: Path) -> None:
        """Store the content of a file, in parts if it is large: the object is there at the end."""
        with self._translated():
            size = max(_PART, file.stat().st_size // _MOST_PARTS + 1)
            self._store.put(path, file, chunk_size=size)

    def has(self, path: str) -> bool:
        """Return whether there is an object of this name."""
        if self._directory is not None:
            return (self._directory / path).is_file()
        with self._translated():
            try:
                self._store.head(path)
            except (self._errors.NotFoundError, FileNotFoundError):
                return False
        return True

    def get(self, path: str) -> bytes:
        """Return the content of an object; raise NotFoundError if there is none."""
        if self._is_missing:
            raise NotFoundError(f"{self.name} does not exist.")
        with self._translated():
            if self._directory is not None:
                return (self._directory / path).read_bytes()
            return bytes(self._store.get(path).bytes())

    def local_path(self, path: str) -> Path | None:
        """Return the path of an object in a directory; None in an object store."""
        return None if self._directory is None else self._directory / path

    def read(self, path: str) -> Iterator[bytes]:
        """Yield the content of an object, some megabytes at a time."""
        with self._translated():
            for part in self._store.get(path).stream(min_chunk_size=_PART):
                yield bytes(part)

    def delete(self, path: str) -> None:
        """Delete an object; do nothing if there is none."""
        with self._translated():
            try:
                self._store.delete(path)
            except (self._errors.NotFoundError, FileNotFoundError):
                return

    def put(self, path: str, content: bytes) -> None:
        """Store an object in place of an earlier one of its name."""
        with self._translated():
            self._store.put(path, content)

    def names(
        self, folder: str, *, older_than: timedelta | None = None, after: str = ""
    ) -> list[str]:
        """Return the names of the objects in a folder, sorted.

        With `older_than` they are those that are so old, and with `after` those behind this name.
        """
        found = self.objects(folder, after=after)
        if older_than is not None:
            found = [each for each in found if utc_now() - each.modified > older_than]
        return [each.path for each in found]

    def objects(self, folder: str, *, after: str = "") -> list[Found]:
        """Return the objects in a folder, by their names."""
        if self._is_missing:
            return []
        with self._translated():
            # To list a directory obstore needs no thread.
            store = self._store if self._directory is None else self._opened
            pages = store.list(folder, offset=after or None)
            found = [
                Found(each["path"], each["size"], each["last_modified"]) for each in chain(*pages)
            ]
        return sorted(found)

    def folders(self) -> list[str]:
        """Return the names of the folders at the top."""
        if self._is_missing:
            return []
        with self._translated():
            if self._directory is not None:
                return sorted(each.name for each in self._directory.iterdir() if each.is_dir())
            return sorted(self._store.list_with_delimiter()["common_prefixes"])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise errors of ours for those of the library."""
        try:
            yield
        except (self._errors.NotFoundError, FileNotFoundError) as error:
            raise self._missing(error) from error
        except (
            self._errors.PermissionDeniedError,
            self._errors.UnauthenticatedError,
            PermissionError,
        ) as error:
            raise self._denied(error) from error
        except (self._errors.BaseError, OSError, ValueError, NotImplementedError) as error:
            said = str(error)
            if any(word in said for word in _DENIED):
                raise self._denied(error) from error
            if _NO_BUCKET in said:
                raise self._missing(error) from error
            if any(word in said for word in _FULL):
                raise StorageFullError(f"{self.name} is full. Free space there.") from error
            raise UnavailableError(
                f"{self.name} cannot be reached, or is not a directory or an object store: "
                f"{_first_line(error)}."
            ) from error

    def _missing(self, error: Exception) -> NotFoundError:
        if _NO_BUCKET in str(error):
            return NotFoundError(f"{self.name} has no such bucket: make it first.")
        return NotFoundError(f"{self.name} has no such bucket or object.")

    def _denied(self, error: Exception) -> AccessDeniedError:
        check = "the rights of the directory" if self._directory else "AWS_ACCESS_KEY_ID and so on"
        return AccessDeniedError(
            f"{self.name} refuses access: check {check} ({_first_line(error)})."
        )


def _is_path(text: str) -> bool:
    """Return whether a text can be the path of a directory, and be stored."""
    try:
        return bool(text) and b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _is_address(text: str) -> bool:
    """Return whether a text is the URL of an object store, without a secret in it."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in _SCHEMES and bool(parts.netloc) and plain


def _first_line(error: Exception) -> str:
    """Return what an error says, of a server's answer only its sentence for people."""
    if found := _SENTENCE.search(str(error)):
        return found[1].rstrip(".")
    line = str(error).strip().split("\n")[0]
    if "Error performing" in line:
        line = line.rpartition(" - ")[2]
    return line[:200].rstrip(".: ")


def _modules() -> tuple[Any, Any]:
    try:
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise ConfigurationError(
            f"Archives and object stores need obstore ({error}): "
            "pip install 'curio-persistence[archive]'"
        ) from error
    return obstore.store, obstore.exceptions
