-- The events of the `timed` layout: the columns and indexes of ../events.sql, in a partition for each
-- month. This script replaces the empty table of a new schema; the library makes the partitions.
--
-- agent_run_events_early and agent_run_events_late have what is before the first month and after
-- the last, so that every time can be stored. They are no DEFAULT partition, with which a month could
-- not be added without reading all of its rows.

CREATE TABLE {schema}.agent_run_events_timed (
    LIKE {schema}.agent_run_events INCLUDING DEFAULTS INCLUDING IDENTITY,
    PRIMARY KEY (id, timestamp),
    FOREIGN KEY (run_id) REFERENCES {schema}.agent_runs (run_id) ON DELETE CASCADE
) PARTITION BY RANGE (timestamp);

DROP TABLE {schema}.agent_run_events CASCADE; -- With the views, which are made again.
ALTER TABLE {schema}.agent_run_events_timed RENAME TO agent_run_events;
ALTER TABLE {schema}.agent_run_events
    RENAME CONSTRAINT agent_run_events_timed_pkey TO agent_run_events_pkey;
ALTER TABLE {schema}.agent_run_events
    RENAME CONSTRAINT agent_run_events_timed_run_id_fkey TO agent_run_events_run_id_fkey;
ALTER SEQUENCE {schema}.agent_run_events_timed_id_seq RENAME TO agent_run_events_id_seq;

-- What each index is for is said in ../events.sql. Those that are unique there are not so here: a
-- unique index of a partitioned table would have to contain the time. See registry.sql.
CREATE INDEX agent_run_events_by_run
    ON {schema}.agent_run_events (run_id, timestamp, id, tool_error);
CREATE INDEX agent_run_events_by_agent
    ON {schema}.agent_run_events (agent_id, timestamp, id, event_type);
CREATE INDEX agent_run_events_by_time ON {schema}.agent_run_events (timestamp, id);
CREATE INDEX agent_run_events_tools
    ON {schema}.agent_run_events (agent_id, tool_name, tool_error, tool_latency_us)
    WHERE tool_name IS NOT NULL;
CREATE INDEX agent_run_events_tools_by_time
    ON {schema}.agent_run_events
        (timestamp, agent_id, tool_error, tool_name, tool_latency_us)
    WHERE tool_name IS NOT NULL;
CREATE INDEX agent_run_events_by_event_id ON {schema}.agent_run_events (event_id)
    WHERE event_id IS NOT NULL;
CREATE INDEX agent_run_events_by_session ON {schema}.agent_run_events (session_id, timestamp, id)
    WHERE session_id IS NOT NULL;
CREATE INDEX agent_run_events_severe
    ON {schema}.agent_run_events (timestamp, id, severity, event_type)
    WHERE severity IS NOT NULL;
CREATE INDEX agent_run_events_severe_by_agent
    ON {schema}.agent_run_events (agent_id, timestamp, id, severity, event_type)
    WHERE severity IS NOT NULL;
CREATE INDEX agent_run_events_chain ON {schema}.agent_run_events (run_id, chain_position)
    WHERE chain_position IS NOT NULL;
CREATE INDEX agent_run_events_severe_by_run
    ON {schema}.agent_run_events (run_id, severity, tool_error)
    WHERE severity IS NOT NULL;
CREATE INDEX agent_run_events_metrics
    ON {schema}.agent_run_events (metric_name, timestamp, metric_value, agent_id)
    WHERE metric_name IS NOT NULL;
CREATE INDEX agent_run_events_log ON {schema}.agent_run_events (session_id, seq)
    WHERE seq IS NOT NULL;
CREATE INDEX agent_run_events_log_by_kind
    ON {schema}.agent_run_events (session_id, event_type, seq)
    WHERE seq IS NOT NULL;
CREATE INDEX agent_run_events_by_content ON {schema}.agent_run_events (content_scope)
    WHERE content_scope IS NOT NULL;
