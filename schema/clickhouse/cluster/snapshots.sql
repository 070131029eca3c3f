-- The states of runs at their steps. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_snapshots_local ON CLUSTER '{cluster}' (
    source_name LowCardinality(String),
    id          Int64 CODEC(Delta, ZSTD(1)),
    run_id      String CODEC(ZSTD(1)),
    step_id     String CODEC(ZSTD(1)),
    metadata    Nullable(String) CODEC(ZSTD(1)),
    created_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    state       Nullable(String) CODEC(ZSTD(1)),
    version     UInt64,
    is_deleted  UInt8 DEFAULT 0
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version, is_deleted)
ORDER BY (source_name, run_id, id)
SETTINGS replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agent_snapshots ON CLUSTER '{cluster}' AS agent_snapshots_local
ENGINE = Distributed('{cluster}', currentDatabase(), agent_snapshots_local, cityHash64(source_name, run_id));
