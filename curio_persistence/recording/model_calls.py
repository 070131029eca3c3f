"""Record a model call from the request to the answer: `with run.llm(model="…") as call: …`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar, overload

from curio_persistence.models import AgentLLMUsage
from curio_persistence.recording.failures import describe, status_of
from curio_persistence.recording.repair import as_json_text
from curio_persistence.recording.responses import Answer, found, read_response
from curio_persistence.recording.spans import Block
from curio_persistence.recording.streaming import StreamedAnswer

if TYPE_CHECKING:
    from curio_persistence.recording.run import RecordedRun

C = TypeVar("C")


class LLMCall(Block):
    """One model call: time and exception are recorded for it, the answer is read from `response`.

    `response` is the object that the SDK of OpenAI (chat, responses), Anthropic or Google returned,
    the same as a dictionary, or text. A stream is wrapped in `stream()`, or handed in piece by
    piece by `chunk()`. `record` is what will be stored: what is set in it counts for more than what
    is read from the answer. Milliseconds until the first chunk, the finish reason and the answer's
    own usage are in `record.usage_metrics`.
    """

    __slots__ = {  # noqa: RUF023
        "record": "The model call as it will be stored.",
        "response": "What the SDK returned.",
        "answer": "What was read from the response; None before the end of the call.",
        "_first_ms": None,
        "_streamed": None,
    }

    def __init__(self, run: RecordedRun, record: AgentLLMUsage) -> None:
        super().__init__(run)
        self.record = record
        self.response: Any = None
        self.answer: Answer | None = None
        self._streamed: StreamedAnswer | None = None
        self._first_ms: float | None = None

    def __repr__(self) -> str:
        return f"<LLMCall of {self.record.model!r} in run {self._run.run_id}>"

    def chunk(self, chunk: Any) -> None:
        """Add a piece of a streamed answer: an object of the SDK's, a dictionary, or text."""
        if self._streamed is None:
            self._streamed = StreamedAnswer()
            self._first_ms = self._milliseconds(perf_counter())
        self._streamed.add(chunk)

    @overload
    def stream(self, chunks: Iterable[C]) -> Iterator[C]: ...
    @overload
    def stream(self, chunks: AsyncIterable[C]) -> AsyncIterator[C]: ...
    def stream(self, chunks: Any) -> Any:
        """Return an iterator over the same chunks, which records each as it is read."""
        return self._read_async(chunks) if hasattr(chunks, "__aiter__") else self._read(chunks)

    def _read(self, chunks: Iterable[C]) -> Iterator[C]:
        for chunk in chunks:
            self.chunk(chunk)
            yield chunk

    async def _read_async(self, chunks: AsyncIterable[C]) -> AsyncIterator[C]:
        async for chunk in chunks:
            self.chunk(chunk)
            yield chunk

    def _record_begin(self) -> None:
        """Nothing: a model call is one record, stored when it has ended."""

    def _record_end(self, error: BaseException | None, milliseconds: float) -> None:
        record = self.record
        if record.latency_ms is None:
            record.latency_ms = milliseconds  # type: ignore[assignment]  # The column rounds it.
        if error is not None:
            record.status, record.error_message = status_of(error).value, describe(error)
        self.answer = self._answer()
        self._fill_in(self.answer)
        record.span_id, record.parent_span_id = self.span_id, self.parent_span_id
        record.trace_id = self.trace_id
        self._run._keep_usage(record)

    def _answer(self) -> Answer:
        if self.response is not None or self._streamed is None:
            return read_response(self.response)
        return self._streamed.answer()

    def _fill_in(self, answer: Answer) -> None:
        """Take from the answer what the agent did not set."""
        record = self.record
        for name, value in answer.numbers.items():
            if getattr(record, name) is None:
                setattr(record, name, value)
        if record.response_content is None:
            record.response_content = as_json_text(answer.content)
        metrics = dict(answer.metrics)
        if not record.model:
            record.model = answer.model or found(record.input_params, "model") or ""
        elif answer.model not in (None, record.model):
            metrics["response_model"] = answer.model
        if self._first_ms is not None:
            metrics["first_token_ms"] = self._first_ms
        if metrics and record.usage_metrics is None:
            record.usage_metrics = metrics
        elif metrics and isinstance(record.usage_metrics, dict):
            record.usage_metrics = metrics | record.usage_metrics
