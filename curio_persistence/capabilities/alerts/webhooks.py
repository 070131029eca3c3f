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

    The host is looked up once. All of its addresses are checked, and one of them is connected to
    with the host's name in the Host header and in TLS. Redirects and proxies are not used.
    """
    text = bytes(json.dumps(body), "ascii")
    headers = {"Content-Type": "application/json", "User-Agent": "curio-persistence"}
    if key is not None:
        headers |= signed(text, key, int(time.time()))
    until = time.monotonic() + timeout
    status = 0
    for address in _addresses(url, allow_private):
        try:
            status = _answer(url, address, text, headers, max(until - time.monotonic(), 0.001))
            break
        except (_urllib3().exceptions.HTTPError, HTTPException, OSError) as error:
            refused = SinkError(f"no answer ({type(error).__name__})")
    else:
        raise refused
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


def _answer(
    url: str, address: Address, body: bytes, headers: dict[str, str], timeout: float
) -> int:
    """Send the request to this very address, and return the status."""
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname, address, timeout)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    try:
        connection.request("POST", target, body, {**headers, "Host": parts.netloc})
        # Not urllib3's own: that logs the URL, with its secrets, where headers cannot be read.
        return HTTPConnection.getresponse(connection).status
    finally:
        connection.close()


def _connection(scheme: str, host: str | None, address: Address, timeout: float) -> Any:
    """Return a connection to an address; of a pool, whose log has URLs, there is no need."""
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
