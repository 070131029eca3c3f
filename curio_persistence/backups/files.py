"""The file of a backup, on a disk or in an object store.

It gets its name when it is complete, and never replaces another one. Beside it is a file
`NAME.sha256` with its hash, which `sha256sum --check` understands.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from glob import escape
from pathlib import Path

from curio_persistence.atomic_files import new_file, telling, whole_file
from curio_persistence.errors import CorruptDatabaseError, InvalidValueError, NotFoundError
from curio_persistence.places import Place

Address = str | os.PathLike[str]
_HASH = ".sha256"
_PART = 4 << 20
_LOGS = ("-wal", "-shm", "-journal")


class BackupFile(ABC):
    """A file by its name, whether it is there or not."""

    def __init__(self, name: str) -> None:
        self.name = name
        """Its path or URL."""

    @abstractmethod
    def draft(self) -> AbstractContextManager[Path]:
        """Yield an empty file to write, which becomes this one when the block has ended well.

        Raises InvalidValueError if this one is there.
        """

    @abstractmethod
    def local(self) -> AbstractContextManager[Path]:
        """Yield the path at which the content can be read."""

    @abstractmethod
    def _content(self) -> Iterator[bytes]:
        """Yield the content, in parts."""

    @abstractmethod
    def _noted(self) -> bytes | None:
        """Return the content of the file with the hash; None if there is none."""

    @abstractmethod
    def _note(self, content: bytes) -> None:
        """Store the file with the hash."""

    def check_and_note(self, digest: str) -> None:
        """Read the content back, and store its hash if it is this one."""
        self._compare(digest_of(self._content()), digest)
        name = self.name.rpartition("/")[2]
        self._note(f"{digest}  {name}\n".encode())

    def check(self, path: Path) -> str | None:
        """Compare the content, read at a path, with its hash, and return that; None without one."""
        noted = self._noted()
        if noted is None:
            return None
        digest = noted.split(b" ")[0].decode(errors="replace")
        self._compare(digest_of(parts_of(path)), digest)
        return digest

    def _compare(self, found: str, digest: str) -> None:
        if found != digest:
            raise CorruptDatabaseError(
                f"{self.name} is damaged: it is not what was stored there. Take another backup."
            )


class LocalFile(BackupFile):
    """A file on a disk."""

    def __init__(self, path: Path, like: str = "") -> None:
        super().__init__(str(path))
        self._path = path
        self._like = like
        self._hash = path.with_name(path.name + _HASH)

    def draft(self) -> AbstractContextManager[Path]:
        return new_file(self._path, like=self._like)

    @contextmanager
    def local(self) -> Iterator[Path]:
        if not self._path.exists():
            raise NotFoundError(f"There is no backup {self.name}.")
        if self._path.is_dir():
            names = sorted(each.name for each in self._path.iterdir() if each.suffix != _HASH)
            raise _names_a_folder(self.name, names)
        yield self._path

    def _content(self) -> Iterator[bytes]:
        return parts_of(self._path)

    def _noted(self) -> bytes | None:
        return self._hash.read_bytes() if self._hash.exists() else None

    def _note(self, content: bytes) -> None:
        with whole_file(self._hash, overwrite=True) as file:
            file.write(content)


class StoredFile(BackupFile):
    """An object in an object store."""

    def __init__(self, folder: str, name: str) -> None:
        super().__init__(f"{folder}/{name}")
        self._place = Place(folder)
        self._key = name

    @contextmanager
    def draft(self) -> Iterator[Path]:
        if self._place.has(self._key):
            raise InvalidValueError(
                f"{self.name} is there already, and is not replaced: choose another name.",
                field="destination",
            )
        with _empty_file(self._key) as path:
            yield path
            self._place.put_file(self._key, path)

    @contextmanager
    def local(self) -> Iterator[Path]:
        if not self._key:
            names = [name for name in self._place.names("") if not name.endswith(_HASH)]
            raise _names_a_folder(self.name, names)
        with _empty_file(self._key) as path:
            with path.open("wb") as file:
                for part in self._content():
                    file.write(part)
            yield path

    def _content(self) -> Iterator[bytes]:
        return self._place.read(self._key)

    def _noted(self) -> bytes | None:
        try:
            return self._place.get(self._key + _HASH)
        except NotFoundError:
            return None

    def _note(self, content: bytes) -> None:
        self._place.delete(self._key + _HASH)  # What a deleted backup of this name left.
        self._place.put_new(self._key + _HASH, content)


@contextmanager
def _empty_file(name: str) -> Iterator[Path]:
    """Yield a private file in a temporary directory."""
    from tempfile import TemporaryDirectory  # On use: the import takes longer than this module's.

    with TemporaryDirectory(prefix="curio-backup-") as folder:
        path = Path(folder, name)
        path.touch(mode=0o600)
        yield path


def new_backup(destination: Address, name: str, time: str, ending: str) -> BackupFile:
    """Return the file for a new backup: `destination` itself, or one in it, named by these.

    It is the file itself if its last part has an ending, such as `.db`, and is no directory.
    """
    given = _text(destination)
    folder, last = _parted(given)
    is_file = bool(Path(last).suffix)
    if "://" in given:
        own = f"{name}-{time}{ending}"
        return StoredFile(folder, last) if is_file else StoredFile(given.rstrip("/"), own)
    path = Path(given).expanduser()
    if is_file and not path.is_dir():
        return LocalFile(_unless_a_log(path))
    with telling(path):
        path.mkdir(parents=True, exist_ok=True)
    return LocalFile(path / f"{name}-{time}{ending}", f"{escape(name)}-*{ending}")


def _unless_a_log(path: Path) -> Path:
    """Return the path of a file, unless SQLite would take that for a log."""
    if path.name.endswith(_LOGS):
        raise InvalidValueError(
            f"{path} is the name of a log of SQLite: choose another name.", field="destination"
        )
    return path


def backup_at(source: Address) -> BackupFile:
    """Return the file of a stored backup."""
    given = _text(source)
    if "://" not in given:
        return LocalFile(Path(given).expanduser())
    folder, last = _parted(given)
    return StoredFile(folder, last) if Path(last).suffix else StoredFile(given.rstrip("/"), "")


def _text(address: Address) -> str:
    """Return a path or URL as it was given."""
    given = os.fspath(address) if isinstance(address, str | os.PathLike) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise InvalidValueError(
            "A backup has the name of a file, a directory, or the URL of an object store.",
            field="destination",
        )
    return given


def _parted(url: str) -> tuple[str, str]:
    """Split a path or URL into its folder and its last part; a bucket is no last part."""
    scheme, separator, rest = url.rpartition("://")
    folder, slash, last = rest.rpartition("/")
    if separator and not slash:
        return url, ""
    return f"{scheme}{separator}{folder}", last


def _names_a_folder(name: str, names: list[str]) -> InvalidValueError:
    newest = f", such as {names[-1]}" if names else ": there is none"
    return InvalidValueError(
        f"{name} is no backup: name one that is in it{newest}.", field="source"
    )


def parts_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, from the disk where the system allows that."""
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while part := file.read(_PART):
            yield part


def digest_of(parts: Iterable[bytes]) -> str:
    """Return the SHA-256 of some content, as hexadecimal digits."""
    from hashlib import sha256  # On use: the import takes longer than that of this module.

    digest = sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
