"""Records an agent's run from within an event loop."""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from curio_persistence.aio.awaited import Awaited, awaited
from curio_persistence.aio.threads import Threads
from curio_persistence.models import AgentRun
from curio_persistence.recording.recorder import RunRecorder
from curio_persistence.recording.spans import ToolCall


class AsyncRunRecorder(Awaited[RunRecorder]):
    """One run, being recorded: enter it with `async with`. See `RunRecorder`.

    What is begun in its block, by whatever task, is recorded as its child. The end of a run that is
    cancelled is recorded too.
    """

    @property
    def agent_run(self) -> AgentRun:
        """The record as it is so far."""
        return self._sync.agent_run

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._sync.run_id

    @property
    def lost(self) -> int:
        """How many writes failed and were swallowed."""
        return self._sync.lost

    log = awaited(RunRecorder.log)
    metric = awaited(RunRecorder.metric)
    iteration = awaited(RunRecorder.iteration)
    llm_call = awaited(RunRecorder.llm_call)
    finish = awaited(RunRecorder.finish)

    def tool(self, name: str, args: Any = None) -> AsyncToolCall:
        """`async with run.tool("search") as call: call.result = …` times and keeps a call."""
        return AsyncToolCall(self._sync.tool(name, args), self._threads)

    async def __aenter__(self) -> Self:
        beginning = self._threads.begin(self._sync._begin)
        try:
            await asyncio.shield(asyncio.wrap_future(beginning))
        except asyncio.CancelledError as error:
            reason = error  # Python forgets `error` when this block ends.

            def end(begun: Future[None]) -> None:
                if begun.exception() is None:
                    self._threads.start(self._sync._end_with, reason)

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
        await self._threads.call_to_the_end(self._sync._end_with, error)


class AsyncToolCall:
    """One call of a tool: set `result` in the block; time and exception are recorded for it."""

    __slots__ = {  # noqa: RUF023
        "result": "What the tool returned.",
        "_begin": None,
        "_call": None,
        "_threads": None,
    }

    def __init__(self, call: ToolCall, threads: Threads) -> None:
        self.result: Any = None
        self._call = call
        self._threads = threads
        self._begin = 0.0

    def __repr__(self) -> str:
        return f"<Async{repr(self._call)[1:]}"

    async def __aenter__(self) -> Self:
        await self._threads.call(self._call._log_begin)
        self._call._enter_context(sys._getframe(1))
        self._begin = time.perf_counter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seconds = time.perf_counter() - self._begin
        self._call._leave_context()
        self._call.result = self.result
        await self._threads.call_to_the_end(self._call._log_end, error, seconds)
