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
