"""Clients of OpenAI's and Anthropic's SDK that record the model calls made with them.

Whichever method of whichever resource is called, plain, parsed, raw or streamed: both SDKs send a
request by the method `post` of their client. The recording client is one of a subclass that has
another `post`, so it still is the SDK's, and so are those that its `with_options()` returns.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from curio_persistence.errors import InvalidValueError
from curio_persistence.interop.adapters.guard import guarded, synchronous
from curio_persistence.interop.adapters.streams import record_stream
from curio_persistence.recording.context import current_run
from curio_persistence.recording.model_calls import LLMCall
from curio_persistence.recording.recorder import NoRun
from curio_persistence.recording.responses import found

C = TypeVar("C")

_RAW = "X-Stainless-Raw-Response"
"""The header with the form of response that `with_raw_response` and the like want."""
_READ = ("raw", "true")
"""Its values for a response whose body was read: Anthropic's, OpenAI's."""
_ABSENT = ("NotGiven", "Omit")
"""The types of the SDKs' marks for parameters that were not given."""
_EMBEDDINGS = "/embeddings"


class Calls(NamedTuple):
    """The persistence for the calls of a client, and the paths of requests that are calls."""

    persistence: Any
    agent_id: str | None
    provider: str
    paths: frozenset[str]

    @guarded
    def begin(self, path: str, request: Mapping[str, Any]) -> LLMCall | None:
        """Begin a call in the caller's run, or outside of all; None if it is not recorded."""
        body = request.get("body")
        if path.partition("?")[0] not in self.paths or not isinstance(body, Mapping):
            return None
        run = current_run(self.persistence)
        if run is None and self.persistence is not None:
            run = NoRun(self.persistence, self.agent_id)
        if run is None:
            return None
        prompt, params = _asked(body)
        call = run.llm(provider=self.provider, prompt=prompt, params=params)
        return call.begin(current=False)

    @guarded
    def answer(self, call: LLMCall, path: str, request: Mapping[str, Any], result: Any) -> None:
        """End a call with what `post` returned; the call of a stream ends with the stream."""
        wanted = found(found(request.get("options"), "headers"), _RAW)
        if wanted in _READ:
            result = result.parse()  # Which the SDK keeps for its caller.
        if wanted == "stream":
            pass  # The caller reads the body, or does not.
        elif request.get("stream"):
            record_stream(call, result)
            return
        elif path == _EMBEDDINGS:
            _take_usage(call, result)
        else:
            call.response = result
        call.end()


def _asked(body: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the prompt of a request, the system's first, and its other parameters."""
    params = {name: value for name, value in body.items() if type(value).__name__ not in _ABSENT}
    prompts = [params.pop(name, None) for name in ("messages", "input", "prompt")]
    systems = [params.pop(name, None) for name in ("system", "instructions")]
    prompt = next((each for each in prompts if each is not None), None)
    system = next((each for each in systems if each is not None), None)
    if system is None:
        return prompt, params
    told = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    return [{"role": "system", "content": system}, *told], params


def recording(sdk: str, client: C, calls: Calls) -> C:
    """Return a client of an SDK like this one that records; it shares the connections."""
    kind = _plain(type(client), sdk)
    if kind is None:
        raise InvalidValueError(
            f"wrap_{sdk} takes a client of the package {sdk}, not {client!r:.80}.", field="client"
        )
    if calls.persistence is not None:
        calls = calls._replace(persistence=synchronous(calls.persistence))
    make = _async_post if inspect.iscoroutinefunction(kind.post) else _post
    members = {"post": make(kind, calls), "_curio_wraps": kind, "__module__": kind.__module__}
    recorder: Any = copy.copy(client)
    recorder.__class__ = type(kind.__name__, (kind,), members)
    for name in list(vars(recorder)):  # Its resources, which use the other client's `post`.
        if isinstance(inspect.getattr_static(kind, name, None), cached_property):
            del vars(recorder)[name]
    return recorder  # type: ignore[no-any-return]


def _plain(kind: Any, sdk: str) -> Any:
    """Return the class of a client, as the SDK made it; None for another class."""
    plain = getattr(kind, "_curio_wraps", kind)
    is_of_sdk = any(each.__module__.partition(".")[0] == sdk for each in plain.__mro__)
    return plain if is_of_sdk and hasattr(plain, "post") else None


def _post(kind: Any, calls: Calls) -> Any:
    def post(self: Any, path: str, **request: Any) -> Any:
        if (call := calls.begin(path, request)) is None:
            return kind.post(self, path, **request)
        try:
            result = kind.post(self, path, **request)
        except BaseException as error:
            guarded(call.end)(error)
            raise
        calls.answer(call, path, request, result)
        return result

    return post


def _async_post(kind: Any, calls: Calls) -> Any:
    async def post(self: Any, path: str, **request: Any) -> Any:
        if (call := calls.begin(path, request)) is None:
            return await kind.post(self, path, **request)
        try:
            result = await kind.post(self, path, **request)
        except BaseException as error:
            guarded(call.end)(error)
            raise
        calls.answer(call, path, request, result)
        return result

    return post


def _take_usage(call: LLMCall, result: Any) -> None:
    """Take from embeddings what they cost, and leave the numbers out."""
    usage = getattr(result, "usage", None)
    call.record.model = getattr(result, "model", "") or ""
    call.record.input_tokens = getattr(usage, "prompt_tokens", None)
    call.record.usage_metrics = {"operation": "embeddings"}
