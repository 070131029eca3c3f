-- breaking: the first tables.

-- Which steps of migrations/ this database has, so that a program knows whether it can work with it.

CREATE TABLE schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('additive', 'breaking')),
    checksum   TEXT NOT NULL,          -- SHA-256 of the step's file
    applied_at TEXT NOT NULL
) STRICT;

-- One row for each execution of an agent.
-- Times are UTC text of fixed width, so that text order is time order; the CHECKs ensure it.

CREATE TABLE agent_runs (
    id                     INTEGER PRIMARY KEY AUTOINCREMENT,
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
    stub                   INTEGER,    -- 1 while the run is known only from an event
    tags                   TEXT,       -- a JSON array of texts
    metrics                TEXT,       -- JSON or plain text, as it was given
    user_id                TEXT,
    -- The updated_at of the run in the search index.
    indexed_at             TEXT CHECK (indexed_at GLOB '????-??-??T??:??:??.??????+00:00'),
    stripped               INTEGER,    -- 1 when a policy has removed the texts
    trace_id               TEXT,       -- of a run whose run_id, unlike a UUID, does not tell it
    -- These members of metadata: the tool that made the run, and where that worked.
    source                 TEXT,
    project                TEXT,
    branch                 TEXT
) STRICT;

-- Newest runs of all agents.
CREATE INDEX agent_runs_by_time ON agent_runs (created_at);
-- Different agents, sessions and users by period are counted in this index and never in the table,
-- where long texts precede them. (PostgreSQL stores those elsewhere.)
CREATE INDEX agent_runs_by_period ON agent_runs (created_at, agent_id, session_id, user_id);
-- Newest runs of one agent.
CREATE INDEX agent_runs_by_agent ON agent_runs (agent_id, created_at);
-- Runs still running: the health check and runs.abandon().
CREATE INDEX agent_runs_by_status ON agent_runs (status, created_at);
-- Statistics read this index and never the table.
CREATE INDEX agent_runs_stats ON agent_runs (agent_id, status, total_iterations);
-- A run's children, which lose their parent when it is deleted.
CREATE INDEX agent_runs_by_parent ON agent_runs (parent_run_id, created_at)
    WHERE parent_run_id IS NOT NULL;
-- Finished runs, the oldest first: what expires.
CREATE INDEX agent_runs_by_finish ON agent_runs (finished_at)
    WHERE finished_at IS NOT NULL;
-- Finished runs that still have their texts, the oldest first.
CREATE INDEX agent_runs_with_content ON agent_runs (finished_at)
    WHERE finished_at IS NOT NULL AND stripped IS NULL;
-- Runs of one session.
CREATE INDEX agent_runs_by_session ON agent_runs (session_id, created_at)
    WHERE session_id IS NOT NULL;
-- Runs of one user.
CREATE INDEX agent_runs_by_user ON agent_runs (user_id, created_at)
    WHERE user_id IS NOT NULL;
-- Runs that the search index has yet to index.
CREATE INDEX agent_runs_unindexed ON agent_runs (id)
    WHERE indexed_at IS NOT updated_at;
-- The run of a trace.
CREATE INDEX agent_runs_by_trace ON agent_runs (trace_id)
    WHERE trace_id IS NOT NULL;
-- Runs of one tool.
CREATE INDEX agent_runs_by_source ON agent_runs (source, created_at)
    WHERE source IS NOT NULL;
-- Runs of one project.
CREATE INDEX agent_runs_by_project ON agent_runs (project, created_at)
    WHERE project IS NOT NULL;

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

-- One row for each model call. No foreign key: a call can stand alone, and outlives its run.

CREATE TABLE agent_llm_usage (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
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
    -- Picodollars, 10^-12 US dollars, so that sums are exact. The view llm_calls has dollars.
    cost_usd           INTEGER,
    event_id           TEXT,           -- the sender's key, which is stored only once
    trace_id           TEXT,
    parent_span_id     TEXT,           -- the span in which the call was made
    content_scope      TEXT,           -- set where a marker stands for a long text; see content.sql
    -- The prices that cost_usd was computed with, or 'reported'; NULL if the caller gave the cost.
    price_version      TEXT
) STRICT;

-- Newest calls of all agents.
CREATE INDEX agent_llm_usage_by_time ON agent_llm_usage (created_at);
-- Newest calls of one agent.
CREATE INDEX agent_llm_usage_by_agent ON agent_llm_usage (agent_id, created_at);
-- A run's calls. Those of a session are added up from this index, never from the table.
CREATE INDEX agent_llm_usage_by_run ON agent_llm_usage
    (run_id, created_at, id, status, input_tokens, output_tokens, cost_usd)
    WHERE run_id IS NOT NULL;
-- Statistics read these two indexes and never the table. In the first, the id makes each group grow
-- at its end, which saves a fifth of a batch. The second yields latencies in order, so that
-- percentiles over everything need no sort.
CREATE INDEX agent_llm_usage_stats ON agent_llm_usage
    (agent_id, model, status, id, input_tokens, output_tokens, cost_usd, latency_ms);
CREATE INDEX agent_llm_usage_latency ON agent_llm_usage (latency_ms) WHERE latency_ms IS NOT NULL;
-- Sums by period read this index and never the table. It grows at its end.
CREATE INDEX agent_llm_usage_by_period ON agent_llm_usage
    (created_at, agent_id, model, status, input_tokens, output_tokens, cost_usd, latency_ms,
     cache_read_tokens, cache_write_tokens, reasoning_tokens);
-- Recognises calls that are sent again. Calls without an event_id cost nothing here.
CREATE UNIQUE INDEX agent_llm_usage_by_event_id ON agent_llm_usage (event_id)
    WHERE event_id IS NOT NULL;
-- The rows that refer to long texts of a scope. Other calls cost nothing here.
CREATE INDEX agent_llm_usage_by_content ON agent_llm_usage (content_scope)
    WHERE content_scope IS NOT NULL;
-- Calls of a trace that belong to no run. Other calls cost nothing here.
CREATE INDEX agent_llm_usage_by_trace ON agent_llm_usage (trace_id)
    WHERE run_id IS NULL AND trace_id IS NOT NULL;

-- Judgements of runs, or of spans of runs. A later score of the same author replaces an earlier one.

CREATE TABLE agent_scores (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id     TEXT NOT NULL REFERENCES agent_runs (run_id) ON DELETE CASCADE,
    span_id    TEXT NOT NULL DEFAULT '', -- '' is the run itself
    name       TEXT NOT NULL,
    source     TEXT NOT NULL,          -- human, code or model
    author     TEXT NOT NULL DEFAULT '',
    value      REAL,
    label      TEXT,                   -- a word in place of the value
    comment    TEXT,
    created_at TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    UNIQUE (run_id, span_id, name, source, author)
) STRICT;

-- Newest scores.
CREATE INDEX agent_scores_by_time ON agent_scores (created_at);
-- Newest scores of one name.
CREATE INDEX agent_scores_by_name ON agent_scores (name, created_at);

-- Tickets by which runs ask people whether they may call a tool.

CREATE TABLE agent_approvals (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    ticket_id      TEXT NOT NULL UNIQUE,
    run_id         TEXT NOT NULL REFERENCES agent_runs (run_id) ON DELETE CASCADE,
    agent_id       TEXT NOT NULL,
    tool           TEXT NOT NULL,
    arguments      TEXT,               -- JSON, redacted
    arguments_hash TEXT NOT NULL,      -- SHA-256 of the arguments before that, as canonical JSON
    step_id        TEXT,
    status         TEXT NOT NULL DEFAULT 'pending', -- a pending one is expired from expires_at on
    requested_at   TEXT NOT NULL CHECK (requested_at GLOB '????-??-??T??:??:??.??????+00:00'),
    expires_at     TEXT NOT NULL CHECK (expires_at GLOB '????-??-??T??:??:??.??????+00:00'),
    resolved_by    TEXT,
    resolved_at    TEXT CHECK (resolved_at GLOB '????-??-??T??:??:??.??????+00:00'),
    reason         TEXT,
    response       TEXT,               -- JSON or plain text, as it was given
    metadata       TEXT,               -- JSON or plain text, as it was given
    created_at     TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at     TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;

-- Newest tickets.
CREATE INDEX agent_approvals_by_time ON agent_approvals (requested_at);
-- Tickets of one run.
CREATE INDEX agent_approvals_by_run ON agent_approvals (run_id, requested_at);
-- Tickets of one status; the last column tells of those that are pending whose time is over.
CREATE INDEX agent_approvals_by_status ON agent_approvals (status, requested_at, id, expires_at);

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

-- Spans that applications save, or that come from other programs. Those of runs, tools and model
-- calls are not here: they are derived from their own rows.

CREATE TABLE agent_spans (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id       TEXT NOT NULL,
    span_id        TEXT NOT NULL,
    parent_span_id TEXT,               -- no foreign key: a parent may be saved later, or elsewhere
    run_id         TEXT,               -- the same
    kind           TEXT NOT NULL DEFAULT 'span',
    name           TEXT NOT NULL DEFAULT '',
    status         TEXT NOT NULL DEFAULT 'unset',
    error_message  TEXT,
    started_at     TEXT NOT NULL CHECK (started_at GLOB '????-??-??T??:??:??.??????+00:00'),
    ended_at       TEXT CHECK (ended_at GLOB '????-??-??T??:??:??.??????+00:00'),
    start_nanos    INTEGER,            -- nanoseconds to be added to started_at, up to 999
    end_nanos      INTEGER,            -- the same for ended_at
    agent_id       TEXT,
    session_id     TEXT,
    user_id        TEXT,
    step_id        TEXT,
    input          TEXT,               -- JSON or plain text, as it was given; so are the next six
    output         TEXT,
    attributes     TEXT,
    metrics        TEXT,
    details        TEXT,
    events         TEXT,
    links          TEXT,
    response_id    TEXT,               -- what a provider called the answer of a model
    trace_state    TEXT,
    flags          INTEGER,
    created_at     TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at     TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    source_id      TEXT,               -- of a received span: its row of agent_span_sources
    otel_kind      INTEGER,            -- of a received span: OTLP's number of its kind
    otel_status    INTEGER,            -- of a received span: OTLP's number of its status
    rest           TEXT,               -- of a received span: what no other column holds, as JSON
    meaning        TEXT,               -- of a received span: what it was read as, without words
    UNIQUE (trace_id, span_id)
) STRICT;

-- Newest spans.
CREATE INDEX agent_spans_by_time ON agent_spans (started_at);
-- Newest traces that have no run.
CREATE INDEX agent_spans_roots ON agent_spans (started_at)
    WHERE parent_span_id IS NULL;
-- A run's spans.
CREATE INDEX agent_spans_by_run ON agent_spans (run_id, started_at)
    WHERE run_id IS NOT NULL;
-- Spans of one answer of a model, which two programs may have sent.
CREATE INDEX agent_spans_by_response ON agent_spans (response_id, started_at)
    WHERE response_id IS NOT NULL;
-- The spans below a received one.
CREATE INDEX agent_spans_below ON agent_spans (parent_span_id, trace_id)
    WHERE source_id IS NOT NULL AND parent_span_id IS NOT NULL;

-- Who sent received spans: resources and instrumentation scopes, each stored once.

CREATE TABLE agent_span_sources (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    source_id     TEXT NOT NULL UNIQUE,    -- a hash of the rest
    service_name  TEXT NOT NULL DEFAULT '',
    scope_name    TEXT NOT NULL DEFAULT '',
    scope_version TEXT NOT NULL DEFAULT '',
    source        TEXT,                    -- everything that was sent of it, as JSON
    created_at    TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at    TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;

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

-- Sessions, the runs of one conversation. The first run with a session_id makes the row of the
-- session, and later runs move its times. What a session counts is computed from its runs.

CREATE TABLE agent_sessions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id    TEXT NOT NULL UNIQUE,
    agent_id      TEXT,                -- of the first run
    agent_name    TEXT NOT NULL DEFAULT '',
    user_id       TEXT,
    status        TEXT NOT NULL DEFAULT 'active', -- active, completed or error
    started_at    TEXT NOT NULL CHECK (started_at GLOB '????-??-??T??:??:??.??????+00:00'),
    ended_at      TEXT CHECK (ended_at GLOB '????-??-??T??:??:??.??????+00:00'),
    last_event_at TEXT NOT NULL CHECK (last_event_at GLOB '????-??-??T??:??:??.??????+00:00'),
    tags          TEXT,                -- a JSON array of texts
    metadata      TEXT,                -- JSON or plain text, as it was given
    created_at    TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at    TEXT CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00') -- by a caller
) STRICT;

-- Newest sessions.
CREATE INDEX agent_sessions_by_time ON agent_sessions (started_at);
-- Newest sessions of one agent.
CREATE INDEX agent_sessions_by_agent ON agent_sessions (agent_id, started_at);
-- Newest sessions of one user.
CREATE INDEX agent_sessions_by_user ON agent_sessions (user_id, started_at)
    WHERE user_id IS NOT NULL;
-- Newest sessions of one status.
CREATE INDEX agent_sessions_by_status ON agent_sessions (status, started_at);

-- A run makes its agent and its session, or moves their times: to a later one at most once in ten
-- seconds, which are the first 18 characters of a time.
CREATE TRIGGER agent_runs_inserted AFTER INSERT ON agent_runs
BEGIN
    INSERT INTO agents (agent_id, name, first_seen_at, last_seen_at, created_at)
    VALUES (
        NEW.agent_id,
        NEW.agent_name,
        coalesce(NEW.started_at, NEW.created_at),
        max(NEW.created_at, coalesce(NEW.finished_at, NEW.created_at)),
        NEW.created_at
    )
    ON CONFLICT (agent_id) DO UPDATE SET
        first_seen_at = min(first_seen_at, excluded.first_seen_at),
        last_seen_at = iif(
            substr(excluded.last_seen_at, 1, 18) > substr(last_seen_at, 1, 18), excluded.last_seen_at, last_seen_at
        )
    WHERE excluded.first_seen_at < first_seen_at
        OR substr(excluded.last_seen_at, 1, 18) > substr(last_seen_at, 1, 18);
    INSERT INTO agent_sessions
        (session_id, agent_id, agent_name, user_id, started_at, last_event_at, created_at)
    SELECT
        NEW.session_id,
        NEW.agent_id,
        NEW.agent_name,
        NEW.user_id,
        coalesce(NEW.started_at, NEW.created_at),
        max(NEW.created_at, coalesce(NEW.finished_at, NEW.created_at)),
        NEW.created_at
    WHERE NEW.session_id IS NOT NULL
    ON CONFLICT (session_id) DO UPDATE SET
        started_at = min(started_at, excluded.started_at),
        last_event_at = iif(
            substr(excluded.last_event_at, 1, 18) > substr(last_event_at, 1, 18), excluded.last_event_at, last_event_at
        )
    WHERE excluded.started_at < started_at
        OR substr(excluded.last_event_at, 1, 18) > substr(last_event_at, 1, 18);
END;

-- The same when a run ends, or gets another agent or session.
CREATE TRIGGER agent_runs_updated AFTER UPDATE OF agent_id, session_id, finished_at ON agent_runs
WHEN NEW.agent_id IS NOT OLD.agent_id
    OR NEW.session_id IS NOT OLD.session_id
    OR NEW.finished_at IS NOT OLD.finished_at
BEGIN
    INSERT INTO agents (agent_id, name, first_seen_at, last_seen_at, created_at)
    VALUES (
        NEW.agent_id,
        NEW.agent_name,
        coalesce(NEW.started_at, NEW.created_at),
        max(NEW.created_at, coalesce(NEW.finished_at, NEW.created_at)),
        NEW.created_at
    )
    ON CONFLICT (agent_id) DO UPDATE SET
        first_seen_at = min(first_seen_at, excluded.first_seen_at),
        last_seen_at = iif(
            substr(excluded.last_seen_at, 1, 18) > substr(last_seen_at, 1, 18), excluded.last_seen_at, last_seen_at
        )
    WHERE excluded.first_seen_at < first_seen_at
        OR substr(excluded.last_seen_at, 1, 18) > substr(last_seen_at, 1, 18);
    INSERT INTO agent_sessions
        (session_id, agent_id, agent_name, user_id, started_at, last_event_at, created_at)
    SELECT
        NEW.session_id,
        NEW.agent_id,
        NEW.agent_name,
        NEW.user_id,
        coalesce(NEW.started_at, NEW.created_at),
        max(NEW.created_at, coalesce(NEW.finished_at, NEW.created_at)),
        NEW.created_at
    WHERE NEW.session_id IS NOT NULL
    ON CONFLICT (session_id) DO UPDATE SET
        started_at = min(started_at, excluded.started_at),
        last_event_at = iif(
            substr(excluded.last_event_at, 1, 18) > substr(last_event_at, 1, 18), excluded.last_event_at, last_event_at
        )
    WHERE excluded.started_at < started_at
        OR substr(excluded.last_event_at, 1, 18) > substr(last_event_at, 1, 18);
END;

-- Long texts of events and model calls, each stored once in its scope: a session, or a run without
-- one. A marker stands in their place in the row; see docs/content.md.

CREATE TABLE content_blobs (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL UNIQUE,      -- the scope, then the SHA-256 of the text
    size    INTEGER NOT NULL,          -- characters of the text
    parent  INTEGER,                   -- the number of the text before the body
    chain   INTEGER,                   -- that of the first text it grew out of
    body    BLOB NOT NULL              -- UTF-8, compressed by zlib
) STRICT;

-- The texts that one grew out of. Other texts cost nothing here.
CREATE INDEX content_blobs_by_chain ON content_blobs (chain, size) WHERE chain IS NOT NULL;

-- The position of each consumer in the change feed of a table.

CREATE TABLE agent_consumers (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL,
    table_name TEXT NOT NULL,
    watermark  TEXT NOT NULL,          -- curio_persistence.store.change_feed.Watermark as text
    updated_at TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    UNIQUE (name, table_name)
) STRICT;

-- How long records are kept: policies and legal holds, and the lease of the program that expires.

CREATE TABLE agent_lifecycle (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,          -- policy, hold or lease
    name       TEXT NOT NULL,
    settings   TEXT,                   -- a JSON object
    updated_at TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    UNIQUE (kind, name)
) STRICT;

-- Runs that were deleted, for programs that have copies of them, which read these rows by id.

CREATE TABLE agent_tombstones (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id      TEXT NOT NULL,
    reason      TEXT NOT NULL,         -- expired, erased or restored
    archived_in TEXT,                  -- where an archive has the run
    created_at  TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;

-- Imports and copies ask whether a run has expired.
CREATE INDEX agent_tombstones_by_run ON agent_tombstones (run_id);

-- What expired rows added up to, so that statistics and costs over all time outlive the rows.

CREATE TABLE agent_expired_totals (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    kind               TEXT NOT NULL,  -- run, call, event or tool
    day                TEXT NOT NULL CHECK (day GLOB '????-??-??T00:00:00.000000+00:00'),
    agent_id           TEXT NOT NULL,
    name               TEXT NOT NULL,  -- the model of calls, the name of a tool
    provider           TEXT NOT NULL,
    status             TEXT NOT NULL,
    archive            TEXT NOT NULL,  -- the id of the archive that has the rows, or empty
    count              INTEGER NOT NULL,
    iterations         INTEGER NOT NULL,
    timed              INTEGER NOT NULL, -- how many have a duration
    duration_us        INTEGER NOT NULL, -- the sum of these, in microseconds
    calls              INTEGER NOT NULL, -- model calls of runs; of calls, themselves
    priced             INTEGER NOT NULL, -- how many of the calls have a cost
    cost_usd           INTEGER NOT NULL, -- picodollars
    input_tokens       INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    cache_read_tokens  INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    UNIQUE (kind, day, agent_id, name, provider, status, archive)
) STRICT;

-- Who deleted, exported or changed what, and when. Each line is a link of one hash chain.

CREATE TABLE agent_audit_log (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    action         TEXT NOT NULL,      -- delete, expire, export, set policy, ...
    resource       TEXT NOT NULL,      -- a run's id, the name of a policy or hold, a path
    resource_type  TEXT NOT NULL,      -- run, policy, hold, ...
    actor_type     TEXT NOT NULL,
    actor_id       TEXT NOT NULL,      -- by default user@machine:process
    agent_id       TEXT,
    run_id         TEXT,
    metadata       TEXT,               -- a JSON object
    timestamp      TEXT NOT NULL CHECK (timestamp GLOB '????-??-??T??:??:??.??????+00:00'),
    created_at     TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    chain_position INTEGER,            -- from 1
    content_hash   TEXT,               -- of metadata
    prev_hash      TEXT,               -- NULL for the first
    hash           TEXT
) STRICT;

-- The lines in the order of the chain, of which each position is taken once.
CREATE UNIQUE INDEX agent_audit_log_chain ON agent_audit_log (chain_position)
    WHERE chain_position IS NOT NULL;
-- Newest lines.
CREATE INDEX agent_audit_log_by_time ON agent_audit_log (timestamp);
-- Lines about one run, or one agent.
CREATE INDEX agent_audit_log_by_run ON agent_audit_log (run_id, timestamp)
    WHERE run_id IS NOT NULL;
CREATE INDEX agent_audit_log_by_agent ON agent_audit_log (agent_id, timestamp)
    WHERE agent_id IS NOT NULL;

-- The last link of each hash chain. Rows of a run stay after it expired, and anchor what follows.

CREATE TABLE agent_chain_heads (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    kind            TEXT NOT NULL,     -- events, or audit
    name            TEXT NOT NULL,     -- a run's id, or audit
    position        INTEGER NOT NULL,
    hash            TEXT NOT NULL,
    anchor_position INTEGER NOT NULL,  -- the last link that retention deleted; 0 if none
    anchor_hash     TEXT NOT NULL,
    signature       TEXT,              -- HMAC-SHA256 with the audit key
    updated_at      TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00'),
    UNIQUE (kind, name)
) STRICT;

-- Rules of alerts: what is measured, of which records, and the sinks that are told.

CREATE TABLE agent_alert_rules (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    rule_id          TEXT NOT NULL UNIQUE,
    name             TEXT NOT NULL,
    condition        TEXT NOT NULL,    -- error_rate, cost, latency, event_count, silence, and so on
    threshold        REAL NOT NULL,
    window_seconds   INTEGER NOT NULL,
    aggregation      TEXT,             -- of a latency or a metric: avg, p95 and so on
    metric           TEXT,
    resolve_below    REAL,             -- at most this: over; NULL is the threshold
    cooldown_seconds INTEGER NOT NULL DEFAULT 0,
    enabled          INTEGER NOT NULL DEFAULT 1,
    agent_id         TEXT,
    session_id       TEXT,
    user_id          TEXT,
    tags             TEXT,             -- a JSON array: runs with any of them
    model            TEXT,
    sinks            TEXT NOT NULL DEFAULT '[]', -- a JSON array; URLs may have secrets in them
    metadata         TEXT,
    created_at       TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    updated_at       TEXT NOT NULL CHECK (updated_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;

-- The history of alerts: a row for each breach of a rule, and for each time in
-- which a rule could not be measured. It stays when its rule is deleted.

CREATE TABLE agent_alert_history (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id     TEXT NOT NULL UNIQUE,
    rule_id      TEXT NOT NULL,
    breach       INTEGER NOT NULL,     -- the breaches of a rule are counted: one fires once
    name         TEXT NOT NULL,
    message      TEXT NOT NULL,
    threshold    REAL NOT NULL,
    value        REAL,
    triggered_at TEXT NOT NULL CHECK (triggered_at GLOB '????-??-??T??:??:??.??????+00:00'),
    resolved_at  TEXT CHECK (resolved_at GLOB '????-??-??T??:??:??.??????+00:00'),
    resolution   TEXT,                 -- why it is over
    deliveries   TEXT NOT NULL DEFAULT '[]', -- a JSON array: who was told, or has to be
    deliver_at   TEXT CHECK (deliver_at GLOB '????-??-??T??:??:??.??????+00:00'),
    metadata     TEXT,
    error        TEXT,                 -- the kind of error, if the rule could not be measured
    UNIQUE (rule_id, breach)
) STRICT;

-- Newest alerts.
CREATE INDEX agent_alert_history_by_time ON agent_alert_history (triggered_at);
-- Alerts that are not over.
CREATE INDEX agent_alert_history_open ON agent_alert_history (rule_id)
    WHERE resolved_at IS NULL;
-- Notifications that are to be delivered.
CREATE INDEX agent_alert_history_undelivered ON agent_alert_history (deliver_at)
    WHERE deliver_at IS NOT NULL;

-- Keys for the console and the API. Of a key's secret only the SHA-256 is stored.

CREATE TABLE agent_api_keys (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id       TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,        -- read, write or admin
    secret_hash  TEXT NOT NULL,        -- hexadecimal
    created_at   TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    expires_at   TEXT CHECK (expires_at GLOB '????-??-??T??:??:??.??????+00:00'),
    revoked_at   TEXT CHECK (revoked_at GLOB '????-??-??T??:??:??.??????+00:00'),
    last_used_at TEXT CHECK (last_used_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;

-- Logins at the console: each belongs to a key. Of a session's token only the SHA-256 is stored.

CREATE TABLE agent_console_sessions (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id   TEXT NOT NULL UNIQUE, -- the SHA-256 of the token, hexadecimal
    key_id       TEXT NOT NULL,
    created_at   TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00'),
    last_seen_at TEXT NOT NULL CHECK (last_seen_at GLOB '????-??-??T??:??:??.??????+00:00'),
    expires_at   TEXT NOT NULL CHECK (expires_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;

-- Own prices of model calls. Those that were saved last come first.

CREATE TABLE agent_prices (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    price_version TEXT NOT NULL UNIQUE, -- a hash of the entry, which costs by it have as well
    entry         TEXT NOT NULL,        -- JSON: model, input, output, provider, since, and so on
    created_at    TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;

-- The run logs of sessions: how far each has been numbered. Numbers are never given out again.

CREATE TABLE agent_run_logs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL UNIQUE,
    last_seq   INTEGER NOT NULL,
    created_at TEXT NOT NULL CHECK (created_at GLOB '????-??-??T??:??:??.??????+00:00')
) STRICT;

-- Updates of runs and saved spans, in the order of their commits: what listeners follow. Only the
-- newest 100,000 are kept.

CREATE TABLE agent_changes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    table_name TEXT NOT NULL,
    row_id     INTEGER NOT NULL        -- no foreign key: the row may be deleted
) STRICT;

-- The search index also updates runs, but not their updated_at.
CREATE TRIGGER agent_runs_changed AFTER UPDATE OF updated_at ON agent_runs
BEGIN
    INSERT INTO agent_changes (table_name, row_id) VALUES ('agent_runs', NEW.id);
END;

CREATE TRIGGER agent_spans_changed AFTER UPDATE OF updated_at ON agent_spans
BEGIN
    INSERT INTO agent_changes (table_name, row_id) VALUES ('agent_spans', NEW.id);
END;

CREATE TRIGGER agent_changes_kept AFTER INSERT ON agent_changes WHEN NEW.id % 1000 = 0
BEGIN
    DELETE FROM agent_changes WHERE id <= NEW.id - 100000;
END;

-- What the texts of runs, events and model calls mean, as vectors. Made when somebody asks for what
-- is similar; see docs/similarity.md.

CREATE TABLE agent_embeddings (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    table_name TEXT NOT NULL,          -- of the record
    row_id     INTEGER NOT NULL,       -- no foreign key: it is that of one of several tables
    kind       TEXT NOT NULL,          -- of the text: prompt, output, error or message
    model      TEXT NOT NULL,          -- vectors of two models are never compared
    dim        INTEGER NOT NULL,       -- numbers of the vector
    text_hash  INTEGER NOT NULL,       -- of the text
    vector     BLOB NOT NULL,          -- numbers of 16 bits, little-endian; its length is 1
    UNIQUE (row_id, table_name, kind, model)
) STRICT;

-- The vectors of a model, in the order in which they were made.
CREATE INDEX agent_embeddings_by_model ON agent_embeddings (model);
-- Texts that have a vector already.
CREATE INDEX agent_embeddings_by_text ON agent_embeddings (text_hash, model);

-- The search index. The words of a document are in an FTS5 table, agent_search_words, created
-- when the first record is indexed. The index gives candidates; the records decide.

CREATE TABLE agent_search_documents (
    slot      INTEGER PRIMARY KEY,     -- the record's time in milliseconds, or the next free number
    kind      INTEGER NOT NULL,        -- 0 run, 1 event, 2 model call
    record_id INTEGER NOT NULL,
    length    INTEGER NOT NULL,        -- number of words
    words     TEXT                     -- of a run: FTS5 needs them when the run changes
) STRICT;

CREATE UNIQUE INDEX agent_search_documents_by_record ON agent_search_documents (kind, record_id);

CREATE TABLE agent_search_state (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Views for people and other programs: US dollars and seconds, the same columns in PostgreSQL.
-- The library does not read them. A name taken by another program is not replaced (IF NOT EXISTS).
-- Times are UTC text: seconds are counted in its first 19 characters, microseconds follow.
-- A CAST gives a computed column a type, for programs that query it.
-- Runs are looked up by sub-selects: an unused join would prevent sums that read only an index.

-- Runs, with the sums of their own model calls.
CREATE VIEW IF NOT EXISTS runs AS
SELECT
    r.run_id,
    r.agent_id,
    r.agent_name,
    r.status,
    r.started_at,
    r.finished_at,
    CAST((
        strftime('%s', substr(r.finished_at, 1, 19)) * 1000000 + substr(r.finished_at, 21, 6)
        - strftime('%s', substr(r.started_at, 1, 19)) * 1000000 - substr(r.started_at, 21, 6)
    ) / 1e6 AS REAL) AS duration_s,
    r.objective,
    r.final_synthesis_output,
    r.error_message,
    r.session_id,
    r.user_id,
    r.parent_run_id,
    (SELECT e.trace_id FROM agent_run_events e WHERE e.run_id = r.run_id
        ORDER BY e.timestamp, e.id LIMIT 1) AS trace_id,
    r.total_iterations,
    CAST(
        (SELECT count(*) FROM agent_llm_usage u WHERE u.run_id = r.run_id) AS INTEGER
    ) AS llm_calls,
    CAST(
        (SELECT sum(u.input_tokens) FROM agent_llm_usage u WHERE u.run_id = r.run_id) AS INTEGER
    ) AS input_tokens,
    CAST(
        (SELECT sum(u.output_tokens) FROM agent_llm_usage u WHERE u.run_id = r.run_id) AS INTEGER
    ) AS output_tokens,
    CAST(
        (SELECT sum(u.cost_usd) FROM agent_llm_usage u WHERE u.run_id = r.run_id) / 1e12 AS REAL
    ) AS cost_usd,
    r.tags,
    r.metadata,
    r.created_at
FROM agent_runs r
WHERE r.stub IS NULL;

-- Model calls; session and user are those of the call's run.
CREATE VIEW IF NOT EXISTS llm_calls AS
SELECT
    u.id,
    u.created_at,
    u.run_id,
    u.agent_id,
    u.provider,
    u.model,
    u.status,
    u.error_message,
    u.input_tokens,
    u.output_tokens,
    u.cache_read_tokens,
    u.cache_write_tokens,
    u.reasoning_tokens,
    CAST(u.cost_usd / 1e12 AS REAL) AS cost_usd,
    CAST(u.latency_ms / 1e3 AS REAL) AS duration_s,
    u.prompt,
    u.response_content,
    (SELECT r.session_id FROM agent_runs r WHERE r.run_id = u.run_id) AS session_id,
    (SELECT r.user_id FROM agent_runs r WHERE r.run_id = u.run_id) AS user_id,
    u.trace_id,
    u.span_id,
    u.parent_span_id,
    u.price_version,
    CASE
        WHEN u.cost_usd IS NULL THEN 'unknown'
        WHEN u.price_version IS NULL THEN 'given'
        WHEN u.price_version = 'reported' THEN 'reported'
        ELSE 'computed'
    END AS cost_source
FROM agent_llm_usage u;

-- Finished calls of tools, as statistics count them. JSON is text here, and jsonb in PostgreSQL.
-- A member of any type as JSON is `->`, which SQLite has since 3.38; this works in 3.37 too.
CREATE VIEW IF NOT EXISTS tool_calls AS
SELECT
    e.id,
    e.timestamp,
    e.run_id,
    e.agent_id,
    e.tool_name,
    e.tool_error AS failed,
    CAST(
        CASE
            WHEN e.tool_error = 0 THEN NULL
            WHEN json_type(e.payload, '$.error') = 'true' THEN 'error'
            ELSE coalesce(json_extract(e.payload, '$.error'), 'error')
        END AS TEXT
    ) AS error_message,
    CAST(e.tool_latency_us / 1e6 AS REAL) AS duration_s,
    CAST(
        CASE json_type(e.payload, '$.args')
            WHEN 'text' THEN json_quote(json_extract(e.payload, '$.args'))
            WHEN 'true' THEN 'true'
            WHEN 'false' THEN 'false'
            ELSE json_extract(e.payload, '$.args')
        END AS TEXT
    ) AS args,
    CAST(
        CASE json_type(e.payload, '$.result')
            WHEN 'text' THEN json_quote(json_extract(e.payload, '$.result'))
            WHEN 'true' THEN 'true'
            WHEN 'false' THEN 'false'
            ELSE json_extract(e.payload, '$.result')
        END AS TEXT
    ) AS result,
    CAST(coalesce(
        e.session_id, (SELECT r.session_id FROM agent_runs r WHERE r.run_id = e.run_id)
    ) AS TEXT) AS session_id,
    (SELECT r.user_id FROM agent_runs r WHERE r.run_id = e.run_id) AS user_id,
    e.trace_id,
    e.span_id,
    e.parent_span_id
FROM (
    SELECT *, CASE WHEN json_valid(data) THEN data END AS payload
    FROM agent_run_events
    WHERE tool_name IS NOT NULL
) e;

-- Events. The payload is always JSON: a payload that is not an object becomes a JSON string.
CREATE VIEW IF NOT EXISTS events AS
SELECT
    e.id,
    e.timestamp,
    e.run_id,
    e.agent_id,
    e.event_type,
    e.level,
    e.message,
    CAST(
        CASE
            WHEN e.data IS NULL THEN NULL
            WHEN NOT json_valid(e.data) THEN json_quote(e.data)
            WHEN json_type(e.data) = 'object' THEN e.data
            ELSE json_quote(e.data)
        END AS TEXT
    ) AS payload,
    CAST(coalesce(
        e.session_id, (SELECT r.session_id FROM agent_runs r WHERE r.run_id = e.run_id)
    ) AS TEXT) AS session_id,
    (SELECT r.user_id FROM agent_runs r WHERE r.run_id = e.run_id) AS user_id,
    e.trace_id,
    e.span_id,
    e.parent_span_id,
    e.event_id,
    e.seq
FROM agent_run_events e;
