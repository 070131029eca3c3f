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
