-- Views over a database and its archive: the columns of those in SQLite and PostgreSQL.
-- The tables below them have times in UTC, without a zone. curio_persistence.archive.cold.queries
-- makes these tables, and leaves a view of the first three empty if a query reads no value of it.

-- Looked up for a view: the sums of a run's own model calls, its first trace, its session and user.
CREATE VIEW curio_sums AS
SELECT
    run_id,
    count(id) AS llm_calls,
    CAST(sum(input_tokens) AS BIGINT) AS input_tokens,
    CAST(sum(output_tokens) AS BIGINT) AS output_tokens,
    sum(cost_usd) AS cost_usd
FROM agent_llm_usage
GROUP BY run_id;

CREATE VIEW curio_traces AS
SELECT run_id, arg_min_null(trace_id, (timestamp, id)) AS trace_id
FROM agent_run_events
GROUP BY run_id;

CREATE VIEW curio_sessions AS
SELECT run_id, session_id, user_id FROM agent_runs;

-- The payload of an event, if that is a JSON object. To DuckDB, NaN and Infinity are JSON as well.
CREATE MACRO curio_payload(data) AS CASE
    WHEN NOT regexp_matches(data, '^\s*\{') THEN NULL
    WHEN (contains(data, 'NaN') OR contains(data, 'Infinity'))
        AND regexp_matches(regexp_replace(data, '"(\\.|[^"\\])*"', '', 'g'), 'NaN|Infinity')
        THEN NULL
    ELSE TRY_CAST(data AS JSON)
END;

-- The columns of a tool call whose payload is plain: of the keys below, names and error are texts.
CREATE MACRO curio_keys() AS [
    '$.tool_name', '$.tool', '$.action', '$.action_name', '$.server', '$.error', '$.latency_ms',
    '$.duration_ms'
];

CREATE MACRO curio_plain_name(texts) AS
    coalesce(nullif(texts[1], ''), nullif(texts[2], ''), nullif(texts[3], ''), nullif(texts[4], ''));

CREATE MACRO curio_plain_tool(event_type, kinds, texts) AS {
    'name': left(
        CASE
            WHEN event_type = 'mcp.call' AND texts[5] <> ''
                THEN texts[5] || '/' || curio_plain_name(texts)
            ELSE curio_plain_name(texts)
        END,
        255
    ),
    'failed': CASE kinds[6]
        WHEN 'BOOLEAN' THEN CAST(texts[6] = 'true' AS INTEGER)
        WHEN 'VARCHAR' THEN CAST(texts[6] <> '' AS INTEGER)
        ELSE 0
    END,
    'latency_us': CASE
        WHEN abs(CAST(coalesce(texts[7], texts[8]) AS DOUBLE)) < 1e15
            THEN CAST(round_even(CAST(coalesce(texts[7], texts[8]) AS DOUBLE) * 1000, 0) AS BIGINT)
    END
};

-- Runs, with the sums of their own model calls.
CREATE VIEW runs AS
SELECT
    r.run_id,
    r.agent_id,
    r.agent_name,
    r.status,
    r.started_at,
    r.finished_at,
    (epoch_us(r.finished_at) - epoch_us(r.started_at)) / 1e6 AS duration_s,
    r.objective,
    r.final_synthesis_output,
    r.error_message,
    r.session_id,
    r.user_id,
    r.parent_run_id,
    e.trace_id,
    r.total_iterations,
    coalesce(u.llm_calls, 0) AS llm_calls,
    u.input_tokens,
    u.output_tokens,
    u.cost_usd,
    r.tags,
    r.metadata,
    r.created_at
FROM agent_runs r
LEFT JOIN curio_sums u ON u.run_id = r.run_id
LEFT JOIN curio_traces e ON e.run_id = r.run_id
WHERE r.stub IS NULL;

-- Model calls; session and user are those of the call's run.
CREATE VIEW llm_calls AS
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
    u.cost_usd,
    u.latency_ms / 1e3 AS duration_s,
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
FROM agent_llm_usage u
LEFT JOIN curio_sessions r ON r.run_id = u.run_id;

-- Finished calls of tools, as statistics count them. An archive has no columns for this: of a plain
-- payload they are computed here, of any other by curio_tool, which is the code that stores events.
CREATE VIEW tool_calls AS
SELECT
    e.id,
    e.timestamp,
    e.run_id,
    e.agent_id,
    e.tool.name AS tool_name,
    e.tool.failed AS failed,
    CASE
        WHEN e.tool.failed = 0 THEN NULL
        WHEN json_type(curio_payload(e.data), '$.error') = 'BOOLEAN' THEN 'error'
        ELSE coalesce(curio_payload(e.data) ->> '$.error', 'error')
    END AS error_message,
    e.tool.latency_us / 1e6 AS duration_s,
    nullif(curio_payload(e.data) -> '$.args', 'null') AS args,
    nullif(curio_payload(e.data) -> '$.result', 'null') AS result,
    coalesce(e.session_id, r.session_id) AS session_id,
    r.user_id,
    e.trace_id,
    e.span_id,
    e.parent_span_id
FROM (
    SELECT
        *,
        CASE
            WHEN NOT contains(data, '\u')
                AND coalesce(kinds[1], 'NULL') IN ('VARCHAR', 'NULL')
                AND coalesce(kinds[2], 'NULL') IN ('VARCHAR', 'NULL')
                AND coalesce(kinds[3], 'NULL') IN ('VARCHAR', 'NULL')
                AND coalesce(kinds[4], 'NULL') IN ('VARCHAR', 'NULL')
                AND coalesce(kinds[5], 'NULL') IN ('VARCHAR', 'NULL')
                AND coalesce(kinds[6], 'NULL') IN ('VARCHAR', 'NULL', 'BOOLEAN')
                AND coalesce(kinds[7], kinds[8], 'NULL') IN ('UBIGINT', 'BIGINT', 'DOUBLE', 'NULL')
                AND event_type <> 'tool_step_committed'
                AND kinds IS NOT NULL
            THEN curio_plain_tool(event_type, kinds, texts)
            ELSE curio_tool(event_type, data)
        END AS tool
    FROM (
        SELECT
            *,
            json_type(curio_payload(data), curio_keys()) AS kinds,
            json_extract_string(curio_payload(data), curio_keys()) AS texts
        FROM agent_run_events
        WHERE event_type IN (
            'tool_call', 'mcp.call', 'action_execution_completed', 'tool_step_committed'
        )
    )
) e
LEFT JOIN curio_sessions r ON r.run_id = e.run_id
WHERE e.tool.name IS NOT NULL;

-- Events. The payload is always JSON: a payload that is not an object becomes a JSON string.
CREATE VIEW events AS
SELECT
    e.id,
    e.timestamp,
    e.run_id,
    e.agent_id,
    e.event_type,
    e.level,
    e.message,
    CASE
        WHEN e.data IS NOT NULL THEN coalesce(curio_payload(e.data), to_json(e.data))
    END AS payload,
    coalesce(e.session_id, r.session_id) AS session_id,
    r.user_id,
    e.trace_id,
    e.span_id,
    e.parent_span_id,
    e.event_id,
    e.seq
FROM agent_run_events e
LEFT JOIN curio_sessions r ON r.run_id = e.run_id;
