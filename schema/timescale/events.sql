-- The events as a hypertable of TimescaleDB: the columns and indexes of ../postgres/events.sql. This
-- script changes the empty table of a new schema; the library calls create_hypertable then.

ALTER TABLE {schema}.agent_run_events
    DROP CONSTRAINT agent_run_events_run_id_fkey, -- See references.sql.
    DROP CONSTRAINT agent_run_events_pkey,
    ADD CONSTRAINT agent_run_events_pkey PRIMARY KEY (id, timestamp);

-- A unique index of a hypertable would have to contain the time: see ../postgres/timed/registry.sql.
DROP INDEX {schema}.agent_run_events_by_event_id;
DROP INDEX {schema}.agent_run_events_chain;
DROP INDEX {schema}.agent_run_events_log;
CREATE INDEX agent_run_events_by_event_id ON {schema}.agent_run_events (event_id)
    WHERE event_id IS NOT NULL;
CREATE INDEX agent_run_events_chain ON {schema}.agent_run_events (run_id, chain_position)
    WHERE chain_position IS NOT NULL;
CREATE INDEX agent_run_events_log ON {schema}.agent_run_events (session_id, seq)
    WHERE seq IS NOT NULL;
