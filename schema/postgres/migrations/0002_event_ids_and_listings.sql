-- additive: what is sent twice is stored once; events are listed by agent and by time.

ALTER TABLE {schema}.agent_run_events ADD COLUMN event_id TEXT;
ALTER TABLE {schema}.agent_llm_usage ADD COLUMN event_id TEXT;

CREATE INDEX agent_run_events_by_agent
    ON {schema}.agent_run_events (agent_id, timestamp, id, event_type);
CREATE INDEX agent_run_events_by_time ON {schema}.agent_run_events (timestamp, id);
CREATE UNIQUE INDEX agent_run_events_by_event_id ON {schema}.agent_run_events (event_id)
    WHERE event_id IS NOT NULL;
CREATE UNIQUE INDEX agent_llm_usage_by_event_id ON {schema}.agent_llm_usage (event_id)
    WHERE event_id IS NOT NULL;
