-- The events of runs. Rows are sent once and never change, so that no query needs FINAL, which
-- switches the skip indexes off.

CREATE TABLE IF NOT EXISTS agent_run_events_local ON CLUSTER '{cluster}' (
    source_name      LowCardinality(String),
    id               Int64 CODEC(Delta, ZSTD(1)),
    agent_id         LowCardinality(String),
    run_id           String CODEC(ZSTD(1)),
    agent_name       LowCardinality(String),
    timestamp        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    event_type       LowCardinality(String),
    data             Nullable(String) CODEC(ZSTD(1)),
    created_at       DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    tool_name        LowCardinality(Nullable(String)),
    tool_latency_us  Nullable(Int64) CODEC(T64, ZSTD(1)),
    tool_error       Nullable(Int64) CODEC(T64, ZSTD(1)),
    event_id         Nullable(String) CODEC(ZSTD(1)),
    session_id       Nullable(String) CODEC(ZSTD(1)),
    level            LowCardinality(String),
    message          Nullable(String) CODEC(ZSTD(1)),
    trace_id         Nullable(String) CODEC(ZSTD(1)),
    span_id          Nullable(String) CODEC(ZSTD(1)),
    parent_span_id   Nullable(String) CODEC(ZSTD(1)),
    contract_id      LowCardinality(Nullable(String)),
    contract_version LowCardinality(Nullable(String)),
    artifact_uri     Nullable(String) CODEC(ZSTD(1)),
    metadata         Nullable(String) CODEC(ZSTD(1)),
    severity         Nullable(Int64) CODEC(T64, ZSTD(1)),
    metric_name      LowCardinality(Nullable(String)),
    metric_value     Nullable(Float64),
    chain_position   Nullable(Int64) CODEC(T64, ZSTD(1)),
    content_hash     Nullable(String) CODEC(ZSTD(1)),
    prev_hash        Nullable(String) CODEC(ZSTD(1)),
    hash             Nullable(String) CODEC(ZSTD(1)),
    seq              Nullable(Int64) CODEC(T64, ZSTD(1)),
    content_scope    Nullable(String) CODEC(ZSTD(1)),
    -- Texts whose words ClickHouse splits otherwise: with letters beyond ASCII, or escaped ones.
    is_odd UInt8 MATERIALIZED ifNull(match(arrayStringConcat([message, data], ' '), '\\\\u|[^\\x00-\\x7F\\x{A0}–—‐‑‘’“”„•…‹›«»·°×§€£→←©®±≤≥≠]'), 0),
    INDEX by_run run_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_id id TYPE minmax GRANULARITY 1,
    INDEX by_time timestamp TYPE minmax GRANULARITY 1,
    INDEX by_severity severity TYPE set(4) GRANULARITY 1,
    INDEX by_metric metric_name TYPE set(100) GRANULARITY 1,
    INDEX data_words data TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(replaceRegexpAll(concat(if(match(data, '\\\\[bfnrt]'), concat(data, ' ', replaceRegexpAll(data, '\\\\.', ' ')), data), ' ', replaceRegexpAll(replaceRegexpAll(if(match(data, '\\\\[bfnrt]'), concat(data, ' ', replaceRegexpAll(data, '\\\\.', ' ')), data), '([a-z][a-z0-9])([A-Z])', '\\1 \\2'), '([A-Z][A-Z])([A-Z][a-z][a-z])', '\\1 \\2')), '[^\\x00-\\x7F]', ' '))),
    INDEX message_words message TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(replaceRegexpAll(concat(if(match(message, '\\\\[bfnrt]'), concat(message, ' ', replaceRegexpAll(message, '\\\\.', ' ')), message), ' ', replaceRegexpAll(replaceRegexpAll(if(match(message, '\\\\[bfnrt]'), concat(message, ' ', replaceRegexpAll(message, '\\\\.', ' ')), message), '([a-z][a-z0-9])([A-Z])', '\\1 \\2'), '([A-Z][A-Z])([A-Z][a-z][a-z])', '\\1 \\2')), '[^\\x00-\\x7F]', ' '))),
    INDEX by_odd is_odd TYPE set(2) GRANULARITY 1
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')
PARTITION BY toYYYYMM(timestamp)
ORDER BY (agent_id, timestamp, id)
SETTINGS replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agent_run_events ON CLUSTER '{cluster}' AS agent_run_events_local
ENGINE = Distributed('{cluster}', currentDatabase(), agent_run_events_local, cityHash64(source_name, run_id));
