-- Runs that were deleted in their source. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_tombstones (
    source_name LowCardinality(String),
    id          Int64 CODEC(Delta, ZSTD(1)),
    run_id      String CODEC(ZSTD(1)),
    reason      LowCardinality(String),
    archived_in Nullable(String) CODEC(ZSTD(1)),
    created_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    version     UInt64,
    is_deleted  UInt8 DEFAULT 0
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source_name, id)
SETTINGS non_replicated_deduplication_window = 1000;
