"""Bodies of requests: received and unpacked within limits of time and size."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from zlib import decompressobj

from starlette.requests import ClientDisconnect, Request

from curio_persistence.server.refusals import RefusedError, too_large

ENCODINGS = ("gzip", "deflate", "identity")
_SECONDS = 60.0
"""The time that a body has to arrive."""


class Room:
    """The bytes that bodies of all requests may have together."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.taken = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Yield the share of one request, which ends with the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.taken -= share.taken

    def take(self, count: int) -> None:
        if self.taken + count > self._size:
            raise RefusedError(429, "Too much waits to be stored; send it again.", retry_after=1)
        self.taken += count


class Share:
    """The bytes of one request."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.taken = 0

    def take(self, count: int) -> None:
        self._room.take(count)
        self.taken += count


async def received(request: Request, limit: int, share: Share) -> bytes:
    """Return the body of a request as it was sent."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large(limit, "as it is sent")
    parts = []
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                share.take(len(part))
                if share.taken > limit:
                    raise too_large(limit, "as it is sent")
                parts.append(part)
    except TimeoutError:
        raise RefusedError(408, f"The body did not arrive within {_SECONDS:.0f} s.") from None
    except ClientDisconnect:
        raise RefusedError(400, "The body ended before its length.") from None
    return b"".join(parts)


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """Return a body without its compression; never more than the limit is unpacked."""
    if encoding not in ("gzip", "deflate"):
        return body
    try:
        return b"".join(_members(body, encoding, limit))
    except zlib.error as error:
        raise RefusedError(400, f"The body is not {encoding}: {error}.") from None


def _members(body: bytes, encoding: str, limit: int) -> Iterator[bytes]:
    """Yield the parts of a gzip file, which may be several, one behind the other."""
    total = 0
    while body:
        inflater = decompressobj(_window(body, encoding))
        part = inflater.decompress(body, limit - total + 1)
        total += len(part)
        if total > limit:
            raise too_large(limit, "when it is unpacked")
        if not inflater.eof:
            raise RefusedError(400, f"The body is not {encoding}: it ends too early.")
        yield part
        body = inflater.unused_data if encoding == "gzip" else b""


def _window(body: bytes, encoding: str) -> int:
    """Return zlib's code for a format. `deflate` has zlib's header, but some senders leave it out.

    That header is a number of 16 bits which 31 divides, and its first half ends in 8.
    """
    if encoding == "gzip":
        return zlib.MAX_WBITS | 16
    has_header = body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
