-- Sessions, the runs of one conversation. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_sessions_local ON CLUSTER '{cluster}' (
    source_name   LowCardinality(String),
    id            Int64 CODEC(Delta, ZSTD(1)),
    session_id    String CODEC(ZSTD(1)),
    agent_id      LowCardinality(Nullable(String)),
    agent_name    LowCardinality(String),
    user_id       LowCardinality(Nullable(String)),
    status        LowCardinality(String),
    started_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ended_at      Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    last_event_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    tags          Nullable(String) CODEC(ZSTD(1)),
    metadata      Nullable(String) CODEC(ZSTD(1)),
    created_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at    Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    version       UInt64,
    is_deleted    UInt8 DEFAULT 0
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version, is_deleted)
ORDER BY (source_name, session_id)
SETTINGS replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agent_sessions ON CLUSTER '{cluster}' AS agent_sessions_local
ENGINE = Distributed('{cluster}', currentDatabase(), agent_sessions_local, cityHash64(source_name));
