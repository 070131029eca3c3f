-- Tickets by which runs ask people whether they may call a tool. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_approvals_local ON CLUSTER '{cluster}' (
    source_name    LowCardinality(String),
    id             Int64 CODEC(Delta, ZSTD(1)),
    ticket_id      String CODEC(ZSTD(1)),
    run_id         String CODEC(ZSTD(1)),
    agent_id       LowCardinality(String),
    tool           LowCardinality(String),
    arguments      Nullable(String) CODEC(ZSTD(1)),
    arguments_hash String CODEC(ZSTD(1)),
    step_id        Nullable(String) CODEC(ZSTD(1)),
    status         LowCardinality(String),
    requested_at   DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    expires_at     DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    resolved_by    Nullable(String) CODEC(ZSTD(1)),
    resolved_at    Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    reason         Nullable(String) CODEC(ZSTD(1)),
    response       Nullable(String) CODEC(ZSTD(1)),
    metadata       Nullable(String) CODEC(ZSTD(1)),
    created_at     DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at     DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    version        UInt64,
    is_deleted     UInt8 DEFAULT 0
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version, is_deleted)
ORDER BY (source_name, run_id, id)
SETTINGS replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agent_approvals ON CLUSTER '{cluster}' AS agent_approvals_local
ENGINE = Distributed('{cluster}', currentDatabase(), agent_approvals_local, cityHash64(source_name, run_id));
