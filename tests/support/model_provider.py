"""A local server that speaks as the APIs of OpenAI and Anthropic do, and answers from a script."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import Any, NamedTuple

Json = dict[str, Any]


class Said(NamedTuple):
    """An answer of the model: text, or calls of tools, and what it cost in tokens."""

    text: str = "Hello, world!"
    tools: tuple[tuple[str, Json], ...] = ()
    input: int = 100
    output: int = 10
    cached: int = 0
    written: int = 0
    reasoning: int = 0
    model: str = ""
    """The model that answers; by default a dated one of the name that was asked for."""
    status: int = 200
    breaks: bool = False
    """The connection ends in the middle of a stream."""


class ModelProvider(ThreadingHTTPServer):
    """Answers each request with the next of `script`, or with what it returns for the request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Said] | Callable[[Json], Said] = []
        self.requests: list[Json] = []
        self.numbers = count(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients hang up."""

    def say(self, request: Json) -> Said:
        self.requests.append(request)
        if callable(self.script):
            return self.script(request)
        return self.script.pop(0) if self.script else Said()


@contextmanager
def running() -> Iterator[ModelProvider]:
    with ModelProvider() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # Otherwise headers and body are packets of their own, which wait for each other.
    server: ModelProvider

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said, number = self.server.say(request), next(self.server.numbers)
        if said.status != 200:
            self._send(said.status, {"error": {"message": "no", "type": "scripted"}})
            return
        [make, stream] = _APIS[self.path.partition("?")[0].removeprefix("/v1")]
        whole = make(request, said, number)
        if request.get("stream"):
            self._stream(list(stream(request, whole, said)), said.breaks)
        else:
            self._send(200, whole)

    def _send(self, status: int, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self._end_headers()
        self.wfile.write(data)

    def _stream(self, events: list[tuple[str | None, Any]], breaks: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        if breaks:
            self.send_header("Content-Length", "1000000")
        self._end_headers()
        for name, event in events[: len(events) // 2] if breaks else events:
            head = f"event: {name}\n" if name else ""
            body = event if isinstance(event, str) else json.dumps(event)
            self.wfile.write(f"{head}data: {body}\n\n".encode())
            self.wfile.flush()

    def _end_headers(self) -> None:
        """Announce that the connection is closed, so that no client keeps a socket open."""
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def _pieces(text: str) -> list[str]:
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def _model(request: Json, said: Said) -> str:
    return said.model or f"{request['model']}-2026-01-01"


# --- chat completions -------------------------------------------------------------------------


def _chat(request: Json, said: Said, number: int) -> Json:
    calls = [
        {
            "id": f"call-{number}-{at}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for at, (name, arguments) in enumerate(said.tools)
    ]
    message: Json = {"role": "assistant", "content": None if calls else said.text}
    if calls:
        message["tool_calls"] = calls
    reason = "tool_calls" if calls else "stop"
    return {
        "id": f"chatcmpl-{number:04}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": _model(request, said),
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": said.input,
            "completion_tokens": said.output,
            "total_tokens": said.input + said.output,
            "prompt_tokens_details": {"cached_tokens": said.cached},
            "completion_tokens_details": {"reasoning_tokens": said.reasoning},
        },
    }


def _chat_chunks(request: Json, whole: Json, said: Said) -> Iterator[tuple[None, Any]]:
    head = {name: whole[name] for name in ("id", "created", "model")}
    head["object"] = "chat.completion.chunk"

    def chunk(delta: Json, reason: str | None = None) -> tuple[None, Json]:
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        return None, {**head, "choices": choices}

    message = whole["choices"][0]["message"]
    yield chunk({"role": "assistant", "content": None if said.tools else ""})
    for piece in _pieces(message["content"] or ""):
        yield chunk({"content": piece})
    for at, call in enumerate(message.get("tool_calls", ())):
        yield chunk({"tool_calls": [{"index": at, **call}]})
    yield chunk({}, whole["choices"][0]["finish_reason"])
    if (request.get("stream_options") or {}).get("include_usage"):
        yield None, {**head, "choices": [], "usage": whole["usage"]}
    yield None, "[DONE]"


# --- responses --------------------------------------------------------------------------------


def _response(request: Json, said: Said, number: int) -> Json:
    text = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
    message = {
        "type": "message",
        "id": f"msg_{number}",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    calls = [
        {
            "type": "function_call",
            "id": f"fc_{number}_{at}",
            "call_id": f"call-{number}-{at}",
            "name": name,
            "arguments": json.dumps(arguments),
            "status": "completed",
        }
        for at, (name, arguments) in enumerate(said.tools)
    ]
    return {
        "id": f"resp_{number:04}",
        "object": "response",
        "created_at": 1_790_000_000,
        "model": _model(request, said),
        "status": "completed",
        "output": calls or [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": said.input,
            "output_tokens": said.output,
            "total_tokens": said.input + said.output,
            "input_tokens_details": {"cached_tokens": said.cached},
            "output_tokens_details": {"reasoning_tokens": said.reasoning},
        },
    }


def _response_events(request: Json, whole: Json, said: Said) -> Iterator[tuple[str, Json]]:
    numbers = count()

    def event(kind: str, **members: Any) -> tuple[str, Json]:
        return kind, {"type": kind, "sequence_number": next(numbers), **members}

    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield event("response.created", response=begun)
    for at, item in enumerate(whole["output"]):
        yield event("response.output_item.added", output_index=at, item={**item, "content": []})
        where = {"output_index": at, "content_index": 0, "item_id": item["id"], "logprobs": []}
        if item["type"] == "message":
            part = {**item["content"][0], "text": ""}
            yield event("response.content_part.added", part=part, **where)
            for piece in _pieces(said.text):
                yield event("response.output_text.delta", delta=piece, **where)
            yield event("response.output_text.done", text=said.text, **where)
        yield event("response.output_item.done", output_index=at, item=item)
    yield event("response.completed", response=whole)


# --- embeddings -------------------------------------------------------------------------------


def _embeddings(request: Json, said: Said, number: int) -> Json:
    texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
    return {
        "object": "list",
        "model": request["model"],
        "data": [
            {"object": "embedding", "index": at, "embedding": [0.1, 0.2]}
            for at in range(len(texts))
        ],
        "usage": {"prompt_tokens": said.input, "total_tokens": said.input},
    }


# --- Anthropic's messages ---------------------------------------------------------------------


def _message(request: Json, said: Said, number: int) -> Json:
    calls = [
        {"type": "tool_use", "id": f"toolu_{number}_{at}", "name": name, "input": arguments}
        for at, (name, arguments) in enumerate(said.tools)
    ]
    return {
        "id": f"msg_{number:04}",
        "type": "message",
        "role": "assistant",
        "model": _model(request, said),
        "content": calls or [{"type": "text", "text": said.text}],
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": said.input - said.cached - said.written,
            "output_tokens": said.output,
            "cache_read_input_tokens": said.cached,
            "cache_creation_input_tokens": said.written,
        },
    }


def _message_events(request: Json, whole: Json, said: Said) -> Iterator[tuple[str, Json]]:
    def event(kind: str, **members: Any) -> tuple[str, Json]:
        return kind, {"type": kind, **members}

    usage = {**whole["usage"], "output_tokens": 1}
    head = {**whole, "content": [], "stop_reason": None, "usage": usage}
    yield event("message_start", message=head)
    for at, block in enumerate(whole["content"]):
        if block["type"] == "text":
            yield event("content_block_start", index=at, content_block={**block, "text": ""})
            for piece in _pieces(block["text"]):
                delta = {"type": "text_delta", "text": piece}
                yield event("content_block_delta", index=at, delta=delta)
        else:
            yield event("content_block_start", index=at, content_block={**block, "input": {}})
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            yield event("content_block_delta", index=at, delta=delta)
        yield event("content_block_stop", index=at)
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=ended, usage={"output_tokens": said.output})
    yield event("message_stop")


_APIS: dict[str, tuple[Any, Any]] = {
    "/chat/completions": (_chat, _chat_chunks),
    "/responses": (_response, _response_events),
    "/embeddings": (_embeddings, None),
    "/messages": (_message, _message_events),
}
