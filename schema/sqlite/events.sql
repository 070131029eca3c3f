-- What happened in a run. Rows are appended and never changed.

CREATE TABLE agent_run_events (
    id              INTEGER PRIMARY KEY,
    agent_id        TEXT NOT NULL,
    run_id          TEXT NOT NULL REFERENCES agent_runs (run_id) ON DELETE CASCADE,
    agent_name      TEXT NOT NULL DEFAULT '',
    timestamp       TEXT NOT NULL CHECK (timestamp GLOB '????-??-??T??:??:??.??????+00:00'),
    event_type      TEXT NOT NULL DEFAULT '',
    data            TEXT,              -- JSON or plain text, as it was given
    created_at      TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    -- Lifted out of data when a finished tool call is written, for statistics.
    tool_name       TEXT,
    tool_latency_us INTEGER,           -- microseconds
    tool_error      INTEGER,           -- 0 or 1
    event_id        TEXT               -- the sender's name for it, by which it is stored once
) STRICT;

-- A run's events in order; also what the foreign key looks up.
CREATE INDEX agent_run_events_by_run ON agent_run_events (run_id, timestamp);
-- Newest events of one agent. The type stands behind the order, so that one type's are found without
-- a look at the others' rows.
CREATE INDEX agent_run_events_by_agent ON agent_run_events (agent_id, timestamp, id, event_type);
-- Newest events of all agents.
CREATE INDEX agent_run_events_by_time ON agent_run_events (timestamp);
-- Tool statistics read this index and never the table. Other events cost it nothing.
CREATE INDEX agent_run_events_tools
    ON agent_run_events (agent_id, tool_name, tool_error, tool_latency_us)
    WHERE tool_name IS NOT NULL;
-- What is sent again is recognised. Events that have no event_id cost it nothing.
CREATE UNIQUE INDEX agent_run_events_by_event_id ON agent_run_events (event_id)
    WHERE event_id IS NOT NULL;
