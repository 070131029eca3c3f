-- One row for each model call. Rows are sent once.

CREATE TABLE IF NOT EXISTS agent_llm_usage_local ON CLUSTER '{cluster}' (
    source_name        LowCardinality(String),
    id                 Int64 CODEC(Delta, ZSTD(1)),
    agent_id           LowCardinality(Nullable(String)),
    run_id             Nullable(String) CODEC(ZSTD(1)),
    provider           LowCardinality(String),
    model              LowCardinality(String),
    prompt             String CODEC(ZSTD(1)),
    prompt_length      Int64 CODEC(T64, ZSTD(1)),
    input_params       Nullable(String) CODEC(ZSTD(1)),
    input_tokens       Nullable(Int64) CODEC(T64, ZSTD(1)),
    output_tokens      Nullable(Int64) CODEC(T64, ZSTD(1)),
    response_content   Nullable(String) CODEC(ZSTD(1)),
    response_length    Nullable(Int64) CODEC(T64, ZSTD(1)),
    usage_metrics      Nullable(String) CODEC(ZSTD(1)),
    status             LowCardinality(String),
    error_message      Nullable(String) CODEC(ZSTD(1)),
    latency_ms         Nullable(Int64) CODEC(T64, ZSTD(1)),
    created_at         DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    span_id            Nullable(String) CODEC(ZSTD(1)),
    cache_read_tokens  Nullable(Int64) CODEC(T64, ZSTD(1)),
    cache_write_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
    reasoning_tokens   Nullable(Int64) CODEC(T64, ZSTD(1)),
    cost_usd           Nullable(Int64) CODEC(T64, ZSTD(1)),
    event_id           Nullable(String) CODEC(ZSTD(1)),
    trace_id           Nullable(String) CODEC(ZSTD(1)),
    parent_span_id     Nullable(String) CODEC(ZSTD(1)),
    content_scope      Nullable(String) CODEC(ZSTD(1)),
    price_version      LowCardinality(Nullable(String)),
    -- Texts whose words ClickHouse splits otherwise: with letters beyond ASCII, or escaped ones.
    is_odd UInt8 MATERIALIZED ifNull(match(arrayStringConcat([prompt, response_content, error_message], ' '), '\\\\u|[^\\x00-\\x7F\\x{A0}–—‐‑‘’“”„•…‹›«»·°×§€£→←©®±≤≥≠]'), 0),
    INDEX by_run run_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_id id TYPE minmax GRANULARITY 1,
    INDEX by_time created_at TYPE minmax GRANULARITY 1,
    INDEX prompt_words prompt TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(replaceRegexpAll(concat(if(match(prompt, '\\\\[bfnrt]'), concat(prompt, ' ', replaceRegexpAll(prompt, '\\\\.', ' ')), prompt), ' ', replaceRegexpAll(replaceRegexpAll(if(match(prompt, '\\\\[bfnrt]'), concat(prompt, ' ', replaceRegexpAll(prompt, '\\\\.', ' ')), prompt), '([a-z][a-z0-9])([A-Z])', '\\1 \\2'), '([A-Z][A-Z])([A-Z][a-z][a-z])', '\\1 \\2')), '[^\\x00-\\x7F]', ' '))),
    INDEX response_words response_content TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(replaceRegexpAll(concat(if(match(response_content, '\\\\[bfnrt]'), concat(response_content, ' ', replaceRegexpAll(response_content, '\\\\.', ' ')), response_content), ' ', replaceRegexpAll(replaceRegexpAll(if(match(response_content, '\\\\[bfnrt]'), concat(response_content, ' ', replaceRegexpAll(response_content, '\\\\.', ' ')), response_content), '([a-z][a-z0-9])([A-Z])', '\\1 \\2'), '([A-Z][A-Z])([A-Z][a-z][a-z])', '\\1 \\2')), '[^\\x00-\\x7F]', ' '))),
    INDEX error_words error_message TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(replaceRegexpAll(concat(if(match(error_message, '\\\\[bfnrt]'), concat(error_message, ' ', replaceRegexpAll(error_message, '\\\\.', ' ')), error_message), ' ', replaceRegexpAll(replaceRegexpAll(if(match(error_message, '\\\\[bfnrt]'), concat(error_message, ' ', replaceRegexpAll(error_message, '\\\\.', ' ')), error_message), '([a-z][a-z0-9])([A-Z])', '\\1 \\2'), '([A-Z][A-Z])([A-Z][a-z][a-z])', '\\1 \\2')), '[^\\x00-\\x7F]', ' '))),
    INDEX by_odd is_odd TYPE set(2) GRANULARITY 1
) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')
PARTITION BY toYYYYMM(created_at)
ORDER BY (agent_id, created_at, id)
SETTINGS replicated_deduplication_window = 1000, allow_nullable_key = 1;

CREATE TABLE IF NOT EXISTS agent_llm_usage ON CLUSTER '{cluster}' AS agent_llm_usage_local
ENGINE = Distributed('{cluster}', currentDatabase(), agent_llm_usage_local, cityHash64(source_name, ifNull(run_id, '')));
