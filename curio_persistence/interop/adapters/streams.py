"""Streams of the SDKs that record their model call: its chunks, and its end.

A recording stream is one of a subclass, so what the SDK and its users know of a stream holds. The
call ends when the stream is exhausted, fails, is closed, or when a loop over it is left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from curio_persistence.interop.adapters.guard import guarded
from curio_persistence.recording.model_calls import LLMCall


def record_stream(call: LLMCall, stream: Any) -> None:
    """Make a stream record what is read from it."""
    kind = type(stream)
    members = _awaited(kind, call) if hasattr(kind, "__aiter__") else _blocking(kind, call)
    members["__module__"] = kind.__module__
    stream.__class__ = type(kind.__name__, (kind,), members)


@guarded
def _keep(call: LLMCall, chunk: Any) -> None:
    call.chunk(chunk)


@guarded
def _end(call: LLMCall, error: BaseException | None = None) -> None:
    if isinstance(error, GeneratorExit):
        error = GeneratorExit("The stream was not read to its end.")
    call.end(None if isinstance(error, StopIteration | StopAsyncIteration) else error)


def _blocking(kind: Any, call: LLMCall) -> dict[str, Any]:
    """Return the methods of a recorded stream that replace its own."""

    def iterate(self: Any) -> Iterator[Any]:
        try:
            for chunk in kind.__iter__(self):
                _keep(call, chunk)
                yield chunk
        except BaseException as error:
            _end(call, error)
            raise
        _end(call)

    def advance(self: Any) -> Any:
        try:
            chunk = kind.__next__(self)
        except BaseException as error:
            _end(call, error)
            raise
        _keep(call, chunk)
        return chunk

    def close(self: Any) -> None:
        kind.close(self)
        _end(call, GeneratorExit())

    return {"__iter__": iterate, "__next__": advance, "close": close}


def _awaited(kind: Any, call: LLMCall) -> dict[str, Any]:
    """Return the same for a stream that is awaited."""

    async def iterate(self: Any) -> AsyncIterator[Any]:
        try:
            async for chunk in kind.__aiter__(self):
                _keep(call, chunk)
                yield chunk
        except BaseException as error:
            _end(call, error)
            raise
        _end(call)

    async def advance(self: Any) -> Any:
        try:
            chunk = await kind.__anext__(self)
        except BaseException as error:
            _end(call, error)
            raise
        _keep(call, chunk)
        return chunk

    async def close(self: Any) -> None:
        await kind.close(self)
        _end(call, GeneratorExit())

    return {"__aiter__": iterate, "__anext__": advance, "close": close}
