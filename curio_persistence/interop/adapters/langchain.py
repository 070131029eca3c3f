"""Record what LangChain and LangGraph run: `config={"callbacks": [CurioCallbackHandler(…)]}`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curio_persistence.interop.adapters.blocks import Blocks
from curio_persistence.interop.adapters.guard import guarded, missing
from curio_persistence.recording.recorder import RunRecorder
from curio_persistence.recording.responses import found

try:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.messages import convert_to_openai_messages

    from curio_persistence.interop.adapters import langchain_messages as read
except ImportError as error:
    raise missing("LangChain", "langchain", error) from error

_INTERNAL = ("langgraph_", "ls_", "lc_", "checkpoint_", "__", "thread_id", "session_id", "user_id")
"""The beginnings of names in metadata that are not the caller's own."""


class CurioCallbackHandler(BaseCallbackHandler):
    """Records what is outermost, and each agent below it, as a run, with what happens in it.

    Nodes, chains and retrievers are spans; LangGraph's `thread_id` is the session. One handler may
    serve any number of graphs, threads and tasks at once.
    """

    run_inline = True  # So that callbacks come in order, and in the context of what they report.

    def __init__(self, persistence: Any) -> None:
        self._blocks = Blocks(persistence)

    @guarded
    def on_chain_start(self, serialized: Any, inputs: Any, **told: Any) -> None:
        """Begin a run, or a span of one."""
        key, parent, name = (*_ids(told), _name(serialized, told))
        metadata, tags = told.get("metadata") or {}, told.get("tags") or ()
        if self._blocks.around(parent) is None or metadata.get("lc_agent_name") == name:
            self._blocks.run(
                key,
                parent,
                current=False,  # If it is streamed, its caller is in the same context meanwhile.
                agent_id=name,
                objective=read.asked(inputs),
                session_id=found(metadata, "thread_id", "session_id"),
                user_id=metadata.get("user_id"),
                metadata={n: v for n, v in metadata.items() if not n.startswith(_INTERNAL)} or None,
                tags=[tag for tag in tags if ":" not in tag],
            )
        elif "langsmith:hidden" in tags:
            self._blocks.skip(key, parent)
        else:
            self._blocks.block(key, parent, lambda run: run.span(name, kind="chain"))

    @guarded
    def on_chain_end(self, outputs: Any, **told: Any) -> None:
        """End it with its result."""
        key = told["run_id"]
        is_run = isinstance(self._blocks.around(key), RunRecorder)
        self._blocks.end(key, output=read.answered(outputs) if is_run else read.plain(outputs))

    @guarded
    def on_chain_error(self, error: BaseException, **told: Any) -> None:
        """End it with its exception; a graph that waits for a person is interrupted, not failed."""
        self._blocks.end(told["run_id"], error if _is_failure(error) else None)

    @guarded
    def on_chat_model_start(self, serialized: Any, messages: Any, **told: Any) -> None:
        """Begin a model call; LangChain asks for batches of messages one by one."""
        self._begin_call(convert_to_openai_messages(messages[0]), told)

    @guarded
    def on_llm_start(self, serialized: Any, prompts: list[str], **told: Any) -> None:
        """Begin a call of a model of texts."""
        self._begin_call(prompts[0] if len(prompts) == 1 else prompts, told)

    def _begin_call(self, prompt: Any, told: dict[str, Any]) -> None:
        metadata, params = told.get("metadata") or {}, told.get("invocation_params") or {}
        asked = {"model": metadata.get("ls_model_name"), **params}
        params = {n: v for n, v in asked.items() if v is not None and not n.startswith("_")}
        provider = metadata.get("ls_provider") or ""
        self._blocks.call(*_ids(told), provider=provider, prompt=prompt, params=params)

    @guarded
    def on_llm_end(self, response: Any, **told: Any) -> None:
        """End a model call with its answer."""
        self._end_call(response, None, told)

    @guarded
    def on_llm_error(self, error: BaseException, **told: Any) -> None:
        """End a model call that failed, with what was streamed before."""
        self._end_call(told.get("response"), error, told)

    def _end_call(self, response: Any, error: Any, told: dict[str, Any]) -> None:
        [[answer, *_], *_] = getattr(response, "generations", None) or [[None]]
        tokens = read.tokens(answer)
        self._blocks.end_call(told["run_id"], error, read.response(answer), **tokens)

    @guarded
    def on_tool_start(self, serialized: Any, input_str: str, **told: Any) -> None:
        """Begin a tool call."""
        name, args = _name(serialized, told), told.get("inputs") or input_str
        self._blocks.block(*_ids(told), lambda run: run.tool(name, args))

    @guarded
    def on_tool_end(self, output: Any, **told: Any) -> None:
        """End a tool call with its result, which may say that it failed."""
        failed = getattr(output, "status", None) == "error"
        result = getattr(output, "content", output)
        self._blocks.end(told["run_id"], str(result) if failed else None, result=result)

    @guarded
    def on_tool_error(self, error: BaseException, **told: Any) -> None:
        """End a tool call that failed."""
        self._blocks.end(told["run_id"], error if _is_failure(error) else None)

    @guarded
    def on_retriever_start(self, serialized: Any, query: str, **told: Any) -> None:
        """Begin a span of a retriever."""
        name = _name(serialized, told)
        self._blocks.block(*_ids(told), lambda run: run.span(name, kind="retriever", input=query))

    @guarded
    def on_retriever_end(self, documents: Sequence[Any], **told: Any) -> None:
        """End it with its documents."""
        self._blocks.end(told["run_id"], output=list(documents))

    on_retriever_error = on_tool_error


def _ids(told: dict[str, Any]) -> tuple[Any, Any]:
    return told["run_id"], told.get("parent_run_id")


def _name(serialized: Any, told: dict[str, Any]) -> str:
    path = found(serialized, "id") or ["chain"]
    return str(told.get("name") or found(serialized, "name") or path[-1])


def _is_failure(error: BaseException) -> bool:
    return all(kind.__name__ != "GraphBubbleUp" for kind in type(error).__mro__)
