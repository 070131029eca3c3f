"""A framework that calls back, and the dozen lines that record what it runs.

    python examples/callbacks.py

Frameworks report work by a begin and an end, each with an id, from whatever thread. `begin()` and
`end()` record that as a `with` block would. docs/frameworks.md has adapters for known frameworks.
"""

from concurrent.futures import ThreadPoolExecutor

from curio_persistence import SQLitePersistence


class Framework:
    """Runs steps in threads, and tells its listeners."""

    def __init__(self):
        self.listeners = []

    def tell(self, what, **facts):
        for listener in self.listeners:
            getattr(listener, what)(**facts)

    def work(self, name):
        self.tell("step_began", step=name, args={"page": name})
        failure = "404" if name == "nowhere" else None
        self.tell("step_ended", step=name, result=len(name), failure=failure)

    def run(self, question, steps):
        self.tell("run_began", question=question)
        with ThreadPoolExecutor() as threads:
            list(threads.map(self.work, steps))
        self.tell("run_ended", answer=f"{len(steps)} pages were read.")


class Recorder:
    """Records what the framework tells."""

    def __init__(self, persistence):
        self.persistence = persistence
        self.steps = {}

    def run_began(self, question):
        self.run = self.persistence.record_run(agent_id="reader", objective=question).begin()

    def step_began(self, step, args):
        self.steps[step] = self.run.tool("fetch", args).begin(inside=self.run)

    def step_ended(self, step, result, failure):
        call = self.steps.pop(step)
        call.result = result
        call.end(failure)  # An exception, or its text; None if it went well.

    def run_ended(self, answer):
        self.run.finish(answer)
        self.run.end()


with SQLitePersistence(":memory:") as persistence:
    framework = Framework()
    framework.listeners.append(Recorder(persistence))
    framework.run("What is there?", ["start", "news", "nowhere"])

    [run] = persistence.get_agent_runs()
    print(run.objective, "->", run.final_synthesis_output)
    for event in persistence.get_agent_run_events(run.run_id, "tool_call"):
        told = event.get_data_dict()
        print(told["tool_name"], told["args"]["page"], told["error"] or told["result"])
