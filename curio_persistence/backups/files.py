"""The file of a backup, on a disk or in an object store.

It gets its name when it is complete, and never replaces another one. Beside it is a file
`NAME.sha256` with its hash, which `sha256sum --check` understands. That is stored first: a backup
has a hash from its first moment.
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
    def note(self, digest: str) -> None:
        """Store the file with the hash, before this one is there.

        Raises InvalidValueError if it is: the hash beside it may be another one.
        """

    @abstractmethod
    def _read(self, ending: str = "") -> Iterator[bytes]:
        """Yield the content, or with `_HASH` that of the file with the hash, in parts."""

    @abstractmethod
    def _delete(self) -> None:
        """Delete it and the file with the hash."""

    def check(self, parts: Iterable[bytes]) -> str | None:
        """Compare the content with its hash, and return that; None without one."""
        try:
            noted = b"".join(self._read(_HASH))
        except (FileNotFoundError, NotFoundError):
            return None
        digest = noted.split(b" ")[0].decode(errors="replace")
        if digest_of(parts) != digest:
            raise CorruptDatabaseError(
                f"{self.name} is damaged: it is not what was stored there. Take another backup."
            )
        return digest

    def read_back(self) -> None:
        """Compare what was stored with its hash; delete it if it is damaged."""
        try:
            self.check(self._read())
        except CorruptDatabaseError as error:
            self._delete()
            raise CorruptDatabaseError(
                f"{self.name} was read back otherwise than it was written, and is deleted again: "
                "check the disk there, or choose another one."
            ) from error

    def _hash_line(self, digest: str) -> bytes:
        """Return a line as `sha256sum` writes it."""
        return f"{digest}  {self.name.rpartition('/')[2]}\n".encode()


class LocalFile(BackupFile):
    """A file on a disk."""

    def __init__(self, path: Path, like: str = "") -> None:
        super().__init__(str(path))
        self._path = path
        self._like = like

    def draft(self) -> AbstractContextManager[Path]:
        return new_file(self._path, like=self._like)

    @contextmanager
    def local(self) -> Iterator[Path]:
        if not self._path.exists():
            raise _is_missing(self.name)
        if self._path.is_dir():
            raise _names_a_folder(self.name, self._newest())
        yield self._path

    def _newest(self) -> str | None:
        """Return the name of the backup in this directory that was written last."""
        files = [each for each in self._path.iterdir() if _may_be_one(each.name) and each.is_file()]
        return max(files, key=lambda each: each.stat().st_mtime).name if files else None

    def note(self, digest: str) -> None:
        if os.path.lexists(self._path):
            raise _is_there(self.name)
        with whole_file(self._beside(_HASH), overwrite=True) as file:
            file.write(self._hash_line(digest))

    def _read(self, ending: str = "") -> Iterator[bytes]:
        return parts_of(self._beside(ending))

    def _delete(self) -> None:
        for ending in ("", _HASH):
            self._beside(ending).unlink(missing_ok=True)

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)


class StoredFile(BackupFile):
    """An object in an object store."""

    def __init__(self, folder: str, name: str) -> None:
        super().__init__(f"{folder}/{name}")
        self._place = Place(folder)
        self._key = name

    @contextmanager
    def draft(self) -> Iterator[Path]:
        self._refuse_if_there()
        with _empty_file(self._key) as path:
            yield path
            self._place.put_file(self._key, path)

    def _refuse_if_there(self) -> None:
        if self._place.has(self._key):
            raise _is_there(self.name)

    @contextmanager
    def local(self) -> Iterator[Path]:
        if not self._key:
            raise _names_a_folder(self.name, self._newest())
        if not self._place.has(self._key):
            raise _is_missing(self.name)
        with _empty_file(self._key) as path:
            with path.open("wb") as file:
                for part in self._read():
                    file.write(part)
            yield path

    def _newest(self) -> str | None:
        """Return the name of the backup in this folder that was stored last."""
        found = [each for each in self._place.objects("") if _may_be_one(each.path)]
        return max(found, key=lambda each: each.modified).path if found else None

    def note(self, digest: str) -> None:
        self._refuse_if_there()
        self._place.put(self._key + _HASH, self._hash_line(digest))

    def _read(self, ending: str = "") -> Iterator[bytes]:
        return self._place.read(self._key + ending)

    def _delete(self) -> None:
        for ending in ("", _HASH):
            self._place.delete(self._key + ending)


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

    It is the file itself if its last part has an ending, such as `.db`, and is not a directory.
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
    if not isinstance(given, str) or not given or not _is_name(given):
        raise InvalidValueError(
            "A backup has the name of a file, a directory, or the URL of an object store.",
            field="destination",
        )
    return given


def _is_name(text: str) -> bool:
    """Return whether a file can have this name."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _parted(url: str) -> tuple[str, str]:
    """Split a path or URL into its folder and its last part, which a bucket is not."""
    scheme, separator, rest = url.rpartition("://")
    folder, slash, last = rest.rpartition("/")
    if separator and not slash:
        return url, ""
    return f"{scheme}{separator}{folder}", last


def _may_be_one(name: str) -> bool:
    """Return whether a file of this name may be a backup: no hash, no log, and not hidden."""
    return not name.startswith(".") and not name.endswith((_HASH, *_LOGS))


def _names_a_folder(name: str, newest: str | None) -> InvalidValueError:
    example = ": there is none" if newest is None else f", such as {newest}"
    return InvalidValueError(
        f"{name} is not a backup: name one that is in it{example}.", field="source"
    )


def _is_there(name: str) -> InvalidValueError:
    return InvalidValueError(
        f"{name} is there already, and is not replaced: choose another name.", field="destination"
    )


def _is_missing(name: str) -> NotFoundError:
    return NotFoundError(f"The backup {name} does not exist.")


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
