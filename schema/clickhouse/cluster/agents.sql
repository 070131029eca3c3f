-- Agents that have run: one row for each, and for each source. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agents_local ON CLUSTER '{cluster}' (
    source_name   LowCardinality(String),
    id            Int64 CODEC(Delta, ZSTD(1)),
    agent_id      String CODEC(ZSTD(1)),
    name          String CODEC(ZSTD(1)),
    description   Nullable(String) CODEC(ZSTD(1)),
    first_seen_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    last_seen_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    created_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at    Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    metadata      Nullable(String) CODEC(ZSTD(1)),
    version       UInt64,
    is_deleted    UInt8 DEFAULT 0
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version, is_deleted)
ORDER BY (source_name, agent_id)
SETTINGS replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agents ON CLUSTER '{cluster}' AS agents_local
ENGINE = Distributed('{cluster}', currentDatabase(), agents_local, cityHash64(source_name));
