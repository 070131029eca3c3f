"""The names by which the makers of spans call things: a new flavour is new rows here.

A field of a meaning has rows, of which the first that a span has counts. Older and newer names of
one maker stand beside each other. Versions are those in which a maker writes a name.
"""

from __future__ import annotations

from typing import NamedTuple

from curio_persistence.interop.otel.spans import MeaningKind

AGENT, LLM, EMBEDDING, TOOL, RETRIEVAL, CHAIN, OTHER = MeaningKind

GENAI = "GenAI"
OPENINFERENCE = "OpenInference"
TRACELOOP = "OpenLLMetry"
PYDANTIC_AI = "Pydantic AI"
LOGFIRE = "Logfire"
VERCEL = "Vercel AI SDK"
MLFLOW = "MLflow"
LANGFUSE = "Langfuse"
LANGSMITH = "LangSmith"
ADK = "Google ADK"
LITELLM = "LiteLLM"
STRANDS = "Strands"
ANTHROPIC = "Anthropic SDK"
OPENAI = "OpenAI instrumentation"
CURIO = "Curio"


class Name(NamedTuple):
    """The name of an attribute, and where in its JSON the value is.

    A name that ends with `.*` is that of all attributes which begin so: together they are one
    value.
    """

    key: str
    flavour: str
    versions: str = ""
    """The first and the last version with this name, as far as they are known: `-1.36`, `1.37-`.
    Of OpenLLMetry it is the year. GenAI's have a repository of their own since, here `1.42-`."""
    path: str = ""


class KindName(NamedTuple):
    """An attribute whose value tells the kind; values are compared in lower case."""

    key: str
    flavour: str
    kinds: dict[str, MeaningKind]


NAMES: dict[str, tuple[Name, ...]] = {
    "run_id": (Name("curio.run_id", CURIO),),
    "agent_name": (
        Name("gen_ai.agent.name", GENAI),
        Name("agent.name", OPENINFERENCE),
        Name("agent_name", PYDANTIC_AI),
        Name("ai.telemetry.functionId", VERCEL),
        Name("metadata", OPENINFERENCE, path="lc_agent_name"),
        Name("langsmith.metadata.lc_agent_name", LANGSMITH),
        Name("graph.node.id", OPENINFERENCE),
    ),
    "agent_id": (Name("gen_ai.agent.id", GENAI),),
    "chain_agent": (
        # An agent of LangChain is a chain that is called like it.
        Name("metadata", OPENINFERENCE, path="lc_agent_name"),
        Name("langsmith.metadata.lc_agent_name", LANGSMITH),
    ),
    "session_id": (
        Name("gen_ai.conversation.id", GENAI),
        Name("session.id", OPENINFERENCE),
        Name("langfuse.session.id", LANGFUSE),
        Name("ai.telemetry.metadata.sessionId", VERCEL),
        Name("traceloop.association.properties.session_id", TRACELOOP),
        Name("mlflow.trace.session", MLFLOW),
        Name("gcp.vertex.agent.session_id", ADK),
        Name("langsmith.metadata.session_id", LANGSMITH),
        Name("langsmith.metadata.thread_id", LANGSMITH),
        Name("metadata", OPENINFERENCE, path="session_id"),
        Name("metadata", OPENINFERENCE, path="thread_id"),
    ),
    "user_id": (
        Name("user.id", OPENINFERENCE),
        Name("enduser.id", GENAI),
        Name("langfuse.user.id", LANGFUSE),
        Name("ai.telemetry.metadata.userId", VERCEL),
        Name("traceloop.association.properties.user_id", TRACELOOP),
        Name("mlflow.trace.user", MLFLOW),
        Name("langsmith.metadata.user_id", LANGSMITH),
    ),
    "tags": (
        Name("langfuse.trace.tags", LANGFUSE),
        Name("tag.tags", OPENINFERENCE),
        Name("langsmith.span.tags", LANGSMITH),
        Name("logfire.tags", LOGFIRE),
    ),
    "provider": (
        Name("gen_ai.provider.name", GENAI, "1.37-"),
        Name("llm.provider", OPENINFERENCE),
        Name("gen_ai.system", GENAI, "-1.36"),
        Name("llm.system", OPENINFERENCE),
        Name("ai.model.provider", VERCEL),
        Name("mlflow.llm.provider", MLFLOW),
        Name("langsmith.metadata.ls_provider", LANGSMITH),
    ),
    "response_model": (
        Name("gen_ai.response.model", GENAI),
        Name("llm.response.model_name", OPENINFERENCE),
        Name("ai.response.model", VERCEL),
        Name("llm.model_name", OPENINFERENCE),
        Name("langfuse.observation.model.name", LANGFUSE),
        Name("mlflow.llm.model", MLFLOW),
    ),
    "request_model": (
        Name("gen_ai.request.model", GENAI),
        Name("llm.request.model_name", OPENINFERENCE),
        Name("llm.invocation_parameters", OPENINFERENCE, path="model"),
        Name("ai.model.id", VERCEL),
        Name("model_name", PYDANTIC_AI),
        Name("langsmith.metadata.ls_model_name", LANGSMITH),
        Name("embedding.model_name", OPENINFERENCE),
    ),
    "response_id": (
        Name("gen_ai.response.id", GENAI),
        Name("ai.response.id", VERCEL),
        Name("output.value", OPENINFERENCE, path="id"),
        Name("output.value", OPENINFERENCE, path="llm_output.id"),
        Name(
            "output.value",
            OPENINFERENCE,
            path="generations.0.0.message.kwargs.response_metadata.id",
        ),
    ),
    "input_tokens": (
        Name("gen_ai.usage.input_tokens", GENAI, "1.27-"),
        Name("gen_ai.usage.prompt_tokens", GENAI, "-1.26"),
        Name("llm.token_count.prompt", OPENINFERENCE),
        Name("llm.usage.prompt_tokens", TRACELOOP, "-2025"),
        Name("ai.usage.promptTokens", VERCEL, "-5"),
        Name("ai.usage.inputTokens", VERCEL),
        Name("ai.usage.tokens", VERCEL),
        Name("langfuse.observation.usage_details", LANGFUSE, path="input"),
        Name("langfuse.observation.usage_details", LANGFUSE, path="prompt_tokens"),
        Name("langfuse.observation.usage_details", LANGFUSE, path="input_tokens"),
        Name("mlflow.chat.tokenUsage", MLFLOW, path="input_tokens"),
        Name("langsmith.metadata.usage_metadata", LANGSMITH, path="input_tokens"),
        Name("response_data", LOGFIRE, path="usage.prompt_tokens"),
        Name("response_data", LOGFIRE, path="usage.input_tokens"),
    ),
    "output_tokens": (
        Name("gen_ai.usage.output_tokens", GENAI, "1.27-"),
        Name("gen_ai.usage.completion_tokens", GENAI, "-1.26"),
        Name("llm.token_count.completion", OPENINFERENCE),
        Name("llm.usage.completion_tokens", TRACELOOP, "-2025"),
        Name("ai.usage.completionTokens", VERCEL, "-5"),
        Name("ai.usage.outputTokens", VERCEL),
        Name("langfuse.observation.usage_details", LANGFUSE, path="output"),
        Name("langfuse.observation.usage_details", LANGFUSE, path="completion_tokens"),
        Name("langfuse.observation.usage_details", LANGFUSE, path="output_tokens"),
        Name("mlflow.chat.tokenUsage", MLFLOW, path="output_tokens"),
        Name("langsmith.metadata.usage_metadata", LANGSMITH, path="output_tokens"),
        Name("response_data", LOGFIRE, path="usage.completion_tokens"),
        Name("response_data", LOGFIRE, path="usage.output_tokens"),
    ),
    "cache_read_tokens": (
        Name("gen_ai.usage.cache_read.input_tokens", GENAI),
        Name("gen_ai.usage.cache_read_input_tokens", TRACELOOP, "-2025"),
        Name("gen_ai.usage.details.cache_read_tokens", PYDANTIC_AI),
        Name("llm.token_count.prompt_details.cache_read", OPENINFERENCE),
        Name("ai.usage.cachedInputTokens", VERCEL),
        Name(
            "langfuse.observation.usage_details",
            LANGFUSE,
            path="prompt_tokens_details.cached_tokens",
        ),
        Name(
            "langfuse.observation.usage_details",
            LANGFUSE,
            path="input_tokens_details.cached_tokens",
        ),
        Name("langfuse.observation.usage_details", LANGFUSE, path="cache_read_input_tokens"),
        Name("mlflow.chat.tokenUsage", MLFLOW, path="cache_read_input_tokens"),
        Name(
            "langsmith.metadata.usage_metadata",
            LANGSMITH,
            path="input_token_details.cache_read",
        ),
    ),
    "cache_write_tokens": (
        Name("gen_ai.usage.cache_write.input_tokens", GENAI, "1.42-"),
        Name("gen_ai.usage.cache_creation.input_tokens", GENAI, "-1.41"),
        Name("gen_ai.usage.cache_creation_input_tokens", TRACELOOP, "-2025"),
        Name("gen_ai.usage.cache_write_input_tokens", STRANDS),
        Name("gen_ai.usage.details.cache_write_tokens", PYDANTIC_AI),
        Name("llm.token_count.prompt_details.cache_write", OPENINFERENCE),
        Name("langfuse.observation.usage_details", LANGFUSE, path="cache_creation_input_tokens"),
        Name("mlflow.chat.tokenUsage", MLFLOW, path="cache_creation_input_tokens"),
        Name(
            "langsmith.metadata.usage_metadata",
            LANGSMITH,
            path="input_token_details.cache_creation",
        ),
    ),
    "reasoning_tokens": (
        Name("gen_ai.usage.reasoning.output_tokens", GENAI),
        Name("gen_ai.usage.reasoning_tokens", TRACELOOP),
        Name("gen_ai.usage.details.reasoning_tokens", PYDANTIC_AI),
        Name("llm.token_count.completion_details.reasoning", OPENINFERENCE),
        Name("ai.usage.reasoningTokens", VERCEL),
        Name(
            "langfuse.observation.usage_details",
            LANGFUSE,
            path="completion_tokens_details.reasoning_tokens",
        ),
        Name(
            "langfuse.observation.usage_details",
            LANGFUSE,
            path="output_tokens_details.reasoning_tokens",
        ),
        Name(
            "langsmith.metadata.usage_metadata",
            LANGSMITH,
            path="output_token_details.reasoning",
        ),
    ),
    "reported_cost": (
        Name("llm.cost.total", OPENINFERENCE),
        Name("gen_ai.cost.total_cost", LITELLM),
        Name("operation.cost", PYDANTIC_AI),
        Name("gen_ai.usage.cost", GENAI),
        Name("langfuse.observation.cost_details", LANGFUSE, path="total"),
        Name("mlflow.llm.cost", MLFLOW, path="total_cost"),
    ),
    "cost_usd": (Name("curio.cost_usd", CURIO),),
    "system": (Name("gen_ai.system_instructions", GENAI, "1.37-"),),
    "input": (
        Name("gen_ai.input.messages", GENAI, "1.37-"),
        Name("pydantic_ai.all_messages", PYDANTIC_AI, "2-"),
        Name("all_messages_events", PYDANTIC_AI, "1"),
        Name("ai.prompt.messages", VERCEL),
        Name("ai.prompt", VERCEL),
        Name("llm.input_messages.*", OPENINFERENCE),
        Name("input.value", OPENINFERENCE),
        Name("gcp.vertex.agent.llm_request", ADK),
        Name("langfuse.observation.input", LANGFUSE),
        Name("mlflow.spanInputs", MLFLOW),
        Name("request_data", LOGFIRE),
        Name("gen_ai.prompt.*", TRACELOOP, "-2025"),
        Name("traceloop.entity.input", TRACELOOP),
        Name("gen_ai.prompt", LANGSMITH),
        Name("ai.value", VERCEL),
        Name("ai.values", VERCEL),
    ),
    "output": (
        Name("final_result", PYDANTIC_AI),
        Name("gen_ai.output.messages", GENAI, "1.37-"),
        Name("ai.response.text", VERCEL),
        Name("ai.response.object", VERCEL),
        Name("ai.response.toolCalls", VERCEL),
        Name("llm.output_messages.*", OPENINFERENCE),
        Name("output.value", OPENINFERENCE),
        Name("gcp.vertex.agent.llm_response", ADK),
        Name("langfuse.observation.output", LANGFUSE),
        Name("mlflow.spanOutputs", MLFLOW),
        Name("response_data", LOGFIRE),
        Name("gen_ai.completion.*", TRACELOOP, "-2025"),
        Name("traceloop.entity.output", TRACELOOP),
        Name("gen_ai.completion", LANGSMITH),
    ),
    "tool_name": (
        Name("gen_ai.tool.name", GENAI),
        Name("tool.name", OPENINFERENCE),
        Name("ai.toolCall.name", VERCEL),
        Name("traceloop.entity.name", TRACELOOP),
    ),
    "tool_call_id": (
        Name("gen_ai.tool.call.id", GENAI),
        Name("tool_call.id", OPENINFERENCE),
        Name("ai.toolCall.id", VERCEL),
    ),
    "tool_arguments": (
        Name("traceloop.entity.input", TRACELOOP, path="inputs"),
        Name("gen_ai.tool.call.arguments", GENAI),
        Name("tool_arguments", PYDANTIC_AI, "1-2"),
        Name("ai.toolCall.args", VERCEL),
        Name("gcp.vertex.agent.tool_call_args", ADK),
        Name("input.value", OPENINFERENCE),
        Name("langfuse.observation.input", LANGFUSE),
        Name("mlflow.spanInputs", MLFLOW),
        Name("traceloop.entity.input", TRACELOOP),
        Name("gen_ai.prompt", LANGSMITH),
    ),
    "tool_result": (
        Name("traceloop.entity.output", TRACELOOP, path="output.kwargs.content"),
        Name("gen_ai.tool.call.result", GENAI),
        Name("tool_response", PYDANTIC_AI, "1-2"),
        Name("ai.toolCall.result", VERCEL),
        Name("gcp.vertex.agent.tool_response", ADK),
        Name("output.value", OPENINFERENCE, path="data.content"),
        Name("output.value", OPENINFERENCE),
        Name("langfuse.observation.output", LANGFUSE),
        Name("mlflow.spanOutputs", MLFLOW),
        Name("traceloop.entity.output", TRACELOOP),
        Name("gen_ai.completion", LANGSMITH),
    ),
    "params": (
        Name("llm.invocation_parameters", OPENINFERENCE),
        Name("langfuse.observation.model.parameters", LANGFUSE),
        Name("gen_ai.request.*", GENAI),
        Name("ai.settings.*", VERCEL),
    ),
    "answered": (Name("llm.output_messages.*", OPENINFERENCE),),
    "error_type": (Name("error.type", GENAI),),
    "service_tier": (
        Name("openai.response.service_tier", OPENAI),
        Name("gen_ai.openai.response.service_tier", OPENAI, "-1.36"),
        Name("anthropic.response.service_tier", ANTHROPIC),
    ),
    "cache_write_1h_tokens": (
        Name("anthropic.usage.cache_creation.ephemeral_1h_input_tokens", ANTHROPIC),
    ),
    "input_audio_tokens": (
        Name("llm.token_count.prompt_details.audio", OPENINFERENCE),
        Name(
            "langfuse.observation.usage_details",
            LANGFUSE,
            path="prompt_tokens_details.audio_tokens",
        ),
    ),
    "output_audio_tokens": (
        Name("llm.token_count.completion_details.audio", OPENINFERENCE),
        Name(
            "langfuse.observation.usage_details",
            LANGFUSE,
            path="completion_tokens_details.audio_tokens",
        ),
    ),
    "finish_reasons": (
        Name("gen_ai.response.finish_reasons", GENAI),
        Name("llm.finish_reason", OPENINFERENCE),
        Name("ai.response.finishReason", VERCEL),
    ),
    "time_to_first_chunk_s": (Name("gen_ai.response.time_to_first_chunk", GENAI),),
}
"""The rows of each field. Of `input` and `output` the words of messages are taken."""

DETAILS = (
    *("service_tier", "cache_write_1h_tokens", "input_audio_tokens", "output_audio_tokens"),
    *("finish_reasons", "time_to_first_chunk_s", "cost_usd"),
)
"""The fields that go to `Call.details`. A `cost_usd` there is the cost of the call."""

KINDS: tuple[KindName, ...] = (
    # When a span begins, Logfire can send a copy of it, as a span inside it.
    KindName("logfire.span_type", LOGFIRE, {"pending_span": OTHER}),
    # A workflow is the outermost span; newer versions call it an agent's as well.
    KindName("traceloop.span.kind", TRACELOOP, {"workflow": CHAIN}),
    KindName(
        "openinference.span.kind",
        OPENINFERENCE,
        {
            "agent": AGENT,
            "llm": LLM,
            "embedding": EMBEDDING,
            "tool": TOOL,
            "retriever": RETRIEVAL,
            "chain": CHAIN,
            "reranker": OTHER,
            "guardrail": OTHER,
            "evaluator": OTHER,
            "prompt": OTHER,
        },
    ),
    KindName(
        "langfuse.observation.type",
        LANGFUSE,
        {
            "agent": AGENT,
            "generation": LLM,
            "embedding": EMBEDDING,
            "tool": TOOL,
            "retriever": RETRIEVAL,
            "chain": CHAIN,
        },
    ),
    KindName(
        "gen_ai.operation.name",
        GENAI,
        {
            "chat": LLM,
            "text_completion": LLM,
            "generate_content": LLM,
            "completion": LLM,
            "response": LLM,
            "embeddings": EMBEDDING,
            "execute_tool": TOOL,
            "invoke_agent": AGENT,
            "retrieval": RETRIEVAL,
            "invoke_workflow": CHAIN,
            "agent_step": CHAIN,
            "execute_task": CHAIN,
            "chain": CHAIN,
            "create_agent": OTHER,
            "handoff": OTHER,
        },
    ),
    KindName(
        "mlflow.spanType",
        MLFLOW,
        {
            "agent": AGENT,
            "llm": LLM,
            "chat_model": LLM,
            "embedding": EMBEDDING,
            "tool": TOOL,
            "retriever": RETRIEVAL,
            "chain": CHAIN,
            "workflow": CHAIN,
            "task": CHAIN,
        },
    ),
    KindName(
        "langsmith.span.kind",
        LANGSMITH,
        {
            "llm": LLM,
            "embedding": EMBEDDING,
            "tool": TOOL,
            "retriever": RETRIEVAL,
            "chain": CHAIN,
        },
    ),
    KindName("traceloop.span.kind", TRACELOOP, {"agent": AGENT, "tool": TOOL, "task": CHAIN}),
    KindName(
        "ai.operationId",
        VERCEL,
        {
            "ai.toolcall": TOOL,
            "ai.generatetext.dogenerate": LLM,
            "ai.streamtext.dostream": LLM,
            "ai.generateobject.dogenerate": LLM,
            "ai.streamobject.dostream": LLM,
            "ai.embed.doembed": EMBEDDING,
            "ai.embedmany.doembed": EMBEDDING,
            "ai.generatetext": AGENT,
            "ai.streamtext": AGENT,
            "ai.generateobject": AGENT,
            "ai.streamobject": AGENT,
        },
    ),
    KindName(
        "llm.request.type",
        TRACELOOP,
        {"chat": LLM, "completion": LLM, "rerank": OTHER, "embedding": EMBEDDING},
    ),
)
"""The attributes that tell the kind, in order; the first with a value that is known decides."""

BY_SPAN_NAME: dict[str, tuple[tuple[str, MeaningKind], ...]] = {
    "gcp.vertex.agent": (
        ("call_llm", LLM),
        ("agent_run", AGENT),
        ("invoke_agent", AGENT),
        ("execute_tool", TOOL),
    ),
}
"""By scope, the first words of the names of spans that no attribute tells the kind of."""

AFFIXES = (
    *("invoke_agent ", "agent_run ", "execute_tool ", ".run", ".agent", ".tool", ".workflow"),
)
"""What the name of a span has before or after the name of its agent or tool."""

NOT_SETTINGS = frozenset(
    {"model", "model_name", "messages", "input", "prompt", "system", "instructions", "tools"}
)
"""Settings of a request that are kept elsewhere."""

FRAMEWORKS = frozenset(
    {"strands-agents", "microsoft.agent_framework", "langchain", "langgraph", "curio"}
)
"""Names that are given as providers, and are none."""

MESSAGE_EVENTS = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
    "gen_ai.choice": "assistant",
}
"""Events of a span, or log records, that are a message each, and its role: GenAI 1.28-1.36."""

DETAIL_EVENT = "gen_ai.client.inference.operation.details"
"""The event, or log record, whose attributes are those of the call: GenAI 1.37-."""

LOG_MARK = "curio.log"
"""The attribute of an event of a span that came as a log record, with what tells of that."""
