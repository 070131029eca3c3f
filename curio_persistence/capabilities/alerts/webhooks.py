"""POST a notification over HTTP: to an address that was checked, signed, within a time."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from curio_persistence.capabilities.alerts.addresses import Address, PrivateAddressError, resolve
from curio_persistence.capabilities.alerts.sending import SinkError
from curio_persistence.errors import ConfigurationError, InvalidValueError
from curio_persistence.tables.alert_sinks import host_and_port

TIMESTAMP, SIGNATURE = "X-Curio-Timestamp", "X-Curio-Signature"
_AGAIN = frozenset({408, 425, 429})
"""Statuses below 500 after which a retry may help."""


def post(
    url: str, body: dict[str, Any], *, key: str | None, allow_private: bool, timeout: float
) -> None:
    """Send a body once; raise SinkError unless the answer is a success.

    The host is looked up once. All of its addresses are checked, and the first that can be
    connected to gets the request, with the host's name in the Host header and in TLS. No other one
    does, even without an answer: the request may have come. Redirects and proxies are not used.
    """
    text = bytes(json.dumps(body), "ascii")
    headers = {"Content-Type": "application/json", "User-Agent": "curio-persistence"}
    if key is not None:
        headers |= signed(text, key, int(time.time()))
    until = time.monotonic() + timeout
    connection = _connected(url, _addresses(url, allow_private), until)
    try:
        status = _answer(connection, url, text, headers, until)
    except _failures() as error:
        raise _no_answer(error) from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        told = " (redirects are not followed)" if 300 <= status < 400 else ""
        again = status >= 500 or status in _AGAIN
        raise SinkError(f"the answer was {status}{told}", again=again)


def signed(body: bytes, key: str, timestamp: int) -> dict[str, str]:
    """Return the headers by which a receiver knows the sender and the age of a body."""
    digest = hmac.new(bytes(key, "utf-8"), b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return {TIMESTAMP: str(timestamp), SIGNATURE: f"sha256={digest}"}


def _addresses(url: str, allow_private: bool) -> list[Address]:
    try:
        host, port = host_and_port(url)
        return resolve(host, port, allow_private=allow_private)
    except PrivateAddressError as error:
        raise SinkError(str(error), again=False) from error
    except InvalidValueError as error:
        raise SinkError("the URL is not one of a webhook", again=False) from error
    except (OSError, UnicodeError) as error:
        raise SinkError("the name of the host cannot be resolved") from error


def _connected(url: str, addresses: list[Address], until: float) -> Any:
    """Return a connection to the first of the addresses that accepts one."""
    parts = urlsplit(url)
    refused = SinkError("the name of the host has no address")
    for address in addresses:
        connection = _connection(parts.scheme, parts.hostname, address, _left(until))
        try:
            connection.connect()
        except _failures() as error:
            connection.close()
            refused = _no_answer(error)
        else:
            return connection
    raise refused


def _answer(connection: Any, url: str, body: bytes, headers: dict[str, str], until: float) -> int:
    """Send the request, and return the status."""
    parts = urlsplit(url)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    connection.timeout = _left(until)
    connection.request("POST", target, body, {**headers, "Host": parts.netloc})
    # Not urllib3's own: that logs the URL, with its secrets, where headers cannot be read.
    return HTTPConnection.getresponse(connection).status


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.001)


def _failures() -> tuple[type[Exception], ...]:
    return (_urllib3().exceptions.HTTPError, HTTPException, OSError)


def _no_answer(error: Exception) -> SinkError:
    return SinkError(f"no answer ({type(error).__name__})")


def _connection(scheme: str, host: str | None, address: Address, timeout: float) -> Any:
    """Return a connection to an address, without a pool, whose log has URLs."""
    kinds = _urllib3().connection
    if scheme == "http":
        return kinds.HTTPConnection(address.host, address.port, timeout=timeout)
    return kinds.HTTPSConnection(
        address.host,
        address.port,
        timeout=timeout,
        server_hostname=host,
        assert_hostname=host,
        cert_reqs="CERT_REQUIRED",
    )


def _urllib3() -> Any:
    try:
        import urllib3.connection
    except ImportError as error:
        raise ConfigurationError(
            f"Webhooks need urllib3 ({error}): pip install 'curio-persistence[alerts]'"
        ) from error
    return urllib3
