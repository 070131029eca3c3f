-- Views for people and other programs: US dollars and seconds, the same columns in SQLite.
-- The library does not read them. A name taken by another program is not replaced.

-- Runs, with the sums of their own model calls.
DO $do$ BEGIN
CREATE VIEW {schema}.runs AS
SELECT
    r.run_id,
    r.agent_id,
    r.agent_name,
    r.status,
    r.started_at,
    r.finished_at,
    trim_scale(extract(epoch FROM r.finished_at - r.started_at)) AS duration_s,
    r.objective,
    r.final_synthesis_output,
    r.error_message,
    r.session_id,
    r.user_id,
    r.parent_run_id,
    (SELECT e.trace_id FROM {schema}.agent_run_events e WHERE e.run_id = r.run_id
        ORDER BY e.timestamp, e.id LIMIT 1) AS trace_id,
    r.total_iterations,
    (SELECT count(*) FROM {schema}.agent_llm_usage u WHERE u.run_id = r.run_id) AS llm_calls,
    (SELECT sum(u.input_tokens)::BIGINT FROM {schema}.agent_llm_usage u WHERE u.run_id = r.run_id)
        AS input_tokens,
    (SELECT sum(u.output_tokens)::BIGINT FROM {schema}.agent_llm_usage u WHERE u.run_id = r.run_id)
        AS output_tokens,
    (SELECT trim_scale(sum(u.cost_usd)) FROM {schema}.agent_llm_usage u WHERE u.run_id = r.run_id)
        AS cost_usd,
    r.tags,
    r.metadata,
    r.created_at
FROM {schema}.agent_runs r
WHERE r.stub IS NULL;
EXCEPTION WHEN duplicate_table OR duplicate_object THEN NULL;
END $do$;

-- Model calls; session and user are those of the call's run.
DO $do$ BEGIN
CREATE VIEW {schema}.llm_calls AS
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
    trim_scale(u.cost_usd) AS cost_usd,
    trim_scale(u.latency_ms / 1000.0) AS duration_s,
    u.prompt,
    u.response_content,
    r.session_id,
    r.user_id,
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
FROM {schema}.agent_llm_usage u
LEFT JOIN {schema}.agent_runs r ON r.run_id = u.run_id;
EXCEPTION WHEN duplicate_table OR duplicate_object THEN NULL;
END $do$;

-- Finished calls of tools, as statistics count them. JSON is jsonb here, and text in SQLite.
DO $do$ BEGIN
CREATE VIEW {schema}.tool_calls AS
SELECT
    e.id,
    e.timestamp,
    e.run_id,
    e.agent_id,
    e.tool_name,
    e.tool_error AS failed,
    CASE WHEN e.tool_error = 1
        THEN coalesce(nullif({schema}.curio_payload(e.data) ->> 'error', 'true'), 'error')
    END AS error_message,
    trim_scale(e.tool_latency_us / 1000000.0) AS duration_s,
    nullif({schema}.curio_payload(e.data) -> 'args', 'null') AS args,
    nullif({schema}.curio_payload(e.data) -> 'result', 'null') AS result,
    coalesce(e.session_id, r.session_id) AS session_id,
    r.user_id,
    e.trace_id,
    e.span_id,
    e.parent_span_id
FROM {schema}.agent_run_events e
LEFT JOIN {schema}.agent_runs r ON r.run_id = e.run_id
WHERE e.tool_name IS NOT NULL;
EXCEPTION WHEN duplicate_table OR duplicate_object THEN NULL;
END $do$;

-- Events. The payload is always JSON: a payload that is not an object becomes a JSON string.
DO $do$ BEGIN
CREATE VIEW {schema}.events AS
SELECT
    e.id,
    e.timestamp,
    e.run_id,
    e.agent_id,
    e.event_type,
    e.level,
    e.message,
    coalesce({schema}.curio_payload(e.data), to_jsonb(e.data)) AS payload,
    coalesce(e.session_id, r.session_id) AS session_id,
    r.user_id,
    e.trace_id,
    e.span_id,
    e.parent_span_id,
    e.event_id,
    e.seq
FROM {schema}.agent_run_events e
LEFT JOIN {schema}.agent_runs r ON r.run_id = e.run_id;
EXCEPTION WHEN duplicate_table OR duplicate_object THEN NULL;
END $do$;
