"""Search the records of agents with queries as people type them, and show neighbouring events."""

from curio_persistence import SQLitePersistence

with SQLitePersistence("searched.db") as persistence:
    for city, answer in {
        "Zürich": "Sunny, 21 degrees",
        "東京": "晴れ、最高気温は二十度",
        "Reykjavík": "It's the archive's rate limit: try again in 20.5 s",
    }.items():
        with persistence.record_run(agent_id="forecaster", objective=f"Weather in {city}") as run:
            with run.tool("look_up", {"city": city}) as call:
                call.result = answer
            run.finish(answer)

    for query in ("zurich", "気温", '"limit rate"', '"rate limit"', "sun* -rate", "20.5", "C++"):
        page = persistence.search_text(query)
        print(f"{query}: {len(page)} found", *(hit.kind for hit in page))

    [best, *_] = persistence.search_text("rate limit", order="rank", agent_id="forecaster")
    for start, end in best.highlights:
        print("marked:", best.snippet[start:end])
    print("in the run:", *(e.event_type for e in persistence.get_agent_run_events(best.run_id)))
