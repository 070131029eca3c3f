-- Judgements of runs, or of spans of runs. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_scores_local ON CLUSTER '{cluster}' (
    source_name LowCardinality(String),
    id          Int64 CODEC(Delta, ZSTD(1)),
    run_id      String CODEC(ZSTD(1)),
    span_id     String CODEC(ZSTD(1)),
    name        LowCardinality(String),
    source      LowCardinality(String),
    author      LowCardinality(String),
    value       Nullable(Float64),
    label       Nullable(String) CODEC(ZSTD(1)),
    comment     Nullable(String) CODEC(ZSTD(1)),
    created_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    version     UInt64,
    is_deleted  UInt8 DEFAULT 0
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version, is_deleted)
ORDER BY (source_name, run_id, id)
SETTINGS replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agent_scores ON CLUSTER '{cluster}' AS agent_scores_local
ENGINE = Distributed('{cluster}', currentDatabase(), agent_scores_local, cityHash64(source_name, run_id));
