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
