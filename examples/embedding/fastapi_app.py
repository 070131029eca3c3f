"""The console below /curio of a FastAPI application: `uvicorn fastapi_app:app` serves it."""

from fastapi import FastAPI

from curio_persistence import SQLitePersistence, create_app

persistence = SQLitePersistence("agents.db")
app = FastAPI()
app.mount("/curio", create_app(persistence))


@app.get("/")
def answer(question: str = "Where is Lyon?") -> dict[str, str]:
    with persistence.record_run(agent_id="guide", objective=question) as run:
        run.finish("In France.")
    return {"answer": "In France.", "run": f"/curio/runs/{run.run_id}"}
