"""What a proxy in front tells of a request; the headers count only from trusted addresses."""

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
            if not (each := each.strip()) or not self._is_trusted(address):
                break
            address = each
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
    return request.client.host if request.client else ""
