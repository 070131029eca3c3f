"""The settings of the server: its address, its keys and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from curio_persistence.config.settings import Given, given_or_set
from curio_persistence.errors import ConfigurationError
from curio_persistence.secret import hidden

KEYS = "CURIO_SERVER_KEYS"
"""The variable that has the keys, with commas between them."""
_LEAST = {"port": 0, "max_body_bytes": 1, "max_pending_bytes": 1}


@dataclass(frozen=True)
class ServerConfig:
    """The address, the keys and the limits of the server.

    Port 0 is any free one. With keys, each request needs one of them, as `Authorization: Bearer`;
    without any, only requests to this machine's own addresses are answered. A body may have
    `max_body_bytes`, packed and unpacked; bodies that wait to be stored have `max_pending_bytes`
    together, and more are refused until there is room. The keys are in no repr.
    """

    host: str = "127.0.0.1"
    port: int = 4318
    keys: tuple[str, ...] = field(default=(), repr=False)
    max_body_bytes: int = 64 << 20
    max_pending_bytes: int = 128 << 20

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            _check_number(name, getattr(self, name), least)
        if self.port > 65_535:
            raise ConfigurationError(f"A port is at most 65535, not {self.port}.")
        if self.max_pending_bytes < self.max_body_bytes:
            raise ConfigurationError("max_pending_bytes must have room for max_body_bytes.")
        object.__setattr__(self, "keys", tuple(hidden(key) for key in self.keys))
        for key in self.keys:
            _check_key(key)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        dotenv: bool = True,
        given: Given | None = None,
    ) -> ServerConfig:
        """Return the defaults with the keys that the environment, or the nearest `.env`, has.

        `CURIO_SERVER_KEYS` has one key, or several with commas between them.
        """
        value = given_or_set(environ, dotenv, given).values.get(KEYS, "")
        keys = tuple(key.strip() for key in value.split(",") if key.strip())
        return replace(cls(), keys=keys)

    @property
    def is_local(self) -> bool:
        """True where only programs of this machine reach the host."""
        return is_loopback(self.host)

    def check_reach(self) -> None:
        """Raise ConfigurationError where other machines reach a server that has no keys."""
        if not self.is_local and not self.keys:
            raise ConfigurationError(
                f"Other machines can reach {self.host}, so the server needs keys there: set "
                "CURIO_SERVER_KEYS, or listen on 127.0.0.1."
            )


def is_loopback(host: str) -> bool:
    """Return whether a host is `localhost` or a loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_number(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise ConfigurationError(f"{name} is a whole number from {least} on, not {value!r}.")


def _check_key(key: str) -> None:
    if not (key.isascii() and key.isprintable()) or not key or " " in key or "," in key:
        raise ConfigurationError(
            "A key is made of ASCII letters, digits and signs, without spaces and commas."
        )
