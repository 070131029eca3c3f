"""An agent asks a person before it pays, is killed while it waits, and goes on in a new process.

    python examples/approvals.py

The person is this program; in earnest it is one with a web page, or `curio-persistence approvals`.
"""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from curio_persistence import ConflictError, SQLitePersistence

RUN, TICKET = "invoice-7", "invoice-7/pay"
PAYMENT = {"to": "ACME", "amount": 120}


def agent(path):
    """Plan, ask, pay: each step once, in however many processes."""
    with SQLitePersistence(path) as persistence:
        approvals, snapshots = persistence.approvals, persistence.snapshots
        with persistence.record_run(agent_id="payer", run_id=RUN, resume=True) as run:
            saved = snapshots.latest(RUN)
            state = {"steps": []} if saved is None else saved.get_state()
            if saved is None:
                state["steps"].append("planned")
                snapshots.save(RUN, "plan", state)
            if approvals.get(TICKET) is None:
                approvals.request(RUN, "pay", PAYMENT, ticket_id=TICKET)
            approvals.wait(TICKET)
            if approvals.check(TICKET, PAYMENT):
                with run.tool("pay", PAYMENT) as call:
                    call.result = "paid"
                state["steps"].append("paid")
            snapshots.save(RUN, "pay", state)
            run.finish(", ".join(state["steps"]))


def start(path):
    return subprocess.Popen([sys.executable, __file__, str(path)])


def main():
    with TemporaryDirectory() as folder:
        path = Path(folder) / "payments.db"
        with SQLitePersistence(path) as persistence:
            first = start(path)
            while not (waiting := list(persistence.approvals.query(status="pending"))):
                time.sleep(0.05)
            print("asked:", waiting[0].tool, waiting[0].get_arguments_dict())
            first.kill()
            first.wait()
            print("killed; the run is", persistence.get_agent_run(RUN).status)

            persistence.approvals.resolve(TICKET, "approved", by="ada")
            try:
                persistence.approvals.resolve(TICKET, "denied", by="bob")
            except ConflictError as error:
                print("too late:", error)

            start(path).wait()
            run = persistence.get_agent_run(RUN)
            print(f"{run.status}: {run.final_synthesis_output}")
            tools = persistence.get_agent_run_events(RUN, "tool_call")
            print("tool calls:", [event.get_data_dict()["tool_name"] for event in tools])
            [line] = persistence.audit.query()
            print("audit log:", line.actor_id, line.action, line.resource)


if __name__ == "__main__":
    agent(*sys.argv[1:]) if sys.argv[1:] else main()
