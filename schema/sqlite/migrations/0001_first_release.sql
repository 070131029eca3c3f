-- additive: the tables of the first release.

CREATE TABLE schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('additive', 'breaking')),
    checksum   TEXT NOT NULL,          -- SHA-256 of the step's file
    applied_at TEXT NOT NULL
) STRICT;

CREATE TABLE agent_runs (
    id                     INTEGER PRIMARY KEY,
    agent_id               TEXT NOT NULL,
    run_id                 TEXT NOT NULL UNIQUE,
    agent_name             TEXT NOT NULL DEFAULT '',
    objective              TEXT NOT NULL DEFAULT '',
    additional_context     TEXT,       -- JSON or plain text, as it was given
    started_at             TEXT CHECK (started_at GLOB '????-??-??T??:??:??.??????+00:00'),
    finished_at            TEXT CHECK (finished_at GLOB '????-??-??T??:??:??.??????+00:00'),
    total_iterations       INTEGER NOT NULL DEFAULT 0,
    final_synthesis_output TEXT,
    execution_history      TEXT,       -- JSON or plain text, as it was given
    status                 TEXT NOT NULL DEFAULT 'pending',
    error_message          TEXT,
    metadata               TEXT,       -- JSON or plain text, as it was given
    created_at             TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at             TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    session_id             TEXT,
    parent_run_id          TEXT,       -- no foreign key: a parent may be recorded later, or elsewhere
    stub                   INTEGER     -- 1 while all that is known of the run is that an event named it
) STRICT;

-- Newest runs of all agents.
CREATE INDEX agent_runs_by_time ON agent_runs (created_at);
-- Newest runs of one agent.
CREATE INDEX agent_runs_by_agent ON agent_runs (agent_id, created_at);
-- Runs still running: the check-up and runs.abandon().
CREATE INDEX agent_runs_by_status ON agent_runs (status, created_at);
-- Statistics read this index and never the table.
CREATE INDEX agent_runs_stats ON agent_runs (agent_id, status, total_iterations);
-- A deleted run's children lose their parent.
CREATE INDEX agent_runs_by_parent ON agent_runs (parent_run_id) WHERE parent_run_id IS NOT NULL;

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
    tool_error      INTEGER            -- 0 or 1
) STRICT;

-- A run's events in order; also what the foreign key looks up.
CREATE INDEX agent_run_events_by_run ON agent_run_events (run_id, timestamp);
-- Tool statistics read this index and never the table. Other events cost it nothing.
CREATE INDEX agent_run_events_tools
    ON agent_run_events (agent_id, tool_name, tool_error, tool_latency_us)
    WHERE tool_name IS NOT NULL;

CREATE TABLE agent_llm_usage (
    id                 INTEGER PRIMARY KEY,
    agent_id           TEXT,
    run_id             TEXT,
    provider           TEXT NOT NULL DEFAULT '',
    model              TEXT NOT NULL DEFAULT '',
    prompt             TEXT NOT NULL DEFAULT '',
    prompt_length      INTEGER NOT NULL DEFAULT 0,
    input_params       TEXT,           -- JSON or plain text, as it was given
    input_tokens       INTEGER,
    output_tokens      INTEGER,
    response_content   TEXT,
    response_length    INTEGER,
    usage_metrics      TEXT,           -- JSON or plain text, as it was given
    status             TEXT NOT NULL DEFAULT 'success',
    error_message      TEXT,
    latency_ms         INTEGER,
    created_at         TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    span_id            TEXT,
    cache_read_tokens  INTEGER,
    cache_write_tokens INTEGER,
    reasoning_tokens   INTEGER,
    cost_usd           INTEGER         -- picodollars: 10^-12 US dollars, so that sums are exact
) STRICT;

-- Newest calls of all agents.
CREATE INDEX agent_llm_usage_by_time ON agent_llm_usage (created_at);
-- Newest calls of one agent.
CREATE INDEX agent_llm_usage_by_agent ON agent_llm_usage (agent_id, created_at);
-- A run's calls.
CREATE INDEX agent_llm_usage_by_run ON agent_llm_usage (run_id, created_at)
    WHERE run_id IS NOT NULL;
-- Statistics read these two indexes and never the table. The second yields latencies in order, so
-- that percentiles over everything need no sort.
CREATE INDEX agent_llm_usage_stats ON agent_llm_usage
    (agent_id, model, status, input_tokens, output_tokens, cost_usd, latency_ms);
CREATE INDEX agent_llm_usage_latency ON agent_llm_usage (latency_ms) WHERE latency_ms IS NOT NULL;
