"""Find what means much the same: runs like a failed one, and errors that are one."""

from curio_persistence import SQLitePersistence

with SQLitePersistence("compared.db") as persistence:
    for objective, error in {
        "Book a flight to Rome": TimeoutError("The connection to the server timed out"),
        "Reserve airline tickets for Oslo": TimeoutError("Connection timed out"),
        "Write a poem about the sea": PermissionError("Invalid API key"),
        "Compose some verses on the ocean": None,
    }.items():
        try:
            with persistence.record_run(agent_id="scout", objective=objective) as run:
                if error is not None:
                    raise error
                run.finish("Done")
        except OSError:
            continue

    for hit in persistence.similar("a trip by plane", top=2):
        print(f"{hit.kind}: {hit.snippet}")

    failed = persistence.query_agent_runs(status="error", order="oldest")[0]
    [like_it] = persistence.similar(failed.run_id, kind="error", top=1)
    print("failed like it:", like_it.record.objective)

    for group in persistence.similarity.failures():
        print(f"{group.count} × {group.message}, {group.messages} messages")
