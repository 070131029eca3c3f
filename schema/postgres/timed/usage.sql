-- The model calls of the `timed` layout: the columns and indexes of ../usage.sql, in a partition for
-- each month. This script replaces the empty table of a new schema; see events.sql.

CREATE TABLE {schema}.agent_llm_usage_timed (
    LIKE {schema}.agent_llm_usage INCLUDING DEFAULTS INCLUDING IDENTITY,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

DROP TABLE {schema}.agent_llm_usage CASCADE; -- With the views, which are made again.
ALTER TABLE {schema}.agent_llm_usage_timed RENAME TO agent_llm_usage;
ALTER TABLE {schema}.agent_llm_usage
    RENAME CONSTRAINT agent_llm_usage_timed_pkey TO agent_llm_usage_pkey;
ALTER SEQUENCE {schema}.agent_llm_usage_timed_id_seq RENAME TO agent_llm_usage_id_seq;

CREATE INDEX agent_llm_usage_by_time ON {schema}.agent_llm_usage (created_at, id)
    INCLUDE (agent_id, model, status, input_tokens, output_tokens, cost_usd, latency_ms,
             cache_read_tokens, cache_write_tokens, reasoning_tokens);
CREATE INDEX agent_llm_usage_by_agent ON {schema}.agent_llm_usage (agent_id, created_at, id);
CREATE INDEX agent_llm_usage_by_run ON {schema}.agent_llm_usage
    (run_id, created_at, id, status, input_tokens, output_tokens, cost_usd)
    WHERE run_id IS NOT NULL;
CREATE INDEX agent_llm_usage_stats ON {schema}.agent_llm_usage
    (agent_id, model, status, id, input_tokens, output_tokens, cost_usd, latency_ms);
CREATE INDEX agent_llm_usage_latency ON {schema}.agent_llm_usage (latency_ms)
    WHERE latency_ms IS NOT NULL;
CREATE INDEX agent_llm_usage_by_event_id ON {schema}.agent_llm_usage (event_id)
    WHERE event_id IS NOT NULL;
CREATE INDEX agent_llm_usage_by_content ON {schema}.agent_llm_usage (content_scope)
    WHERE content_scope IS NOT NULL;
CREATE INDEX agent_llm_usage_by_trace ON {schema}.agent_llm_usage (trace_id)
    WHERE run_id IS NULL AND trace_id IS NOT NULL;
