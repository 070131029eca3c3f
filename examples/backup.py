"""Write a backup to a file, restore it, and keep a second database in sync."""

from curio_persistence import (
    SQLitePersistence,
    copy_records,
    export_records,
    import_records,
)

with SQLitePersistence("agents.db") as agents:
    for number in range(20):
        run_id = f"run-{number}"
        for step in range(10):
            agents.append_event(run_id, "researcher", "step", payload={"step": step})

    # One file, of one moment, even if agents write meanwhile.
    report = export_records(agents, "agents.jsonl", overwrite=True)
    print(f"{report.path}: {report.runs} runs, {report.events} events")

    # Into an empty database, or one with a part of it: each record is stored once.
    with SQLitePersistence("restored.db") as restored:
        import_records("agents.jsonl", restored)
        before, after = agents.runs.hash("run-7"), restored.runs.hash("run-7")
        print("restored:", before == after)

    # Run it every night: it adds the new records.
    with SQLitePersistence("second.db") as second:
        first_night = copy_records(agents, second)
        agents.append_event("run-0", "researcher", "late")
        second_night = copy_records(agents, second)
    print(f"copied: {first_night.new_events} new events, then {second_night.new_events}")
