"""An agent that is killed in the middle of a tool call goes on from its run log."""

import json
import subprocess
import sys
import time

from curio_persistence import SQLitePersistence
from curio_persistence.runlog.entries import (
    AssistantStepCommitted,
    RunFinished,
    RunStarted,
    ToolStepCommitted,
    UserStepCommitted,
)

SESSION = "chat-1"
IDS = {"run_id": "run-1", "agent_id": "guide"}


def model(messages: list[dict]) -> dict:
    """Stand in for a model: it asks for the weather, then answers."""
    last = messages[-1]
    if last["role"] == "user":
        return {"tool_calls": [{"id": "call-1", "name": "weather", "arguments": {"city": "Lyon"}}]}
    return {"content": f"In Lyon it is {last['content']}."}


def weather(city: str, patience: float) -> str:
    print(f"asking for the weather in {city} …", flush=True)
    time.sleep(patience)
    return "sunny"


def work(path: str, patience: float) -> None:
    """Do what the log says is next, until there is an answer. It does not matter who began."""
    with SQLitePersistence(path) as persistence:
        log = persistence.runlog
        if not log.max_sequence(SESSION):
            question = "What is the weather in Lyon?"
            asked = UserStepCommitted(**IDS, step_id="step-1", role="user", content=question)
            log.append(SESSION, [RunStarted(**IDS, user_input=question), asked])
        while True:
            messages = log.context(SESSION)
            print("messages:", json.dumps(messages), flush=True)
            last, step_id = messages[-1], f"step-{len(messages) + 1}"
            if last["role"] != "assistant":
                said = model(messages)
                step = AssistantStepCommitted(**IDS, step_id=step_id, role="assistant", **said)
                log.append(SESSION, [step])
            elif "tool_calls" in last:
                [call] = last["tool_calls"]
                result = weather(**call["arguments"], patience=patience)
                step = ToolStepCommitted(
                    **IDS,
                    step_id=step_id,
                    role="tool",
                    content=result,
                    tool_call_id=call["id"],
                    name=call["name"],
                )
                log.append(SESSION, [step])
            else:
                log.append(SESSION, [RunFinished(**IDS, response=last["content"])])
                break


def main(path: str = "killed.db") -> None:
    begin = [sys.executable, __file__, path]
    with subprocess.Popen([*begin, "3600"], stdout=subprocess.PIPE, text=True) as agent:
        before = []
        for line in agent.stdout:
            if line.startswith("asking"):
                break
            before.append(line)
        agent.kill()  # As kill -9 does, or the system when memory runs out.
    print("killed:", agent.wait())

    again = subprocess.run([*begin, "0"], stdout=subprocess.PIPE, text=True, check=True)
    after = again.stdout.splitlines(keepends=True)
    print("the same messages:", after[0] == before[-1])

    with SQLitePersistence(path) as persistence:
        for step in persistence.runlog.step_views(SESSION):
            print(step.sequence, step.role, step.content or step.tool_calls[0]["name"])
        run = persistence.get_agent_run(IDS["run_id"])
        print(run.status, "·", run.final_output)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(sys.argv[1], float(sys.argv[2]))
    else:
        main()
