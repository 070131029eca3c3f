-- breaking: the first tables.

-- Which steps of migrations/ this replica has, so that a program knows whether it can work with it.

CREATE TABLE IF NOT EXISTS schema_migrations (
    version    UInt32,
    name       String,
    kind       String,                 -- additive or breaking
    checksum   String,                 -- SHA-256 of the step's file
    applied_at DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree
ORDER BY version;

-- The databases that are replicated here. The rows of the n-th one, from 0, have n * 2^48 added to
-- their ids, so that ids are unique here, and those of a single source are its own.

CREATE TABLE IF NOT EXISTS replica_sources (
    source_name String,                -- its name here, which every row carries
    number      UInt16,
    identity    String,                -- of the database, so that no other one is mixed with it
    location    String,                -- where writes go, without secrets
    created_at  DateTime64(6, 'UTC'),
    version     UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY source_name;

-- How far each source was read: the mark up to which everything is here, and the intent, which is
-- noted before rows are sent.

CREATE TABLE IF NOT EXISTS replica_sync (
    source_name String,
    name        String,                -- of what is read: a table
    n           UInt64,
    mark        String,
    intent      String
) ENGINE = ReplacingMergeTree(n)
ORDER BY (source_name, name);

-- One row for each run. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_runs (
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
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source_name, run_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- The events of runs. Rows are sent once and never change, so that no query needs FINAL, which
-- switches the skip indexes off.

CREATE TABLE IF NOT EXISTS agent_run_events (
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
) ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (agent_id, timestamp, id)
SETTINGS non_replicated_deduplication_window = 1000;

-- One row for each model call. Rows are sent once.

CREATE TABLE IF NOT EXISTS agent_llm_usage (
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
) ENGINE = MergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (agent_id, created_at, id)
SETTINGS non_replicated_deduplication_window = 1000, allow_nullable_key = 1;

-- Judgements of runs, or of spans of runs. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_scores (
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
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source_name, run_id, id)
SETTINGS non_replicated_deduplication_window = 1000;

-- Tickets by which runs ask people whether they may call a tool. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_approvals (
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
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source_name, run_id, id)
SETTINGS non_replicated_deduplication_window = 1000;

-- The states of runs at their steps. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_snapshots (
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
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source_name, run_id, id)
SETTINGS non_replicated_deduplication_window = 1000;

-- Spans that applications saved or sent. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_spans (
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
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source_name, trace_id, span_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- Who sent received spans: resources and instrumentation scopes. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_span_sources (
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
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source_name, source_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- Agents that have run: one row for each, and for each source. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agents (
    source_name   LowCardinality(String),
    id            Int64 CODEC(Delta, ZSTD(1)),
    agent_id      String CODEC(ZSTD(1)),
    name          String CODEC(ZSTD(1)),
    description   Nullable(String) CODEC(ZSTD(1)),
    first_seen_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    last_seen_at  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    created_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at    Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    metadata      Nullable(String) CODEC(ZSTD(1)),
    version       UInt64,
    is_deleted    UInt8 DEFAULT 0
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source_name, agent_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- Sessions, the runs of one conversation. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_sessions (
    source_name   LowCardinality(String),
    id            Int64 CODEC(Delta, ZSTD(1)),
    session_id    String CODEC(ZSTD(1)),
    agent_id      LowCardinality(Nullable(String)),
    agent_name    LowCardinality(String),
    user_id       LowCardinality(Nullable(String)),
    status        LowCardinality(String),
    started_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ended_at      Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    last_event_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    tags          Nullable(String) CODEC(ZSTD(1)),
    metadata      Nullable(String) CODEC(ZSTD(1)),
    created_at    DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at    Nullable(DateTime64(6, 'UTC')) CODEC(Delta, ZSTD(1)),
    version       UInt64,
    is_deleted    UInt8 DEFAULT 0
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source_name, session_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- What expired rows added up to. The row with the highest version counts.

CREATE TABLE IF NOT EXISTS agent_expired_totals (
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
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source_name, id)
SETTINGS non_replicated_deduplication_window = 1000;

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
