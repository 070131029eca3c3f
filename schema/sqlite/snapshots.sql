-- The states of runs at their steps, from which they can go on. A step that is saved again keeps
-- its last state.

CREATE TABLE agent_snapshots (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id     TEXT NOT NULL REFERENCES agent_runs (run_id) ON DELETE CASCADE,
    step_id    TEXT NOT NULL,
    metadata   TEXT,                   -- JSON or plain text, as it was given
    created_at TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    state      TEXT,                   -- JSON or plain text, as it was given; last, as it is long
    UNIQUE (run_id, step_id)
) STRICT;

-- Newest snapshots.
CREATE INDEX agent_snapshots_by_time ON agent_snapshots (created_at);
-- The last one of a run.
CREATE INDEX agent_snapshots_by_run ON agent_snapshots (run_id, updated_at);
