-- Who sent received spans: resources and instrumentation scopes. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_span_sources_local ON CLUSTER '{cluster}' (
    source_name   LowCardinality(String),
    id            Int64 CODEC(Delta, ZSTD(1)),
    source_id     String CODEC(ZSTD(1)),
    service_name  String CODEC(ZSTD(1)),
    scope_name    String CODEC(ZSTD(1)),
    scope_version String CODEC(ZSTD(1)),
    source        Nullable(String) CODEC(ZSTD(1)),
    created_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    version       UInt64,
    is_deleted    UInt8 DEFAULT 0
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version, is_deleted)
ORDER BY (source_name, source_id)
SETTINGS replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agent_span_sources ON CLUSTER '{cluster}' AS agent_span_sources_local
ENGINE = Distributed('{cluster}', currentDatabase(), agent_span_sources_local, cityHash64(source_name));
