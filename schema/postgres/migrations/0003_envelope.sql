-- additive: events carry the fields of the envelope, runs tags and metrics; metrics are queried.

ALTER TABLE {schema}.agent_run_events ADD COLUMN session_id TEXT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN level TEXT NOT NULL DEFAULT 'info';
ALTER TABLE {schema}.agent_run_events ADD COLUMN message TEXT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN trace_id TEXT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN span_id TEXT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN parent_span_id TEXT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN contract_id TEXT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN contract_version TEXT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN artifact_uri TEXT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN metadata TEXT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN severity SMALLINT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN metric_name TEXT;
ALTER TABLE {schema}.agent_run_events ADD COLUMN metric_value DOUBLE PRECISION;

CREATE INDEX agent_run_events_by_session ON {schema}.agent_run_events (session_id, timestamp, id)
    WHERE session_id IS NOT NULL;
CREATE INDEX agent_run_events_severe
    ON {schema}.agent_run_events (timestamp, id, severity, event_type)
    WHERE severity IS NOT NULL;
CREATE INDEX agent_run_events_severe_by_agent
    ON {schema}.agent_run_events (agent_id, timestamp, id, severity, event_type)
    WHERE severity IS NOT NULL;
CREATE INDEX agent_run_events_metrics
    ON {schema}.agent_run_events (metric_name, timestamp, metric_value, agent_id)
    WHERE metric_name IS NOT NULL;

ALTER TABLE {schema}.agent_runs ADD COLUMN tags TEXT;
ALTER TABLE {schema}.agent_runs ADD COLUMN metrics TEXT;

CREATE INDEX agent_runs_by_session ON {schema}.agent_runs (session_id, created_at, id)
    WHERE session_id IS NOT NULL;

-- A run's children are listed as well, in order.
DROP INDEX {schema}.agent_runs_by_parent;
CREATE INDEX agent_runs_by_parent ON {schema}.agent_runs (parent_run_id, created_at, id)
    WHERE parent_run_id IS NOT NULL;

-- In the order of storing within its group, which is how rows come: a batch is a fifth cheaper.
DROP INDEX {schema}.agent_llm_usage_stats;
CREATE INDEX agent_llm_usage_stats ON {schema}.agent_llm_usage
    (agent_id, model, status, id, input_tokens, output_tokens, cost_usd, latency_ms);

CREATE FUNCTION {schema}.curio_payload(data TEXT) RETURNS JSONB
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
DECLARE
    brackets TEXT;
    payload  JSONB;
BEGIN
    -- What has more levels than 256 would end the query, if it had some thousands.
    IF length(data) > 16000000 THEN
        RETURN NULL;
    ELSIF length(data) - length(translate(data, '[{', '')) > 256 THEN
        brackets := regexp_replace(data, '"(\\.|[^"\\])*"|[^][{}]', '', 'g');
        brackets := translate(brackets, '{}', '[]');
        FOR level IN 1..256 LOOP
            EXIT WHEN brackets = '';
            brackets := replace(brackets, '[]', '');
        END LOOP;
        IF brackets <> '' THEN
            RETURN NULL;
        END IF;
    END IF;
    IF pg_input_is_valid(data, 'jsonb') THEN
        payload := data;
        IF jsonb_typeof(payload) = 'object' THEN
            RETURN payload;
        END IF;
    END IF;
    RETURN NULL;
END
$$;
