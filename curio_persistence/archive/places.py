"""Places of archives: directories and object stores, by `obstore`, which is imported on use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from curio_persistence.errors import (
    AccessDeniedError,
    ConfigurationError,
    InvalidValueError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
)

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_FULL = ("No space left on device", "Disk quota exceeded", "QuotaExceeded")
_DENIED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403 Forbidden")


class Place:
    """A directory, or a prefix of an object store, by its path or URL."""

    def __init__(self, destination: str | os.PathLike[str]) -> None:
        known = isinstance(destination, str | os.PathLike)
        self.name = str(os.fspath(destination)) if known else ""
        if not self.name:
            raise InvalidValueError(
                f"destination is a directory or a URL such as s3://bucket/prefix, not "
                f"{destination!r}.",
                field="destination",
            )
        self._obstore, self._errors = _modules()
        with self._translated():
            self._store = self._open()

    def _open(self) -> Any:
        if "://" not in self.name:
            path = Path(self.name).expanduser().absolute()
            return self._obstore.LocalStore(path, mkdir=True)
        options: dict[str, Any] = {}
        endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
        if self.name.startswith("s3://") and endpoint:
            options["endpoint"] = endpoint
            options["virtual_hosted_style_request"] = False
            options["client_options"] = {"allow_http": endpoint.startswith("http://")}
        return self._obstore.from_url(self.name, **options)

    def put_new(self, path: str, content: bytes) -> bool:
        """Store an object; return False, and change nothing, if one of this name is there."""
        with self._translated():
            try:
                self._store.put(path, content, mode="create")
            except self._errors.AlreadyExistsError:
                return False
        return True

    def get(self, path: str) -> bytes:
        """Return the content of an object; raise NotFoundError if there is none."""
        with self._translated():
            return bytes(self._store.get(path).bytes())

    def delete(self, path: str) -> None:
        """Delete an object; do nothing if there is none."""
        with self._translated(), suppress(self._errors.NotFoundError):
            self._store.delete(path)

    def names(self, folder: str) -> list[str]:
        """Return the names of all objects in a folder, sorted."""
        with self._translated():
            return sorted(each["path"] for some in self._store.list(folder) for each in some)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise errors of ours for those of the library."""
        try:
            yield
        except self._errors.NotFoundError as error:
            raise NotFoundError(
                f"{self.name} has no such bucket or object: {_first_line(error)}."
            ) from error
        except (self._errors.PermissionDeniedError, self._errors.UnauthenticatedError) as error:
            raise self._denied(error) from error
        except (self._errors.BaseError, OSError, ValueError) as error:
            said = str(error)
            if any(word in said for word in _DENIED):
                raise self._denied(error) from error
            if any(word in said for word in _FULL):
                raise StorageFullError(f"{self.name} is full. Free space there.") from error
            raise UnavailableError(
                f"{self.name} cannot be reached, or is not a directory or a URL of an object "
                f"store: {_first_line(error)}."
            ) from error

    def _denied(self, error: Exception) -> AccessDeniedError:
        return AccessDeniedError(
            f"{self.name} refuses access: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the "
            f"rights ({_first_line(error)})."
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200].rstrip(".")


def _modules() -> tuple[Any, Any]:
    try:
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise ConfigurationError(
            f"Archives need obstore ({error}): pip install 'curio-persistence[archive]'"
        ) from error
    return obstore.store, obstore.exceptions
