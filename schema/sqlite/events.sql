-- The events of runs. Rows are appended and never changed.

CREATE TABLE agent_run_events (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id        TEXT NOT NULL,
    run_id          TEXT NOT NULL REFERENCES agent_runs (run_id) ON DELETE CASCADE,
    agent_name      TEXT NOT NULL DEFAULT '',
    timestamp       TEXT NOT NULL CHECK (timestamp GLOB '????-??-??T??:??:??.??????+00:00'),
    event_type      TEXT NOT NULL DEFAULT '',
    data            TEXT,              -- JSON or plain text, as it was given
    created_at      TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    -- Extracted from data when a finished tool call is written, for statistics.
    tool_name       TEXT,
    tool_latency_us INTEGER,           -- microseconds
    tool_error      INTEGER,           -- 0 or 1
    event_id        TEXT,              -- the sender's key, which is stored only once
    -- The rest of the envelope.
    session_id      TEXT,
    level           TEXT NOT NULL DEFAULT 'info',
    message         TEXT,
    trace_id        TEXT,
    span_id         TEXT,
    parent_span_id  TEXT,
    contract_id     TEXT,
    contract_version TEXT,
    artifact_uri    TEXT,
    metadata        TEXT,              -- JSON or plain text, as it was given
    -- Computed when the event is written: the severity of a level above info (30 warning,
    -- 40 error, 50 critical), the name and value of a metric.
    severity        INTEGER,
    metric_name     TEXT,
    metric_value    REAL,
    -- Set where the event is a link of its run's hash chain.
    chain_position  INTEGER,           -- from 1
    content_hash    TEXT,              -- of data, message, artifact_uri and metadata
    prev_hash       TEXT,              -- NULL for the first
    hash            TEXT,
    -- Set where the event is an entry of its session's run log.
    seq             INTEGER,           -- from 1
    content_scope   TEXT               -- set where a marker stands for a long text; see content.sql
) STRICT;

-- A run's events in order; also for the foreign key. Sessions are counted from this index,
-- never from the table.
CREATE INDEX agent_run_events_by_run
    ON agent_run_events (run_id, timestamp, id, tool_error);
-- Newest events of one agent. The type follows the order, so that a filter by type reads no other
-- rows.
CREATE INDEX agent_run_events_by_agent ON agent_run_events (agent_id, timestamp, id, event_type);
-- Newest events of all agents.
CREATE INDEX agent_run_events_by_time ON agent_run_events (timestamp);
-- Tool statistics read this index and never the table. Other events cost nothing here.
CREATE INDEX agent_run_events_tools
    ON agent_run_events (agent_id, tool_name, tool_error, tool_latency_us)
    WHERE tool_name IS NOT NULL;
-- Tool calls of a window of time, counted by period, agent and tool.
CREATE INDEX agent_run_events_tools_by_time
    ON agent_run_events
        (timestamp, agent_id, tool_error, tool_name, tool_latency_us)
    WHERE tool_name IS NOT NULL;
-- Recognises events that are sent again. Events without an event_id cost nothing here.
CREATE UNIQUE INDEX agent_run_events_by_event_id ON agent_run_events (event_id)
    WHERE event_id IS NOT NULL;
-- Events of one session.
CREATE INDEX agent_run_events_by_session ON agent_run_events (session_id, timestamp)
    WHERE session_id IS NOT NULL;
-- Newest warnings and errors. Other events cost these two nothing.
CREATE INDEX agent_run_events_severe
    ON agent_run_events (timestamp, id, severity, event_type)
    WHERE severity IS NOT NULL;
-- The same for one agent.
CREATE INDEX agent_run_events_severe_by_agent
    ON agent_run_events (agent_id, timestamp, id, severity, event_type)
    WHERE severity IS NOT NULL;
-- A chain in its order, of which each position is taken once. Other events cost nothing here.
CREATE UNIQUE INDEX agent_run_events_chain ON agent_run_events (run_id, chain_position)
    WHERE chain_position IS NOT NULL;
-- The same for a run, whose errors are counted from this index.
CREATE INDEX agent_run_events_severe_by_run
    ON agent_run_events (run_id, severity, tool_error)
    WHERE severity IS NOT NULL;
-- Metrics are aggregated from this index, never from the table. Other events cost nothing here.
CREATE INDEX agent_run_events_metrics
    ON agent_run_events (metric_name, timestamp, metric_value, agent_id)
    WHERE metric_name IS NOT NULL;
-- A run log in its order, in which each position is taken once. Other events cost these two nothing.
CREATE UNIQUE INDEX agent_run_events_log ON agent_run_events (session_id, seq)
    WHERE seq IS NOT NULL;
-- The entries of one kind in a run log, in its order: its views read no others.
CREATE INDEX agent_run_events_log_by_kind
    ON agent_run_events (session_id, event_type, seq)
    WHERE seq IS NOT NULL;
-- The rows that refer to long texts of a scope. Other events cost nothing here.
CREATE INDEX agent_run_events_by_content ON agent_run_events (content_scope)
    WHERE content_scope IS NOT NULL;
