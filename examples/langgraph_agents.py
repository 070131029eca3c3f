"""Two agents of LangChain, one a tool of the other, recorded by one line.

    pip install langchain 'curio-persistence[langchain]'
    python examples/langgraph_agents.py

The model answers from a script, so neither a key nor a network is needed.
"""

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from curio_persistence import SQLitePersistence
from curio_persistence.interop.adapters.langchain import CurioCallbackHandler

TOKENS = {"input_tokens": 50, "output_tokens": 8, "total_tokens": 58}


class Scripted(GenericFakeChatModel):
    """A model that says what it is told to."""

    def bind_tools(self, tools, **options):
        return self


def model(*answers):
    return Scripted(messages=iter(answers))


def says(text, *calls):
    return AIMessage(text, tool_calls=list(calls), usage_metadata=TOKENS)


@tool
def research(topic: str) -> str:
    """Collect facts."""
    researcher = create_agent(model(says("Rivers run to the sea.")), [], name="researcher")
    question = {"messages": [{"role": "user", "content": topic}]}
    return researcher.invoke(question)["messages"][-1].content


wish = {"name": "research", "args": {"topic": "rivers"}, "id": "1", "type": "tool_call"}
editor = create_agent(
    model(says("", wish), says("Rivers run to the sea, and feed it.")), [research], name="editor"
)

with SQLitePersistence(":memory:") as persistence:
    editor.invoke(
        {"messages": [{"role": "user", "content": "Write about rivers"}]},
        {"callbacks": [CurioCallbackHandler(persistence)], "configurable": {"thread_id": "chat-1"}},
    )

    names = {run.run_id: run.agent_id for run in persistence.get_agent_runs()}
    for run in persistence.get_agent_runs():
        parent = names.get(run.parent_run_id, "nobody")
        print(f"{run.agent_id}, called by {parent}: {run.final_synthesis_output}")
    print(persistence.get_agent_run_stats()["total_llm_calls"], "model calls")
