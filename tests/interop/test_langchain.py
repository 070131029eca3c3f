"""What LangChain and LangGraph run is recorded as runs, spans, tools and model calls."""

from __future__ import annotations

import asyncio
import json
import operator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest

from curio_persistence import AgentRun, InMemoryPersistence, current_run
from tests.support.frameworks import needed
from tests.support.model_provider import Json, ModelProvider, Said
from tests.support.recorded import events, only_call, tokens

needed("langgraph")
adapter = needed("curio_persistence.interop.adapters.langchain")
langchain_agents = needed("langchain.agents")
langchain_openai = needed("langchain_openai")
langchain_tools = needed("langchain_core.tools")
runnables = needed("langchain_core.runnables")
prompts = needed("langchain_core.prompts")
graphs = needed("langgraph.graph")
memory = needed("langgraph.checkpoint.memory")
graph_types = needed("langgraph.types")
retrievers = needed("langchain_core.retrievers")
documents = needed("langchain_core.documents")
dispatching = needed("langchain_core.callbacks")

create_agent = langchain_agents.create_agent


@pytest.fixture
def model(provider: ModelProvider) -> Any:
    return langchain_openai.ChatOpenAI(
        model="gpt-4o-mini", base_url=f"{provider.url}/v1", api_key="k", max_retries=0
    )


@pytest.fixture
def config(persistence: InMemoryPersistence) -> Any:
    return {"callbacks": [adapter.CurioCallbackHandler(persistence)]}


@langchain_tools.tool
def weather(city: str) -> str:
    """Tell the weather."""
    return "rain"


@langchain_tools.tool
def broken(city: str) -> str:
    """Tell nothing."""
    raise ValueError("no such city")


def ask(question: str) -> Json:
    return {"messages": [{"role": "user", "content": question}]}


def by_agent(persistence: InMemoryPersistence) -> dict[str, AgentRun]:
    return {run.agent_id: run for run in persistence.get_agent_runs(limit=None)}


def test_an_agent_with_a_tool(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any, config: Any
) -> None:
    provider.script = [
        Said(tools=(("weather", {"city": "Oslo"}),), input=1200, output=30),
        Said("Take an umbrella.", input=1300, output=20, cached=1024, reasoning=5),
    ]
    config |= {"configurable": {"thread_id": "conversation-7"}, "tags": ["prod"]}
    config["metadata"] = {"tier": "gold", "user_id": "ann"}
    agent = create_agent(model, [weather], name="traveller", system_prompt="Be brief.")
    agent.invoke(ask("Oslo?"), config)
    [run] = persistence.get_agent_runs()
    assert (run.agent_id, run.status, run.session_id) == (
        "traveller",
        "completed",
        "conversation-7",
    )
    assert (run.objective, run.final_synthesis_output) == ("Oslo?", "Take an umbrella.")
    assert (run.tags, run.user_id, run.get_metadata_dict()) == (["prod"], "ann", {"tier": "gold"})
    [tool] = events(persistence, run.run_id, "tool_call")
    told = tool.get_data_dict()
    assert (told["tool_name"], told["args"], told["result"]) == (
        "weather",
        {"city": "Oslo"},
        "rain",
    )
    second, first = persistence.get_llm_usage(run_id=run.run_id)
    assert tokens(first)[:3] == (1200, 30, 0)
    assert tokens(second) == (1300, 20, 1024, None, 5)
    assert (second.provider, second.model) == ("openai", "gpt-4o-mini-2026-01-01")
    assert second.response_content == "Take an umbrella."
    assert json.loads(first.prompt)[0] == {"role": "system", "content": "Be brief."}
    assert first.get_input_params_dict()["model"] == "gpt-4o-mini"
    assert second.get_usage_metrics_dict()["response_id"] == "chatcmpl-0002"


def test_spans_are_nested_as_the_framework_nests_them(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any, config: Any
) -> None:
    provider.script = [Said(tools=(("weather", {"city": "Oslo"}),)), Said("Umbrella.")]
    create_agent(model, [weather], name="traveller").invoke(ask("Oslo?"), config)
    [run] = persistence.get_agent_runs()
    [begun, *_] = events(persistence, run.run_id)
    spans = {e.span_id: e for e in events(persistence, run.run_id, "span")}
    names = {e.get_data_dict()["name"] for e in spans.values()}
    assert names >= {"model", "tools"}
    [tool] = events(persistence, run.run_id, "tool_call")
    assert spans[tool.parent_span_id].get_data_dict()["name"] == "tools"
    for call in persistence.get_llm_usage():
        assert spans[call.parent_span_id].get_data_dict()["name"] == "model"
    assert begun.span_id in {span.parent_span_id for span in spans.values()}


def nested_answer(request: Json) -> Said:
    """Answer as the model of an editor, who asks two others at once, and of those two."""
    system, *said = request["messages"]
    if system["content"] != "editor":
        return Said(f"{system['content']} is done")
    if len(said) > 1:
        return Said("edited")
    return Said(tools=(("research", {"topic": "rain"}), ("write", {"topic": "rain"})))


def editor_of(model: Any) -> Any:
    def helper(name: str) -> Any:
        return create_agent(model, [], name=name, system_prompt=name)

    @langchain_tools.tool
    def research(topic: str) -> str:
        """Research."""
        return str(helper("researcher").invoke(ask(topic))["messages"][-1].content)

    @langchain_tools.tool
    def write(topic: str) -> str:
        """Write."""
        return str(helper("writer").invoke(ask(topic))["messages"][-1].content)

    return create_agent(model, [research, write], name="editor", system_prompt="editor")


@pytest.mark.parametrize("awaits", [False, True])
def test_agents_in_parallel_tools_of_agents_at_once(
    provider: ModelProvider,
    persistence: InMemoryPersistence,
    model: Any,
    config: Any,
    awaits: bool,
) -> None:
    provider.script = nested_answer
    editor = editor_of(model)
    if awaits:

        async def main() -> None:
            await asyncio.gather(*(editor.ainvoke(ask("go"), config) for _ in range(3)))

        asyncio.run(asyncio.wait_for(main(), 30))
    else:
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(lambda _: editor.invoke(ask("go"), config), range(3)))
    runs = persistence.get_agent_runs(limit=None)
    editors = [run for run in runs if run.agent_id == "editor"]
    assert len(editors) == 3
    assert {run.final_synthesis_output for run in editors} == {"edited"}
    for run in editors:
        below = [each for each in runs if each.parent_run_id == run.run_id]
        assert sorted(each.agent_id for each in below) == ["researcher", "writer"]
        assert len(persistence.get_llm_usage(run_id=run.run_id)) == 2
        tools = events(persistence, run.run_id, "tool_call")
        of_tools = {tool.span_id: tool.get_data_dict()["tool_name"] for tool in tools}
        for each in below:
            [begun, *_] = events(persistence, each.run_id)
            expected = {"researcher": "research", "writer": "write"}[each.agent_id]
            assert of_tools[begun.parent_span_id] == expected
            assert len(persistence.get_llm_usage(run_id=each.run_id)) == 1


class State(TypedDict):
    """The state of a graph made by hand."""

    words: Annotated[list[str], operator.add]


def test_a_graph_with_parallel_nodes(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any, config: Any
) -> None:
    def node(name: str) -> Any:
        def work(state: State) -> Json:
            run = current_run(persistence)
            assert run is not None
            run.log("seen", {"in": name})
            return {"words": [model.invoke(name).content]}

        return work

    graph = graphs.StateGraph(State)
    for name in "left", "right":
        graph.add_node(name, node(name))
        graph.add_edge(graphs.START, name)
        graph.add_edge(name, graphs.END)
    graph.compile(name="pair").invoke({"words": ["go"]}, config)
    [run] = persistence.get_agent_runs()
    assert run.agent_id == "pair"
    spans = {e.span_id: e.get_data_dict()["name"] for e in events(persistence, run.run_id, "span")}
    for call in persistence.get_llm_usage():
        [asked] = json.loads(call.prompt)
        assert spans[call.parent_span_id] == asked["content"]
    for seen in events(persistence, run.run_id, "seen"):
        assert spans[seen.span_id] == seen.get_data_dict()["in"]


def test_a_tool_that_fails_and_ends_the_agent(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any, config: Any
) -> None:
    provider.script = [Said(tools=(("broken", {"city": "x"}),))]
    with pytest.raises(ValueError, match="no such city"):
        create_agent(model, [broken], name="clerk").invoke(ask("Go"), config)
    run = by_agent(persistence)["clerk"]
    assert (run.status, (run.error_message or "").splitlines()[0]) == (
        "error",
        "ValueError: no such city",
    )
    [tool] = events(persistence, run.run_id, "tool_call")
    assert tool.get_data_dict()["error"].startswith("ValueError: no such city")


def test_a_provider_that_refuses(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any, config: Any
) -> None:
    provider.script = [Said(status=429)]
    with pytest.raises(Exception, match="429"):
        create_agent(model, [], name="greeter").invoke(ask("Hello?"), config)
    call = only_call(persistence)
    assert (call.status, call.model, tokens(call)) == ("error", "gpt-4o-mini", (None,) * 5)
    assert by_agent(persistence)["greeter"].status == "error"


def test_streams(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any, config: Any
) -> None:
    agent = create_agent(model.bind(stream_options={"include_usage": True}), [], name="greeter")
    for _ in agent.stream(ask("Hello?"), config, stream_mode="messages"):
        with persistence.record_run(agent_id="consumer", parent=None):
            assert current_run() is not None
    run = by_agent(persistence)["greeter"]
    assert (run.status, run.final_synthesis_output) == ("completed", "Hello, world!")
    call = only_call(persistence)
    assert (tokens(call)[:2], call.response_content) == ((100, 10), "Hello, world!")


def test_what_a_consumer_of_a_stream_begins_is_not_part_of_it(
    persistence: InMemoryPersistence, model: Any, config: Any
) -> None:
    for _ in create_agent(model, [], name="greeter").stream(ask("Hello?"), config):
        with persistence.record_run(agent_id="consumer"):
            pass
    assert by_agent(persistence)["consumer"].parent_run_id is None


def test_a_stream_that_is_left_early_is_cancelled(
    persistence: InMemoryPersistence, model: Any, config: Any
) -> None:
    stream = create_agent(model, [], name="greeter").stream(
        ask("Hello?"), config, stream_mode="messages"
    )
    next(stream)
    stream.close()
    assert by_agent(persistence)["greeter"].status == "cancelled"


def test_a_retriever_and_a_chain(persistence: InMemoryPersistence, model: Any, config: Any) -> None:
    class Shelf(retrievers.BaseRetriever):  # type: ignore[misc, name-defined]
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> Any:
            return [documents.Document("It rains.", metadata={"page": 1})]

    prompt = prompts.ChatPromptTemplate.from_template("{context} {question}")
    first = {"context": Shelf(), "question": runnables.RunnablePassthrough()}
    chain = (first | prompt | model).with_config(run_name="librarian")
    chain.invoke("Oslo?", config)
    [run] = persistence.get_agent_runs()
    assert (run.agent_id, run.objective) == ("librarian", "Oslo?")
    assert run.final_synthesis_output == "Hello, world!"
    spans = [e.get_data_dict() for e in events(persistence, run.run_id, "span")]
    [found] = [span for span in spans if span["kind"] == "retriever"]
    assert (found["name"], found["input"]) == ("Shelf", "Oslo?")
    assert found["output"][0]["page_content"] == "It rains."
    assert "It rains." in only_call(persistence).prompt


def test_a_model_alone(persistence: InMemoryPersistence, model: Any, config: Any) -> None:
    model.invoke("Hello?", config)
    assert (only_call(persistence).run_id, persistence.get_agent_runs()) == (None, [])
    with persistence.record_run(agent_id="outer") as outer:
        model.invoke("Hello?", config)
    assert persistence.get_llm_usage()[0].run_id == outer.run_id


def test_a_graph_that_waits_for_a_person_has_not_failed(
    persistence: InMemoryPersistence, config: Any
) -> None:
    def approve(state: State) -> Json:
        return {"words": [graph_types.interrupt("May I?")]}

    graph = graphs.StateGraph(State)
    graph.add_node("approve", approve)
    graph.add_edge(graphs.START, "approve")
    compiled = graph.compile(checkpointer=memory.InMemorySaver(), name="clerk")
    config |= {"configurable": {"thread_id": "t1"}}
    compiled.invoke({"words": []}, config)
    compiled.invoke(graph_types.Command(resume="yes"), config)
    runs = persistence.get_agent_runs()
    assert [(run.status, run.session_id) for run in runs] == [("completed", "t1")] * 2
    for run in runs:
        assert all(e.level == "info" for e in events(persistence, run.run_id))


def test_nothing_of_what_has_ended_is_kept(
    provider: ModelProvider, persistence: InMemoryPersistence, model: Any, config: Any
) -> None:
    provider.script = nested_answer
    editor_of(model).invoke(ask("go"), config)
    blocks = config["callbacks"][0]._blocks
    assert (blocks._open, blocks._within) == ({}, {})


def test_a_callback_of_another_form_does_not_reach_the_agent(
    persistence: InMemoryPersistence, config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    [handler] = config["callbacks"]
    handler.on_llm_end("not a result")
    assert "not recorded" in caplog.text
