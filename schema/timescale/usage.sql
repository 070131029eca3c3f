-- The model calls as a hypertable of TimescaleDB; see events.sql.

ALTER TABLE {schema}.agent_llm_usage
    DROP CONSTRAINT agent_llm_usage_pkey,
    ADD CONSTRAINT agent_llm_usage_pkey PRIMARY KEY (id, created_at);

DROP INDEX {schema}.agent_llm_usage_by_event_id;
CREATE INDEX agent_llm_usage_by_event_id ON {schema}.agent_llm_usage (event_id)
    WHERE event_id IS NOT NULL;
