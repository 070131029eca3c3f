-- One row for each run. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_runs_local ON CLUSTER '{cluster}' (
    source_name            LowCardinality(String),
    id                     Int64 CODEC(Delta, ZSTD(1)),
    agent_id               LowCardinality(String),
    run_id                 String CODEC(ZSTD(1)),
    agent_name             LowCardinality(String),
    objective              String CODEC(ZSTD(1)),
    additional_context     Nullable(String) CODEC(ZSTD(1)),
    started_at             Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    finished_at            Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    total_iterations       Int64 CODEC(T64, ZSTD(1)),
    final_synthesis_output Nullable(String) CODEC(ZSTD(1)),
    execution_history      Nullable(String) CODEC(ZSTD(1)),
    status                 LowCardinality(String),
    error_message          Nullable(String) CODEC(ZSTD(1)),
    metadata               Nullable(String) CODEC(ZSTD(1)),
    created_at             DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at             DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    session_id             Nullable(String) CODEC(ZSTD(1)),
    parent_run_id          Nullable(String) CODEC(ZSTD(1)),
    stub                   Nullable(Int64) CODEC(T64, ZSTD(1)),
    tags                   Nullable(String) CODEC(ZSTD(1)),
    metrics                Nullable(String) CODEC(ZSTD(1)),
    user_id                LowCardinality(Nullable(String)),
    indexed_at             Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    stripped               Nullable(Int64) CODEC(T64, ZSTD(1)),
    trace_id               Nullable(String) CODEC(ZSTD(1)),
    source                 LowCardinality(Nullable(String)),
    project                LowCardinality(Nullable(String)),
    branch                 LowCardinality(Nullable(String)),
    version                UInt64,
    is_deleted             UInt8 DEFAULT 0,
    -- Texts whose words ClickHouse splits otherwise: with letters beyond ASCII, or escaped ones.
    is_odd UInt8 MATERIALIZED ifNull(match(arrayStringConcat([objective, final_synthesis_output, error_message], ' '), '\\\\u|[^\\x00-\\x7F\\x{A0}–—‐‑‘’“”„•…‹›«»·°×§€£→←©®±≤≥≠]'), 0),
    INDEX by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_parent parent_run_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_id id TYPE minmax GRANULARITY 1,
    INDEX by_time created_at TYPE minmax GRANULARITY 1,
    INDEX objective_words objective TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(replaceRegexpAll(concat(if(match(objective, '\\\\[bfnrt]'), concat(objective, ' ', replaceRegexpAll(objective, '\\\\.', ' ')), objective), ' ', replaceRegexpAll(replaceRegexpAll(if(match(objective, '\\\\[bfnrt]'), concat(objective, ' ', replaceRegexpAll(objective, '\\\\.', ' ')), objective), '([a-z][a-z0-9])([A-Z])', '\\1 \\2'), '([A-Z][A-Z])([A-Z][a-z][a-z])', '\\1 \\2')), '[^\\x00-\\x7F]', ' '))),
    INDEX output_words final_synthesis_output TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(replaceRegexpAll(concat(if(match(final_synthesis_output, '\\\\[bfnrt]'), concat(final_synthesis_output, ' ', replaceRegexpAll(final_synthesis_output, '\\\\.', ' ')), final_synthesis_output), ' ', replaceRegexpAll(replaceRegexpAll(if(match(final_synthesis_output, '\\\\[bfnrt]'), concat(final_synthesis_output, ' ', replaceRegexpAll(final_synthesis_output, '\\\\.', ' ')), final_synthesis_output), '([a-z][a-z0-9])([A-Z])', '\\1 \\2'), '([A-Z][A-Z])([A-Z][a-z][a-z])', '\\1 \\2')), '[^\\x00-\\x7F]', ' '))),
    INDEX error_words error_message TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(replaceRegexpAll(concat(if(match(error_message, '\\\\[bfnrt]'), concat(error_message, ' ', replaceRegexpAll(error_message, '\\\\.', ' ')), error_message), ' ', replaceRegexpAll(replaceRegexpAll(if(match(error_message, '\\\\[bfnrt]'), concat(error_message, ' ', replaceRegexpAll(error_message, '\\\\.', ' ')), error_message), '([a-z][a-z0-9])([A-Z])', '\\1 \\2'), '([A-Z][A-Z])([A-Z][a-z][a-z])', '\\1 \\2')), '[^\\x00-\\x7F]', ' '))),
    INDEX by_odd is_odd TYPE set(2) GRANULARITY 1
) ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', version, is_deleted)
ORDER BY (source_name, run_id)
SETTINGS replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agent_runs ON CLUSTER '{cluster}' AS agent_runs_local
ENGINE = Distributed('{cluster}', currentDatabase(), agent_runs_local, cityHash64(source_name, run_id));
