-- Agents that have run. The first run of an agent makes its row, and later runs move its times.

CREATE TABLE agents (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id      TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL DEFAULT '',
    description   TEXT,
    first_seen_at TEXT NOT NULL CHECK (first_seen_at GLOB '????-??-??T??:??:??.??????+00:00'),
    last_seen_at  TEXT NOT NULL CHECK (last_seen_at GLOB '????-??-??T??:??:??.??????+00:00'),
    created_at    TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at    TEXT CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'), -- by a caller
    metadata      TEXT                -- JSON or plain text, as it was given
) STRICT;

-- Agents that were seen last.
CREATE INDEX agents_by_time ON agents (last_seen_at);
