-- Compression of what is older than two weeks, which the Apache edition of TimescaleDB does not have.
-- The library adds a policy that does it.

ALTER TABLE {schema}.agent_run_events SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'agent_id',
    timescaledb.compress_orderby = 'timestamp, id'
);

ALTER TABLE {schema}.agent_llm_usage SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'agent_id',
    timescaledb.compress_orderby = 'created_at, id'
);
