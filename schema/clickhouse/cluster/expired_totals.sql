-- What expired rows added up to. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_expired_totals_local ON CLUSTER '{cluster}' (
    source_name        LowCardinality(String),
    id                 Int64 CODEC(Delta, ZSTD(1)),
    kind               LowCardinality(String),
    day                DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    agent_id           LowCardinality(String),
    name               LowCardinality(String),
    provider           LowCardinality(String),
    status             LowCardinality(String),
    archive            LowCardinality(String),
    count              Int64 CODEC(T64, ZSTD(1)),
    iterations         Int64 CODEC(T64, ZSTD(1)),
    timed              Int64 CODEC(T64, ZSTD(1)),
    duration_us        Int64 CODEC(T64, ZSTD(1)),
    calls              Int64 CODEC(T64, ZSTD(1)),
    priced             Int64 CODEC(T64, ZSTD(1)),
    cost_usd           Int64 CODEC(T64, ZSTD(1)),
    input_tokens       Int64 CODEC(T64, ZSTD(1)),
    output_tokens      Int64 CODEC(T64, ZSTD(1)),
    cache_read_tokens  Int64 CODEC(T64, ZSTD(1)),
    cache_write_tokens Int64 CODEC(T64, ZSTD(1)),
    reasoning_tokens   Int64 CODEC(T64, ZSTD(1)),
    version            UInt64,
    is_deleted         UInt8 DEFAULT 0
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version, is_deleted)
ORDER BY (source_name, id)
SETTINGS replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agent_expired_totals ON CLUSTER '{cluster}' AS agent_expired_totals_local
ENGINE = Distributed('{cluster}', currentDatabase(), agent_expired_totals_local, cityHash64(source_name));
