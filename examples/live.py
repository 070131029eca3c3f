"""Watch agents while they work, and go on behind the last item after a crash.

python examples/live.py
"""

import tempfile
import threading
from pathlib import Path

from curio_persistence import SQLitePersistence


def work(persistence, agent_id):
    """Be an agent that looks something up."""
    with persistence.record_run(agent_id=agent_id, run_id=f"{agent_id}-1") as run:
        with run.tool("look_up", {"place": agent_id}) as call:
            call.result = "found"
        run.llm_call(model="acme-1", prompt="Is it far?", response="No.", cost_usd=0.002)


def watch(persistence, after=None):
    """Print what happens until a run has ended; return where to go on."""
    with persistence.stream(after=after, kinds=["run", "usage"]) as stream:
        for item in stream:
            if item.kind == "usage":
                print(f"{item.record.run_id} asked {item.record.model}")
            else:
                print(f"{item.record.run_id} {item.change}")
            if item.change == "ended":
                break
    return item.id


with tempfile.TemporaryDirectory() as folder:
    database = Path(folder, "agent.db")
    with SQLitePersistence(database) as agents, SQLitePersistence(database) as watcher:
        start = watcher.stream().id
        working = threading.Thread(target=work, args=(agents, "lyon"))
        working.start()
        seen = watch(watcher, start)
        working.join()

    # The watcher was away, as after a crash. Another process would go on in the same way.
    with SQLitePersistence(database) as persistence:
        work(persistence, "oslo")
        print("back again")
        watch(persistence, seen)
