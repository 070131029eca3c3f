"""Refusals of requests: a status, a reason, and when to try again."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that is refused; `retry_after` are seconds, None if the same request is in vain."""

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def too_large(limit: int, what: str) -> RefusedError:
    return RefusedError(413, f"The body has more than {limit:,} bytes {what}; send less at a time.")


def unavailable(why: str) -> RefusedError:
    return RefusedError(503, f"{why} Send it again.", retry_after=1)
