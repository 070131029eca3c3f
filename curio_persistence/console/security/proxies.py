"""The headers of a proxy in front, which count only from trusted addresses."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.requests import HTTPConnection


class Proxies:
    """The proxies whose headers count, by their addresses or networks."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted: list[IPv4Network | IPv6Network] = [
            ip_network(each, strict=False) for each in trusted
        ]

    def address_of(self, request: HTTPConnection) -> str:
        """Return the address of the client: the last one that no trusted proxy has."""
        address = _peer(request)
        forwarded = request.headers.getlist("x-forwarded-for")
        for each in reversed(",".join(forwarded).split(",")):
            before = _plain(each)
            if before is None or not self._is_trusted(address):
                break
            address = before
        return address

    def host_of(self, request: HTTPConnection) -> str:
        """Return the host that the client asked for."""
        forwarded = request.headers.get("x-forwarded-host", "").rpartition(",")[2].strip()
        if forwarded and self._is_trusted(_peer(request)):
            return forwarded
        return request.headers.get("host", "")

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)


def _peer(request: HTTPConnection) -> str:
    host = request.client.host if request.client else ""
    return _plain(host) or host


def _plain(told: str) -> str | None:
    """Return an address without its port, which some proxies add; None for what is no address.

    One of IPv4 that is written as IPv6 becomes itself.
    """
    told = told.strip()
    if told.startswith("["):
        told = told[1:].partition("]")[0]
    elif told.count(":") == 1:
        told = told.partition(":")[0]
    try:
        parsed = ip_address(told)
    except ValueError:
        return None
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
