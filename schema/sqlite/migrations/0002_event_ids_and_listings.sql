-- additive: what is sent twice is stored once; events are listed by agent and by time.

ALTER TABLE agent_run_events ADD COLUMN event_id TEXT;
ALTER TABLE agent_llm_usage ADD COLUMN event_id TEXT;

CREATE INDEX agent_run_events_by_agent ON agent_run_events (agent_id, timestamp, id, event_type);
CREATE INDEX agent_run_events_by_time ON agent_run_events (timestamp);
CREATE UNIQUE INDEX agent_run_events_by_event_id ON agent_run_events (event_id)
    WHERE event_id IS NOT NULL;
CREATE UNIQUE INDEX agent_llm_usage_by_event_id ON agent_llm_usage (event_id)
    WHERE event_id IS NOT NULL;
