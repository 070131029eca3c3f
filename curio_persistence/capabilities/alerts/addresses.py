"""The addresses to which a webhook may lead: those of the public internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.tables.alert_sinks import host_and_port

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind a NAT64 gateway, in their last 32 bits."""
_ALLOW = "To allow it, pass allow_private=True (--allow-private)."


class Address(NamedTuple):
    """An address that a name led to, and the port."""

    host: str
    port: int


class PrivateAddressError(Exception):
    """A webhook leads to an address that is not public."""


def is_public(text: str) -> bool:
    """Return whether an IP address is one of the public internet, whatever it is written as."""
    address = _unwrapped(ip_address(text.partition("%")[0]))
    odd = address.is_multicast or address.is_reserved or address.is_unspecified
    local = isinstance(address, IPv6Address) and address.is_site_local
    return address.is_global and not odd and not local


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, if it stands for one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def check_literal(url: str) -> None:
    """Refuse a URL with an IP address in it that is not public; names are looked up on sending."""
    host, _ = host_and_port(url)
    try:
        public = is_public(host)
    except ValueError:  # A name, or an old way to write an address.
        return
    if not public:
        raise InvalidValueError(
            f"AlertSink.url leads to {host}, which is not an address of the public internet. "
            + _ALLOW,
            field="AlertSink.url",
        )


def resolve(host: str, port: int, *, allow_private: bool) -> list[Address]:
    """Return the addresses of a host; raise PrivateAddressError if any of them is not public.

    The caller connects to these, and does not look the name up again: the answer may have changed.
    """
    import socket  # On use: most programs send nothing.

    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(Address(str(each[4][0]), port) for each in found))
    if not allow_private and (inner := [a.host for a in addresses if not is_public(a.host)]):
        raise PrivateAddressError(f"{host} leads to {inner[0]}, which is not public. {_ALLOW}")
    return addresses
