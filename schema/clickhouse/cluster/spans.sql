-- Spans that applications saved or sent. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_spans_local ON CLUSTER '{cluster}' (
    source_name    LowCardinality(String),
    id             Int64 CODEC(Delta, ZSTD(1)),
    trace_id       String CODEC(ZSTD(1)),
    span_id        String CODEC(ZSTD(1)),
    parent_span_id Nullable(String) CODEC(ZSTD(1)),
    run_id         Nullable(String) CODEC(ZSTD(1)),
    kind           LowCardinality(String),
    name           String CODEC(ZSTD(1)),
    status         LowCardinality(String),
    error_message  Nullable(String) CODEC(ZSTD(1)),
    started_at     DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ended_at       Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    start_nanos    Nullable(Int64) CODEC(T64, ZSTD(1)),
    end_nanos      Nullable(Int64) CODEC(T64, ZSTD(1)),
    agent_id       LowCardinality(Nullable(String)),
    session_id     Nullable(String) CODEC(ZSTD(1)),
    user_id        LowCardinality(Nullable(String)),
    step_id        Nullable(String) CODEC(ZSTD(1)),
    input          Nullable(String) CODEC(ZSTD(1)),
    output         Nullable(String) CODEC(ZSTD(1)),
    attributes     Nullable(String) CODEC(ZSTD(1)),
    metrics        Nullable(String) CODEC(ZSTD(1)),
    details        Nullable(String) CODEC(ZSTD(1)),
    events         Nullable(String) CODEC(ZSTD(1)),
    links          Nullable(String) CODEC(ZSTD(1)),
    response_id    Nullable(String) CODEC(ZSTD(1)),
    trace_state    Nullable(String) CODEC(ZSTD(1)),
    flags          Nullable(Int64) CODEC(T64, ZSTD(1)),
    created_at     DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at     DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source_id      Nullable(String) CODEC(ZSTD(1)),
    otel_kind      Nullable(Int64) CODEC(T64, ZSTD(1)),
    otel_status    Nullable(Int64) CODEC(T64, ZSTD(1)),
    rest           Nullable(String) CODEC(ZSTD(1)),
    meaning        Nullable(String) CODEC(ZSTD(1)),
    version        UInt64,
    is_deleted     UInt8 DEFAULT 0,
    INDEX by_run run_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_parent parent_span_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_id id TYPE minmax GRANULARITY 1,
    INDEX by_time started_at TYPE minmax GRANULARITY 1
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version, is_deleted)
ORDER BY (source_name, trace_id, span_id)
SETTINGS replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agent_spans ON CLUSTER '{cluster}' AS agent_spans_local
ENGINE = Distributed('{cluster}', currentDatabase(), agent_spans_local, cityHash64(source_name, trace_id));
