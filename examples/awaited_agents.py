"""Agents in an event loop, in the style of AGDD: one delegates, the others do the work.

They use only the storage backend that is passed to them, with AGDD's names.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from curio_persistence.compat.agdd import SQLiteStorageBackend, StorageBackend


class Agent:
    """The common part of both kinds: a run with a start, events and an end."""

    slug = ""

    def __init__(self, storage: StorageBackend) -> None:
        self._storage = storage
        self.run_id = f"{self.slug}-{uuid.uuid4().hex[:8]}"

    async def run(self, task: Any, parent: str | None = None) -> Any:
        await self._storage.create_run(self.run_id, self.slug, parent_run_id=parent)
        begin = time.perf_counter()
        try:
            result = await self.work(task)
        except Exception as error:
            await self.log("error", str(error), level="error")
            await self._storage.update_run(self.run_id, "failed", datetime.now(UTC))
            raise
        metrics = {"duration_ms": round((time.perf_counter() - begin) * 1000)}
        await self._storage.update_run(self.run_id, "succeeded", datetime.now(UTC), metrics)
        return result

    async def work(self, task: Any) -> Any:
        raise NotImplementedError

    async def log(self, event_type: str, message: str, **more: Any) -> None:
        now = datetime.now(UTC)
        await self._storage.append_event(
            self.run_id, self.slug, event_type, now, message=message, **more
        )


class WordCounter(Agent):
    slug = "word-counter-sag"

    async def work(self, task: str) -> int:
        if not task:
            raise ValueError("there is nothing to count")
        await self.log("log", f"counting {task!r}")
        await asyncio.sleep(0.01)  # A real agent would call a model here.
        return len(task.split())


class Orchestrator(Agent):
    slug = "orchestrator-mag"

    async def work(self, task: list[str]) -> int:
        helpers = [WordCounter(self._storage) for _ in task]
        for helper, text in zip(helpers, task, strict=True):
            payload = {"task_id": helper.run_id, "target": helper.slug}
            await self.log("delegation", text, payload=payload)
        runs = (helper.run(text, self.run_id) for helper, text in zip(helpers, task, strict=True))
        results = await asyncio.gather(*runs, return_exceptions=True)
        return sum(each for each in results if isinstance(each, int))


async def main() -> None:
    storage = SQLiteStorageBackend("agents.db")  # Or: await get_storage_backend()
    await storage.initialize()
    agent = Orchestrator(storage)
    words = await agent.run(["to be or not to be", "", "that is the question"])
    print(words, "words")

    for run in await storage.list_runs(since=datetime.fromtimestamp(0, UTC), limit=4):
        print(f"{run['status']:9}  {run['agent_slug']}")
    async for event in storage.get_events(agent.run_id, event_type="delegation"):
        print(event["level"], event["type"], event["payload"]["target"])
    for event in await storage.search_text("nothing count"):
        print("found:", event["msg"])
    await storage.close()


asyncio.run(main())
