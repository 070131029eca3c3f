-- The run logs of sessions: how far each has been numbered. Numbers are never given out again.

CREATE TABLE agent_run_logs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL UNIQUE,
    last_seq   INTEGER NOT NULL,
    created_at TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;
