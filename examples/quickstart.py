from curio_persistence import SQLitePersistence

persistence = SQLitePersistence("agent.db")

with persistence.record_run(agent_id="greeter", objective="Greet the world") as run:
    with run.tool("look_up", {"word": "hello", "language": "fr"}) as call:
        call.result = "bonjour"
    run.llm_call(
        model="acme-1",
        prompt="Greet the world, beginning with 'bonjour'",
        response="Bonjour, le monde !",
        input_tokens=11,
        output_tokens=6,
        latency_ms=420,
        cost_usd=0.0004,
    )
    run.finish("Bonjour, le monde !")

print([event.event_type for event in persistence.get_agent_run_events(run.run_id)])
print(persistence.get_agent_run_stats()["total_cost_usd"], "US dollars")
