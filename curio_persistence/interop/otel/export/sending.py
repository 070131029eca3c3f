"""POST bodies of OTLP: compressed, within a time, again while the receiver asks for patience."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from math import isfinite
from random import uniform
from threading import Event
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from curio_persistence.errors import (
    AccessDeniedError,
    ConfigurationError,
    InvalidValueError,
    UnavailableError,
)

_PATH = "/v1/traces"
_AGAIN = frozenset({408, 425, 429})
"""Statuses below 500 after which a retry may help."""
_DENIED = frozenset({401, 403})
TOO_LARGE = 413
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_MOST_READ = 65_536
"""Bytes of an answer that are read."""
_TYPE = "application/x-protobuf"
_ADVICE = {
    404: "is that the URL of an OTLP receiver? Give the part before /v1/traces",
    405: "is that the URL of an OTLP receiver? Give the part before /v1/traces",
    415: "it does not take OTLP in protobuf there",
}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Answer(NamedTuple):
    """What a receiver made of a body: how many spans it rejected, and why."""

    rejected: int = 0
    message: str = ""


class TooLargeError(Exception):
    """The receiver takes no body of this size."""


class _AgainError(Exception):
    """A failure that a retry may mend, after so many seconds if the receiver told."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


def traces_url(url: str) -> str:
    """Return the URL to which traces are sent: with `/v1/traces`, unless it ends in `/traces`."""
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except (ValueError, AttributeError, TypeError):
        raise _refusal(url) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
        raise _refusal(url)
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise _refusal(url)
    if parts.username is not None or parts.password is not None:
        raise InvalidValueError(
            "url may not have a password in it: pass headers, such as Authorization.", field="url"
        )
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith("/traces") else path + _PATH))


def _refusal(url: Any) -> InvalidValueError:
    told = repr(url)[:80] if not isinstance(url, str) or "@" not in url else "this one"
    return InvalidValueError(f"url is one such as http://127.0.0.1:4318, not {told}.", field="url")


def checked_headers(headers: Any) -> dict[str, str]:
    """Return headers of a request; raise InvalidValueError, without their values, for others."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise InvalidValueError("headers is a mapping of names to text.", field="headers")
    for name, value in headers.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise InvalidValueError(f"{name!r:.80} is no name of a header.", field="headers")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            raise InvalidValueError(
                f"The value of the header {name} is not printable ASCII text.", field="headers"
            )
    return dict(headers)


def checked_seconds(name: str, value: Any) -> float:
    """Return a time in seconds above 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not isfinite(value) or value <= 0:
        raise InvalidValueError(f"{name} is a number of seconds, not {value!r:.80}.", field=name)
    return float(value)


def _warn(text: str) -> None:
    import logging  # On use: the import is slow.

    logging.getLogger("curio_persistence.otlp").warning(text)


class Sender:
    """Sends one body after the other to one URL, over one connection.

    A body that is not taken is sent again for `retry_for` seconds, with growing pauses, or those of
    Retry-After. Redirects are not followed. When `stop` is set, nothing is waited for any more.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, timeout: float, retry_for: float, stop: Event
    ) -> None:
        self._url = url
        self.place = place_of(url)
        self._headers = {
            "User-Agent": "curio-persistence",
            **headers,
            "Content-Type": _TYPE,
            "Content-Encoding": "gzip",
        }
        self._urllib3 = _urllib3()
        self._answers = _answers()
        self._pool = self._urllib3.PoolManager(
            num_pools=1, maxsize=1, retries=False, timeout=self._urllib3.Timeout(total=timeout)
        )
        self._retry_for = retry_for
        self._stop = stop
        self._not_before = 0.0

    def send(self, body: bytes) -> tuple[Answer, int]:
        """Send a body until it is taken; return the answer, and how many bytes were sent."""
        packed = gzip.compress(body, 3, mtime=0)
        until, pause = time.monotonic() + self._retry_for, _FIRST_PAUSE
        self._wait(self._not_before - time.monotonic(), until, "it asked to be left alone")
        while True:
            try:
                return self._attempt(packed), len(packed)
            except _AgainError as error:
                wait = pause * uniform(0.5, 1) if error.after is None else error.after
                self._not_before = time.monotonic() + wait
                if pause == _FIRST_PAUSE and wait < until - time.monotonic():
                    _warn(f"{self.place} did not take the spans: {error}. It is asked again.")
                self._wait(wait, until, str(error))
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _wait(self, seconds: float, until: float, why: str) -> None:
        """Wait before another attempt; raise UnavailableError if there is no time for it."""
        if seconds <= 0:
            return
        left = until - time.monotonic()
        if seconds < left and not self._stop.wait(seconds):
            return
        later = f" It may be asked again in {seconds:.0f} seconds." if seconds >= left else ""
        raise UnavailableError(f"{self.place} did not take the spans: {why}.{later}")

    def _attempt(self, packed: bytes) -> Answer:
        failures = self._urllib3.exceptions
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=packed,
                headers=self._headers,
                redirect=False,
                preload_content=False,
            )
            body = response.read(_MOST_READ)
            response.drain_conn() if len(body) < _MOST_READ else response.close()
        except failures.SSLError as error:
            raise ConfigurationError(f"{self.place}: TLS failed: {_root(error)}.") from error
        except (failures.HTTPError, OSError) as error:
            raise _AgainError(f"no answer ({type(error).__name__})") from error
        return self._read(response.status, response.headers, body)

    def _read(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        if 200 <= status < 300:
            return self._partial_success(headers.get("Content-Type") or "", body)
        if status == TOO_LARGE:
            raise TooLargeError(f"{self.place} answered 413: it takes no body of this size")
        said = _printable(body)
        told = f"the answer was {status}{said and f' ({said})'}"
        if status >= 500 or status in _AGAIN:
            raise _AgainError(told, _seconds_of(headers.get("Retry-After")))
        if status in _DENIED:
            raise AccessDeniedError(
                f"{self.place}: {told}: pass the key as a header, such as Authorization."
            )
        if 300 <= status < 400:
            advice = "redirects are not followed: give the URL where they lead"
        else:
            advice = _ADVICE.get(status, "the receiver refuses the request")
        raise ConfigurationError(f"{self.place}: {told}: {advice}.")

    def _partial_success(self, content_type: str, body: bytes) -> Answer:
        """Return what an answer tells; one that cannot be read tells of no rejections."""
        with suppress(Exception):  # Whatever protobuf raises: the spans were taken.
            if "json" in content_type:
                told = json.loads(body or b"{}").get("partialSuccess") or {}
                return Answer(int(told.get("rejectedSpans", 0)), str(told.get("errorMessage", "")))
            partial = self._answers.FromString(body).partial_success
            return Answer(partial.rejected_spans, partial.error_message)
        return Answer()

    def close(self) -> None:
        """Close the connection; the next body opens another one."""
        self._pool.clear()


def place_of(url: str) -> str:
    """Return a URL for messages: without its query, in which some have keys."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def _root(error: BaseException) -> str:
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or inner)


def _printable(body: bytes) -> str:
    """Return the words in an answer, which may be text, JSON or protobuf."""
    text = re.sub("[^\x20-\x7e]+", " ", body.decode("utf-8", "replace"))
    return " ".join(text.split())[:200]


def _seconds_of(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After, which are a number or a date."""
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    from email.utils import parsedate_to_datetime  # On use: few receivers send dates.

    with suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(retry_after)
        return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def _urllib3() -> Any:
    try:
        import urllib3
    except ImportError as error:
        raise _missing(error) from error
    return urllib3


def _answers() -> Any:
    try:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
    except ImportError as error:
        raise _missing(error) from error
    return trace_service_pb2.ExportTraceServiceResponse


def _missing(error: ImportError) -> ConfigurationError:
    return ConfigurationError(
        f"Exporting by OTLP needs another package ({error}): pip install 'curio-persistence[otlp]'"
    )
