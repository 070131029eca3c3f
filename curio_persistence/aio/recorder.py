"""Records an agent's run from within an event loop."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from curio_persistence.aio.awaited import Awaited, awaited
from curio_persistence.aio.threads import Threads
from curio_persistence.models import AgentRun
from curio_persistence.recording.context import Scope
from curio_persistence.recording.model_calls import LLMCall
from curio_persistence.recording.recorder import RunRecorder
from curio_persistence.recording.spans import Block, Span, ToolCall

B = TypeVar("B", bound=Block)


class AsyncRunRecorder(Awaited[RunRecorder]):
    """One run, being recorded: enter it with `async with`. See `RunRecorder`.

    What is begun in its block, by whatever task, is recorded as its child. The end of a run that is
    cancelled is recorded too.
    """

    def __init__(self, sync: RunRecorder, threads: Threads) -> None:
        super().__init__(sync, threads)
        sync._awaited = self

    @property
    def agent_run(self) -> AgentRun:
        """The record as it is so far."""
        return self._sync.agent_run

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._sync.run_id

    @property
    def trace_id(self) -> str:
        """OpenTelemetry's id of all that is below an outermost run: 32 hex digits."""
        return self._sync.trace_id

    @property
    def span_id(self) -> str:
        """OpenTelemetry's id of the run: 16 hex digits."""
        return self._sync.span_id

    @property
    def parent_span_id(self) -> str | None:
        """Return the span_id of the block around it; None for an outermost run."""
        return self._sync.parent_span_id

    @property
    def dropped(self) -> int:
        """The number of writes that failed and were swallowed."""
        return self._sync.dropped

    log = awaited(RunRecorder.log)
    metric = awaited(RunRecorder.metric)
    iteration = awaited(RunRecorder.iteration)
    llm_call = awaited(RunRecorder.llm_call)
    score = awaited(RunRecorder.score)
    update = awaited(RunRecorder.update)
    finish = awaited(RunRecorder.finish)

    def tool(self, name: str, args: Any = None) -> AsyncBlock[ToolCall]:
        """`async with run.tool("search") as call: call.result = …` times and keeps a call."""
        return AsyncBlock(self._sync.tool(name, args), self._threads)

    def span(self, name: str, *, kind: str = "", input: Any = None) -> AsyncBlock[Span]:
        """`async with run.span("retrieve") as span: span.output = …` keeps a part of the run."""
        return AsyncBlock(self._sync.span(name, kind=kind, input=input), self._threads)

    def llm(
        self,
        *,
        provider: str = "",
        model: str = "",
        messages: Any = None,
        prompt: Any = None,
        params: Any = None,
    ) -> AsyncBlock[LLMCall]:
        """`async with run.llm(model="…") as call: call.response = …` times and keeps a call."""
        call = self._sync.llm(
            provider=provider, model=model, messages=messages, prompt=prompt, params=params
        )
        return AsyncBlock(call, self._threads)

    async def begin(self, *, current: bool = True) -> Self:
        """Begin without an `async with` block; `end()` ends it. See `RunRecorder.begin`."""
        await self._threads.call(self._sync._start)
        if current:
            self._sync._enter_context(None)
        return self

    async def end(self, error: BaseException | str | None = None) -> None:
        """Record the end of a run that `begin()` began; a second end is ignored."""
        await self._threads.call_to_the_end(self._sync.end, error)

    async def __aenter__(self) -> Self:
        beginning = self._threads.begin(self._sync._start)
        try:
            await asyncio.shield(asyncio.wrap_future(beginning))
        except asyncio.CancelledError as error:
            reason = error  # Python forgets `error` when this block ends.

            def end(begun: Future[None]) -> None:
                if begun.exception() is None:
                    self._threads.start(self._sync._close, reason)

            beginning.add_done_callback(end)
            raise
        self._sync._enter_context(sys._getframe(1))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sync._leave_context()
        await self._threads.call_to_the_end(self._sync._close, error)


class AsyncBlock(Generic[B]):
    """A part of a run, whose begin and end are recorded in other threads.

    `async with run.tool("search") as call` is a `ToolCall`, as in a blocking recorder.
    """

    __slots__ = ("_block", "_threads")

    def __init__(self, block: B, threads: Threads) -> None:
        self._block = block
        self._threads = threads

    def __repr__(self) -> str:
        return f"<Async{repr(self._block)[1:]}"

    async def begin(self, *, inside: Scope | None = None, current: bool = True) -> B:
        """Begin without an `async with` block; `end()` ends it. See `Block.begin`."""
        self._block._inside = inside
        await self._threads.call(self._block._start)
        if current:
            self._block._enter_context(None)
        return self._block

    async def end(self, error: BaseException | str | None = None) -> None:
        """Record the end of a block that `begin()` began; a second end is ignored."""
        await self._threads.call_to_the_end(self._block.end, error)

    async def __aenter__(self) -> B:
        await self._threads.call(self._block._start)
        self._block._enter_context(sys._getframe(1))
        return self._block

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._block._leave_context()
        await self._threads.call_to_the_end(self._block._close, error)
